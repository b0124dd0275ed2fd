"""Operations and memory of a long run from its first steps.

Counting slows a run down, so only the first two steps of it are counted. What is assumed: all
steps are alike (pass a fraction where the last one of an epoch is shorter), and the memory
peak is reached in the first two (as it is where every step reuses the same arrays).
"""

from collections.abc import Callable, Mapping

from microdollar.cost import Quantity
from microdollar.measure.flops import FlopCount, count_flops
from microdollar.measure.torch_memory import peak_torch_bytes


def measure_rehearsal(
    rehearse: Callable[[int], None], planned_steps: float
) -> tuple[Quantity, Quantity]:
    """Operations and peak memory of a run of ``planned_steps``, counted on its first two.

    The cost of a step is that of two steps less that of one; what one step costs beyond it is
    preparation, paid once.

    Args:
        rehearse: prepares the run, does so many of its steps and drops the result.
        planned_steps: steps of the whole run in units of the first one, at least 1.

    Returns:
        Floating-point operations of the whole run and its peak of allocated bytes.

    Raises:
        MissingExtraError: if torch is not installed.
    """
    if planned_steps < 1:
        raise ValueError(f"planned_steps must be at least 1, got {planned_steps}")
    if planned_steps == 1:
        return count_flops(lambda: rehearse(1)).quantity(), peak_torch_bytes(lambda: rehearse(1))
    one = count_flops(lambda: rehearse(1))
    two = count_flops(lambda: rehearse(2))
    memory = peak_torch_bytes(lambda: rehearse(2))
    return _extended(one, two, planned_steps).quantity(), memory


def _extended(one: FlopCount, two: FlopCount, steps: float) -> FlopCount:
    def line(first: int, second: int) -> int:
        return round(first + (second - first) * (steps - 1))

    def lines(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
        return {name: line(first.get(name, 0), count) for name, count in second.items()}

    return FlopCount(
        by_operator=lines(one.by_operator, two.by_operator),
        uncounted=lines(one.uncounted, two.uncounted),
        elements=line(one.elements, two.elements),
        uncounted_elements=line(one.uncounted_elements, two.uncounted_elements),
    )
