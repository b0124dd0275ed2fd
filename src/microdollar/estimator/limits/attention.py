"""Operations and energy of softmax attention by length, width, heads and layers, on a device.

In our convention (a multiply-accumulate is 2) one layer over N positions of width d takes

    scores and their use   4 N^2 d            2 N (N + 1) d behind a causal mask
    projections            8 N d^2            queries, keys, values and output
    softmax                4 N^2 heads        beside the products, on chip in a fused kernel

so the squares reach the projections at N = 2 d. The document's N^2 d is one of the two products
with a multiply-accumulate as one operation.
"""

from dataclasses import dataclass

from microdollar.cost import Quantity
from microdollar.errors import SpecError, UsageError
from microdollar.estimator.energy import run_joules
from microdollar.estimator.limits.landauer import ROOM_KELVIN, LandauerLine, landauer
from microdollar.estimator.seconds import op_seconds
from microdollar.spec.device import DeviceSpec
from microdollar.work.formulas.attention import attention
from microdollar.work.formulas.terms import Layer, Pass, Product, pass_flops
from microdollar.work.ops import Op, Work

HEAD_FEATURES = 128
"""Of a head, where the number of heads is not said (GPT-3: 12,288 features in 96 heads)."""
PRECISIONS = ("bfloat16", "float16", "float32")
"""Of the products, the first that a device has a rate for."""
PUE = 1.1
"""Of the building (Google's and Azure's large ones, arXiv:2104.10350, table 4)."""
_BYTES = {"float32": 4}
_LARGEST = 2**40


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionCase:
    """Some layers of softmax attention over one sequence, forward.

    Raises:
        SpecError: if a size is not a whole number from 1 to 2**40, or the heads do not divide the
            width.
    """

    width: int
    length: int
    layers: int = 1
    heads: int | None = None
    """None for heads of ``HEAD_FEATURES``, or one head where they don't divide the width."""
    causal: bool = True
    projections: bool = False
    """Whether the four products with weights are in it."""
    fused: bool = True
    """Whether a kernel keeps the squares on chip and leaves out what the mask hides."""

    def __post_init__(self) -> None:
        if self.heads is None:
            heads = self.width // HEAD_FEATURES if self.width % HEAD_FEATURES == 0 else 1
            object.__setattr__(self, "heads", heads or 1)
        for name in ("width", "length", "layers", "heads"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LARGEST:
                raise SpecError(f"{name} must be a whole number from 1 to 2**40, got {value!r}.")
        assert self.heads is not None
        if self.width % self.heads:
            raise SpecError(f"{self.heads} heads do not divide the width {self.width}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionEnergy:
    """What the layers take, all of them together."""

    case: AttentionCase
    device: str
    dtype: str
    """Of the products."""
    square_flops: int
    """Scores and their use."""
    softmax_flops: int
    projection_flops: int
    """Zero if they are not asked for."""
    seconds: Quantity
    joules: Quantity
    """Of the device alone."""
    facility_joules: Quantity
    """With its host and the building."""
    joules_per_flop: Quantity
    """``joules`` over all operations."""
    limit: LandauerLine
    """The bound at one bit an operation, and the factor of ``joules`` to it."""

    @property
    def flops(self) -> int:
        """All operations."""
        return self.square_flops + self.softmax_flops + self.projection_flops


def attention_energy(
    case: AttentionCase, device: DeviceSpec, kelvin: float = ROOM_KELVIN
) -> AttentionEnergy:
    """Energy of attention on one device, which is busy all the time.

    Seconds are those of a roofline (``microdollar.estimator.seconds``), so a short sequence is
    limited by bytes. A fused kernel's softmax runs beside the products and takes no time of its
    own. Memory is not checked: devices can share the layers at the same energy.

    Args:
        case: the layers.
        device: of the catalog, or this machine.
        kelvin: temperature of the surroundings.

    Raises:
        CannotEstimateError: if a rate that the layers need is not known.
        SpecError: if the temperature is out of range.
    """
    known = [dtype for dtype in PRECISIONS if dtype in device.flops_per_second]
    dtype = "float32" if device.kind == "CPU" or not known else known[0]
    work = attention_work(case, dtype, threads=device.cores or 1)
    spans = [op_seconds(op, device) for op in work.ops]
    seconds = Quantity(
        value=sum(span.value for span in spans),
        low=sum(span.low for span in spans),
        high=sum(span.high for span in spans),
        basis="datasheet" if device.rates is None else "calibrated",
    )
    energy = run_joules(device, seconds, PUE, 1.0)
    squares, softmax, projections = attention_flops(case)
    flops = Quantity(value=squares + softmax + projections, basis="formula")
    limit = landauer(flops, energy.device, kelvin)
    each = Quantity.missing(energy.device.reason or "unknown energy")
    if energy.device.value is not None:
        each = energy.device.times(Quantity(value=1 / (flops.value or 1), basis="formula"))
    return AttentionEnergy(
        case=case,
        device=device.name,
        dtype=dtype,
        square_flops=squares,
        softmax_flops=softmax,
        projection_flops=projections,
        seconds=seconds,
        joules=energy.device,
        facility_joules=energy.facility,
        joules_per_flop=each,
        limit=limit,
    )


def attention_flops(case: AttentionCase) -> tuple[int, int, int]:
    """Operations of all layers: scores and their use, softmax, products with weights."""
    layer = _layer(case)
    products = [term for term in layer if isinstance(term, Product)]
    squares = sum(_executed(term, case) for term in products if term.factor == "scores")
    softmax = pass_flops(layer)
    if case.fused and case.causal:
        softmax = softmax * (case.length + 1) // (2 * case.length)
    weights = sum(term.full_flops for term in products if term.factor == "weights")
    return case.layers * squares, case.layers * softmax, case.layers * weights


def parse_case(text: str) -> AttentionCase:
    """``"12288,2048,96,96"`` as width, length, layers and heads; the last two may be left out.

    Raises:
        UsageError: if it is not two to four whole numbers.
        SpecError: if one is out of range.
    """
    parts = [part.strip().replace("_", "") for part in text.split(",")]
    if not 2 <= len(parts) <= 4 or not all(
        part.isascii() and part.isdigit() and len(part) < 20 for part in parts
    ):
        raise UsageError(
            f"{text[:40]!r} is not width,length,layers. Type for example: 12288,2048,96"
        )
    width, length, *rest = map(int, parts)
    return AttentionCase(
        width=width,
        length=length,
        layers=rest[0] if rest else 1,
        heads=rest[1] if len(rest) == 2 else None,
    )


def attention_work(case: AttentionCase, dtype: str, *, threads: int = 1) -> Work:
    """The layers as operations that a device's rates can price.

    Args:
        case: the layers.
        dtype: of the products and of what lies between them.
        threads: that share each operation, on a CPU.
    """
    size = _BYTES.get(dtype, 2)
    ops = []
    for term in _layer(case):
        if isinstance(term, Pass):
            if not case.fused:
                ops.append(_pass_op(term, case.layers, size, threads))
            continue
        moved = term.numbers_moved
        if term.factor == "scores" and case.fused:
            moved -= term.batch * term.m * (term.n if term.name == "scores" else term.k)
        ops.append(
            Op(
                name=term.name,
                kind="matmul",
                repeats=case.layers,
                flops=_executed(term, case),
                bytes_moved=size * moved,
                shape=(term.m, term.n, term.k),
                batch=term.batch,
                dtype=dtype,
                runtime="torch",
                calls=1,
                threads=threads,
            )
        )
    return Work(ops=tuple(ops), int_ops_uncounted="indices and masks are not counted")


def _layer(case: AttentionCase) -> Layer:
    assert case.heads is not None
    terms = attention(
        batch=1,
        sequence=case.length,
        hidden=case.width,
        heads=case.heads,
        kv_heads=case.heads,
        head_dim=case.width // case.heads,
        causal=case.causal,
        rotary=False,
    )
    return tuple(
        term
        for term in terms
        if case.projections or isinstance(term, Pass) or term.factor == "scores"
    )


def _executed(term: Product, case: AttentionCase) -> int:
    return term.visible_flops if case.fused else term.full_flops


def _pass_op(term: Pass, layers: int, size: int, threads: int) -> Op:
    return Op(
        name=term.name,
        kind="elementwise",
        repeats=layers,
        flops=term.flops * term.numbers,
        bytes_moved=round(term.moved * term.numbers * size),
        shape=(term.numbers,),
        runtime="torch",
        calls=term.calls,
        threads=threads,
    )
