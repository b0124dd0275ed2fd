"""Floating-point operations of torch's operators, from their names and the shapes they get.

Convention: a multiply-accumulate is 2; an addition, multiplication, division, square root or
transcendental is 1; comparisons, copies, sign changes, selections, conversions and random
numbers are 0; operators on integers are 0. Nothing here imports torch: arrays are anything
with ``shape``, ``numel`` and ``is_floating_point``.
"""

from math import prod
from typing import Any

PER_OUTPUT = {
    **dict.fromkeys(("mul", "div", "reciprocal", "sqrt", "exp", "exp2", "expm1", "log"), 1),
    **dict.fromkeys(("log2", "log10", "log1p", "sin", "cos", "tanh", "erf", "pow"), 1),
    **dict.fromkeys(("bernoulli", "leaky_relu", "leaky_relu_backward"), 1),
    "rsqrt": 2,
    "sigmoid": 3,
    "silu": 4,
    "tanh_backward": 3,
    "sigmoid_backward": 3,
    "addcmul": 2,
    "addcdiv": 2,
    "lerp": 3,
    # x Phi(x): scale, erf, add, two products; by tanh two more products and an addition.
    "gelu": 5,
    # dy (Phi(x) + x phi(x)): 4 for each of both, a product, an addition, a product.
    "gelu_backward": 11,
    # dy s (1 + x (1 - s)) with the sigmoid s.
    "silu_backward": 8,
    "elu": 2,
    "elu_backward": 3,
    "softplus": 3,
    "softplus_backward": 4,
    "log_sigmoid_backward": 4,
    # The larger of both plus log1p(exp(-|x - y|)).
    "logaddexp": 4,
    # The result is scaled by 1 / (1 - p) and masked.
    "native_dropout_backward": 2,
    "mse_loss_backward": 3,
    "masked_scale": 2,
    "_euclidean_dist": 3,
}
"""Operations for each element of the result. ``x + alpha y`` and its like: see ``_scaled``."""

PER_INPUT = {
    **dict.fromkeys(("sum", "mean", "cumsum", "nansum", "prod", "cumprod"), 1),
    "logsumexp": 3,
    # min(x, 0) - log1p(exp(-|x|)).
    "log_sigmoid_forward": 3,
    "linalg_vector_norm": 2,
    "norm": 2,
    "var": 4,
    "std": 4,
    "var_mean": 4,
    "dot": 2,
    "vdot": 2,
    "_embedding_bag_backward": 1,
    "upsample_nearest2d_backward": 1,
    # Norm 2, its product with the direction 2.
    "_weight_norm_interface": 4,
    "_weight_norm_interface_backward": 7,
    "mv": 2,
    "native_dropout": 2,
    "mse_loss": 3,
    "smooth_l1_loss": 4,
    "binary_cross_entropy": 6,
    "binary_cross_entropy_with_logits": 7,
    # Subtract the maximum, exp, add up, then divide by the sum (or subtract its logarithm).
    **dict.fromkeys(("_softmax", "_log_softmax", "softmax", "log_softmax"), 4),
    "_safe_softmax": 4,
    "_softmax_backward_data": 4,
    "_log_softmax_backward_data": 4,
    "embedding_dense_backward": 1,
    # Mean 1, variance 3 (difference, square, sum), normalise 2, scale and shift 2.
    **dict.fromkeys(("native_layer_norm", "native_batch_norm", "native_group_norm"), 8),
    "_native_batch_norm_legit": 8,
    "_native_batch_norm_legit_functional": 8,
    "_batch_norm_with_update": 8,
    # Normalised input 2, scaled gradient 1, its two sums 3, gradient 4, of scale and shift 3.
    **dict.fromkeys(("native_layer_norm_backward", "native_batch_norm_backward"), 13),
    **dict.fromkeys(("native_group_norm_backward", "batch_norm_backward"), 13),
    # Square, sum, multiply by the root's inverse and by the weight.
    "_fused_rms_norm": 4,
    "_fused_rms_norm_backward": 10,
    "avg_pool2d": 1,
    "_adaptive_avg_pool2d": 1,
    "avg_pool2d_backward": 1,
    "_adaptive_avg_pool2d_backward": 1,
    "max_pool2d_with_indices_backward": 1,
}
"""Operations for each element of the first argument."""

PER_SOURCE = {"scatter_add": 1, "index_add": 1, "index_put": 1, "_unsafe_index_put": 1}
"""Operations for each element of the last tensor argument, which is added into the first."""

