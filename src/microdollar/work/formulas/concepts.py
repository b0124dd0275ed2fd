"""Operations and bytes of the small concept model: predicting, and a training step.

Two programs do the same: the core of ``microdollar.learn.concepts.core`` (numpy, every
intermediate in one arena) and its twin in PyTorch. B contexts of T places, N = B T; d numbers of
a concept, w of the network, H heads; M negatives, so n = B + M candidates; P parameters.

A multiply-accumulate is 2 operations; an addition, multiplication, division, square root, exp,
log or tanh is 1; comparisons (maxima, masks), copies and checks of the input are 0. Sums over
rows count their additions, though a library may do them as products with ones.

The core never makes a key or a value place by place: only the newest place has a query, so it
moves the query through the keys' matrix instead (network.py). That is 2 B w^2 where the twin has
2 N w^2, for keys and for values, and T times less at T places. It makes the gradient of W_in
twice, once without the first norm's scale, which gives that scale's own gradient; and for a
single context it multiplies factors that are half or (H - 1) / H zeros, because library
products with an inner dimension of 1 are many times slower.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from microdollar.errors import UsageError
from microdollar.work.formulas.collins import BLOCK, element_flops, matrix_of
from microdollar.work.ops import Buffer, Op, Runtime, Work

FLOAT, CODE, SCALE, PLACE = 4, 1, 2, 8
ALIGNMENT = 64
"""Bytes that every array of the arena is filled up to."""
PIECE_ROWS = 128
"""Of the piece of a matrix that low-bit Adam updates at a time."""
OPTIMIZERS: Mapping[str, int] = {
    "sgd": 5,  # m = .9 m + g (2), lr m, decay, subtract
    "adam": 11,  # 2 for m, 3 for v, root, eps, division, rate, decay, subtract
    "adam-lowbit": element_flops("4bit", "factored"),
    "adam-2bit": element_flops("2bit", "factored"),
}
"""Operations of one element with weight decay; of a matrix where the optimizer is low-bit."""
_BITS = {"adam-lowbit": 4, "adam-2bit": 2}
_MOMENTS = {"sgd": 1, "adam": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptSizes:
    """Sizes of a concept model; the defaults are the document's 384-256-384.

    Raises:
        UsageError: if one is not positive, or ``heads`` does not divide ``width``.
    """

    dim: int = 384
    width: int = 256
    heads: int = 4
    context: int = 16

    def __post_init__(self) -> None:
        if min(self.dim, self.width, self.heads, self.context) < 1 or self.width % self.heads:
            raise UsageError(f"sizes of a concept model that can't be: {self}.")

    @property
    def vectors(self) -> int:
        """Elements of all tensors of one dimension."""
        return 3 * self.dim + 8 * self.width + self.context

    @property
    def matrices(self) -> tuple[tuple[int, int], ...]:
        """Places, W_in, W_q, W_k, W_v, W_o, W_out."""
        d, w = self.dim, self.width
        return ((self.context, w), (d, w), (w, w), (w, w), (w, w), (w, w), (w, d))

    @property
    def parameters(self) -> int:
        """466,064 with the defaults."""
        return self.vectors + sum(rows * cols for rows, cols in self.matrices)


def prediction_work(sizes: ConceptSizes, *, batch: int = 1, places: int | None = None) -> Work:
    """One prediction of the core, with the bytes of a core that does nothing else.

    Args:
        sizes: of the model.
        batch: contexts.
        places: of the longest context; all by default.
    """
    t = sizes.context if places is None else places
    return Work(
        ops=(*_forward(sizes, batch, t), *_forward_passes(sizes, batch, t)),
        buffers=tuple(arena_buffers(sizes, batch=batch, negatives=0, optimizer="sgd")),
    )


def step_work(
    sizes: ConceptSizes,
    *,
    batch: int = 1,
    negatives: int = 256,
    optimizer: str = "adam",
    places: int | None = None,
    keep_gradients: bool = False,
) -> Work:
    """One training step of the core: predict, contrast, backward, update.

    Args:
        sizes: of the model.
        batch: contexts.
        negatives: beside the batch's own targets.
        optimizer: one of ``OPTIMIZERS``.
        places: of the longest context; all by default.
        keep_gradients: whether there is room for all gradients at once.

    Raises:
        UsageError: for another optimizer.
    """
    t = sizes.context if places is None else places
    n = batch + negatives
    ops = (
        *_forward(sizes, batch, t),
        _product("scores of candidates", batch, n, sizes.dim),
        _product("gradient of the prediction", batch, sizes.dim, n),
        *_backward(sizes, batch, t),
        *_forward_passes(sizes, batch, t),
        *_loss_passes(sizes, batch, n),
        *_backward_passes(sizes, batch, t),
        *_update_passes(sizes, optimizer),
    )
    parts = arena_buffers(
        sizes,
        batch=batch, negatives=negatives, optimizer=optimizer, keep_gradients=keep_gradients,
    )  # fmt: skip
    return Work(ops=ops, buffers=tuple(parts))


def training_work(
    sizes: ConceptSizes,
    *,
    steps: int,
    batch: int,
    negatives: int,
    scorings: int,
    queries: int,
    candidates: int,
) -> Work:
    """A whole training of the core, with the scorings on validation articles that stop it.

    Args:
        sizes: of the model.
        steps: of the optimizer, Adam with all gradients at once.
        batch: queries of a step.
        negatives: beside them, on average; memory is for so many.
        scorings: of the validation articles.
        queries: in them.
        candidates: sentences in them.
    """
    step = step_work(sizes, batch=batch, negatives=negatives, keep_gradients=True)
    scored = (
        *_forward(sizes, queries, sizes.context),
        *_forward_passes(sizes, queries, sizes.context),
        _product("scores of sentences", queries, candidates, sizes.dim),
    )
    ops = [replace(op, repeats=steps) for op in step.ops]
    ops += [replace(op, name=f"validation: {op.name}", repeats=scorings) for op in scored]
    return Work(
        ops=tuple(ops),
        buffers=step.buffers,
        notes=("contexts are taken to be full; those at an article's beginning are shorter",),
    )


def twin_step_products(
    sizes: ConceptSizes, *, batch: int, candidates: int, places: int | None = None
) -> int:
    """Operations of the products of one step of the twin, forward and backward.

    Keys and values are made at every place. The backward pass has two products for each of the
    forward one, less those that would give gradients of contexts and candidates. Scores that a
    fused attention kernel computes again are not counted.
    """
    d, w = sizes.dim, sizes.width
    t = sizes.context if places is None else places
    n = batch * t
    twice = 2 * (n * d + batch * candidates * d)  # mix, candidates
    thrice = 2 * (n * d * w + 2 * n * w * w + 2 * batch * w * w + 2 * n * w + batch * w * d)
    return 2 * twice + 3 * thrice


def arena_buffers(
    sizes: ConceptSizes,
    *,
    batch: int,
    negatives: int,
    optimizer: str,
    keep_gradients: bool = False,
) -> Iterator[Buffer]:
    """Bytes of the core's arena, by part, each array aligned.

    Raises:
        UsageError: for an optimizer that isn't known.
    """
    _require(optimizer)
    b, t, d, w, h = batch, sizes.context, sizes.dim, sizes.width, sizes.heads
    n, most = b * t, max(d, w)
    largest = max(rows * cols for rows, cols in sizes.matrices)
    gradients = sizes.parameters if keep_gradients else sizes.vectors + largest
    activations = (
        n * d, n * most, *(n * w,) * 2,  # contexts, spare; normed rows and what is made of them
        *(n,) * 4, *(b * t,) * 3,  # statistics of rows; absent, mix and its gradient
        2 * b * h * t, 2 * b * h * w, b * h * w, b * h,  # attention
        *(b * w,) * 10, *(b * d,) * 3, *(b,) * 2,
    )  # fmt: skip
    scratch = [FLOAT * max(most, n), *(FLOAT * 2 * most,) * 2, FLOAT * h * w]
    if optimizer in _BITS:
        piece = PIECE_ROWS * BLOCK
        scratch += [FLOAT * piece, FLOAT * piece, piece, piece, PLACE * piece // 2]
    loss = ((b + negatives) * d, b * (b + negatives), b, b, b)
    parts = {
        "parameters": [FLOAT * sizes.parameters],
        "gradients": [FLOAT * gradients],
        "activations": [FLOAT * count for count in activations],
        "scratch": scratch,
        "loss": [FLOAT * count for count in loss],
        "optimizer": list(_state_arrays(sizes, optimizer)),
    }
    for name, arrays in parts.items():
        yield Buffer(name=name, bytes=sum(-(-size // ALIGNMENT) * ALIGNMENT for size in arrays))
    yield Buffer(name="alignment", bytes=ALIGNMENT)


def _state_arrays(sizes: ConceptSizes, optimizer: str) -> Iterator[int]:
    """Bytes of each array that the optimizer keeps."""
    for shape in ((sizes.vectors,), *sizes.matrices):
        matrix = matrix_of(shape)
        bits = _BITS.get(optimizer, 0)
        if matrix is not None and bits and shape[-1] * bits % 8 == 0:
            yield from (
                matrix.rows * matrix.cols * bits // 8 * CODE,
                matrix.rows * matrix.blocks * SCALE,
                FLOAT * matrix.rows,
                FLOAT * matrix.cols,
            )
        else:
            yield from (FLOAT * math.prod(shape),) * _MOMENTS.get(optimizer, 2)


def _forward(sizes: ConceptSizes, b: int, t: int) -> Iterator[Op]:
    d, w, h = sizes.dim, sizes.width, sizes.heads
    yield _product("input", b * t, w, d)
    yield _product("query", b, w, w)
    yield _product("query through keys", b, w, w // h, batch=h)
    yield _product("scores of places", h, t, w, batch=b)
    yield _product("pooled places", h, w, t, batch=b)
    yield _product("values", b, w // h, w, batch=h)
    yield _product("output of attention", b, w, w)
    yield _product("read-out", b, d, w)
    yield _product("mix of the context", 1, d, t, batch=b)


def _backward(sizes: ConceptSizes, b: int, t: int) -> Iterator[Op]:
    d, w, h = sizes.dim, sizes.width, sizes.heads
    yield _product("gradient of the mix", t, 1, d, batch=b)
    yield _product("gradient before the read-out", b, w, d)
    yield _product("gradient of heads", b, w, w)
    yield _product("gradient of pooled places", b, w, w // h, batch=h)
    yield _product("gradient of attention", h, t, w, batch=b)
    yield _product("gradient of places", t, w, 2 * h, batch=b)
    yield _product("gradient of the query's image", h, w, t, batch=b)
    yield _product("gradient of the query", b, w // h, w, batch=h)
    yield _product("gradient of the newest place", b, w, w)
    yield _product("gradient of the first scale", d, w, b * t)
    yield _product("gradient of the first shift", d, 1, w)
    rows = max(b, 2)  # a single one is filled up with zeros
    yield _product("gradient of W_in", d, w, b * t)
    yield _product("gradient of W_q", w, w, rows)
    for name in ("W_k", "W_v"):
        if b == 1:
            yield _product(f"gradient of {name}", w, w, h)
        else:
            yield _product(f"gradient of {name}", w, w // h, b, batch=h)
    yield _product("gradient of W_o", w, w, rows)
    yield _product("gradient of W_out", w, d, rows)


def _forward_passes(sizes: ConceptSizes, b: int, t: int) -> Iterator[Op]:
    d, w, h, n = sizes.dim, sizes.width, sizes.heads, b * t
    # Mean, subtract, square and add, scale: 5 a number and 5 a row; then scale and shift.
    yield _pass("norms", n * (7 * d + 5) + n * (7 * w + 5) + b * (7 * w + 5))
    # Bias and place at each place; sum, bias, query's bias, values' bias, residual at the newest.
    yield _pass("biases and sums", 2 * n * w + 4 * b * w + b * d)
    # Scale, mask; subtract, exp, add, divide: in each head, and for the mix (which has no scale).
    yield _pass("softmax", 6 * n * h + 5 * n, kind="transcendental")
    yield _pass("gelu", 8 * b * w, kind="transcendental")
    yield _pass("gain and unit length", 2 * b * d + 3 * b * d + b)


def _loss_passes(sizes: ConceptSizes, b: int, n: int) -> Iterator[Op]:
    d = sizes.dim
    # Scale by the temperature, subtract, exp, add, divide, scale; logs and sums of the batch.
    yield _pass("contrast", 6 * b * n + 5 * b, kind="transcendental")
    yield _pass("gradient across the prediction", 5 * b * d)


def _backward_passes(sizes: ConceptSizes, b: int, t: int) -> Iterator[Op]:
    d, w, h, n = sizes.dim, sizes.width, sizes.heads, b * t
    # Shift and scale (3), times scale, with hat (2), mean, twice subtracted, times deviation.
    yield _pass("gradients of norms", n * (11 * w + 2) + b * (11 * w + 2))
    yield _pass("gradient of the first norm", 4 * n * d + 2 * d * w)
    yield _pass("gradients of softmax", 5 * n * h + 5 * n)
    yield _pass("gradient of gelu", 11 * b * w)
    # Sums over rows and places; the gain; two sums into the newest place.
    yield _pass("gradients of biases", 2 * n * w + 3 * b * w + b * d)
    yield _pass("gain and sums", b * d + 2 * b * w)


def _update_passes(sizes: ConceptSizes, optimizer: str) -> Iterator[Op]:
    _require(optimizer)
    of_matrices = OPTIMIZERS[optimizer]
    exact = OPTIMIZERS["adam"] if optimizer in _BITS else of_matrices
    coded = [
        math.prod(shape)
        for shape in sizes.matrices
        if optimizer in _BITS and matrix_of(shape) and shape[1] * _BITS[optimizer] % 8 == 0
    ]
    kept = sizes.parameters - sum(coded)
    yield _pass("update", kept * exact + sum(coded) * of_matrices)


def _product(name: str, m: int, n: int, k: int, *, batch: int = 1) -> Op:
    """``batch`` products of (m, k) by (k, n)."""
    return Op(
        name=name, kind="matmul", flops=2 * m * n * k * batch, shape=(m, n, k), batch=batch,
        bytes_moved=FLOAT * batch * (m * k + k * n + m * n), runtime=_RUNTIME, calls=1,
    )  # fmt: skip


def _pass(name: str, flops: int, *, kind: str = "elementwise") -> Op:
    """Arithmetic over arrays, about two numbers read and one written for each operation."""
    return Op(
        name=name, kind="transcendental" if kind == "transcendental" else "elementwise",
        flops=flops, bytes_moved=3 * FLOAT * flops, runtime=_RUNTIME, calls=1,
    )  # fmt: skip


_RUNTIME: Runtime = "numpy"


def _require(optimizer: str) -> None:
    if optimizer not in OPTIMIZERS:
        raise UsageError(f"optimizer {optimizer!r} is unknown. Known: {', '.join(OPTIMIZERS)}.")
