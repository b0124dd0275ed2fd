"""Memory that CPU kernels take and give back within one call, which no live tensor shows.

Read off torch 2.13's allocator, call by call (its profiler with ``profile_memory``): oneDNN's
convolutions reorder what they read into blocks of 16 channels, and write into an array of their
own before they copy; its LSTM reorders weights and keeps the gates of all steps; batch norm's
gradient normalises into an array of its own. Other kernels took nothing worth counting in the
modules that were tried.
"""

from math import prod
from typing import Any

from microdollar.work.operators import CPU_RNN, row_bytes

_BLOCK = 16


def scratch_bytes(operator: str, args: tuple[Any, ...], width: int, made_bytes: int) -> int:
    """Most bytes that a call holds beyond what was live before it, its results included.

    Args:
        operator: name without namespace and overload.
        args: positional arguments; arrays need only a ``shape``.
        width: bytes of one number.
        made_bytes: bytes of the results.

    Returns:
        The bytes, or 0 for an operator that is not known to need any.
    """
    if operator == "convolution":
        image, weight = (width * size for size in _blocked(args[0], args[1]))
        outputs = args[1].shape[0]
        written = made_bytes * _padded(outputs) // outputs
        held = int(max(image + weight + written, 2 * made_bytes))
        return 0 if _plain(args[1], args[3]) else held
    if operator == "convolution_backward":
        numbers = 0 if _plain(args[2], args[4]) else _convolution_gradients(args)
        return width * numbers
    if operator == "native_batch_norm_backward":
        return made_bytes + width * int(prod(args[0].shape))
    if operator in (CPU_RNN, CPU_RNN + "_backward"):
        return made_bytes + _lstm(args, width, operator.endswith("_backward"))
    return 0


def _convolution_gradients(args: tuple[Any, ...]) -> int:
    """Numbers held at once: first the image's gradient is made, then the weights'."""
    given = prod(args[0].shape) * _padded(args[0].shape[1]) // args[0].shape[1]
    blocked_image, blocked_weight = _blocked(args[1], args[2])
    image, weight = prod(args[1].shape), prod(args[2].shape)
    of_image, of_weight = (bool(wanted) for wanted in args[10][:2])
    together = given + blocked_image + blocked_weight
    first = max(together, 3 * image) if of_image else 0
    second = image * of_image + max(together, 2 * weight) if of_weight else 0
    return max(first, second)


def _lstm(args: tuple[Any, ...], width: int, backward: bool) -> int:
    """Both weights with the gates in rows, the gates, and gradients whose rows need padding."""
    steps, batch, inputs = args[0].shape
    gates, hidden = args[2].shape
    kept = (inputs + hidden + steps * batch) * row_bytes(gates, width)
    if backward:
        kept += gates * sum(row_bytes(size, width) for size in (inputs, hidden) if size % 256 == 0)
    return int(kept)


def _plain(weight: Any, stride: list[int]) -> bool:  # noqa: ANN401
    """A product of matrices, for which nothing is reordered."""
    return prod(weight.shape[2:]) == 1 and all(step == 1 for step in stride)


def _padded(channels: int) -> int:
    """Channels in whole blocks; a few are left as they are."""
    return channels if channels < _BLOCK else -(-channels // _BLOCK) * _BLOCK


def _blocked(image: Any, weight: Any) -> tuple[int, int]:  # noqa: ANN401
    """Numbers of both with their channels in blocks."""
    channels, (outputs, inputs) = image.shape[1], weight.shape[:2]
    blocked = prod(weight.shape) * _padded(outputs) * _padded(inputs) // (outputs * inputs)
    return prod(image.shape) * _padded(channels) // channels, blocked
