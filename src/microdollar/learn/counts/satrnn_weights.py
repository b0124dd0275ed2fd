"""The weights of the sat-rnn: a shift register of byte codes, and a readout from counts.

Group g of units holds the code of the byte g steps ago. W_x writes the code of the byte just
read into group 0, W_h copies each group into the next, and tanh of +-10 or +-5 keeps the
sign. Source: weight-construction document, section 4.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from microdollar.learn.counts.hashing import byte_signs
from microdollar.learn.elman import ElmanModel, shapes
from microdollar.work import tally
from microdollar.work.formulas import counting

if TYPE_CHECKING:
    import numpy.typing as npt

    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.elman import Floats

    Doubles = npt.NDArray[np.float64]

INPUT_WEIGHT = 10.0
"""|W_x|: tanh(10) is 1 in float32."""
SHIFT_WEIGHT = 5.0
"""Entry of W_h that copies a unit into the next group: tanh(5) is 0.99991."""
V = 256


def shift_register(
    name: str, *, hidden: int, offsets: int, bits: int, hash_name: str
) -> ElmanModel:
    """A network that carries codes and has no readout yet: W_x, W_h and b_h; the rest is zero.

    Args:
        name: learner that asks for it.
        hidden: units, at least ``offsets * bits``; those beyond it stay at zero.
        offsets: groups, one for each past byte.
        bits: units of a group.
        hash_name: code of a byte, one of ``hashing.HASHES``.
    """
    zero = {tensor: np.zeros(shape, np.float32) for tensor, shape in shapes(hidden).items()}
    zero["W_x"][:, :bits] = INPUT_WEIGHT * byte_signs(hash_name, bits)
    copies = np.arange(bits, offsets * bits)
    zero["W_h"][copies, copies - bits] = SHIFT_WEIGHT
    return ElmanModel(
        name=name,
        W_x=zero["W_x"],
        W_h=zero["W_h"],
        b_h=zero["b_h"],
        W_y=zero["W_y"],
        b_y=zero["b_y"],
    )


def log_marginal(counts: "npt.NDArray[np.int64]") -> "Doubles":
    """Logarithm of P(o), shape (256,), with half a count added to each byte value."""
    tally.add("write b_y", flops=counting.marginal_flops(), int_ops=0)
    logs: Doubles = np.log(counts + 0.5) - np.log(counts.sum() + 0.5 * V)
    return logs


def pooled_counts(
    tables: "npt.NDArray[np.int64]", signs: "npt.NDArray[np.int8]"
) -> "tuple[Doubles, Doubles]":
    """Counts of the next byte where a code bit is set, and where it is not.

    Args:
        tables: skip-bigram counts, shape (G, 256, 256).
        signs: code bits of the byte values, shape (256, B).

    Returns:
        Two arrays (G * B, 256) float64; exact while a count is below 2**53.
    """
    offsets, bits = len(tables), signs.shape[1]
    # The last row is all ones: it gives the totals that the other sign is the rest of.
    chosen = np.vstack([(signs > 0).T, np.ones((1, V))]).astype(np.float64)
    set_counts = np.empty((offsets * bits, V))
    rest = np.empty((offsets * bits, V))
    for offset, table in enumerate(tables):
        pooled = chosen @ table.astype(np.float64)
        rows = slice(offset * bits, (offset + 1) * bits)
        set_counts[rows] = pooled[:bits]
        np.subtract(pooled[bits], pooled[:bits], out=rest[rows])
    tally.add("pool counts", flops=counting.pooling_flops(offsets, bits), int_ops=0)
    return set_counts, rest


def log_ratios(set_counts: "Doubles", rest: "Doubles", alpha: float) -> "Doubles":
    """Difference of ln P(o | bit set) and ln P(o | bit not set), ``alpha`` added to each count.

    Args:
        set_counts: counts of the next byte where the bit is set, shape (U, 256).
        rest: the same where it is not.
        alpha: pseudo-count, above zero.

    Returns:
        Shape (U, 256) float64.
    """
    ratios: Doubles = np.log(set_counts + alpha)
    ratios -= np.log(rest + alpha)
    totals = [counts.sum(axis=1, keepdims=True) + alpha * V for counts in (set_counts, rest)]
    ratios -= np.log(totals[0]) - np.log(totals[1])
    flops = counting.log_ratio_flops(len(ratios))
    tally.add("log-ratios", flops=flops, int_ops=0)
    return ratios


def states_from(model: ElmanModel, data: "ByteArray", cut: int, offsets: int) -> "Floats":
    """States that the bytes from ``cut`` on are predicted from, by the real recurrence.

    The shift register forgets what is further back than its offsets, so it starts there.

    Returns:
        Shape (len(data) - cut, H) float32.
    """
    states = np.empty((len(data) - cut, model.hidden), dtype=np.float32)
    warm = data[max(0, cut - offsets) : cut]
    state = model.advance(model.initial_state(), warm)
    for where, block in model.states_before(data[cut:], state):
        states[where] = block
    flops = counting.recurrence_flops(len(warm) + len(states), model.hidden)
    tally.add("run the recurrence", flops=flops, int_ops=0)
    return states


def choose(
    states: "Floats",
    targets: "ByteArray",
    pooled: "tuple[Doubles, Doubles]",
    b_y: "Doubles",
    *,
    alphas: tuple[float, ...],
    scale: float | None,
    trials: int,
) -> tuple[float, float]:
    """The pseudo-count and the scale with the lowest loss on some positions.

    The scale is searched with the first pseudo-count, then the others are tried with it.

    Args:
        states: states before the bytes to predict, shape (m, H).
        targets: those bytes, shape (m,).
        pooled: what ``pooled_counts`` gave, of bytes before these.
        b_y: log marginals, shape (256,).
        alphas: pseudo-counts to try.
        scale: the scale if it is given.
        trials: values of the scale to try if it is not.
    """

    def loss_of(alpha: float) -> Callable[[float], float]:
        # One thread: BLAS threads that share cores with other work wait for one another.
        with threadpool_limits(limits=1, user_api="blas"):
            return _loss_by_scale(states, targets, log_ratios(*pooled, alpha), b_y)

    # Each loss holds its products: name none, so that the next one finds them gone.
    if scale is None:
        best_scale, lowest = _minimum(loss_of(alphas[0]), trials)
    else:
        best_scale, lowest = scale, loss_of(alphas[0])(scale)
    best_alpha = alphas[0]
    for alpha in alphas[1:]:
        if (bits := loss_of(alpha)(best_scale)) < lowest:
            best_alpha, lowest = alpha, bits
    return best_alpha, best_scale


def _loss_by_scale(
    states: "Floats", targets: "ByteArray", ratios: "Doubles", b_y: "Doubles"
) -> Callable[[float], float]:
    """Bits per byte as a function of the scale; one product serves every scale."""
    m, units = len(states), len(ratios)
    products = states[:, :units] @ ratios.astype(np.float32)
    bias = b_y.astype(np.float32)
    logits = np.empty_like(products)
    rows = np.arange(m)
    tally.add("score pseudo-counts", flops=2 * m * units * V, int_ops=0)

    def loss(scale: float) -> float:
        np.multiply(products, np.float32(scale), out=logits)
        np.add(logits, bias, out=logits)
        np.subtract(logits, logits.max(axis=1, keepdims=True), out=logits)
        hit = logits[rows, targets].astype(np.float64)
        np.exp(logits, out=logits)
        nats = np.log(logits.sum(axis=1)) - hit
        tally.add("try scales", flops=counting.scale_trial_flops(m), int_ops=0)
        return float(nats.mean() / np.log(2.0))

    return loss


def _minimum(loss: Callable[[float], float], trials: int) -> tuple[float, float]:
    """Golden section within 0 and 1 with a fixed number of trials: where, and how low."""
    golden = (5**0.5 - 1) / 2
    low, high = 0.0, 1.0
    left, right = high - golden, low + golden
    at_left, at_right = loss(left), loss(right)
    for _ in range(trials - 2):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = loss(right)
    return (left, at_left) if at_left < at_right else (right, at_right)
