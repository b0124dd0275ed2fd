"""Operations and bytes of training a small decoder over bytes, as ``gpt_torch`` executes it.

W numbers wide, L layers of h heads, V = 256 byte values, B windows of T bytes in a step, n = B T
predictions, P parameters. A multiply-accumulate is 2 operations; an addition, multiplication,
division or transcendental is 1; comparisons, copies and look-ups are 0. Attention is written
out, so what a causal mask hides is computed all the same.
"""

from dataclasses import dataclass

from microdollar.work.formulas.lstm import FLOAT, INDEX, Passes, V, held_out_bytes
from microdollar.work.ops import Buffer, Op, Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """How a text is cut into windows of ``context`` predictions."""

    train_bytes: int
    """Bytes that gradients are taken of; those after them are held out."""
    batch: int
    """B: windows of a step."""
    length: int
    """T: predictions of a window."""
    places: int
    """Windows that lie side by side in the text."""
    held_out: int
    """Windows of held-out bytes."""

    @classmethod
    def of(cls, data_bytes: int, batch: int, context: int, *, validated: bool) -> "Windows":
        """Cut ``data_bytes`` >= 2 bytes; shorter or fewer windows where there are not enough."""
        held_out = held_out_bytes(data_bytes, validated=validated)
        pairs = data_bytes - held_out - 1
        length = min(context, pairs)
        places = pairs // length
        return cls(
            train_bytes=data_bytes - held_out,
            batch=min(batch, places),
            length=length,
            places=places,
            held_out=max(held_out - 1, 0) // length,
        )


def gpt_parameters(width: int, layers: int, context: int) -> int:
    """Embedding (257, W), places (C, W), a layer's 12 W^2 + 2 W, norm W, head (256, W) and 256."""
    return (V + 1 + context) * width + layers * (12 * width**2 + 2 * width) + width * (V + 1) + V


def gpt_training(
    *,
    width: int,
    layers: int,
    heads: int,
    context: int,
    data_bytes: int,
    steps: int,
    batch: int,
    masked: bool,
    decays: bool,
    validations: int,
    threads: int = 1,
) -> Work:
    """One training run as ``microdollar.learn.gradient.gpt_torch`` executes it.

    Args:
        width: numbers of a hidden state, W.
        layers: blocks, L.
        heads: of each block's attention.
        context: bytes of a window at most.
        data_bytes: bytes of the text, at least two.
        steps: optimizer steps.
        batch: windows of a step at most.
        masked: whether there is dropout.
        decays: whether weights shrink.
        validations: scores on held-out bytes.
        threads: of torch.
    """
    cut = Windows.of(data_bytes, batch, context, validated=validations > 0)
    size = gpt_parameters(width, layers, context)
    build = Passes(steps=steps, threads=threads)
    decayed = (size - (2 * layers + 1) * width - V) * decays
    ops = [
        *_forward(build, "", width, layers, heads, cut.batch, cut.length, masked=masked),
        *_backward(build, width, layers, heads, cut.batch, cut.length, masked=masked),
        build.over("gradients added up", size, 1, 3, 8 * layers + 5),
        build.update(size, decayed),
    ]
    if validations and cut.held_out:
        scores = Passes(steps=min(validations, steps), threads=threads)
        name = "validation: "
        ops += _forward(scores, name, width, layers, heads, cut.held_out, cut.length, masked=False)
    return Work(
        ops=tuple(ops),
        buffers=_buffers(width, layers, heads, context, data_bytes, cut, masked, validations),
        int_ops_uncounted="the index arithmetic inside torch's look-ups is not counted",
    )


