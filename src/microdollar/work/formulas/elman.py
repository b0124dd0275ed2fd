"""Operations and bytes of training an Elman network by truncated backpropagation (BPTT).

H hidden units, V = 256 byte values, N training bytes, E epochs, B streams side by side, T
steps of one segment, n = B T predictions of a segment, P parameters. A multiply-accumulate
is 2 operations; an addition, multiplication, division or transcendental is 1; comparisons,
copies and look-ups are 0.

Two counts stand side by side: the one that the document on analytic cost published, and the
one of what ``microdollar.learn.gradient.rnn_torch`` executes. Where they differ:

- Its section 2.1 gives 6 H^2 + 6 V H for each byte, which is 294,912 at H = 128; the 297,088
  that it prints beside it is that plus 7 H + 5 V. This reading meets every printed figure:
  look-up addition H, b_h H, tanh H, b_y V and softmax 3 V (forward: 99,712, printed as
  99,700), tanh gradient 3 H, b_h gradient H and b_y gradient V (backward: 197,376, printed as
  197,400).
- Table 2 multiplies 297,088 by N E: 5.94e12 at 20 epochs, against 5.90e12 (the abstract's
  5.9e12) for the formula alone. Its MADDs are N E (3 H^2 + 3 V H) = 2.95e12, so its FLOP
  column isn't twice its MADD column: the 7 H + 5 V are in one and not in the other.
- Table 4 has 6.5e12 for the same run. All six of its rows follow from 1.1 (6 H^2 + 6 V H) N E:
  an allowance of 10 % for the lower-order terms, which are 0.74 % at H = 128 and 0.03 % at
  4,096. (Inferred: the document does not name the factor. Divided by 9 N G + 4 G V^2 + G H V
  + G H it gives all six printed ratios to their four digits.)
- Neither counts the optimizer, the clipping or the loss. "T cancels" holds for the products
  only: updating P parameters once in a segment costs (13 P + 3 P) / n for each byte with Adam
  and clipping, 0.28 % at B = 32 and T = 50, 8.9 % at B = 1 and T = 50.
- Its backward pass carries a gradient into h_{t-1} at each of T steps. The first step of a
  segment has no predecessor to carry it to: 2 H^2 / T operations less for each byte.
- Section 4 says that H^2 is paid 2 N E times; by its own section 2.1 it is 3 N E times.
- It counts N predictions. The first byte of the text has no byte before it, so there are
  N - 1, and the up to B - 1 of them that don't fill B equal streams are left out too.
"""

from dataclasses import dataclass

from microdollar.work.ops import Buffer, Op, Work, matmul

V = 256
"""Byte values."""
ADAM_FLOPS = 13
"""Of one parameter in torch's fused CPU kernel: first moment 3 (lerp), second moment 4,
square root, bias correction and epsilon 3, update 3."""
CLIP_FLOPS = 3
"""Of one parameter: square and add for the norm, multiply by the factor."""
FLOAT, INDEX = 4, 8


def elman_flops_published(hidden: int, data_bytes: int, epochs: int) -> int:
    """N E (6 H^2 + 6 V H): analytic-cost document, section 2.1, without its lower-order terms."""
    return data_bytes * epochs * (6 * hidden**2 + 6 * V * hidden)


def elman_flops_table_2(hidden: int, data_bytes: int, epochs: int) -> int:
    """N E (6 H^2 + 6 V H + 7 H + 5 V): the "Total FLOPs" column of the document's Table 2."""
    return elman_flops_published(hidden, data_bytes, epochs) + data_bytes * epochs * (
        7 * hidden + 5 * V
    )


def elman_flops_table_4(hidden: int, data_bytes: int, epochs: int) -> int:
    """1.1 N E (6 H^2 + 6 V H): what Table 4 of the document follows, as far as it can be told."""
    return elman_flops_published(hidden, data_bytes, epochs) * 11 // 10


