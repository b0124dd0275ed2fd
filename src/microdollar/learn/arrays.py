"""Array types that learners and models share. Imports numpy."""

import numpy as np
import numpy.typing as npt

ByteArray = npt.NDArray[np.uint8]
"""Text as bytes, shape (n,)."""
