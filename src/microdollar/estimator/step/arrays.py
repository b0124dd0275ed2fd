"""Many plans at once, for fitting: the terms of their steps as arrays."""

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from microdollar.estimator.step.terms import LAYER_TERMS, LayerTerms, StepTerms

if TYPE_CHECKING:
    import numpy as np

_EMPTY = (0.0,) * len(LAYER_TERMS)


def stack_terms(terms: Sequence[StepTerms]) -> StepTerms:
    """One ``StepTerms`` whose every number is an array over the plans.

    A plan with fewer groups of layers than another gets groups of no layers.
    """
    import numpy as np

    groups = max(len(one.layers) for one in terms)
    none = LayerTerms(count=0.0, seconds=_EMPTY, again=_EMPTY)
    padded = [(*one.layers, *[none] * (groups - len(one.layers))) for one in terms]

    def column(values: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        return tuple(np.array(list(one), float) for one in zip(*values, strict=True))

    layers = tuple(
        LayerTerms(
            count=np.array([one[group].count for one in padded], float),
            seconds=column([one[group].seconds for one in padded]),
            again=column([one[group].again for one in padded]),
        )
        for group in range(groups)
    )
    names = [field.name for field in fields(StepTerms) if field.name != "layers"]
    numbers: dict[str, Any] = {
        name: np.array([getattr(one, name) for one in terms], float) for name in names
    }
    return StepTerms(layers=layers, **numbers)


def select_terms(terms: StepTerms, rows: "np.ndarray") -> StepTerms:
    """The plans ``rows`` (numbers or a mask) of stacked terms."""
    layers = tuple(
        LayerTerms(
            count=group.count[rows],
            seconds=tuple(value[rows] for value in group.seconds),
            again=tuple(value[rows] for value in group.again),
        )
        for group in terms.layers
    )
    names = [field.name for field in fields(StepTerms) if field.name != "layers"]
    numbers: dict[str, Any] = {name: getattr(terms, name)[rows] for name in names}
    return StepTerms(layers=layers, **numbers)
