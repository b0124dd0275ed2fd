"""The network of `layout`, forward and backward, with every intermediate in the arena.

Only the newest place has a query, so keys and values are never made place by place:
q . (h_t W_k) = (W_k q) . h_t and sum_t a_t (h_t W_v) = (sum_t a_t h_t) W_v, T times fewer
operations. The gradient of a matrix is a product of two small arrays that the backward pass
leaves in the arena; it is made when it is asked for.

Shapes below: B contexts, T places, d = dim, w = width, H heads of w / H.
"""

import math

import numpy as np

from microdollar.learn.concepts.core.arena import Array, Shape
from microdollar.learn.concepts.core.layout import CoreConfig, Floats

EPS = 1e-5
"""Added to variances (PyTorch's)."""
ROOT = math.sqrt(2 / math.pi)
CUBIC = 0.044715
"""Of GELU's approximation by tanh (Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2)."""


def activation_shapes(config: CoreConfig, batch: int) -> dict[str, Shape]:
    """Arrays of both passes by name; the first dimension is the batch."""
    b, t, d, w, h = batch, config.context, config.dim, config.width, config.heads
    return {
        "contexts": (b, t, d), "absent": (b, t),
        "hat_in": (b, t, d), "rstd_in": (b, t, 1), "rows_in": (b, t, d),
        "x": (b, t, w), "hat_att": (b, t, w), "rstd_att": (b, t, 1), "rows_att": (b, t, w),
        "q": (b, w), "u": (b, h, w), "att": (b, h, t), "pooled": (b, h, w), "heads": (b, w),
        "y": (b, w), "hat_out": (b, w), "rstd_out": (b, 1), "rows_out": (b, w),
        "tanh": (b, w), "gelu": (b, w), "answer": (b, d), "mix": (b, t), "out": (b, d),
        "d_out": (b, d), "d_answer": (b, d), "d_rows_out": (b, w), "d_y": (b, w),
        "d_heads": (b, w), "d_pooled": (b, h, w), "d_att": (b, h, t), "d_u": (b, h, w),
        "d_q": (b, w), "d_rows_att": (b, t, w), "d_x": (b, t, w), "d_rows_in": (b, t, d),
        "d_mix": (b, t), "row": (b, w), "rows": (b, t, w), "places": (b, t), "column": (b, t, 1),
        "per_head": (b, h, 1), "one": (b, 1),
    }  # fmt: skip


