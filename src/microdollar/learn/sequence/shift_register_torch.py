"""The last inputs, moved on by one at each position, and a learnt readout of all of them.

The memory of the weights that are constructed in the document's network: a fixed recurrence that
copies, here of vectors instead of bytes. It is a causal convolution over positions.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from microdollar.learn.sequence.layer_torch import SequenceLayer, State
from microdollar.learn.sequence.layers import LayerSizes


class ShiftRegister(SequenceLayer):
    """One product of the concatenated inputs, the newest last: taps W to W.

    Args:
        sizes: ``width`` and ``taps``.
    """

    def __init__(self, sizes: LayerSizes) -> None:
        super().__init__(sizes)
        self.output = nn.Linear(sizes.taps * sizes.width, sizes.width, bias=False)

    def parallel(self, x: Tensor) -> Tensor:
        """See ``SequenceLayer``; nothing, or zeros, stands before the first position."""
        taps = self.sizes.taps
        padded = functional.pad(x, (0, 0, taps - 1, 0))
        out: Tensor = self.output(
            torch.cat([padded[:, tap : tap + x.shape[1]] for tap in range(taps)], -1)
        )
        return out

    def first_state(self, batch: int) -> State:
        """The ``taps`` - 1 inputs before the next one, (B, taps - 1, W), zero."""
        return (self.output.weight.new_zeros(batch, self.sizes.taps - 1, self.sizes.width),)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See ``SequenceLayer``."""
        held = torch.cat((state[0], x[:, None]), 1)
        return self.output(held.flatten(1)), (held[:, 1:],)

    def state_bytes(self, batch: int, length: int) -> int:
        """Bytes of the register without the newest input, whatever the length."""
        numbers = (self.sizes.taps - 1) * self.sizes.width
        return batch * numbers * self.output.weight.element_size()
