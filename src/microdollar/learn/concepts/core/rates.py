"""What all tensors of a step share."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Of one step."""

    step: int
    """From 1 on."""
    lr: float
    weight_decay: float
    """Decoupled."""
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    @property
    def kept(self) -> float:
        """Of a parameter after its decay."""
        return 1 - self.lr * self.weight_decay

    @property
    def correction1(self) -> float:
        """1 - beta1^step."""
        return 1 - self.beta1**self.step

    @property
    def correction2(self) -> float:
        """1 - beta2^step."""
        return 1 - self.beta2**self.step
