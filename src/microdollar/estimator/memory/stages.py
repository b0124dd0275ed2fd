"""Which layers, tables and micro-batches each pipeline stage holds."""

from collections.abc import Iterator
from dataclasses import dataclass

from microdollar.spec.model import Block, ModelSpec
from microdollar.spec.training import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One pipeline stage."""

    blocks: tuple[tuple[Block, int], ...]
    """Kinds of layer and how many of each."""
    tables: bool
    """Holds the token and position tables."""
    head: bool
    """Holds the output head and computes the loss."""
    in_flight: float
    """Micro-batches whose activations it keeps at once; a fraction where it is interleaved."""


def fullest_stages(model: ModelSpec, layout: Layout, micro_steps: int) -> Iterator[Stage]:
    """The stages of which one is the fullest: the first, the second and the last.

    With one forward and one backward in turn, stage i keeps ``min(p - i, m)`` micro-batches
    (Narayanan 2021, arXiv:2104.04473, section 2.2.1); the first of an interleaved schedule keeps
    ``p (1 + (p - 1) / (p v))`` (Korthikanti 2022, section 4.2.3).
    """
    sizes = split_layers(model, layout.pp)
    extra = (layout.pp - 1) / layout.interleave if layout.interleave > 1 else 0.0
    # Stages between the second and the last hold as many layers and fewer micro-batches.
    for index in sorted({0, min(1, layout.pp - 1), layout.pp - 1}):
        start = sum(sizes[:index])
        yield Stage(
            blocks=_slice(model, start, start + sizes[index]),
            tables=index == 0,
            head=index == layout.pp - 1,
            in_flight=min(layout.pp - index + extra, float(micro_steps)),
        )


def split_layers(model: ModelSpec, stages: int) -> tuple[int, ...]:
    """Layers of each stage.

    Even where it comes out; else, where two more would, the tables and the head count as a layer
    each (``type:transformer|embedding``, BigScience tr11 chronicles); else the first stages get
    the rounded-up share, and the last what is left (the same source: 78 layers over 12).
    """
    layers = model.layers
    if layers % stages == 0 or not model.vocab:
        share, more = divmod(layers, stages)
        return tuple(share + (index < more) for index in range(stages))
    if (layers + 2) % stages == 0:
        share = (layers + 2) // stages
        inner = (share,) * (stages - 2)
        return (share - 1, *inner, share - 1)
    share, left = -(-layers // stages), layers
    sizes: list[int] = []
    for after in reversed(range(stages)):
        sizes.append(max(min(share, left - after), 1))
        left -= sizes[-1]
    return tuple(sizes)


def _slice(model: ModelSpec, start: int, stop: int) -> tuple[tuple[Block, int], ...]:
    found: list[tuple[Block, int]] = []
    position = 0
    for block in (*model.encoder, *model.blocks):
        count = min(stop, position + block.count) - max(start, position)
        if count > 0:
            found.append((block, count))
        position += block.count
    return tuple(found)