_FREE = """
    _cast_Float _local_scalar_dense _to_copy _unsafe_view abs all amax amin any arange argmax
    argmin argsort bitwise_and bitwise_not bitwise_or cat ceil clamp clamp_max clamp_min clone
    constant_pad_nd copy diagonal_copy embedding empty empty_like empty_strided eq fill flip floor
    full full_like gather ge gt hardtanh hardtanh_backward histc index index_copy index_fill
    index_select isfinite isinf isnan isneginf le lift_fresh logical_and logical_not logical_or lt
    masked_fill masked_select max max_pool2d_with_indices maximum min minimum ne neg new_empty
    new_empty_strided new_full new_ones new_zeros nll_loss2d_backward nll_loss_backward nonzero
    normal one_hot ones ones_like rand rand_like randint randint_like randn randn_like random
    randperm relu repeat resize roll round scalar_tensor scatter select_backward set sgn sign
    slice_backward slice_scatter sort stack threshold threshold_backward topk tril triu trunc
    unfold_backward uniform unsafe_split upsample_nearest1d upsample_nearest2d upsample_nearest3d
    where zero zeros zeros_like
"""
FREE = frozenset(_FREE.split())
"""Copies, comparisons, selections, sign changes and random numbers: 0 by convention."""

_TRANSCENDENTAL = """
    _log_softmax _log_softmax_backward_data _safe_softmax _softmax cos elu elu_backward erf exp
    exp2 expm1 gelu gelu_backward log log10 log1p log2 log_sigmoid_backward log_sigmoid_forward
    log_softmax logaddexp logsumexp pow sigmoid silu silu_backward sin softmax softplus
    softplus_backward tanh
"""
TRANSCENDENTAL = frozenset(_TRANSCENDENTAL.split())
"""Operators whose time goes mostly into exponentials and their like."""

FUSED_ADAM = 13
"""Of one parameter: first moment 3 (difference, multiply, add), second moment 4 (two
products, one square, one addition), denominator 3 (root, division, epsilon), update 3."""

CPU_ATTENTION = "_scaled_dot_product_flash_attention_for_cpu"
"""Fused attention on the CPU, which torch's own counter takes for nothing (pytorch #195460)."""
GROUPED_PRODUCT = "_grouped_mm"
"""Products of groups of rows, each with its own matrix: experts."""
CPU_RNN = "mkldnn_rnn_layer"
"""One layer of an LSTM by oneDNN, likewise."""
_LSTM_ELEMENTWISE = 16
"""Of one hidden unit and step: three sigmoids 9, two tanh 2, cell and output 4, biases apart."""


def plain_name(operator: str) -> str:
    """``mul`` for ``_foreach_mul_``: the arithmetic without where the result goes."""
    return operator.removeprefix("_foreach_").rstrip("_")


def arithmetic(
    operator: str,
    product: bool,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    given: list[Any],
    made: list[Any],
) -> int | None:
    """Operations of one call besides those that a counter of products counts.

    Args:
        operator: its name without namespace and overload, e.g. ``addmm``.
        product: whether its multiply-accumulates are counted elsewhere.
        args: positional arguments of the call.
        kwargs: arguments by name.
        given: every array among the arguments, in order.
        made: every array of the result.

    Returns:
        The count, or None if there is no rule for the operator.
    """
    if product:
        # torch counts the multiply-accumulates; the array that addmm adds them to is ours.
        adds = operator in ("addmm", "baddbmm") and kwargs.get("beta", 1) != 0
        return int(made[0].numel()) if adds else 0
    if operator in ("addmm_", "baddbmm_"):
        # torch's counter passes over products that are added in place.
        adds = int(kwargs.get("beta", 1) != 0)
        return int(made[0].numel()) * (2 * int(args[1].shape[-1]) + adds)
    if operator in ("_fused_adam_", "_fused_adamw_"):
        extra = 2 * (kwargs["weight_decay"] != 0) + bool(kwargs["maximize"])
        return sum(int(tensor.numel()) for tensor in args[0]) * int(FUSED_ADAM + extra)
    if operator in (CPU_ATTENTION, CPU_ATTENTION + "_backward"):
        return _attention(operator, args, kwargs)
    if operator == GROUPED_PRODUCT:
        # Each row meets one matrix; two lists of rows are multiplied over the rows they share.
        return 2 * int(args[0].numel()) * int(args[1].shape[-1])
    if operator in (CPU_RNN, CPU_RNN + "_backward"):
        return _lstm(operator, args)
    name = plain_name(operator)
    if name in FREE or not any(tensor.is_floating_point() for tensor in given + made):
        return 0
    return _by_table(name, args, kwargs, given, made)


