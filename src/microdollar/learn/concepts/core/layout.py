"""The concept model's parameters: one flat float32 vector, and where each tensor lies in it.

384 -> 256 -> 384 with one attention layer over the last T concepts (the "small LNSP" of Carter
2025, whose table gives widths and no more):

    x_t  = LN_in(c_t) W_in + b_in + place_t                  t = 1..T, c_t a unit vector
    h_t  = LN_att(x_t)
    a    = softmax over t of (h_T W_q + b_q) (h_t W_k) / sqrt(d_head), in each head
    y    = x_T + (sum_t a_t h_t W_v + b_v) W_o + b_o
    out  = sum_t softmax(mix)_t c_t + gain * (gelu(LN_out(y)) W_out + b_out)
    prediction = out / |out|

``W_out`` starts at zero, so an untrained model predicts the last-heavy mix of its context.
Only the newest concept has a query. Keys have no bias: it would add the same to all scores of a
query. Places count from the end: the newest concept is the last place, whatever the context's
length. Vectors come first in the flat vector, so that they are updated as one.
"""

import json
import math
import random
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from microdollar.errors import UsageError

Floats = npt.NDArray[np.float32]
"""float64 where the network is checked in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreConfig:
    """Sizes of a concept model.

    Raises:
        UsageError: if one is not positive, or ``heads`` does not divide ``width``.
    """

    dim: int = 384
    """Of a concept vector."""
    width: int = 256
    heads: int = 4
    context: int = 16
    """T, the most concepts that a prediction sees."""
    gain: float = 0.1
    """Of what the network adds to the mix of its context."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            kinds = (int, float) if name == "gain" else (int,)
            if type(value) not in kinds or not 0 < value < math.inf:
                wanted = "number" if name == "gain" else "whole number"
                raise UsageError(f"{name} of a concept model is a positive {wanted}: {value!r}.")
        if self.width % self.heads:
            raise UsageError(f"{self.heads} heads do not divide a width of {self.width}.")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Tensors by name in their order in the flat vector."""
        d, w, t = self.dim, self.width, self.context
        return {
            "norm_in_scale": (d,), "norm_in_shift": (d,), "b_in": (w,),
            "norm_att_scale": (w,), "norm_att_shift": (w,), "b_q": (w,), "b_v": (w,), "b_o": (w,),
            "norm_out_scale": (w,), "norm_out_shift": (w,), "b_out": (d,), "mix": (t,),
            "places": (t, w), "w_in": (d, w), "w_q": (w, w), "w_k": (w, w), "w_v": (w, w),
            "w_o": (w, w), "w_out": (w, d),
        }  # fmt: skip

    @property
    def n_params(self) -> int:
        """466,064 with the defaults."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def n_vectors(self) -> int:
        """Elements of the tensors of one dimension, which come first."""
        return sum(shape[0] for shape in self.shapes.values() if len(shape) == 1)


def views(flat: Floats, config: CoreConfig) -> dict[str, Floats]:
    """Tensors by name, views of a flat vector (n_params,), float32 or float64.

    Raises:
        UsageError: if the vector is not one of this configuration.
    """
    if flat.shape != (config.n_params,) or flat.dtype not in (np.float32, np.float64):
        raise UsageError(
            f"a model of {config} has {config.n_params} float32 parameters, "
            f"got {flat.dtype} of shape {flat.shape}."
        )
    found, start = {}, 0
    for name, shape in config.shapes.items():
        size = math.prod(shape)
        found[name] = flat[start : start + size].reshape(shape)
        start += size
    return found


def initial(config: CoreConfig, seed: int = 0, out: Floats | None = None) -> Floats:
    """Parameters before training: normal weights of deviation 1 / sqrt(rows).

    Args:
        config: sizes.
        seed: of the random numbers.
        out: (n_params,), where to; a new array without it.
    """
    draw = random.Random(seed)
    flat = np.empty(config.n_params, np.float32) if out is None else out
    flat[:] = 0
    for name, tensor in views(flat, config).items():
        if name.endswith("_scale"):
            tensor[:] = 1
        elif name.startswith("w_") and name != "w_out":
            _fill_normal(tensor, 1 / math.sqrt(len(tensor)), draw)
        elif name == "places":
            _fill_normal(tensor, 0.02, draw)
        elif name == "mix":
            # Each concept counts for half of the one after it.
            tensor[:] = math.log(2) * np.arange(1 - len(tensor), 1)
    return flat


def _fill_normal(tensor: Floats, deviation: float, draw: random.Random) -> None:
    """Normal variables (Box and Muller 1958), without numpy.random and the OpenSSL it brings."""
    flat = tensor.reshape(-1)
    for start in range(0, len(flat), 2**14):
        part = flat[start : start + 2**14]
        bits = np.frombuffer(draw.randbytes(8 * -(-len(part) // 2)), "<u4").reshape(2, -1)
        uniform = (bits + 0.5) / 2**32
        length, angle = np.sqrt(-2 * np.log(uniform[0])), 2 * math.pi * uniform[1]
        normal = np.concatenate([length * np.cos(angle), length * np.sin(angle)])
        part[:] = deviation * normal[: len(part)]


def fingerprint(params: Floats, config: CoreConfig) -> str:
    """SHA-256 of the configuration and of the parameters' little-endian bytes, in hex.

    Args:
        params: (n_params,), float32.
        config: their sizes.

    Raises:
        UsageError: if they don't fit together.
    """
    # Imported here: it brings OpenSSL, a tenth of a small process.
    import hashlib

    views(params, config)
    sizes = asdict(config) | {"gain": float(config.gain)}
    found = hashlib.sha256(json.dumps(sizes, sort_keys=True).encode())
    found.update(np.ascontiguousarray(params, "<f4").data)
    return found.hexdigest()