def elman_parameters(hidden: int) -> int:
    """W_x and W_y (256, H), W_h (H, H), b_h (H,), b_y (256,): 82,304 at H = 128."""
    return 2 * V * hidden + hidden**2 + hidden + V


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """How a text is cut: streams read side by side, each in segments of ``bptt`` steps.

    A prediction is a pair of a byte and the one after it; N bytes have N - 1. Stream i holds
    the predictions i L to (i + 1) L - 1, with L = (N - 1) // streams; the at most streams - 1
    predictions at the end of the text are left out.
    """

    streams: int
    """B: streams, and rows of every small matrix."""
    length: int
    """L: predictions of one stream in one epoch."""
    bptt: int
    """T: steps of a full segment."""

    @classmethod
    def of(cls, data_bytes: int, batch: int, bptt: int) -> "Segments":
        """Cut ``data_bytes`` >= 2 bytes; fewer streams than ``batch`` if each has one segment."""
        pairs = data_bytes - 1
        streams = max(1, min(batch, pairs // bptt))
        return cls(streams=streams, length=pairs // streams, bptt=bptt)

    @property
    def full(self) -> int:
        """Full segments of one epoch."""
        return self.length // self.bptt

    @property
    def rest(self) -> int:
        """Steps of the shorter segment at the end of an epoch; 0 if there is none."""
        return self.length % self.bptt

    @property
    def steps(self) -> int:
        """Optimizer steps of one epoch."""
        return self.full + (self.rest > 0)

    @property
    def longest(self) -> int:
        """Steps of the longest segment, for which arrays are allocated."""
        return min(self.length, self.bptt)


def elman_training(
    *, hidden: int, data_bytes: int, epochs: int, batch: int, bptt: int, threads: int = 1
) -> Work:
    """One training run as ``microdollar.learn.gradient.rnn_torch`` executes it.

    Counts every torch operator of the run: initial weights, forward, backward, loss, clipping,
    Adam. Not counted: random numbers, Python between the calls, the score afterwards.
    """
    cut = Segments.of(data_bytes, batch, bptt)
    ops = [_initial_weights(hidden, threads)]
    for steps, repeats, suffix in (
        (bptt, cut.full * epochs, ""),
        (cut.rest, epochs, " (last segment)"),
    ):
        if steps and repeats:
            ops += _segment(hidden, cut.streams, steps, repeats, suffix, threads)
    ops.append(_update(elman_parameters(hidden), cut.steps * epochs, threads))
    return Work(
        ops=tuple(ops),
        buffers=_buffers(hidden, cut),
        int_ops_uncounted="the index arithmetic inside torch's look-ups is not counted",
    )


def _initial_weights(H: int, threads: int) -> Op:
    # Householder factors and explicit Q of a square matrix (LAPACK geqrf and orgqr, highest
    # order), then signs and gain.
    return Op(
        name="initial weights",
        kind="elementwise",
        flops=4 * H**3 - 4 * H**3 // 3 + 2 * H**2,
        bytes_moved=FLOAT * 2 * elman_parameters(H),
        shape=(H, H),
        runtime="torch",
        calls=14,
        threads=threads,
    )


def _segment(H: int, B: int, T: int, repeats: int, suffix: str, threads: int) -> list[Op]:
    n = B * T

    def product(name: str, m: int, k_out: int, k: int, times: int = 1) -> Op:
        return matmul(name + suffix, m, k_out, k, repeats=repeats * times, threads=threads)

    def over(
        name: str, size: int, flops: int, arrays: int, calls: int = 1, *, function: str = ""
    ) -> Op:
        # ``arrays`` of ``size`` numbers are read or written by all ``calls`` together.
        return Op(
            name=name + suffix,
            kind="transcendental" if function else "elementwise",
            function=function,
            repeats=repeats,
            flops=flops * size,
            bytes_moved=FLOAT * arrays * size,
            shape=(size // calls if calls else size,),
            runtime="torch",
            calls=calls,
            threads=threads,
        )

    def copy(name: str, bytes_moved: int, calls: int) -> Op:
        return Op(
            name=name + suffix,
            kind="stream",
            repeats=repeats,
            bytes_moved=bytes_moved,
            runtime="torch",
            calls=calls,
            threads=threads,
        )

    return [
        copy("segment bytes", (1 + INDEX) * (T + 1) * B, 2),
        over("b_h into look-up table", V * H, 1, 2),
        copy("W_h transposed", 2 * FLOAT * H * H, 1),
        copy("look-up of W_x rows", 2 * FLOAT * n * H, 1),
        product("recurrence W_h h", B, H, H, times=T),
        over("recurrence addition", n * H, 1, 0, 0),
        over("recurrence tanh", n * H, 1, 2, T, function="tanh"),
        product("readout W_y h", n, V, H),
        over("readout b_y", n * V, 1, 0, 0),
        over("softmax exp", n * V, 1, 2, 1, function="exp"),
        over("softmax sums and quotients", n * V, 3, 2, 0),
        over("loss log", n, 1, 2, 1, function="log"),
        over("loss sum and gradient", n, 2, 10, 7),
        over("b_y gradient", n * V, 1, 1),
        product("W_y gradient", V, H, n),
        product("h gradient from readout", n, H, V),
        product("h gradient from recurrence", B, H, H, times=T - 1),
        over("h gradient addition", (n - B) * H, 1, 0, 0),
        over("tanh gradient", n * H, 3, 3, T),
        product("W_h gradient", H, H, n),
        over("W_x gradient", n * H, 1, 3, 2),
        over("b_h gradient", V * H, 1, 1),
        copy("state carried over", 2 * FLOAT * B * H, 1),
    ]


def _update(P: int, repeats: int, threads: int) -> Op:
    # 4: epsilon, reciprocal and limit of the clipping factor, and Adam's step counter.
    return Op(
        name="clip and Adam",
        kind="elementwise",
        repeats=repeats,
        flops=(ADAM_FLOPS + CLIP_FLOPS) * P + 4,
        bytes_moved=FLOAT * (1 + 2 + 7) * P,
        shape=(P,),
        runtime="torch",
        calls=8,
        threads=threads,
    )


def _buffers(H: int, cut: Segments) -> tuple[Buffer, ...]:
    P, B, T = elman_parameters(H), cut.streams, cut.longest
    n = B * T
    return (
        Buffer(name="text", bytes=(cut.length + 1) * B),
        Buffer(name="parameters", bytes=FLOAT * P),
        Buffer(name="gradients", bytes=FLOAT * P),
        Buffer(name="Adam state", bytes=FLOAT * (2 * P + 1)),
        Buffer(name="segment bytes", bytes=INDEX * (T + 1) * B),
        Buffer(name="states", bytes=FLOAT * (T + 1) * B * H),
        Buffer(name="state gradients", bytes=FLOAT * n * H),
        Buffer(name="logits", bytes=FLOAT * n * V),
        Buffer(name="loss of each prediction", bytes=2 * FLOAT * n),
        Buffer(name="look-up table and transposed W_h", bytes=FLOAT * (V * H + H * H)),
    )
