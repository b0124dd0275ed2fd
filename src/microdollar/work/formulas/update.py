"""Operations of optimizers: of one parameter, and Muon's products of one matrix.

For each parameter and step, an addition, multiplication, division or root being 1. Not counted:
bias corrections that are the same for all parameters, the clipping of gradients, and the integer
work of 8-bit and narrower codes.
"""

from dataclasses import dataclass

from microdollar.work.formulas import collins

NEWTON_SCHULZ_STEPS = 5
"""Iterations of Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon)."""


@dataclass(frozen=True, slots=True)
class Update:
    """What an optimizer does with one parameter."""

    flops: int
    state_bytes: float
    """Of its state, each read and written once; of a large matrix where it depends on shapes."""
    calls: int
    """Passes over the parameters in an uncompiled framework."""
    source: str
    gradient_reads: int = 1


def _collins(name: str) -> Update:
    m_state, v_state = collins.STATES[name]
    return Update(
        collins.element_flops(m_state, v_state),
        collins.element_state_bytes(m_state, v_state),
        2,
        f"AdamW; momentum in {m_state}, second moment {v_state}: counted in formulas.collins",
        collins.gradient_reads(v_state),
    )


UPDATES: dict[str, Update] = {
    "sgd": Update(2, 0, 1, "w - lr g"),
    "momentum": Update(4, 4, 2, "arXiv:1904.00962, alg of heavy ball: m = b m + g; w - lr m"),
    "adam": Update(13, 8, 1, "arXiv:1412.6980, alg 1; 13 in torch's fused kernel"),
    "adamw": Update(14, 8, 1, "arXiv:1711.05101, alg 2: Adam and one product by the decay"),
    "adamw-8bit": Update(
        20, 2, 1, "arXiv:2110.02861: AdamW; 6 more to decode, scale and encode two states (assumed)"
    ),
    "adafactor": Update(
        12, 0.1, 8, "arXiv:1804.04235, alg 4: square, two sums, outer quotient, clip (assumed)"
    ),
    "lion": Update(9, 4, 2, "arXiv:2302.06675, alg 2: two interpolations of 3, decay, step"),
    "muon": Update(5, 4, 4, "momentum and decay, beside the products of newton_schulz_flops"),
    **{name: _collins(name) for name in collins.STATES},
}
"""By the names of the plan's ``optimizer``."""


def newton_schulz_flops(rows: int, columns: int) -> int:
    """Operations of the products that orthogonalise one matrix in Muon.

    With a <= b the two sides, each of 5 iterations forms A = X X' (2 a^2 b), A A (2 a^3) and
    (b A + c A A) X (2 a^2 b).
    """
    short, long = sorted((rows, columns))
    return NEWTON_SCHULZ_STEPS * (4 * short * short * long + 2 * short**3)