class Network:
    """Both passes over at most a batch of contexts.

    Args:
        config: sizes.
        params: tensors by name.
        grads: where their gradients go, by name.
        arrays: of ``activation_shapes``.
    """

    def __init__(
        self,
        config: CoreConfig,
        params: dict[str, Floats],
        grads: dict[str, Floats],
        arrays: dict[str, Array],
    ) -> None:
        self.config, self.params, self.grads, self._whole = config, params, grads, arrays
        self._scale = math.sqrt(config.heads / config.width)
        self._w_k, self._w_v = self._heads_of(params["w_k"]), self._heads_of(params["w_v"])
        self.resize(len(arrays["contexts"]))

    def resize(self, batch: int) -> None:
        """Use the first ``batch`` entries of every array from now on."""
        self.batch = batch
        self.at = {name: array[:batch] for name, array in self._whole.items()}

    def forward(self) -> None:
        """From ``contexts`` and ``absent`` (0, or -inf where there is no concept) to ``out``."""
        at, p = self.at, self.params
        rows = at["rows_in"]
        _normalise(at["contexts"], at["hat_in"], at["rstd_in"], rows, at["column"])
        rows *= p["norm_in_scale"]
        rows += p["norm_in_shift"]
        x = np.matmul(rows, p["w_in"], out=at["x"])
        x += p["b_in"]
        x += p["places"]
        self._attend(x)
        y = np.matmul(at["heads"], p["w_o"], out=at["y"])
        y += p["b_o"]
        y += x[:, -1]
        self._read_out(y)
        mix = np.add(p["mix"], at["absent"], out=at["mix"])
        _softmax(mix, at["one"])
        out = at["out"]
        np.matmul(mix[:, None], at["contexts"], out=out[:, None])
        out += np.multiply(at["answer"], self.config.gain, out=at["d_answer"])

    def _attend(self, x: Array) -> None:
        at, p = self.at, self.params
        rows = at["rows_att"]
        _normalise(x, at["hat_att"], at["rstd_att"], rows, at["column"])
        rows *= p["norm_att_scale"]
        rows += p["norm_att_shift"]
        q = np.matmul(rows[:, -1], p["w_q"], out=at["q"])
        q += p["b_q"]
        np.matmul(self._by_head(q), self._w_k.transpose(0, 2, 1), out=_heads_first(at["u"]))
        att = np.matmul(at["u"], rows.transpose(0, 2, 1), out=at["att"])
        att *= self._scale
        att += at["absent"][:, None]
        _softmax(att, at["per_head"])
        np.matmul(att, rows, out=at["pooled"])
        heads = at["heads"]
        np.matmul(_heads_first(at["pooled"]), self._w_v, out=self._by_head(heads))
        heads += p["b_v"]

    def _read_out(self, y: Array) -> None:
        at, p = self.at, self.params
        rows, tanh, gelu = at["rows_out"], at["tanh"], at["gelu"]
        _normalise(y, at["hat_out"], at["rstd_out"], rows, at["one"])
        rows *= p["norm_out_scale"]
        rows += p["norm_out_shift"]
        # gelu(x) = x (1 + tanh(ROOT (x + CUBIC x^3))) / 2
        np.multiply(rows, rows, out=tanh)
        tanh *= CUBIC
        tanh += 1
        tanh *= rows
        tanh *= ROOT
        np.tanh(tanh, out=tanh)
        np.add(tanh, 1, out=gelu)
        gelu *= rows
        gelu *= 0.5
        answer = np.matmul(gelu, p["w_out"], out=at["answer"])
        answer += p["b_out"]

    def backward(self) -> None:
        """From ``d_out`` to the gradients of all vectors, and what those of matrices are made of."""
        at, p, g = self.at, self.params, self.grads
        d_answer = np.multiply(at["d_out"], self.config.gain, out=at["d_answer"])
        np.add.reduce(d_answer, axis=0, out=g["b_out"])
        d_rows = np.matmul(d_answer, p["w_out"].T, out=at["d_rows_out"])
        d_rows *= self._gelu_slope()
        self._normalise_back("out", d_rows, at["d_y"], at["row"], at["one"])
        d_y = at["d_y"]
        np.add.reduce(d_y, axis=0, out=g["b_o"])
        d_heads = np.matmul(d_y, p["w_o"].T, out=at["d_heads"])
        np.add.reduce(d_heads, axis=0, out=g["b_v"])
        self._attend_back(d_heads)
        d_x = at["d_x"]
        self._normalise_back("att", at["d_rows_att"], d_x, at["rows"], at["column"])
        d_x[:, -1] += d_y
        np.add.reduce(d_x, axis=(0, 1), out=g["b_in"])
        d_rows = np.matmul(d_x, p["w_in"].T, out=at["d_rows_in"])
        np.add.reduce(d_rows, axis=(0, 1), out=g["norm_in_shift"])
        d_rows *= at["hat_in"]
        np.add.reduce(d_rows, axis=(0, 1), out=g["norm_in_scale"])
        self._mix_back()

    def _gelu_slope(self) -> Array:
        at = self.at
        x, tanh, slope, rest = at["rows_out"], at["tanh"], at["row"], at["d_y"]
        np.multiply(x, x, out=slope)
        slope *= 3 * CUBIC
        slope += 1
        slope *= x
        slope *= ROOT
        np.multiply(tanh, tanh, out=rest)
        np.subtract(1, rest, out=rest)
        slope *= rest
        slope += tanh
        slope += 1
        slope *= 0.5
        return slope

    def _attend_back(self, d_heads: Array) -> None:
        at, p, g = self.at, self.params, self.grads
        rows, att, d_att, d_rows = at["rows_att"], at["att"], at["d_att"], at["d_rows_att"]
        d_pooled, d_u, d_q = at["d_pooled"], at["d_u"], at["d_q"]
        np.matmul(self._by_head(d_heads), self._w_v.transpose(0, 2, 1), out=_heads_first(d_pooled))
        np.matmul(d_pooled, rows.transpose(0, 2, 1), out=d_att)
        _softmax_back(d_att, att, at["per_head"])
        d_att *= self._scale
        np.matmul(d_att, rows, out=d_u)
        np.matmul(_heads_first(d_u), self._w_k, out=self._by_head(d_q))
        np.add.reduce(d_q, axis=0, out=g["b_q"])
        np.matmul(att.transpose(0, 2, 1), d_pooled, out=d_rows)
        d_rows += np.matmul(d_att.transpose(0, 2, 1), at["u"], out=at["rows"])
        d_rows[:, -1] += np.matmul(d_q, p["w_q"].T, out=at["row"])

    def _mix_back(self) -> None:
        at = self.at
        d_mix = at["d_mix"]
        np.matmul(at["contexts"], at["d_out"][:, :, None], out=d_mix[:, :, None])
        _softmax_back(d_mix, at["mix"], at["one"])
        np.add.reduce(d_mix, axis=0, out=self.grads["mix"])

    def _normalise_back(self, name: str, d: Array, out: Array, spare: Array, mean: Array) -> None:
        """Through rows = hat scale + shift and hat = (x - mean) rstd; ``out`` is that of x."""
        hat, scale = self.at[f"hat_{name}"], self.params[f"norm_{name}_scale"]
        rows = tuple(range(d.ndim - 1))
        np.add.reduce(d, axis=rows, out=self.grads[f"norm_{name}_shift"])
        np.multiply(d, hat, out=spare)
        np.add.reduce(spare, axis=rows, out=self.grads[f"norm_{name}_scale"])
        along = 1 / d.shape[-1]
        np.multiply(d, scale, out=out)
        spare *= scale
        np.add.reduce(spare, axis=-1, keepdims=True, out=mean)
        mean *= along
        np.multiply(hat, mean, out=spare)
        np.add.reduce(out, axis=-1, keepdims=True, out=mean)
        mean *= along
        out -= mean
        out -= spare
        out *= self.at[f"rstd_{name}"]

    def matrix_gradient(self, name: str) -> Array:
        """Make the gradient of a matrix, in ``grads``; after ``backward``."""
        at, out = self.at, self.grads[name]
        if name == "places":
            return np.add.reduce(at["d_x"], axis=0, out=out)
        if name == "w_in":
            left, right = at["rows_in"], at["d_x"]
            rows = left.shape[0] * left.shape[1]
            return np.matmul(left.reshape(rows, -1).T, right.reshape(rows, -1), out=out)
        if name in ("w_k", "w_v"):
            left, right = ("d_u", "q") if name == "w_k" else ("pooled", "d_heads")
            per_head = _heads_first(at[left]).transpose(0, 2, 1)
            np.matmul(per_head, self._by_head(at[right]), out=self._heads_of(out))
            return out
        left, right = {
            "w_q": (at["rows_att"][:, -1], at["d_q"]),
            "w_o": (at["heads"], at["d_y"]),
            "w_out": (at["gelu"], at["d_answer"]),
        }[name]
        return np.matmul(left.T, right, out=out)

    def _heads_of(self, matrix: Array) -> Array:
        """(w, w) to (H, w, w / H)."""
        w, h = self.config.width, self.config.heads
        return matrix.reshape(w, h, w // h).transpose(1, 0, 2)

    def _by_head(self, rows: Array) -> Array:
        """(B, w) to (H, B, w / H)."""
        return rows.reshape(self.batch, self.config.heads, -1).transpose(1, 0, 2)


def _heads_first(values: Array) -> Array:
    """(B, H, w) to (H, B, w)."""
    return values.transpose(1, 0, 2)


def _normalise(x: Array, hat: Array, rstd: Array, spare: Array, mean: Array) -> None:
    """hat = (x - mean) rstd over the last dimension."""
    along = 1 / x.shape[-1]
    np.add.reduce(x, axis=-1, keepdims=True, out=mean)
    mean *= along
    np.subtract(x, mean, out=hat)
    np.multiply(hat, hat, out=spare)
    np.add.reduce(spare, axis=-1, keepdims=True, out=rstd)
    rstd *= along
    rstd += EPS
    np.sqrt(rstd, out=rstd)
    np.divide(1, rstd, out=rstd)
    hat *= rstd
    np.copyto(spare, hat)


def _softmax(values: Array, spare: Array) -> None:
    """Over the last dimension, in place."""
    values -= np.maximum.reduce(values, axis=-1, keepdims=True, out=spare)
    np.exp(values, out=values)
    values /= np.add.reduce(values, axis=-1, keepdims=True, out=spare)


def _softmax_back(d: Array, values: Array, spare: Array) -> None:
    """d = values (d - sum of values d), in place; ``values`` are what the softmax gave."""
    d *= values
    np.add.reduce(d, axis=-1, keepdims=True, out=spare)
    # d now holds values d, so that only the second term is missing.
    d -= values * spare
