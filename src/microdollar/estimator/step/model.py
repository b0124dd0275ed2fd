"""A fitted model of step time: coefficients, a correction near measured rows, how sure both are."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from microdollar.estimator.step.terms import FIRST_COEFFICIENTS, StepTerms, step_seconds
from microdollar.spec.device import DeviceSpec
from microdollar.spec.model import ModelSpec
from microdollar.spec.training import TrainingPlan

COORDINATES = (
    "tokens of a micro-batch",
    "tensor parallel",
    "pipeline stages",
    "replicas",
    "micro-steps",
    "recomputation",
    "sharding",
    "hidden",
    "layers",
    "sequence",
    "heads",
)
"""Where a plan is among others: logarithms of sizes, and what it does to save memory."""
SHAPE = ("hidden", "layers", "sequence", "heads")
"""Coordinates of the model rather than of the layout."""
_RECOMPUTE = {"none": 0.0, "selective": 0.35, "full": 0.7}
CONTEXT_SPREAD = 0.25
"""Standard deviation of the logarithm by which products of another device, precision or stack
are faster or slower than the rates say (assumed: matrix products reach 0.51 to 0.97 of the
printed rate on 13 devices, and those of 8 bit gain a factor 1.3 where 2 is printed)."""
UNCORRECTED_SPREAD = 0.1
"""Standard deviation of what coefficients can't express, as a logarithm, where too few rows say
how large it is (assumed)."""

Context = tuple[str, str, str]
"""Stack, device and precision: what a rate belongs to."""


def stack_family(stack: str | None) -> str:
    """A stack without how it was compiled: ``torchtitan`` of ``torchtitan-compile``."""
    return (stack or "").removesuffix("-compile")


def plan_context(plan: TrainingPlan, device: DeviceSpec) -> Context:
    """Stack (empty for none), device and precision of a plan."""
    return (plan.stack or "", device.name, plan.train.precision)


def coordinates(plan: TrainingPlan) -> tuple[float, ...]:
    """Where a plan is, in the order of ``COORDINATES``."""
    train, layout, model = plan.train, plan.layout, plan.model
    sizes = (
        train.micro_batch * train.sequence / layout.cp,
        layout.tp,
        layout.pp,
        layout.dp,
        plan.micro_steps,
    )
    shape = (model.hidden, model.layers or 1, train.sequence, _heads(model))
    return (
        *(math.log(size) for size in sizes),
        _RECOMPUTE[train.recompute],
        0.7 if layout.zero == 3 else 0.0,
        *(math.log(size) for size in shape),
    )


def _heads(model: ModelSpec) -> int:
    for block in (*model.blocks, *model.encoder):
        for mixer in block.mixers:
            if heads := getattr(mixer, "heads", 0):
                return int(heads)
    return 1


def similarity(left: tuple[float, ...], right: tuple[float, ...]) -> float:
    """How alike the errors at two places are, 1 at the same place: a Matern 3/2 kernel.

    Args:
        left: coordinates over the distances of ``Scales``.
        right: the same.
    """
    distance = math.sqrt(3) * math.dist(left, right)
    return (1 + distance) * math.exp(-distance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """How far the error at one place tells of that at another, and how large errors are."""

    plan: float
    """Distance in the coordinates of the layout over which errors stay alike."""
    shape: float
    """The same in those of the model."""
    spread: float
    """Standard deviation of what is alike, as a logarithm of time."""
    noise: float
    """Of what is not."""

    def measure(self, place: tuple[float, ...]) -> tuple[float, ...]:
        """Coordinates over the distances."""
        plan = len(COORDINATES) - len(SHAPE)
        return (
            *(number / self.plan for number in place[:plan]),
            *(number / self.shape for number in place[plan:]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What measured rows near a plan say beyond the coefficients: a Gaussian process' mean."""

    scales: Scales
    places: tuple[tuple[float, ...], ...] = ()
    """Over the distances of ``scales``."""
    contexts: tuple[int, ...] = ()
    """Of each place: its number among the fit's contexts."""
    weights: tuple[float, ...] = ()

    def at(self, place: tuple[float, ...], context: int | None) -> tuple[float, float]:
        """Logarithm to add to that of the seconds, and the similarity of the nearest place.

        A row of another context counts as much as the chance that its error is the stack's.
        """
        mean, nearest, here = 0.0, 0.0, self.scales.measure(place)
        for where, of, weight in zip(self.places, self.contexts, self.weights, strict=True):
            alike = similarity(here, where)
            alike *= 1.0 if of == context else OTHER_CONTEXT
            mean += alike * weight
            nearest = max(nearest, alike)
        return mean, nearest


