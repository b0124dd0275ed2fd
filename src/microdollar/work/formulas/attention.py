"""Operations of softmax attention: multi-head, grouped-query, multi-query and latent.

b sequences, s queries and t keys a sequence, h features of the model, a heads of d features,
a_kv key and value heads. Forward, one layer (Narayanan et al. 2021, arXiv:2104.04473, appendix;
Kaplan et al. 2020, arXiv:2001.08361, table 1):

    projections   2 b s h (2 a d + 2 a_kv d)
    scores        2 b a s t d      over the square, or 2 b a d x (visible pairs)
    values        2 b a s t d      likewise

Grouped queries change the projections and the bytes of keys and values, never the scores. Counted
as passes: softmax, dropout, rotation of queries and keys. Not counted: biases of the projections,
the mask, relative position biases, caps on scores, and integer index arithmetic.
"""

from microdollar.work.formulas.terms import DROPOUT, Layer, Pass, Product, Term, split

SOFTMAX_FLOPS = 4
"""Of one score: subtract the maximum, exp, sum, divide."""
ROTARY_FLOPS = 3
"""Of one feature: two multiplications and an addition (Su et al. 2021, arXiv:2104.09864, eq 34)."""


def visible_pairs(queries: int, keys: int, *, causal: bool, window: int | None = None) -> int:
    """Pairs of a query and a key that the mask leaves, of ``queries * keys``.

    A causal query at position i sees the keys 0 to i, so the square leaves s (s + 1) / 2 pairs; a
    window of w leaves it the last w of them, its own among them. Without causality a window
    reaches to both sides: (w - 1) // 2 keys behind and w // 2 ahead. Where there are more keys
    than queries, the queries are the last positions (decoding with a cache).

    Args:
        queries: positions that ask, at most ``keys`` if causal.
        keys: positions that answer.
        causal: whether a query sees no later key.
        window: keys that a query sees at most.
    """
    first = keys - queries
    if window is None and not causal:
        return queries * keys
    if window is None:
        behind = keys - 1
    elif causal:
        behind = window - 1
    else:
        behind = (window - 1) // 2
    ahead = 0 if causal else (window or 1) // 2
    seen_behind = _sum_of_least(keys, behind) - _sum_of_least(first, behind)
    # Ahead of the last query lies nothing, ahead of the one before it one key, and so on.
    return queries + seen_behind + _sum_of_least(queries, ahead)


def _sum_of_least(count: int, limit: int) -> int:
    """Sum over i from 0 to ``count - 1`` of min(i, limit)."""
    rising = min(count, limit + 1)
    return rising * (rising - 1) // 2 + (count - rising) * limit


def attention(
    *,
    batch: int,
    sequence: int,
    hidden: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    causal: bool,
    window: int | None = None,
    keys: int | None = None,
    qk_norm: bool = False,
    rotary: bool = True,
    dropout: bool = False,
    tp: int = 1,
    cp: int = 1,
) -> Layer:
    """One layer of softmax attention on one of ``tp * cp`` devices.

    Args:
        batch: sequences.
        sequence: queries of one sequence, over all devices.
        hidden: width of the model.
        heads: query heads over all devices.
        kv_heads: key and value heads; each device holds at least one.
        head_dim: features of a head.
        causal: whether a query sees no later key.
        window: keys that a query sees at most.
        keys: positions of another sequence that answer (cross-attention); None for its own.
        qk_norm: whether queries and keys are normalised.
        rotary: whether queries and keys are rotated (counted as a pass, no product).
        dropout: whether shares of attention are dropped.
        tp: devices over which the heads are split.
        cp: devices over which each sequence is split, evenly in visible pairs.
    """
    own = split(sequence, cp)
    answering = sequence if keys is None else keys
    rows, key_rows = batch * own, batch * (own if keys is None else split(keys, cp))
    local, local_kv = split(heads, tp), split(kv_heads, tp)
    width, kv_width = local * head_dim, local_kv * head_dim
    terms: list[Term] = [
        Product("query", rows, width, hidden),
        Product("key", key_rows, kv_width, hidden),
        Product("value", key_rows, kv_width, hidden),
    ]
    both = rows * width + key_rows * kv_width
    if qk_norm:
        terms.append(Pass("query and key norm", both, 4, 2, 8, 3, calls=4))
    if rotary:
        terms.append(Pass("rotation", both, ROTARY_FLOPS, 2, ROTARY_FLOPS, 2, calls=8))
    terms += _core(
        batch=batch,
        queries=own,
        keys=answering,
        heads=local,
        score_dim=head_dim,
        value_dim=head_dim,
        pairs=split(_pairs(sequence, keys, causal, window), cp),
        dropout=dropout,
    )
    terms.append(Product("output", rows, hidden, width))
    return tuple(terms)


