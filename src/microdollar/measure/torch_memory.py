"""Peak of the bytes that live torch storages hold, on any device, without a device's help.

Every operator hands its results to a dispatch mode, which notes each new storage and is told
by a weak reference when the storage goes: also when autograd, a gradient or a container kept
it alive, for a storage's Python object lives as long as its memory. What an operator takes
and gives back within one call (packed matrices of a matrix library) is not seen, nor is memory
that existed before, such as parameters made outside or a numpy array that a tensor shares.
"""

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from microdollar.cost import Quantity
from microdollar.errors import MissingExtraError

if TYPE_CHECKING:
    from torch import UntypedStorage


class _Ledger:
    """Storages that are alive, and the most bytes that they held at once."""

    def __init__(self) -> None:
        self.live_bytes = 0
        self.peak_bytes = 0
        self._known: dict[int, tuple[weakref.ref[Any], int]] = {}

    def note(self, storage: "UntypedStorage", *, ours: bool) -> None:
        """Enter a storage, or its new size; one that isn't ``ours`` counts as 0 bytes."""
        key = id(storage)
        entry = self._known.get(key)
        if entry is None:
            size = storage.nbytes() if ours else -1
            self._known[key] = (weakref.ref(storage, lambda _: self._gone(key)), size)
            self.live_bytes += max(size, 0)
        elif entry[1] >= 0 and entry[1] != storage.nbytes():
            self._known[key] = (entry[0], storage.nbytes())
            self.live_bytes += storage.nbytes() - entry[1]
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)

    def _gone(self, key: int) -> None:
        self.live_bytes -= max(self._known.pop(key)[1], 0)


def peak_torch_bytes(run: Callable[[], object]) -> Quantity:
    """Run ``run`` once and take the peak of the bytes of the storages that it made.

    Raises:
        MissingExtraError: if torch is not installed.
    """
    try:
        import torch
        from torch.utils._python_dispatch import TorchDispatchMode
        from torch.utils._pytree import tree_leaves
    except ImportError as error:
        raise MissingExtraError("torch", "torch", "counting tensor memory") from error

    ledger = _Ledger()

    class Watch(TorchDispatchMode):  # type: ignore[misc, no-untyped-call, unused-ignore]
        def __torch_dispatch__(
            self,
            func: Any,  # noqa: ANN401
            types: object,
            args: tuple[Any, ...] = (),
            kwargs: dict[str, Any] | None = None,
        ) -> object:
            kwargs = kwargs or {}
            # torch.tensor(...) makes its storage before any operator runs; this one follows.
            fresh = func is torch.ops.aten.lift_fresh.default
            for leaf in tree_leaves((args, kwargs)):
                if isinstance(leaf, torch.Tensor):
                    ledger.note(leaf.untyped_storage(), ours=fresh)
            result = func(*args, **kwargs)
            for leaf in tree_leaves(result):
                if isinstance(leaf, torch.Tensor):
                    ledger.note(leaf.untyped_storage(), ours=True)
            return result

    with Watch():  # type: ignore[no-untyped-call, unused-ignore]
        run()
    return Quantity(value=ledger.peak_bytes, basis="counter")
