"""Operations and bytes of training a one-layer LSTM by truncated backpropagation.

H hidden units, V = 256 byte values, B streams side by side, T steps of a segment, n = T B
predictions of a segment, P parameters. A multiply-accumulate is 2 operations; an addition,
multiplication, division or transcendental is 1; comparisons, copies and look-ups are 0.
"""

from dataclasses import dataclass

from microdollar.work.ops import Buffer, Op, Work, matmul

V = 256
"""Byte values."""
HELD_OUT_SHARE = 20
"""One byte in so many, at the end of the training bytes, is held out where there is validation."""
HELD_OUT_MOST = 100_000
"""Bytes that are held out at most."""
HELD_OUT_STEPS = 1024
"""Steps of a stream of the validation, about."""


def lstm_parameters(hidden: int) -> int:
    """W_x (256, 4 H), W_h (4 H, H), b_h (4 H,), W_y (256, H), b_y (256,)."""
    return V * 4 * hidden + 4 * hidden**2 + 4 * hidden + V * hidden + V


def held_out_bytes(data_bytes: int, *, validated: bool) -> int:
    """Bytes at the end of the training bytes that only choose among the weights."""
    return min(data_bytes // HELD_OUT_SHARE, HELD_OUT_MOST) if validated else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """How a text is cut: streams read side by side, each in segments of ``longest`` steps."""

    train_bytes: int
    """Bytes that gradients are taken of; those after them are held out."""
    streams: int
    """B: streams, and rows of every small matrix."""
    longest: int
    """T: steps of a segment; what does not fill one is left out."""
    steps: int
    """Segments of a stream: optimizer steps of one pass over the text."""
    held_out_streams: int
    """Streams of the held-out bytes; 0 if there are none."""
    held_out_length: int
    """Predictions of each of them."""

    @classmethod
    def of(cls, data_bytes: int, batch: int, bptt: int, *, validated: bool) -> "Streams":
        """Cut ``data_bytes`` >= 2 bytes; fewer streams than ``batch`` if each has one segment."""
        held_out = held_out_bytes(data_bytes, validated=validated)
        pairs = data_bytes - held_out - 1
        streams = max(1, min(batch, pairs // bptt))
        length = pairs // streams
        longest = min(length, bptt)
        aside = max(1, held_out // HELD_OUT_STEPS) if held_out > 1 else 0
        return cls(
            train_bytes=data_bytes - held_out,
            streams=streams,
            longest=longest,
            steps=length // longest,
            held_out_streams=aside,
            held_out_length=(held_out - 1) // aside if aside else 0,
        )

    @property
    def length(self) -> int:
        """Predictions of a stream in one pass."""
        return self.steps * self.longest


ADAM_FLOPS = 13
"""Of one parameter in torch's fused CPU kernel: first moment 3 (lerp), second moment 4, square
root, bias correction and epsilon 3, update 3."""
DECAY_FLOPS = 2
"""Of one parameter that shrinks: the factor and its product."""
CLIP_FLOPS = 3
"""Of one parameter: square and add for the norm, multiply by the factor."""
FLOAT, INDEX = 4, 8


def lstm_training(
    *,
    hidden: int,
    data_bytes: int,
    steps: int,
    batch: int,
    bptt: int,
    masked: tuple[bool, bool],
    decays: bool,
    validations: int,
    threads: int = 1,
) -> Work:
    """One training run as ``microdollar.learn.gradient.lstm_torch`` executes it.

    Args:
        hidden: units, H.
        data_bytes: bytes of the text, at least two.
        steps: optimizer steps.
        batch: streams at most.
        bptt: steps of a segment at most.
        masked: whether units of the readout are dropped, and whether recurrent weights are.
        decays: whether weights shrink.
        validations: scores on held-out bytes.
        threads: of torch.
    """
    cut = Streams.of(data_bytes, batch, bptt, validated=validations > 0)
    size = lstm_parameters(hidden)
    build = Passes(steps=steps, threads=threads)
    ops = [
        _initial_weights(hidden, threads),
        *_segment(build, hidden, cut.streams, cut.longest, masked),
        build.update(size, (size - 4 * hidden - V) * decays),
    ]
    if cut.held_out_streams and validations:
        scoring = Passes(steps=min(validations, steps), threads=threads)
        ops += _validation(scoring, hidden, cut)
    return Work(
        ops=tuple(ops),
        buffers=_buffers(hidden, cut, validations),
        int_ops_uncounted="the index arithmetic inside torch's look-ups is not counted",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """Makes the ops of one kind of pass over a batch, ``steps`` of which run."""

    steps: int
    threads: int

    def product(self, name: str, m: int, n: int, k: int, times: int = 1) -> Op:
        """A product of (m, k) by (k, n), ``times`` in a pass."""
        return matmul(name, m, n, k, repeats=self.steps * times, threads=self.threads)

    def over(
        self, name: str, size: int, flops: int, arrays: int, calls: int = 1, *, function: str = ""
    ) -> Op:
        """``flops`` for each of ``size`` numbers; ``arrays`` such are read or written."""
        return Op(
            name=name,
            kind="transcendental" if function else "elementwise",
            function=function,
            repeats=self.steps,
            flops=flops * size,
            bytes_moved=FLOAT * arrays * size,
            shape=(size // max(calls, 1),),
            runtime="torch",
            calls=calls,
            threads=self.threads,
        )

    def copy(self, name: str, bytes_moved: int, calls: int) -> Op:
        """Bytes read and written in order."""
        return Op(
            name=name,
            kind="stream",
            repeats=self.steps,
            bytes_moved=bytes_moved,
            runtime="torch",
            calls=calls,
            threads=self.threads,
        )

    def update(self, size: int, decayed: int) -> Op:
        """Clipping and AdamW. 3: epsilon, reciprocal and limit of the clipping factor."""
        return Op(
            name="clip and AdamW",
            kind="elementwise",
            repeats=self.steps,
            flops=(ADAM_FLOPS + CLIP_FLOPS) * size + DECAY_FLOPS * decayed + 5,
            bytes_moved=FLOAT * (1 + 2 + 7) * size,
            shape=(size,),
            runtime="torch",
            calls=9,
            threads=self.threads,
        )


def _initial_weights(H: int, threads: int) -> Op:
    # Householder factors and explicit Q of four square matrices (LAPACK geqrf and orgqr, highest
    # order), then signs and gain.
    return Op(
        name="initial weights",
        kind="elementwise",
        flops=4 * (4 * H**3 - 4 * H**3 // 3 + 2 * H**2),
        bytes_moved=FLOAT * 2 * lstm_parameters(H),
        shape=(4 * H, H),
        runtime="torch",
        calls=50,
        threads=threads,
    )


def _segment(build: Passes, H: int, B: int, T: int, masked: tuple[bool, bool]) -> list[Op]:
    n, over, product = B * T, build.over, build.product
    drawn = B * H * masked[0] + 4 * H * H * masked[1]
    return [
        build.copy("segment bytes", (1 + INDEX) * (T + 1) * B, 2),
        over("masks", drawn, 2, 2, 2 * sum(masked)),
        over("masked W_h", 4 * H * H, 1, 5, 2),
        over("b_h into look-up table", V * 4 * H, 1, 2),
        build.copy("look-up of W_x rows", 2 * FLOAT * n * 4 * H, 1),
        product("recurrence W_h h", B, 4 * H, H, T),
        over("recurrence addition", n * 4 * H, 1, 0, 0),
        over("gates", n * 3 * H, 3, 2, T, function="exp"),
        over("candidates", n * H, 1, 2, T, function="tanh"),
        over("cells", n * H, 3, 6, 2 * T),
        over("cells squashed", n * H, 1, 2, T, function="tanh"),
        over("states", n * H, 2, 6, T + 1),
        product("readout W_y h", n, V, H),
        over("readout b_y", n * V, 1, 0, 0),
        over("softmax exp", n * V, 1, 2, 1, function="exp"),
        over("softmax sums and quotients", n * V, 3, 2, 0),
        over("loss log", n, 1, 2, 1, function="log"),
        over("loss sum and gradient", n, 2, 10, 7),
        over("loss mean", n * V, 1, 2),
        over("b_y gradient", n * V, 1, 1),
        product("W_y gradient", V, H, n),
        product("h gradient from readout", n, H, V),
        over("h gradient masked", n * H, 1, 3),
        product("h gradient from recurrence", B, H, 4 * H, T - 1),
        over("gate gradients", n * H, 21, 30, 9 * T),
        over("carried gradients", (n - B) * H, 2, 4, T - 1),
        product("W_h gradient", 4 * H, H, n),
        over("W_h gradient masked", 4 * H * H, 1, 3),
        over("W_x gradient", n * 4 * H, 1, 3, 2),
        over("b_h gradient", V * 4 * H, 1, 1),
        build.copy("state carried over", 4 * FLOAT * B * H, 2),
    ]


def _validation(build: Passes, H: int, cut: Streams) -> list[Op]:
    B, T = cut.held_out_streams, cut.held_out_length
    n = B * T
    return [
        build.over("validation: look-up table", V * 4 * H, 1, 2),
        build.product("validation: recurrence W_h h", B, 4 * H, H, T),
        build.over("validation: gates", n * H, 4 + 9 + 1 + 3 + 2, 20, 9 * T, function="exp"),
        build.product("validation: readout W_y h", B, V, H, T),
        build.over("validation: loss", n * V, 1 + 4, 4, 2 * T, function="exp"),
        build.over("validation: sum", n + T, 1, 2, T),
    ]


def _buffers(H: int, cut: Streams, validations: int) -> tuple[Buffer, ...]:
    P, B, T = lstm_parameters(H), cut.streams, cut.longest
    n = B * T
    numbers = {
        "parameters": P,
        "gradients": P,
        "AdamW state": 2 * P + 2,
        "best weights": P if validations else 0,
        "states and cells": 2 * (T + 1) * B * H,
        "states squashed, dropped, and their gradients": 3 * n * H,
        "gates and their gradients": 2 * n * 4 * H,
        "logits": n * V,
        "loss of each prediction": 2 * n,
        "look-up table": V * 4 * H,
        "masked W_h, its transpose and mask": 3 * 4 * H * H,
        "mask of the readout and gradients of the cells": 3 * B * H,
    }
    aside = cut.held_out_streams
    held_out = (cut.held_out_length + 1) * aside
    if aside:
        # The look-up table, transposed W_h and W_y, gates and their parts, states, logits.
        numbers["validation"] = V * 4 * H + 4 * H * H + V * H + aside * (14 * H + 2 * V)
    return (
        Buffer(name="text", bytes=(cut.length + 1) * B + held_out),
        Buffer(name="segment and validation bytes", bytes=INDEX * ((T + 1) * B + held_out)),
        *(Buffer(name=name, bytes=FLOAT * size) for name, size in numbers.items()),
    )
