"""Causal softmax attention (Vaswani et al., arXiv:1706.03762, section 3.2), by two kernels.

Queries and keys are turned by their positions (Su et al., arXiv:2104.09864, section 3.2.2).
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from microdollar.learn.sequence.layer_torch import SequenceLayer, State
from microdollar.learn.sequence.layers import LayerSizes

BASE = 10_000.0
"""Of the rotary frequencies (Su et al., section 3.2.2)."""
FIRST_ROOM = 64
"""Positions that a cache has room for at first."""


def room(positions: int) -> int:
    """Positions that a cache that holds ``positions`` has room for without autograd."""
    return max(FIRST_ROOM, 1 << (positions - 1).bit_length())


def rotary(positions: Tensor, features: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the angles by which each pair of features turns.

    Args:
        positions: (N,).
        features: of a head, D; even.
        dtype: of the result.

    Returns:
        Both of shape (N, D / 2).
    """
    # A position above 256 is not a number of bfloat16.
    exact = torch.promote_types(dtype, torch.float32)
    pairs = torch.arange(0, features, 2, device=positions.device, dtype=exact)
    angles = positions.to(exact)[:, None] * torch.pow(BASE, pairs / -features)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn feature i of the last axis together with feature i + D / 2, as a contiguous array."""
    a, b = x.chunk(2, -1)
    return torch.cat((torch.addcmul(a * cos, b, sin, value=-1), torch.addcmul(b * cos, a, sin)), -1)


class Attention(SequenceLayer):
    """Projections, positions and cache; a kernel is what the two forms add.

    The state is ``(keys, values)``, each (B, heads, n, D) after n positions. Without autograd they
    are views of caches that grow by doubling (``room``), so that a step reads n positions and
    writes one; with it they are made anew at each step.

    Args:
        sizes: width and heads.
    """

    def __init__(self, sizes: LayerSizes) -> None:
        super().__init__(sizes)
        self.project = nn.Linear(sizes.width, 3 * sizes.width, bias=False)
        self.output = nn.Linear(sizes.width, sizes.width, bias=False)

    @abstractmethod
    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Sums of values: the queries are those of the last positions.

        Args:
            query: (B, heads, M, D); M is the keys' N, or 1.
            key: (B, heads, N, D).
            value: (B, heads, N, D).

        Returns:
            (B, heads, M, D).
        """

    def _parts(self, x: Tensor, first: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (B, heads, N, D), of positions from ``first`` on."""
        batch, length, _ = x.shape
        parts = self.project(x).view(batch, length, 3, self.sizes.heads, self.sizes.head_dim)
        parts = parts.permute(2, 0, 3, 1, 4)
        positions = torch.arange(first, first + length, device=x.device)
        query, key = turn(parts[:2], *rotary(positions, self.sizes.head_dim, x.dtype))
        return query, key, parts[2]

    def parallel(self, x: Tensor) -> Tensor:
        """See ``SequenceLayer``."""
        seen = self.attend(*self._parts(x, 0))
        out: Tensor = self.output(seen.transpose(1, 2).reshape(x.shape))
        return out

    def first_state(self, batch: int) -> State:
        """See ``SequenceLayer``."""
        empty = self.output.weight.new_empty(batch, self.sizes.heads, 0, self.sizes.head_dim)
        return empty, empty

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See ``SequenceLayer``."""
        query, key, value = self._parts(x[:, None], state[0].shape[2])
        keys, values = append(state[0], key), append(state[1], value)
        seen = self.attend(query, keys, values)
        return self.output(seen.reshape(x.shape)), (keys, values)

    def state_bytes(self, batch: int, length: int) -> int:
        """Bytes of the keys and values of ``length`` positions, not of the room beside them."""
        return 2 * batch * length * self.sizes.width * self.output.weight.element_size()


def append(held: Tensor, new: Tensor) -> Tensor:
    """What is held, and one position more.

    Args:
        held: (B, heads, n, D).
        new: (B, heads, 1, D).

    Returns:
        (B, heads, n + 1, D); without autograd a view of the memory of ``held`` where that has room.
    """
    if torch.is_grad_enabled():
        return torch.cat((held, new), 2)
    batch, heads, length, features = held.shape
    space = held.stride(1) // features
    whole = (heads * space * features, space * features, features, 1)
    memory = held.untyped_storage().nbytes() // held.element_size()
    # What was cut or copied since the last step may not own what follows it.
    own = held.stride() == whole and held.storage_offset() == 0 and memory == batch * whole[0]
    if not own or length == space:
        cache = held.new_empty(batch, heads, room(length + 1), features)
        cache[:, :, :length] = held
        held = cache
    longer = held.as_strided((batch, heads, length + 1, features), held.stride())
    longer[:, :, length:] = new
    return longer


class NaiveAttention(Attention):
    """Scores and shares written out: N x N numbers for each head."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """See ``Attention``."""
        scores = query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2)
        if query.shape[2] > 1:
            size = scores.shape[-2:]
            future = torch.ones(size, dtype=torch.bool, device=scores.device).triu_(1)
            scores.masked_fill_(future, -torch.inf)
        out: Tensor = scores.softmax(-1) @ value
        return out


class FusedAttention(Attention):
    """torch's fused kernel, which holds a block of the scores at a time."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """See ``Attention``."""
        return functional.scaled_dot_product_attention(
            query, key, value, is_causal=query.shape[2] > 1
        )
