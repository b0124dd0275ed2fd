"""What every sequence layer offers."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from microdollar.learn.sequence.layers import LayerSizes

State = tuple[Tensor, ...]
"""What a layer carries from one position to the next."""


class SequenceLayer(nn.Module, ABC):
    """Maps (batch, length, width) to the same shape, causally, in two forms that are one function.

    Every layer has its input and output projections inside and no biases but those that its paper
    gives it; norms and residuals are the model's.

    Args:
        sizes: what it is made of.
    """

    output: nn.Linear
    """The last product, whose first weights a model makes smaller the deeper it is."""

    def __init__(self, sizes: LayerSizes) -> None:
        super().__init__()
        self.sizes = sizes

    @abstractmethod
    def parallel(self, x: Tensor) -> Tensor:
        """All positions at once: (B, N, W) to (B, N, W). Position t sees 0 to t."""

    @abstractmethod
    def first_state(self, batch: int) -> State:
        """The state before the first position, on the weights' device and in their type."""

    @abstractmethod
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One position: (B, W) and the state before it to (B, W) and the state after it.

        The tensors of the state given may be reused for the one that comes back, unless autograd
        records.
        """

    @abstractmethod
    def state_bytes(self, batch: int, length: int) -> int:
        """Bytes that the state has after ``length`` positions."""

    def forward(self, x: Tensor) -> Tensor:
        """The same as ``parallel``."""
        return self.parallel(x)
