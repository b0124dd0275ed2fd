"""Compiled loops that allocate nothing and count no references.

Counting a reference takes two calls and a locked addition wherever an array is taken out of a
tuple; in loops of some hundred instructions a byte that was more than half of the time. Callers
keep all arrays alive, so the loops need not.
"""

from functools import partial

from numba import njit

compiled = partial(njit, cache=True, nogil=True, _nrt=False)
"""Decorator: ``@compiled()``."""
inlined = partial(compiled, inline="always")
"""Decorator of what is small: ``@inlined()``."""
