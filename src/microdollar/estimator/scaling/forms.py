"""The formulas: loss of a size, of data, or of both, with or without what can't be removed.

Each is written twice. ``Form.loss`` takes the published parameters and plain numbers.
``Form.log_loss`` is what fits see: the logarithm of the same loss, its parameters measured
at the middle of the points (``theta``), where they hardly depend on each other, with its
derivatives.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from microdollar.errors import UnknownNameError
from microdollar.estimator.scaling.points import Axis

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

IRREDUCIBLE = "E"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A formula of the loss, with its parameters by their published names."""

    name: str
    axes: tuple[Axis, ...]
    scales: tuple[str, ...]
    """Constant of each axis: A of A / N**alpha, or Nc of (Nc / N)**alpha."""
    exponents: tuple[str, ...]
    irreducible: bool
    """Whether a constant E is added, the loss of an infinite model on infinite data."""
    formula: str
    source: str

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters, E last."""
        pairs = zip(self.scales, self.exponents, strict=True)
        named = tuple(name for pair in pairs for name in pair)
        return (*named, IRREDUCIBLE) if self.irreducible else named

    def loss(self, sizes: Mapping[Axis, float], parameters: Mapping[str, float]) -> float:
        """Loss at some sizes.

        Args:
            sizes: positive; one for each axis. Infinity removes its term.
            parameters: by name, all that ``parameters`` lists.
        """
        exponents = [parameters[name] for name in self.exponents]
        bases = [
            parameters[scale] / sizes[axis] if self.name != "chinchilla" else 1.0 / sizes[axis]
            for scale, axis in zip(self.scales, self.axes, strict=True)
        ]
        constant = parameters[IRREDUCIBLE] if self.irreducible else 0.0
        if self.name == "kaplan":
            params_part: float = bases[0] ** (exponents[0] / exponents[1])
            reducible: float = (params_part + bases[1]) ** exponents[1]
            return constant + reducible
        factors = [parameters[scale] if self.name == "chinchilla" else 1.0 for scale in self.scales]
        terms = zip(factors, bases, exponents, strict=True)
        return constant + math.fsum(factor * base**power for factor, base, power in terms)

    def log_loss(self, logs: "Array", theta: "Array") -> tuple["Array", "Array"]:
        """Logarithm of the loss and its derivatives by ``theta``, of many fits at once.

        Args:
            logs: logarithm of each size over its centre; [axes, fits or 1, points].
            theta: as ``to_theta`` gives it; [fits, parameters].

        Returns:
            [fits, points] and [fits, points, parameters].
        """
        import numpy as np

        shape = (len(theta), logs.shape[2], theta.shape[1])
        if self.name == "kaplan":
            term, slope = _kaplan_log(logs, theta, np.zeros(shape))
            terms, slopes = [term], [slope]
        else:
            terms, slopes = [], []
            for i in range(len(self.axes)):
                terms.append(theta[:, 2 * i, None] - theta[:, 2 * i + 1, None] * logs[i])
                slope = np.zeros(shape)
                slope[:, :, 2 * i] = 1.0
                slope[:, :, 2 * i + 1] = -logs[i]
                slopes.append(slope)
        if self.irreducible:
            terms.append(np.broadcast_to(theta[:, -1, None], shape[:2]))
            slope = np.zeros(shape)
            slope[:, :, -1] = 1.0
            slopes.append(slope)
        total = terms[0]
        for term in terms[1:]:
            total = np.logaddexp(total, term)
        found = np.zeros(shape)
        for term, slope in zip(terms, slopes, strict=True):
            found += np.exp(term - total)[:, :, None] * slope
        return total, found

    def to_theta(
        self, parameters: Mapping[str, float], centres: Mapping[Axis, float]
    ) -> list[float]:
        """Logarithm of each term at the centres, its exponent, and log E."""
        found = []
        for scale, exponent, axis in zip(self.scales, self.exponents, self.axes, strict=True):
            power, centre = parameters[exponent], math.log(centres[axis])
            size = math.log(parameters[scale])
            at_centre = (
                size - power * centre if self.name == "chinchilla" else power * (size - centre)
            )
            found += [at_centre, power]
        return [*found, math.log(parameters[IRREDUCIBLE])] if self.irreducible else found

    def from_theta(self, theta: "Array", centres: Mapping[Axis, float]) -> dict[str, float]:
        """The inverse of ``to_theta``; a scale beyond what a float holds is the largest one."""
        found = {}
        for i, (scale, exponent) in enumerate(zip(self.scales, self.exponents, strict=True)):
            at_centre, power = float(theta[2 * i]), float(theta[2 * i + 1])
            centre = math.log(centres[self.axes[i]])
            if self.name == "chinchilla":
                size = at_centre + power * centre
            else:
                size = at_centre / power + centre
            found[scale] = math.exp(min(max(size, -_LARGEST_LOG), _LARGEST_LOG))
            found[exponent] = power
        if self.irreducible:
            found[IRREDUCIBLE] = math.exp(float(theta[-1]))
        return found


_LARGEST_LOG = 690.0
"""exp(690) is near the largest float."""


def _kaplan_log(logs: "Array", theta: "Array", slopes: "Array") -> tuple["Array", "Array"]:
    import numpy as np

    of_params, power_params, of_tokens, power_tokens = (theta[:, i, None] for i in range(4))
    u = (of_params - power_params * logs[0]) / power_tokens
    v = of_tokens / power_tokens - logs[1]
    both = np.logaddexp(u, v)
    share_u, share_v = np.exp(u - both), np.exp(v - both)
    slopes[:, :, 0] = share_u
    slopes[:, :, 1] = -logs[0] * share_u
    slopes[:, :, 2] = share_v
    slopes[:, :, 3] = both - share_u * u - share_v * (v + logs[1])
    return power_tokens * both, slopes


_KAPLAN = "Kaplan et al. 2020, arXiv:2001.08361"
_HOFFMANN = "Hoffmann et al. 2022, arXiv:2203.15556, equation 2"
_ONE = {
    "params": ("N", "alpha", f"{_KAPLAN}, equation 1.1"),
    "tokens": ("D", "beta", f"{_KAPLAN}, equation 1.2"),
    "flops": ("C", "gamma", f"{_KAPLAN}, equation 1.3"),
}
FORMS = ("chinchilla", "kaplan", "params", "tokens", "flops")


def make_form(name: str, *, irreducible: bool | None = None) -> Form:
    """A form by name.

    Args:
        name: ``chinchilla`` (E + A / N**alpha + B / D**beta), ``kaplan``
            (((Nc/N)**(alpha_N/alpha_D) + Dc/D)**alpha_D), or the one axis of
            E + (Nc/N)**alpha: ``params``, ``tokens``, ``flops``.
        irreducible: whether E is in it; None for as published (Kaplan's have none, the other
            has one) and, of one axis, yes.

    Raises:
        UnknownNameError: if there is no such form.
    """
    if name not in FORMS:
        raise UnknownNameError("form", name, FORMS)
    constant = name != "kaplan" if irreducible is None else irreducible
    prefix = "E + " if constant else ""
    if name == "chinchilla":
        return Form(
            name=name,
            axes=("params", "tokens"),
            scales=("A", "B"),
            exponents=("alpha", "beta"),
            irreducible=constant,
            formula=f"{prefix}A / N**alpha + B / D**beta",
            source=_HOFFMANN,
        )
    if name == "kaplan":
        return Form(
            name=name,
            axes=("params", "tokens"),
            scales=("Nc", "Dc"),
            exponents=("alpha_N", "alpha_D"),
            irreducible=constant,
            formula=f"{prefix}((Nc / N)**(alpha_N / alpha_D) + Dc / D)**alpha_D",
            source=f"{_KAPLAN}, equation 1.5",
        )
    axis: Axis = "params" if name == "params" else "tokens" if name == "tokens" else "flops"
    letter, exponent, source = _ONE[axis]
    return Form(
        name=name,
        axes=(axis,),
        scales=(f"{letter}c",),
        exponents=(exponent,),
        irreducible=constant,
        formula=f"{prefix}({letter}c / {letter})**{exponent}",
        source=source,
    )
