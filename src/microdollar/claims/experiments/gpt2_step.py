"""A real training step of GPT-2 small's shape on torch: operations, memory, overhead.

The network is that of ``transformers`` with random weights, float32, attention that keeps its
matrix of scores, dropout 0.1 and torch's Adam, on the CPU: sizes do not depend on the device.
Token ids are random. It runs in a process of its own, whose peak is its memory.
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import Any

from microdollar.claims.experiments.base import Context
from microdollar.claims.experiments.parts import alone, products, spread
from microdollar.claims.record import Values
from microdollar.errors import MissingExtraError
from microdollar.spec.arithmetic import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A GPT-2, a micro-batch and how many of them a step adds up."""

    vocabulary: int = 50_257
    width: int = 768
    layers: int = 12
    heads: int = 12
    length: int = 1_024
    batch: int = 2
    accumulation: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Numbers of real steps."""

    parameters: int
    forward_flops: int
    """Products of the forward pass of a micro-batch, by torch's own counter."""
    step_flops: int
    """Products of forward and backward pass of a micro-batch."""
    peak_bytes: int
    """Most bytes of live tensors in a step of one micro-batch, optimizer's state included."""
    accumulated_bytes: int
    """The same in a step that adds up the gradients of several."""
    seconds: float
    """CPU seconds of a micro-batch forward and backward, the median."""


def measure(shape: Shape) -> Measured:
    """Train a network of a shape for three steps, and count.

    The first step makes the optimizer's state, the second has one micro-batch, the third all.

    Raises:
        MissingExtraError: if torch or transformers is not installed.
    """
    from microdollar.measure.torch_memory import peak_torch_bytes

    network, step = _network(shape)
    parameters = sum(one.numel() for one in network.parameters())
    forward, both = products(partial(_loss, network, shape))
    del network, step
    gc.collect()
    seconds: list[float] = []

    def steps(*micro_batches: int) -> Callable[[], object]:
        def run() -> None:
            _, step = _network(shape)
            for count in micro_batches:
                seconds.extend(step(count))

        return run

    peaks = []
    for plan in ((1, 1), (1, shape.accumulation)):
        found = peak_torch_bytes(steps(*plan)).value
        assert found is not None
        peaks.append(int(found))
        gc.collect()
    return Measured(
        parameters=parameters,
        forward_flops=forward,
        step_flops=both,
        peak_bytes=peaks[0],
        accumulated_bytes=peaks[1],
        seconds=median(seconds),
    )


def _network(shape: Shape) -> tuple[Any, Callable[[int], list[float]]]:
    """A network that trains, and a function that does a step and gives each micro-batch's time."""
    try:
        import torch
        from transformers import GPT2Config, GPT2LMHeadModel
    except ImportError as error:
        raise MissingExtraError("transformers", "tokens", "a step of GPT-2's shape") from error

    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": shape.vocabulary, "n_embd": shape.width, "n_layer": shape.layers,
        "n_head": shape.heads, "n_positions": shape.length,
    }  # fmt: skip
    others: dict[str, Any] = {
        "attn_implementation": "eager", "use_cache": False, "loss_type": "ForCausalLM",
        "bos_token_id": None, "eos_token_id": None,
    }  # fmt: skip
    network = GPT2LMHeadModel(GPT2Config(**sizes, **others)).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)

    def step(count: int) -> list[float]:
        took = []
        for _ in range(count):
            began = time.process_time()
            _loss(network, shape).backward()
            took.append(time.process_time() - began)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return took

    return network, step


def _loss(network: Any, shape: Shape) -> Any:  # noqa: ANN401
    import torch

    ids = torch.randint(shape.vocabulary, (shape.batch, shape.length))
    return network(input_ids=ids, labels=ids).loss


def overhead_seconds(repeats: int = 30) -> list[float]:
    """CPU seconds of a micro-batch with every call of GPT-2 small and next to no arithmetic.

    Twelve layers of twelve heads of one number each, two sequences of one token.
    """
    shape = Shape(vocabulary=16, width=12, length=1, accumulation=1)
    _, step = _network(shape)
    return [step(1)[0] for _ in range(repeats + 5)][5:]


def run(context: Context) -> Values:
    """Measure GPT-2 small's shape.

    Gives the numbers of ``Measured``, ``backward_over_forward`` of the operations,
    ``accumulation_bytes`` (what adding up eight micro-batches takes more than one),
    ``process_bytes`` and ``overhead_seconds``.
    """
    overhead = spread(overhead_seconds())
    context.progress(0, 1, "steps of GPT-2 small's shape, about 8 GB of memory")
    found = alone(__name__)
    values = {name: Interval.of(float(value)) for name, value in found.items()}
    values["overhead_seconds"] = overhead
    values["backward_over_forward"] = Interval.of(found["step_flops"] / found["forward_flops"] - 1)
    values["accumulation_bytes"] = Interval.of(found["accumulated_bytes"] - found["peak_bytes"])
    return values


def _child() -> None:
    """Of the process of its own: the numbers as JSON."""
    import resource

    import torch

    torch.set_num_threads(1)
    found = asdict(measure(Shape()))
    unit = 1 if sys.platform == "darwin" else 1024
    found["process_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    _child()
