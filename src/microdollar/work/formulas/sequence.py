"""Operations of sequence layers whose cost is linear in length, in their recurrent forms.

b sequences of s tokens, n = b s, h features of the model. A chunked implementation trades a few
more operations for larger products; these are the counts of the recurrence itself.
"""

from microdollar.work.formulas.terms import Layer, Pass, Product, split


def linear_attention(*, tokens: int, hidden: int, heads: int, head_dim: int, tp: int = 1) -> Layer:
    """Attention without the softmax (Katharopoulos et al. 2020, arXiv:2006.16236, eqs 18 to 20).

    For each token and head the state S (d, d) grows by the outer product of key and value and is
    read by the query: 2 d^2 operations each, so 4 n a d^2 beside the four projections'
    2 n h (4 a d). The normaliser z and the feature map elu(x) + 1 are passes.

    Args:
        tokens: rows.
        hidden: width of the model.
        heads: heads over all devices.
        head_dim: features of a head.
        tp: devices over which the heads are split.
    """
    local = split(heads, tp)
    width = local * head_dim
    return (
        Product("query", tokens, width, hidden),
        Product("key", tokens, width, hidden),
        Product("value", tokens, width, hidden),
        Pass("feature map", 2 * tokens * width, 2, 2, 3, 3, function="exp", calls=2),
        # The outer product and its sum into the state, then the state read by the query.
        Product(
            "state update", head_dim, head_dim, 1, tokens * local, "state", moved=2 * tokens * width
        ),
        Product(
            "state read", 1, head_dim, head_dim, tokens * local, "state", moved=2 * tokens * width
        ),
        Pass("normaliser", tokens * width, 4, 3, 6, 5, calls=4),
        Product("output", tokens, hidden, width),
    )


def state_space(
    *, tokens: int, hidden: int, inner: int, state: int, conv: int, dt_rank: int, tp: int = 1
) -> Layer:
    """A selective state-space layer (Mamba; Gu and Dao 2023, arXiv:2312.00752, section 3, alg 2).

    Products: in h to 2 e, selection e to r + 2 z, step r to e, out e to h, the causal convolution
    of c taps (2 n e c) and the reading of the state by C (2 n e z). Passes: the state's update
    h = exp(dt A) h + (dt B) x, 6 operations and one exp for each of n e z numbers; the skip D x,
    softplus and the two SiLUs. The scan keeps its state on chip: its bytes are those of its
    inputs and outputs only.

    Args:
        tokens: rows.
        hidden: width of the model.
        inner: e, over all devices.
        state: z, numbers of state for each of the ``inner`` features.
        conv: c, taps of the convolution.
        dt_rank: r, rank of the step's projection.
        tp: devices over which ``inner`` is split.
    """
    wide = split(inner, tp)
    return (
        Product("input", tokens, 2 * wide, hidden),
        Product("convolution", tokens, 1, conv, wide, "state", moved=2 * tokens * wide),
        Pass("convolution activation", tokens * wide, 4, 2, 7, 3, function="exp"),
        Product("selection", tokens, dt_rank + 2 * state, wide),
        Product("step", tokens, wide, dt_rank),
        Pass("softplus", tokens * wide, 3, 2, 4, 3, function="exp"),
        # Inputs x and dt of `inner`, B and C shared by all features: about 3 numbers in and out
        # for each of `inner`, so 3 / state for each number of state.
        Pass("scan", tokens * wide * state, 6, 3 / state, 12, 6 / state, function="exp"),
        Product("state read", tokens * wide, 1, state, 1, "state", moved=tokens * wide),
        Pass("skip and gate", tokens * wide, 7, 3, 10, 5, function="exp", calls=3),
        Product("output", tokens, hidden, wide),
    )


def rwkv_time_mixing(*, tokens: int, hidden: int, tp: int = 1) -> Layer:
    """RWKV-4's attention in its place (Peng et al. 2023, arXiv:2305.13048, eqs 11 to 16).

    Four square products, 8 n h^2. The recurrence has no product: a running numerator and
    denominator, with the exponents kept in range, cost about 14 operations and 4 exps for each of
    n h numbers (counted from appendix D).

    Args:
        tokens: rows.
        hidden: width of the model.
        tp: devices over which the products are split.
    """
    wide = split(hidden, tp)
    return (
        Pass("token shift", tokens * hidden * 3, 3, 3, 3, 3, calls=3),
        Product("key", tokens, wide, hidden),
        Product("value", tokens, wide, hidden),
        Product("receptance", tokens, wide, hidden),
        Pass("recurrence", tokens * wide, 18, 3, 36, 6, function="exp"),
        Pass("sigmoid and gate", tokens * wide, 4, 3, 5, 5, function="exp", calls=2),
        Product("output", tokens, hidden, wide),
    )
