"""A real training step of the encoder of concepts: DistilBERT and two layers that compress.

The network is that of ``transformers`` with random weights and torch's fused attention, one sample
of 512 tokens (the most that it reads), float32 and torch's Adam, on the CPU: sizes and operations
do not depend on the device. The mean of the last states goes through 768-256-384.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from microdollar.claims.experiments.base import Context
from microdollar.claims.experiments.parts import products
from microdollar.claims.record import Values
from microdollar.errors import MissingExtraError
from microdollar.spec.arithmetic import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A DistilBERT, a sample, and what its states are compressed to."""

    vocabulary: int = 30_522
    width: int = 768
    layers: int = 6
    heads: int = 12
    length: int = 512
    narrow: int = 256
    concept: int = 384


def run(context: Context) -> Values:
    """Measure the document's encoder.

    Gives ``parameters``, ``forward_flops``, ``step_flops`` (products of one sample, by torch's
    counter) and ``peak_bytes`` (of live tensors, optimizer's state included).
    """
    context.progress(0, 1, "a step of DistilBERT's shape")
    return {name: Interval.of(float(value)) for name, value in measure(Shape()).items()}


def measure(shape: Shape) -> dict[str, int]:
    """Train a network of a shape for two steps, and count.

    Raises:
        MissingExtraError: if torch or transformers is not installed.
    """
    from microdollar.measure.torch_memory import peak_torch_bytes

    network = _network(shape)
    parameters = sum(one.numel() for one in network.parameters())
    forward, both = products(partial(_loss, network, shape))
    del network
    peak = peak_torch_bytes(lambda: _steps(shape)).value
    assert peak is not None
    return {
        "parameters": parameters,
        "forward_flops": forward,
        "step_flops": both,
        "peak_bytes": int(peak),
    }


def _network(shape: Shape) -> Any:  # noqa: ANN401
    try:
        import torch
        from transformers import DistilBertConfig, DistilBertModel
    except ImportError as error:
        raise MissingExtraError("transformers", "tokens", "a step of DistilBERT's shape") from error

    sizes: dict[str, Any] = {
        "vocab_size": shape.vocabulary, "dim": shape.width, "hidden_dim": 4 * shape.width,
        "n_layers": shape.layers, "n_heads": shape.heads, "max_position_embeddings": shape.length,
    }  # fmt: skip

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.reader = DistilBertModel(DistilBertConfig(**sizes))
            self.narrow = torch.nn.Linear(shape.width, shape.narrow)
            self.wide = torch.nn.Linear(shape.narrow, shape.concept)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            states = self.reader(input_ids=ids).last_hidden_state
            concept: torch.Tensor = self.wide(self.narrow(states.mean(1)))
            return concept

    torch.manual_seed(0)
    return Encoder().train()


def _loss(network: Any, shape: Shape) -> Any:  # noqa: ANN401
    """Squared distance of the concept from a random one."""
    import torch

    ids = torch.randint(shape.vocabulary, (1, shape.length))
    return (network(ids) - torch.randn(1, shape.concept)).square().mean()


def _steps(shape: Shape) -> None:
    """The first step makes the optimizer's state, the second has it from its start."""
    import torch

    network = _network(shape)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    for _ in range(2):
        optimizer.zero_grad(set_to_none=True)
        _loss(network, shape).backward()
        optimizer.step()
