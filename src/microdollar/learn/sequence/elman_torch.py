"""A recurrent network of one hidden layer, one position after the other (Elman, 1990).

Elman, "Finding structure in time", Cognitive Science 14(2), 179-211, with tanh: the state is
h_t = tanh(W_x x_t + W_h h_t-1 + b) and the output W_o h_t. The products with W_x and W_o are one
product each for all positions; that with W_h waits for the position before.
"""

from typing import Any

import torch
from torch import Tensor, nn

from microdollar.learn.sequence.layer_torch import SequenceLayer, State
from microdollar.learn.sequence.layers import LayerSizes


class Elman(SequenceLayer):
    """Input product with a bias, recurrence, output product. First weights are torch.nn.RNN's.

    Args:
        sizes: ``width``, that of the hidden state too.
    """

    def __init__(self, sizes: LayerSizes) -> None:
        super().__init__(sizes)
        width = sizes.width
        self.input = nn.Linear(width, width)
        self.recurrent = nn.Parameter(torch.empty(width, width).uniform_(-1, 1) * width**-0.5)
        """W_h transposed: a row for each number of the state before."""
        self.output = nn.Linear(width, width, bias=False)

    def parallel(self, x: Tensor) -> Tensor:
        """See ``SequenceLayer``."""
        out: Tensor = self.output(recur(self.input(x), self.recurrent))
        return out

    def first_state(self, batch: int) -> State:
        """The hidden state (B, W), zero."""
        return (self.recurrent.new_zeros(batch, self.sizes.width),)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See ``SequenceLayer``."""
        hidden = torch.addmm(self.input(x), state[0], self.recurrent).tanh()
        return self.output(hidden), (hidden,)

    def state_bytes(self, batch: int, length: int) -> int:
        """Bytes of the hidden state, whatever the length."""
        return batch * self.sizes.width * self.recurrent.element_size()


def recur(given: Tensor, recurrent: Tensor) -> Tensor:
    """h_t = tanh(given_t + h_t-1 R) for every position, from h = 0.

    Args:
        given: (B, N, W); its memory is taken for the result.
        recurrent: R, (W, W).

    Returns:
        (B, N, W).
    """
    hidden: Tensor = _Recur.apply(given, recurrent)  # type: ignore[no-untyped-call]
    return hidden


class _Recur(torch.autograd.Function):
    """Two operators a position each way, in place; autograd would keep and make five and more."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, recurrent: Tensor) -> Tensor:  # noqa: ANN401
        hidden = given
        first, *others = hidden.unbind(1)
        last = first.tanh_()
        for now in others:
            last = now.addmm_(last, recurrent).tanh_()
        ctx.mark_dirty(hidden)
        ctx.save_for_backward(hidden, recurrent)
        return hidden

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        hidden, recurrent = ctx.saved_tensors
        slope = torch.addcmul(hidden.new_ones(()), hidden, hidden, value=-1)
        found = grads[0].clone(memory_format=torch.contiguous_format)
        # A small matrix times one that lies row by row is faster than times its transpose.
        back = recurrent.t().contiguous()
        pairs = zip(reversed(found.unbind(1)), reversed(slope.unbind(1)), strict=True)
        now, steepness = next(pairs)
        later = now.mul_(steepness)
        for now, steepness in pairs:
            later = now.addmm_(later, back).mul_(steepness)
        return found, (hidden[:, :-1].mT @ found[:, 1:]).sum(0)
