"""The network of `layout`, forward and backward, with every intermediate in the arena.

Only the newest place has a query, so keys and values are never made place by place:
q . (h_t W_k) = (W_k q) . h_t and sum_t a_t (h_t W_v) = (sum_t a_t h_t) W_v, T times fewer
operations. The gradient of a matrix is a product of two small arrays that the backward pass
leaves in the arena; it is made when it is asked for.

Shapes below: B contexts, T places, N = B T, d = dim, w = width, H heads of w / H.
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


def activation_shapes(config: CoreConfig, batch: int, places: int) -> dict[str, Shape]:
    """Arrays of both passes by name."""
    b, t, n = batch, places, batch * places
    d, w, h = config.dim, config.width, config.heads
    return {
        "contexts": (b, t, d), "absent": (b, t), "mean_in": (n,), "rstd_in": (n,),
        "spare": (n, max(d, w)), "column": (n,),
        "hat_att": (n, w), "rstd_att": (n,), "rows_att": (n, w),
        # Both halves side by side are the two factors of the gradient of rows_att:
        # attention and its gradient, the gradient of what it pools and the query's image.
        "weights": (b, 2, h, t), "sums": (b, 2, h, w),
        "q": (b, w), "pooled": (b, h, w), "heads": (b, w), "per_head": (b, h, 1),
        "y": (b, w), "hat_out": (b, w), "rstd_out": (b,), "rows_out": (b, w), "tanh": (b, w),
        "gelu": (b, w), "mix": (b, t), "out": (b, d), "product": (b, d), "one": (b,),
        "d_out": (b, d), "row": (b, w), "d_heads": (b, w), "d_q": (b, w), "d_mix": (b, t),
    }  # fmt: skip


def constant_shapes(config: CoreConfig, batch: int) -> dict[str, Shape]:
    """Ones to sum with, and factors of one row filled up with zeros."""
    largest = max(config.dim, config.width)
    return {
        "ones": (max(largest, batch * config.context),),
        "left": (2, largest), "right": (2, largest), "blocks": (config.heads, config.width),
    }  # fmt: skip


class Network:
    """Both passes over at most a batch of contexts.

    Args:
        config: sizes.
        params: tensors by name.
        grads: where their gradients go, by name; those of matrices may share one place, which
            the backward pass uses too.
        arrays: of ``activation_shapes``.
        constants: of ``constant_shapes``.
    """

    def __init__(
        self,
        config: CoreConfig,
        params: dict[str, Floats],
        grads: dict[str, Floats],
        arrays: dict[str, Array],
        constants: dict[str, Array],
    ) -> None:
        self.config, self.params, self.grads, self._whole = config, params, grads, arrays
        self._constants, self._ones = constants, constants["ones"]
        self._ones[:] = 1
        h, w = config.heads, config.width
        self._diagonal = np.einsum("iij->ij", constants["blocks"].reshape(h, h, w // h))
        self._scale = math.sqrt(h / w)
        self._w_k, self._w_v = self._heads_of(params["w_k"]), self._heads_of(params["w_v"])
        self.batch = self.places = 0

    def resize(self, batch: int, places: int) -> None:
        """From now on use arrays of so many contexts, and of the last so many places."""
        if (batch, places) == (self.batch, self.places):
            return
        self.batch, self.places = batch, places
        self.at = {
            name: self._whole[name].reshape(-1)[: math.prod(shape)].reshape(shape)
            for name, shape in activation_shapes(self.config, batch, places).items()
        }

    def forward(self) -> None:
        """From ``contexts`` and ``absent`` (0, or -inf where there is no concept) to ``out``."""
        at, p, t = self.at, self.params, self.places
        contexts, x = at["contexts"], at["hat_att"]
        rows = self._spare(self.config.dim)
        self._normalise(self._rows_in(), rows, at["mean_in"], at["rstd_in"])
        rows *= p["norm_in_scale"]
        rows += p["norm_in_shift"]
        np.matmul(rows, p["w_in"], out=x)
        x += p["b_in"]
        last = self._places(x)
        last += p["places"][-t:]
        y = at["y"]
        np.add(last[:, -1], p["b_o"], out=y)
        self._attend(x)
        y += np.matmul(at["heads"], p["w_o"], out=at["row"])
        self._read_out(y)
        mix = np.add(p["mix"][-t:], at["absent"], out=at["mix"])
        _softmax(mix, at["one"][:, None])
        out = at["out"]
        out *= self.config.gain
        out += np.matmul(mix[:, None], contexts, out=at["product"][:, None])[:, 0]

    def _attend(self, x: Array) -> None:
        """From x, which becomes ``hat_att``, to ``heads``."""
        at, p = self.at, self.params
        rows, u, att, heads = at["rows_att"], at["sums"][:, 1], at["weights"][:, 0], at["heads"]
        self._normalise(x, x, at["column"], at["rstd_att"])
        np.multiply(x, p["norm_att_scale"], out=rows)
        rows += p["norm_att_shift"]
        rows = self._places(rows)
        q = np.matmul(rows[:, -1], p["w_q"], out=at["q"])
        q += p["b_q"]
        np.matmul(self._by_head(q), self._w_k.transpose(0, 2, 1), out=_heads_first(u))
        np.matmul(u, rows.transpose(0, 2, 1), out=att)
        att *= self._scale
        att += at["absent"][:, None]
        _softmax(att, at["per_head"])
        np.matmul(att, rows, out=at["pooled"])
        np.matmul(_heads_first(at["pooled"]), self._w_v, out=self._by_head(heads))
        heads += p["b_v"]

    def _read_out(self, y: Array) -> None:
        at, p = self.at, self.params
        rows, tanh, gelu = at["rows_out"], at["tanh"], at["gelu"]
        self._normalise(y, at["hat_out"], at["column"][: len(y)], at["rstd_out"])
        np.multiply(at["hat_out"], p["norm_out_scale"], out=rows)
        rows += p["norm_out_shift"]
        # gelu(x) = x (1 + tanh(ROOT (x + CUBIC x^3))) / 2
        np.multiply(rows, rows, out=tanh)
        tanh *= ROOT * CUBIC
        tanh += ROOT
        tanh *= rows
        np.tanh(tanh, out=tanh)
        np.add(tanh, 1, out=gelu)
        gelu *= rows
        gelu *= 0.5
        np.matmul(gelu, p["w_out"], out=at["out"])
        at["out"] += p["b_out"]

    def backward(self) -> None:
        """From ``d_out`` to the gradients of all vectors, and the factors of those of matrices.

        Intermediates are used up: a second time needs another ``forward``.
        """
        at, p = self.at, self.params
        d_out, d_y, d_heads, d_x = at["d_out"], at["row"], at["d_heads"], self._d_x()
        self._mix_back(d_out)
        d_out *= self.config.gain
        self._sum(d_out, "b_out")
        self._gelu_slope(at["y"])
        np.matmul(d_out, p["w_out"].T, out=d_y)
        d_y *= at["y"]
        self._normalise_back("out", d_y)
        self._sum(d_y, "b_o")
        np.matmul(d_y, p["w_o"].T, out=d_heads)
        self._sum(d_heads, "b_v")
        self._attend_back(d_heads, d_x)
        self._normalise_back("att", d_x)
        last = self._places(d_x)[:, -1]
        last += d_y
        self._sum(d_x, "b_in")
        self._input_back(d_x)

    def _gelu_slope(self, slope: Array) -> None:
        """((1 + tanh) + x (1 - tanh^2) ROOT (1 + 3 CUBIC x^2)) / 2; ``tanh`` is used up."""
        x, tanh = self.at["rows_out"], self.at["tanh"]
        np.multiply(x, x, out=slope)
        slope *= 3 * CUBIC * ROOT
        slope += ROOT
        slope *= x
        np.multiply(tanh, tanh, out=x)
        np.subtract(1, x, out=x)
        slope *= x
        slope += tanh
        slope += 1
        slope *= 0.5

    def _attend_back(self, d_heads: Array, d_rows: Array) -> None:
        at, p = self.at, self.params
        rows, weights, sums = self._places(at["rows_att"]), at["weights"], at["sums"]
        att, d_att, d_pooled, u = weights[:, 0], weights[:, 1], sums[:, 0], sums[:, 1]
        np.matmul(self._by_head(d_heads), self._w_v.transpose(0, 2, 1), out=_heads_first(d_pooled))
        np.matmul(d_pooled, rows.transpose(0, 2, 1), out=d_att)
        _softmax_back(d_att, att, at["per_head"])
        d_att *= self._scale
        b, t, w = rows.shape
        both = weights.reshape(b, -1, t).transpose(0, 2, 1)
        np.matmul(both, sums.reshape(b, -1, w), out=d_rows.reshape(b, t, w))
        d_u, d_q = u, at["d_q"]
        np.matmul(d_att, rows, out=d_u)
        np.matmul(_heads_first(d_u), self._w_k, out=self._by_head(d_q))
        self._sum(d_q, "b_q")
        last = self._places(d_rows)[:, -1]
        # y is the slope, which has been used.
        last += np.matmul(d_q, p["w_q"].T, out=at["y"])

    def _mix_back(self, d_out: Array) -> None:
        d_mix, out = self.at["d_mix"], self.grads["mix"]
        np.matmul(self.at["contexts"], d_out[:, :, None], out=d_mix[:, :, None])
        _softmax_back(d_mix, self.at["mix"], self.at["one"][:, None])
        out[: -self.places] = 0
        np.add.reduce(d_mix, axis=0, out=out[-self.places :])

    def _input_back(self, d_x: Array) -> None:
        """Gradients of the first normalisation, whose input needs none.

        Turns ``contexts`` into what W_in has seen.
        """
        at, p, g = self.at, self.params, self.grads
        rows = self._rows_in()
        rows -= at["mean_in"][:, None]
        rows *= at["rstd_in"][:, None]
        np.matmul(rows.T, d_x, out=g["w_in"])
        np.einsum("ij,ij->i", p["w_in"], g["w_in"], out=g["norm_in_scale"])
        np.matmul(p["w_in"], g["b_in"], out=g["norm_in_shift"])
        rows *= p["norm_in_scale"]
        rows += p["norm_in_shift"]

    def matrix_gradient(self, name: str) -> Array:
        """Make the gradient of a matrix, in ``grads``; after ``backward``."""
        at, out = self.at, self.grads[name]
        if name == "places":
            out[: -self.places] = 0
            np.add.reduce(self._places(self._d_x()), axis=0, out=out[-self.places :])
        elif name == "w_in":
            np.matmul(self._rows_in().T, self._d_x(), out=out)
        elif name == "w_q":
            self._outer(self._places(at["rows_att"])[:, -1], at["d_q"], out)
        elif name == "w_k":
            self._outer_by_head(at["sums"][:, 1], at["q"], out)
        elif name == "w_v":
            self._outer_by_head(at["pooled"], at["d_heads"], out)
        elif name == "w_o":
            self._outer(at["heads"], at["row"], out)
        else:
            self._outer(at["gelu"], at["d_out"], out)
        return out

    def _outer(self, left: Array, right: Array, out: Array) -> None:
        """Sum over the batch of left (B, m) x right (B, n)."""
        if self.batch == 1:
            # Matrix products are many times slower with an inner dimension of 1 than of 2.
            factors = []
            for name, row in (("left", left), ("right", right)):
                padded = self._constants[name][:, : row.shape[1]]
                padded[0] = row[0]
                factors.append(padded)
            left, right = factors
        np.matmul(left.T, right, out=out)

    def _outer_by_head(self, left: Array, right: Array, out: Array) -> None:
        """In the columns of each head, left (B, H, w) of that head x right (B, w)."""
        if self.batch == 1:
            self._diagonal[:] = right.reshape(self._diagonal.shape)
            np.matmul(left[0].T, self._constants["blocks"], out=out)
        else:
            by_head = _heads_first(left).transpose(0, 2, 1)
            np.matmul(by_head, self._by_head(right), out=self._heads_of(out))

    def _normalise(self, x: Array, hat: Array, mean: Array, rstd: Array) -> None:
        """From x (N, n) to hat = (x - mean) rstd, in place if both are one."""
        n = x.shape[1]
        np.dot(x, self._ones[:n], out=mean)
        mean *= 1 / n
        np.subtract(x, mean[:, None], out=hat)
        np.einsum("ij,ij->i", hat, hat, out=rstd)
        rstd *= 1 / n
        rstd += EPS
        np.sqrt(rstd, out=rstd)
        np.divide(1, rstd, out=rstd)
        hat *= rstd[:, None]

    def _normalise_back(self, name: str, d: Array) -> None:
        """From the gradient of hat scale + shift to that of x, in place; ``hat`` is used up."""
        hat, rstd = self.at[f"hat_{name}"], self.at[f"rstd_{name}"]
        n = d.shape[1]
        self._sum(d, f"norm_{name}_shift")
        np.einsum("ij,ij->j", d, hat, out=self.grads[f"norm_{name}_scale"])
        d *= self.params[f"norm_{name}_scale"]
        mean = self.at["column"][: len(d)]
        np.einsum("ij,ij->i", d, hat, out=mean)
        mean *= 1 / n
        hat *= mean[:, None]
        np.dot(d, self._ones[:n], out=mean)
        mean *= 1 / n
        d -= mean[:, None]
        d -= hat
        d *= rstd[:, None]

    def _sum(self, d: Array, name: str) -> None:
        """Over the rows, to the gradient of a bias."""
        np.dot(self._ones[: len(d)], d, out=self.grads[name])

    def _spare(self, n: int) -> Array:
        """(N, n)."""
        size = self.batch * self.places * n
        return self.at["spare"].reshape(-1)[:size].reshape(-1, n)

    def _rows_in(self) -> Array:
        """Contexts, (N, d)."""
        return self.at["contexts"].reshape(-1, self.config.dim)

    def _d_x(self) -> Array:
        """(N, w), where the forward pass had the input of W_in."""
        return self._spare(self.config.width)

    def _places(self, rows: Array) -> Array:
        """(N, n) to (B, T, n)."""
        return rows.reshape(self.batch, self.places, -1)

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


def _softmax(values: Array, spare: Array) -> None:
    """Over the last dimension, in place."""
    values -= np.maximum.reduce(values, axis=-1, keepdims=True, out=spare)
    np.exp(values, out=values)
    values /= np.add.reduce(values, axis=-1, keepdims=True, out=spare)


def _softmax_back(d: Array, values: Array, spare: Array) -> None:
    """To values (d - sum of values d), in place; ``values`` are what the softmax gave."""
    np.einsum("...i,...i->...", values, d, out=spare[..., 0])
    d -= spare
    d *= values