OTHER_CONTEXT = 0.5
"""Share of an error that another device or stack would make too (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFit:
    """Step time as fitted to measured rows, or as assumed before any."""

    rows: int
    source: str
    """Which rows, in words."""
    coefficients: dict[str, float]
    contexts: tuple[Context, ...] = ()
    compute: tuple[float, ...] = ()
    """Factor on products and attention, of each context."""
    covariance: tuple[tuple[float, ...], ...] = ()
    """Of the logarithms of the coefficients, in their order; empty if they are independent and
    as spread as before any row."""
    correction: Correction | None = None
    near: float = 1.2816
    """Half of an 80 % interval, in standard deviations, where rows are near (conformal; that of a
    normal distribution before)."""
    far: float = 1.2816
    """The same where none is."""
    cross_validated: float | None = None
    """Mean absolute error of rows whose model shape was left out of the fit, as a share; of random
    tenths if there is only one shape."""
    date: str = ""

    def context(self, plan: TrainingPlan, device: DeviceSpec) -> int | None:
        """Number of the plan's context among those that were fitted."""
        wanted = plan_context(plan, device)
        return self.contexts.index(wanted) if wanted in self.contexts else None

    def compute_factor(self, plan: TrainingPlan, device: DeviceSpec) -> tuple[float, float]:
        """Factor on products and attention, and the variance of its logarithm.

        That of the plan's context; the middle of those of other stacks on the same device in the
        same precision if it has none; else 1.
        """
        context = self.context(plan, device)
        if context is not None:
            return self.compute[context], 0.0
        _, *wanted = plan_context(plan, device)
        like = [
            math.log(factor)
            for (_, *other), factor in zip(self.contexts, self.compute, strict=True)
            if other == wanted
        ]
        if not like:
            return 1.0, CONTEXT_SPREAD**2
        return math.exp(math.fsum(like) / len(like)), CONTEXT_SPREAD**2 / 2

    def predict_log(
        self, plan: TrainingPlan, device: DeviceSpec, terms: StepTerms
    ) -> tuple[float, float, float]:
        """Logarithm of the seconds, their standard deviation, and how near rows are (0 to 1)."""
        compute, doubt = self.compute_factor(plan, device)
        value = math.log(step_seconds(terms, self.coefficients, compute))
        variance = self._coefficient_variance(terms, compute) + doubt
        nearest = 0.0
        if self.correction is not None:
            scales = self.correction.scales
            mean, nearest = self.correction.at(coordinates(plan), self.context(plan, device))
            value += mean
            variance += scales.noise**2 + scales.spread**2 * (1 - nearest**2)
        else:
            variance += UNCORRECTED_SPREAD**2
        return value, math.sqrt(variance), nearest

    def _coefficient_variance(self, terms: StepTerms, compute: float) -> float:
        """Of the logarithm of the seconds, to first order, from that of the coefficients'."""
        step = 1e-3
        base = step_seconds(terms, self.coefficients, compute)
        slopes = []
        for name, value in self.coefficients.items():
            moved = step_seconds(terms, self.coefficients | {name: value * (1 + step)}, compute)
            slopes.append((moved / base - 1) / step)
        if not self.covariance:
            spreads = (FIRST_COEFFICIENTS[name][1] for name in self.coefficients)
            return math.fsum((a * b) ** 2 for a, b in zip(slopes, spreads, strict=True))
        variance = math.fsum(
            a * b * cell
            for a, line in zip(slopes, self.covariance, strict=True)
            for b, cell in zip(slopes, line, strict=True)
        )
        return max(0.0, variance)

    def half_width(self, deviation: float, nearest: float) -> float:
        """Half of the 80 % interval of the logarithm."""
        return (self.near * nearest**2 + self.far * (1 - nearest**2)) * deviation

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "StepFit":
        """The inverse of ``to_json``."""
        found = data["correction"]
        correction = None
        if found is not None:
            correction = Correction(
                scales=Scales(**found["scales"]),
                places=tuple(tuple(place) for place in found["places"]),
                contexts=tuple(found["contexts"]),
                weights=tuple(found["weights"]),
            )
        return cls(
            **{
                **data,
                "contexts": tuple(tuple(context) for context in data["contexts"]),
                "compute": tuple(data["compute"]),
                "covariance": tuple(tuple(line) for line in data["covariance"]),
                "correction": correction,
            }
        )
