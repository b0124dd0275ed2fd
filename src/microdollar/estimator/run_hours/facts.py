"""What is known of a run before it starts, and the few numbers that its length hangs on."""

import math
from dataclasses import dataclass

from microdollar.errors import CannotEstimateError, SpecError
from microdollar.spec.device import DeviceSpec
from microdollar.spec.device_catalog import load_device
from microdollar.spec.whole_runs import PublishedRun, run_family

SEQUENCE = 2048
"""Tokens of a sequence where none is stated (assumed; most runs of that table)."""
HEAD_RATIO = 128
"""Width over depth of a usual transformer, for a width where only parameters are known:
12 L h^2 parameters with h = 128 L (GPT-3, Llama and BLOOM lie within 1.5 of it)."""
SIZE_SPAN = (5e7, 1e12)
"""Parameters over which published runs lie; smaller and larger models count as the nearest."""
SAME_RUN = 1.15
"""Rows of one family whose parameters and tokens agree within this factor are one run."""

# Share of the dense bfloat16 peak that training steps reach, by the device's name: medians of
# 29, 41 and 29 llm-foundry configurations for Hopper and both A100s (MosaicML tables); for TPU
# v3 45.6 and 48.1 of 123 TFLOP/s, T5 and GShard (arXiv:2104.10350, table 4).
_STEP_SHARE = (
    ("A100 SXM 80GB", 0.538),
    ("A100", 0.507),
    ("H100", 0.398),
    ("H800", 0.398),
    ("TPU v3", 0.381),
)
STEP_SHARE_OF_PRODUCTS = 0.56
"""Steps over the best matrix products, where only those were measured: 0.538 / 0.869 on A100
and 0.398 / 0.803 on H100 (ml-engineering's products), in the middle."""
STEP_SHARE_UNKNOWN = 0.40
"""Of a device on which nobody measured (assumed; the usual rule of thumb)."""

# Devices whose runs are like each other, by a part of the name.
_GENERATIONS = ("A100", "A800", "H100", "H800", "H200", "GH200", "V100", "B200", "GB200", "B300")
_ALIKE = {"A800": "A100", "H800": "H100", "H200": "H100", "GH200": "H100", "GB200": "B200"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """One run, reduced to what the fit looks at."""

    name: str
    family: str | None
    generation: str
    """Of the device: runs on one are like each other."""
    size: float
    """log10 of the parameters over 1e10, within ``SIZE_SPAN``."""
    parameters: float
    tokens: float
    ideal_seconds: float
    """Device-seconds at the device's usual step rate, without anything that is not a step."""
    device_seconds: float | None = None
    """What it took; None if that is asked for."""

    def is_same_run(self, other: "RunFacts") -> bool:
        """Whether two rows tell of the same training (also a later release of it)."""
        return (
            self.family is not None
            and self.family == other.family
            and _ratio(self.parameters, other.parameters) <= SAME_RUN
            and _ratio(self.tokens, other.tokens) <= SAME_RUN
        )


def run_facts(
    *,
    name: str,
    parameters_active: float,
    tokens: float,
    device: DeviceSpec,
    precision: str | None = None,
    sequence: int | None = None,
    hidden: int | None = None,
    layers: int | None = None,
    family: str | None = None,
    device_seconds: float | None = None,
) -> RunFacts:
    """The facts of one run.

    Work is 6 N D and attention's scores over the whole square of positions, which is
    6 N D (1 + s / 6 h) for a transformer with 12 L h^2 parameters (Narayanan et al. 2021,
    arXiv:2104.04473), or 12 L h s a token where depth and width are known. A causal kernel does
    half of the scores, at about half the rate of other products. ``float8`` runs are held
    against the bfloat16 peak too: they are mixed, and gain about 1.3x, not 2x.

    Args:
        name: of the model; it tells the family.
        parameters_active: that one token meets.
        tokens: of the whole run.
        device: one of those that it runs on.
        precision: of the products; bfloat16 if None.
        sequence: tokens of one.
        hidden: width of the model.
        layers: depth of the model.
        family: instead of what the name tells.
        device_seconds: what it took.

    Raises:
        SpecError: if a number is not positive and finite.
        CannotEstimateError: if no peak of the device is known.
    """
    for key, value in (
        ("parameters_active", parameters_active),
        ("tokens", tokens),
        ("sequence", sequence),
        ("hidden", hidden),
        ("layers", layers),
        ("device_seconds", device_seconds),
    ):
        if value is not None and not (math.isfinite(value) and 0 < value < 1e40):
            raise SpecError(f"{key} must be a positive number below 1e40, got {value!r}.")
    span: float = SEQUENCE if sequence is None else sequence
    if hidden is not None and layers is not None:
        scores = 12.0 * layers * hidden * span
    else:
        width = hidden or (parameters_active * HEAD_RATIO / 12) ** (1 / 3)
        scores = parameters_active * span / width
    peak = _peak(device, precision)
    clamped = min(max(parameters_active, SIZE_SPAN[0]), SIZE_SPAN[1])
    return RunFacts(
        name=name,
        family=family or run_family(name),
        generation=_generation(device.name),
        size=math.log10(clamped / 1e10),
        parameters=parameters_active,
        tokens=tokens,
        ideal_seconds=(6 * parameters_active + scores) * tokens / (peak * step_share(device)),
        device_seconds=device_seconds,
    )


def published_facts(run: PublishedRun) -> RunFacts:
    """The facts of a row of the catalog, with the time that it took."""
    return run_facts(
        name=run.name,
        family=run.family,
        parameters_active=run.parameters,
        tokens=run.tokens,
        device=load_device(run.device),
        sequence=run.sequence,
        device_seconds=run.device_seconds,
    )


def run_hours_features(facts: RunFacts) -> dict[str, float]:
    """The numbers of a run that the fit sees, by name, for ``--explain``."""
    features = {
        "ideal_device_seconds": facts.ideal_seconds,
        "log10(parameters / 1e10)": facts.size,
        f"device {facts.generation}": 1.0,
    }
    if facts.family is not None:
        features[f"family {facts.family}"] = 1.0
    return features


def step_share(device: DeviceSpec) -> float:
    """Share of the device's peak that training steps usually reach, 0 to 1."""
    for part, share in _STEP_SHARE:
        if part in device.name:
            return share
    peak = device.flops_per_second.get("bfloat16")
    if device.achieved_bfloat16_flops_per_second and peak:
        return STEP_SHARE_OF_PRODUCTS * device.achieved_bfloat16_flops_per_second / peak
    return STEP_SHARE_UNKNOWN


def _peak(device: DeviceSpec, precision: str | None) -> float:
    wanted = ("bfloat16", "float16", "float32")
    if precision in ("float32", "tf32"):
        wanted = (precision, "float32", "bfloat16")
    for dtype in wanted:
        if dtype in device.flops_per_second:
            return device.flops_per_second[dtype]
    raise CannotEstimateError(
        f"the catalog has no peak of {device.name} for {precision or 'bfloat16'}. "
        f"Known: {', '.join(device.flops_per_second) or 'none'}."
    )


def _generation(name: str) -> str:
    for part in _GENERATIONS:
        if part in name:
            return _ALIKE.get(part, part)
    return name


def _ratio(left: float, right: float) -> float:
    return max(left, right) / min(left, right)
