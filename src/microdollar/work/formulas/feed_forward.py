"""Operations of feed-forward layers: plain, gated, RWKV's channel mixing, mixtures of experts.

n tokens, h features of the model, f inner features. Forward, one layer:

    plain (Vaswani et al. 2017, arXiv:1706.03762, section 3.3)     4 n h f
    gated (Shazeer 2020, arXiv:2002.05202, section 2)              6 n h f
    RWKV channel mixing (arXiv:2305.13048, section 3.1.3)          4 n h f + 2 n h^2
    mixture of e experts, k active                                 k of the above + 2 n h e

Counted as passes: activations, the product with the gate, the router's softmax and the weighted
sum of the experts' answers. Not counted: biases, sorting of tokens by expert (integer work) and
padding to an expert's capacity; tokens are taken to spread evenly over experts.
"""

from microdollar.work.formulas.terms import Layer, Pass, Product, Term, split

ACTIVATION_FLOPS = 4
"""Of one number: SiLU is negate, exp, add, divide; a tanh GELU is 9, a ReLU none (assumed)."""


def feed_forward(
    *, tokens: int, hidden: int, inner: int, gated: bool = False, tp: int = 1, prefix: str = ""
) -> Layer:
    """Two products, three where gated, with an activation between.

    Args:
        tokens: rows.
        hidden: width of the model.
        inner: width between, over all devices.
        gated: whether one product gates another (SwiGLU, GeGLU).
        tp: devices over which ``inner`` is split.
        prefix: put before the names.
    """
    wide = split(inner, tp)
    terms: list[Term] = []
    if gated:
        terms.append(Product(f"{prefix}gate", tokens, wide, hidden))
    terms.append(Product(f"{prefix}up", tokens, wide, hidden))
    terms.append(_activation(f"{prefix}activation", tokens * wide, gated))
    terms.append(Product(f"{prefix}down", tokens, hidden, wide))
    return tuple(terms)


def rwkv_channel_mixing(*, tokens: int, hidden: int, inner: int, tp: int = 1) -> Layer:
    """RWKV-4's feed-forward layer: a squared ReLU between two products, gated by a third.

    Args:
        tokens: rows.
        hidden: width of the model.
        inner: width between, over all devices.
        tp: devices over which the products are split.
    """
    wide, square = split(inner, tp), split(hidden, tp)
    return (
        Pass("token shift", tokens * hidden * 2, 3, 3, 3, 3, calls=3),
        Product("receptance", tokens, square, hidden),
        Product("up", tokens, wide, hidden),
        Pass("squared ReLU", tokens * wide, 1, 2, 2, 3, calls=2),
        Product("down", tokens, hidden, wide),
        Pass("sigmoid and gate", tokens * hidden, 4, 3, 5, 5, function="exp", calls=2),
    )


def mixture_of_experts(
    *,
    tokens: int,
    hidden: int,
    experts: int,
    active: int,
    inner: int,
    gated: bool = True,
    shared_inner: int = 0,
    shared_gate: bool = False,
    tp: int = 1,
    ep: int = 1,
) -> Layer:
    """A router, ``active`` of ``experts`` feed-forward layers for each token, and shared ones.

    Switch Transformer, arXiv:2101.03961, section 2; shared experts as in DeepSeekMoE,
    arXiv:2401.06066, section 3.2. A device holds ``experts / ep`` experts and gets the tokens of
    ``ep`` devices that chose them, so its rows stay ``tokens * active``.

    Args:
        tokens: rows of this device.
        hidden: width of the model.
        experts: experts over all devices.
        active: experts that a token takes.
        inner: width within one expert, over all devices.
        gated: whether they are gated.
        shared_inner: width of the experts that every token takes; 0 for none.
        shared_gate: whether a learnt scalar weighs those.
        tp: devices over which each expert is split.
        ep: devices over which the experts are spread.
    """
    wide, rows, held = split(inner, tp), tokens * active, split(experts, ep)
    terms: list[Term] = [
        Product("router", tokens, experts, hidden),
        Pass("router softmax", tokens * experts, 4, 2, 4, 3, function="exp", calls=4),
    ]
    # As even as whole rows allow: `longer` experts get one row more than the others.
    each, longer = divmod(rows, held)
    for count, many in ((each + 1, longer), (each, held - longer)):
        if count and many:
            names = ("expert gate", "expert up") if gated else ("expert up",)
            terms += [Product(name, count, wide, hidden, many) for name in names]
            terms.append(Product("expert down", count, hidden, wide, many))
    terms.append(_activation("expert activation", rows * wide, gated))
    terms.append(Pass("weighted sum of experts", rows * hidden, 2, 3, 2, 3, calls=3))
    if shared_inner:
        terms += feed_forward(
            tokens=tokens, hidden=hidden, inner=shared_inner, gated=gated, tp=tp, prefix="shared "
        )
    if shared_gate:
        terms.append(Product("shared gate weight", tokens, 1, hidden))
    return tuple(terms)


def _activation(name: str, numbers: int, gated: bool) -> Pass:
    if gated:
        flops = ACTIVATION_FLOPS + 1
        return Pass(name, numbers, flops, 3, flops + 4, 5, function="exp", calls=2)
    return Pass(name, numbers, ACTIVATION_FLOPS, 2, ACTIVATION_FLOPS + 3, 3, function="tanh")