def _by_table(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], given: list[Any], made: list[Any]
) -> int | None:
    first = args[0] if args and isinstance(args[0], (list, tuple)) else given[:1]
    out_size = sum(int(tensor.numel()) for tensor in (made or first))
    in_size = sum(int(tensor.numel()) for tensor in first)
    if name in ("add", "sub", "rsub"):
        return out_size * (1 if kwargs.get("alpha", 1) == 1 else 2)
    if name in PER_OUTPUT:
        return out_size * (PER_OUTPUT[name] + (kwargs.get("value", 1) not in (1, -1)))
    if name in PER_INPUT:
        return in_size * PER_INPUT[name] + (out_size if name == "mean" else 0)
    if name == "_embedding_bag":
        return int(given[1].numel() * made[0].shape[-1])
    if name in ("nll_loss_forward", "nll_loss2d_forward"):
        return int(given[1].numel())
    if name in PER_SOURCE:
        adds = "index_put" not in name or (len(args) > 3 and bool(args[3]))
        return int(given[-1].numel()) * adds
    if name == "linalg_qr":
        rows, columns = (int(size) for size in first[0].shape[-2:])
        inner = min(rows, columns)
        batch = prod(first[0].shape[:-2])
        # Householder factors and explicit Q (LAPACK geqrf and orgqr), highest order each.
        return int(batch * (4 * rows * columns * inner - 4 * inner**3 // 3))
    return None


def attended_pairs(queries: int, keys: int, causal: bool) -> int:
    """Pairs of a query and a key that attention looks at; causal ones start at the first key."""
    if not causal:
        return queries * keys
    inside = min(queries, keys)
    return inside * (inside + 1) // 2 + max(queries - keys, 0) * keys


def is_causal(operator: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call of the CPU's fused attention masks what comes later."""
    place = 7 if operator.endswith("_backward") else 4
    return bool(args[place] if len(args) > place else kwargs.get("is_causal", False))


def _attention(operator: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Two products forward, five backward (the scores are computed again), and the softmax.

    Only the pairs that a causal mask leaves: the kernel skips the blocks above the diagonal.
    Softmax 4 for each pair; backward 2 to have it again, 2 for its gradient.
    """
    backward = operator.endswith("_backward")
    query, key, value = args[1:4] if backward else args[:3]
    batch, heads, queries, width = (int(size) for size in query.shape)
    pairs = (
        batch
        * heads
        * attended_pairs(queries, int(key.shape[2]), is_causal(operator, args, kwargs))
    )
    inner = 3 * width + 2 * int(value.shape[3]) if backward else width + int(value.shape[3])
    return pairs * (2 * inner + 4)


def _lstm(operator: str, args: tuple[Any, ...]) -> int:
    """Input and hidden products of every step, twice that backward, and the gates."""
    steps_and_batch = int(args[0].shape[0]) * int(args[0].shape[1])
    gates, inputs = (int(size) for size in args[1].shape)
    hidden = int(args[2].shape[1])
    forward = 2 * gates * (inputs + hidden) + _LSTM_ELEMENTWISE * hidden
    return steps_and_batch * forward * (2 if operator.endswith("_backward") else 1)


def lstm_workspace_bytes(steps: int, batch: int, inputs: int, hidden: int, width: int = 4) -> int:
    """What oneDNN keeps of one LSTM layer for its gradient.

    Gates, outputs, states as wide as the wider of input and hidden with two gradients of them,
    cell states with one; gradients in float32. Rows but the cells' are padded to 64 bytes and off
    multiples of 256 numbers, each array to a page. Found from the sizes that torch 2.13 gives;
    its meta kernel says 0.

    Args:
        steps: length of the sequences.
        batch: sequences.
        inputs: numbers of one input.
        hidden: numbers of one hidden state.
        width: bytes of a number, 4 or 2.
    """
    inside, states, wide = steps * batch, 2 * (steps + 1) * batch, max(inputs, hidden)
    arrays = [inside * row_bytes(4 * hidden, width), inside * row_bytes(hidden, width)]
    arrays += [states * row_bytes(wide, size) for size in (width, 4, 4)]
    arrays += [states * hidden * size for size in (width, 4)]
    return sum(-(-size // 4096) * 4096 for size in arrays)


def row_bytes(numbers: int, width: int) -> int:
    """Bytes of a row that oneDNN pads to 64 bytes, and off multiples of 256 numbers."""
    line = 64 // width
    padded = -(-numbers // line) * line
    return width * (padded + line if padded % 256 == 0 else padded)