def _forward(
    build: Passes, prefix: str, W: int, L: int, heads: int, B: int, T: int, *, masked: bool
) -> list[Op]:
    n, drops = B * T, 2 * L + 1

    def product(name: str, m: int, out: int, k: int, times: int) -> Op:
        return build.product(prefix + name, m, out, k, times)

    def over(
        name: str, size: int, flops: int, arrays: int, calls: int, *, function: str = ""
    ) -> Op:
        return build.over(prefix + name, size, flops, arrays, calls, function=function)

    return [
        build.copy(prefix + "windows and embedding", (1 + 2 * INDEX) * n + 2 * FLOAT * n * W, 4),
        over("positions added", n * W, 1, 2, 1),
        over("masks", n * W * drops * masked, 3, 6, 3 * drops * masked),
        over("norms", n * W * drops, 8, 2, drops),
        product("queries, keys, values", n, 3 * W, W, L),
        over("queries scaled", n * W * L, 1, 2, L),
        build.copy(prefix + "attention copies", 2 * FLOAT * 3 * n * W * L, 3 * L),
        product("attention scores", T, T, W // heads, B * heads * L),
        over("attention mask", n * T * heads * L, 1, 2, L),
        over("attention softmax", n * T * heads * L, 4, 2, L, function="exp"),
        product("attention values", T, W // heads, T, B * heads * L),
        product("attention output", n, W, W, L),
        product("perceptron up", n, 4 * W, W, L),
        over("perceptron squared ReLU", n * 4 * W * L, 1, 4, 2 * L),
        product("perceptron down", n, W, 4 * W, L),
        over("residual additions", n * W * 2 * L, 1, 3, 2 * L),
        product("readout", n, V, W, 1),
        over("readout bias", n * V, 1, 0, 0),
        over("log-softmax", n * V, 4, 2, 1, function="exp"),
        over("loss", n, 1, 2, 1),
    ]


def _backward(
    build: Passes, W: int, L: int, heads: int, B: int, T: int, *, masked: bool
) -> list[Op]:
    n, drops, over, product = B * T, 2 * L + 1, build.over, build.product

    def both(name: str, m: int, out: int, k: int, times: int) -> list[Op]:
        return [
            product(f"{name}, gradient of weights", out, k, m, times),
            product(f"{name}, gradient of input", m, k, out, times),
        ]

    return [
        over("log-softmax gradient", n * V, 4, 3, 2),
        over("readout bias gradient", n * V, 1, 1),
        *both("readout", n, V, W, 1),
        over("norm gradients", n * W * drops, 13, 3, drops),
        over("mask gradients", n * W * drops * masked, 1, 3, drops * masked),
        *both("perceptron down", n, W, 4 * W, L),
        over("squared ReLU gradient", n * 4 * W * L, 3, 9, 4 * L),
        *both("perceptron up", n, 4 * W, W, L),
        *both("attention output", n, W, W, L),
        product("attention values, gradient of shares", T, T, W // heads, B * heads * L),
        product("attention values, gradient of values", T, W // heads, T, B * heads * L),
        over("attention softmax gradient", n * T * heads * L, 4, 3, L),
        product("attention scores, gradient of queries", T, W // heads, T, B * heads * L),
        product("attention scores, gradient of keys", T, W // heads, T, B * heads * L),
        over("queries scaled, gradient", n * W * L, 1, 2, L),
        build.copy("attention gradient copies", 2 * FLOAT * 6 * n * W * L, 4 * L),
        *both("queries, keys, values", n, 3 * W, W, L),
        over("residual gradients", n * W * 2 * L, 1, 3, 2 * L),
        over("position gradient", n * W, 1, 1),
        over("embedding gradient", n * W, 1, 2),
    ]


def _buffers(
    W: int,
    L: int,
    heads: int,
    context: int,
    data_bytes: int,
    cut: Windows,
    masked: bool,
    validations: int,
) -> tuple[Buffer, ...]:
    P, n, T = gpt_parameters(W, L, context), cut.batch * cut.length, cut.length
    # A layer keeps the inputs of its norms, what these and the scaled queries, keys, values and
    # seen values are (8 W), the perceptron before and after the square (8 W), the mean and
    # deviation of its norms, and the shares of attention.
    kept = L * (16 * W + 4 + heads * T + 2 * W * masked)
    # When memory peaks: at the loss (logits, their logarithms and two gradients), in the last
    # perceptron's gradient, or in the last attention's.
    at_loss = 4 * V + 2 * W + 4 + W * masked
    at_perceptron = V + 13 * W + 2
    at_attention = V + 2 * heads * T - 10 * W + 2
    numbers = {
        "parameters": P,
        "gradients": P,
        "AdamW state": 2 * P + 2,
        "best weights": P if validations else 0,
        "mask of the future": context**2,
        "kept for the gradient": n * kept,
        "at the peak of a step": n * max(at_loss, at_perceptron, at_attention),
    }
    return (
        Buffer(name="text and order of windows", bytes=data_bytes + INDEX * cut.places),
        *(Buffer(name=name, bytes=FLOAT * size) for name, size in numbers.items()),
    )