def latent_attention(
    *,
    batch: int,
    sequence: int,
    hidden: int,
    heads: int,
    q_rank: int | None,
    kv_rank: int,
    nope_dim: int,
    rope_dim: int,
    value_dim: int,
    causal: bool,
    tp: int = 1,
    cp: int = 1,
) -> Layer:
    """One layer of multi-head latent attention as it is trained: keys and values expanded.

    DeepSeek-V2, arXiv:2405.04434, section 2.1 and appendix C: queries and keys of nope + rope
    features a head, values of ``value_dim``, both made from vectors of rank ``kv_rank`` (and
    ``q_rank``). Under tensor parallelism the projections down are done on every device.

    Args:
        batch: sequences.
        sequence: tokens of one.
        hidden: width of the model.
        heads: heads over all devices.
        q_rank: rank of the queries' projection; None where it is full.
        kv_rank: rank of that of keys and values.
        nope_dim: features of a head's query and key without rotation.
        rope_dim: rotated features.
        value_dim: features of a head's value.
        causal: whether a query sees no later key.
        tp: devices over which the heads are split.
        cp: devices over which each sequence is split.
    """
    own, local = split(sequence, cp), split(heads, tp)
    rows, score_dim = batch * own, nope_dim + rope_dim
    terms: list[Term] = []
    if q_rank is None:
        terms.append(Product("query", rows, local * score_dim, hidden))
    else:
        terms.append(Product("query down", rows, q_rank, hidden))
        terms.append(Pass("query norm", rows * q_rank, 4, 2, 8, 3, calls=4))
        terms.append(Product("query up", rows, local * score_dim, q_rank))
    terms += [
        Product("key-value down", rows, kv_rank + rope_dim, hidden),
        Pass("key-value norm", rows * kv_rank, 4, 2, 8, 3, calls=4),
        Product("key-value up", rows, local * (nope_dim + value_dim), kv_rank),
        Pass("rotation", rows * (local + 1) * rope_dim, ROTARY_FLOPS, 2, ROTARY_FLOPS, 2, calls=8),
        *_core(
            batch=batch,
            queries=own,
            keys=sequence,
            heads=local,
            score_dim=score_dim,
            value_dim=value_dim,
            pairs=split(visible_pairs(sequence, sequence, causal=causal), cp),
        ),
        Product("output", rows, hidden, local * value_dim),
    ]
    return tuple(terms)


def _pairs(sequence: int, keys: int | None, causal: bool, window: int | None) -> int:
    if keys is not None:
        return sequence * keys
    return visible_pairs(sequence, sequence, causal=causal, window=window)


def _core(
    *,
    batch: int,
    queries: int,
    keys: int,
    heads: int,
    score_dim: int,
    value_dim: int,
    pairs: int,
    dropout: bool = False,
) -> tuple[Term, ...]:
    many = batch * heads
    dropped: tuple[Term, ...] = ()
    if dropout:
        dropped = (Pass("dropout of scores", many * queries * keys, *DROPOUT, of_scores=True),)
    return (
        Product("scores", queries, keys, score_dim, many, "scores", many * pairs * score_dim),
        Pass(
            "softmax",
            many * queries * keys,
            SOFTMAX_FLOPS,
            2,
            4,
            3,
            function="exp",
            of_scores=True,
            calls=2,
        ),
        *dropped,
        Product("values", queries, value_dim, keys, many, "scores", many * pairs * value_dim),
    )
