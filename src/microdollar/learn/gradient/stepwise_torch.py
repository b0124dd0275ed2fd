"""Training by steps that can be stopped and taken up again: AdamW, warm-up, cosine, best weights.

What the LSTM and the GPT share. A network brings its weights and gradients as one vector each
and fills the gradient of one batch; everything else is here. All that a run needs to go on after
it was killed is in ``Training.state``.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from microdollar.errors import MicrodollarError
from microdollar.learn.base import Progress, silent

if TYPE_CHECKING:
    from microdollar.learn.gradient.gpt import GPT
    from microdollar.learn.gradient.lstm import LSTMBPTT

END = 0.01
"""Learning rate after the last step, in units of the peak."""
BETAS = (0.9, 0.99)
"""Decay rates of AdamW's moments. 0.99: batches of a few thousand bytes are noisy, but runs are
short (assumed; as nanoGPT has it for small networks)."""
REPORT_STEPS = 16
"""Steps between two calls of the progress callback."""


class Network(Protocol):
    """What the loop asks of a network."""

    vector: Tensor
    """All weights, shape (P,)."""
    gradient: Tensor
    """Their gradient, shape (P,)."""
    decayed: int
    """The first so many weights are those of products, and shrink by weight decay."""

    def differentiate(self, step: int) -> float:
        """Fill the gradient of the mean loss of batch ``step``; that loss in nats a byte."""

    def validate(self) -> float:
        """Nats for each validation byte."""

    def carried(self) -> dict[str, Tensor]:
        """What goes from one step to the next besides the weights."""


def rate(step: int, steps: int, warm_up_steps: int) -> float:
    """Learning rate of a step, from 0, in units of its peak: a line up, half a cosine down.

    Source: Loshchilov and Hutter, SGDR, arXiv 1608.03983, without restarts; linear warm-up as in
    Vaswani et al., arXiv 1706.03762, section 5.3. The warm-up takes at most a tenth of the steps.
    """
    rising = min(warm_up_steps, steps // 10)
    if step < rising:
        return (step + 1) / (rising + 1)
    place = (step - rising) / max(steps - rising, 1)
    return END + (1 - END) * (1 + math.cos(math.pi * place)) / 2


@contextmanager
def settings(threads: int, products: str) -> Iterator[None]:
    """Threads of torch, and the precision of matrix products, put back afterwards."""
    count, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("medium" if products == "bfloat16" else "highest")
    try:
        yield
    finally:
        torch.set_num_threads(count)
        torch.set_float32_matmul_precision(precision)


class Training:
    """A run from its first step to its last.

    Args:
        options: the learner.
        network: its network, with initial weights.
    """

    def __init__(self, options: "LSTMBPTT | GPT", network: Network) -> None:
        self.options, self.network = options, network
        cut = network.decayed
        groups = [
            {"params": [network.vector[:cut]], "weight_decay": options.weight_decay},
            {"params": [network.vector[cut:]], "weight_decay": 0.0},
        ]
        self.adam = torch.optim.AdamW(groups, betas=BETAS, fused=True)
        for group, part in zip(
            self.adam.param_groups, (network.gradient[:cut], network.gradient[cut:]), strict=True
        ):
            group["params"][0].grad = part
        self.done = 0
        self.training_nats = math.nan
        """Running mean of the loss over about the last hundred steps."""
        self.best_nats = math.inf
        self.best: Tensor | None = None
        self.curve: list[tuple[int, float]] = []
        """Steps done and nats a validation byte."""
        times = options.validations
        self._due = {round(options.steps * (i + 1) / times) for i in range(times)} - {0}

    def run(self, until: int | None = None, progress: Progress = silent) -> None:
        """Go on to step ``until``, or to the end.

        Raises:
            MicrodollarError: if the loss is no longer finite.
        """
        options, network = self.options, self.network
        last = options.steps if until is None else min(until, options.steps)
        while self.done < last:
            nats = network.differentiate(self.done)
            if not math.isfinite(nats):
                raise MicrodollarError(
                    f"training diverged at step {self.done + 1} of {options.steps}: the loss is "
                    f"{nats}. Type a lower learning rate than {options.learning_rate:g}."
                )
            norm = torch.linalg.vector_norm(network.gradient)
            network.gradient.mul_(norm.add_(1e-6).reciprocal_().mul_(options.clip).clamp_(max=1.0))
            now = options.learning_rate * rate(self.done, options.steps, options.warm_up_steps)
            for group in self.adam.param_groups:
                group["lr"] = now
            self.adam.step()
            self.done += 1
            share = max(1 / self.done, 0.01)
            before = nats if self.done == 1 else self.training_nats
            self.training_nats = before + share * (nats - before)
            if self.done in self._due:
                self._validate()
            if self.done % REPORT_STEPS == 0 or self.done == options.steps:
                bits = self.training_nats / math.log(2)
                progress(self.done, options.steps, f"step {self.done}, {bits:.3f} bits")

    def _validate(self) -> None:
        nats = self.network.validate()
        self.curve.append((self.done, nats))
        if nats < self.best_nats:
            self.best_nats, self.best = nats, self.network.vector.detach().clone()

    def weights(self) -> Tensor:
        """The best weights by validation; the last ones if there was none, shape (P,)."""
        return self.network.vector.detach() if self.best is None else self.best

    def facts(self) -> dict[str, Any]:
        """What was done, as JSON can hold it."""
        bits = [[done, nats / math.log(2)] for done, nats in self.curve]
        return {
            "steps_done": self.done,
            "training_bits_per_byte": self.training_nats / math.log(2),
            "validation_bits_per_byte": bits,
        }

    def state(self) -> dict[str, Any]:
        """All that a run needs to go on; ``torch.save`` can write it."""
        return {
            "done": self.done,
            "training_nats": self.training_nats,
            "best_nats": self.best_nats,
            "best": self.best,
            "curve": self.curve,
            "vector": self.network.vector.detach(),
            "adam": self.adam.state_dict(),
            "carried": self.network.carried(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken."""
        self.done, self.training_nats = state["done"], state["training_nats"]
        self.best_nats, self.best, self.curve = state["best_nats"], state["best"], state["curve"]
        self.network.vector.detach().copy_(state["vector"])
        self.adam.load_state_dict(state["adam"])
        for name, tensor in self.network.carried().items():
            tensor.copy_(state["carried"][name])
