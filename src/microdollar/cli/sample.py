"""``microdollar sample``: text that a saved model makes up, byte by byte."""

import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import click

from microdollar.cli.options import BYTES, FOLDER
from microdollar.cli.progress import Bar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.base import Model

    Chances = npt.NDArray[np.float64]

CONTEXT_BYTES = 256
"""Bytes of its own text that a model without a state is shown at most."""
_FLUSH_BYTES = 4096
_PART_BYTES = 1 << 16


@runtime_checkable
class Sampler(Protocol):
    """A model that draws many bytes at once."""

    def sample(
        self, length: int, *, context: "ByteArray", seed: int, temperature: float
    ) -> "ByteArray":
        """``length`` bytes after ``context``."""


@runtime_checkable
class Stateful(Protocol):
    """A recurrent model, which need not read its own text again for every byte."""

    def initial_state(self) -> Any:  # noqa: ANN401
        """The state before any byte."""

    def advance(self, state: Any, data: "ByteArray") -> Any:  # noqa: ANN401
        """The state after ``data``."""

    def distribution(self, state: Any) -> "Chances":  # noqa: ANN401
        """P(next byte) after ``state``, shape (256,)."""


@click.command(short_help="Bytes drawn from a saved model.")
@click.argument("folder", type=FOLDER, metavar="DIR")
@click.option("--bytes", "count", type=BYTES, metavar="N", required=True, help="How many.")
@click.option("--prompt", default="", metavar="TEXT", help="Text that comes before; not repeated.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="The same seed gives the same bytes.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    help="Below 1 bolder, above 1 wilder; 0 takes the likeliest byte.",
)
def sample(folder: Path, count: int, prompt: str, seed: int, temperature: float) -> None:
    """Write N bytes drawn from the model in DIR to standard output, as they are."""
    from microdollar.learn.load import load_model

    if math.isnan(temperature):
        raise click.BadParameter("is not a number.", param_hint="'--temperature'")
    model = load_model(folder)
    out = sys.stdout.buffer
    with Bar(quiet=out.isatty()) as progress:
        done = 0
        for text in draw(
            model, os.fsencode(prompt), length=count, seed=seed, temperature=temperature
        ):
            out.write(text)
            out.flush()
            done += len(text)
            progress(done, count, "sampling")


def draw(
    model: "Model", prompt: bytes, *, length: int, seed: int, temperature: float
) -> Iterator[bytes]:
    """``length`` bytes after ``prompt`` in parts, drawn from P(byte)^(1 / temperature).

    Temperature 0 takes the likeliest byte, the smallest of several.
    """
    import numpy as np

    if isinstance(model, Sampler):
        context = prompt
        for part, done in enumerate(range(0, length, _PART_BYTES)):
            size = min(_PART_BYTES, length - done)
            drawn = model.sample(
                size,
                context=np.frombuffer(bytearray(context), dtype=np.uint8),
                seed=seed if part == 0 else _seed_of_part(seed, part),
                temperature=temperature,
            ).tobytes()
            context = drawn[-CONTEXT_BYTES:]
            yield drawn
        return
    single = _draw_singly(model, prompt, np.random.default_rng(seed), temperature)
    for done in range(0, length, _FLUSH_BYTES):
        yield bytes(next(single) for _ in range(min(_FLUSH_BYTES, length - done)))


def _seed_of_part(seed: int, part: int) -> int:
    import numpy as np

    return int(np.random.SeedSequence((seed, part)).generate_state(1, np.uint64)[0])


def _draw_singly(
    model: "Model", prompt: bytes, rng: "np.random.Generator", temperature: float
) -> Iterator[int]:
    """Bytes without end, one by one."""
    chances = _reader(model, prompt)
    byte: int | None = None
    while True:
        byte = _pick(chances(byte), temperature, rng)
        yield byte


def _reader(model: "Model", prompt: bytes) -> "Callable[[int | None], Chances]":
    """A function that takes the last byte drawn and gives the chances of the next."""
    import numpy as np

    if isinstance(model, Stateful):
        state = model.initial_state()
        before = np.frombuffer(prompt, dtype=np.uint8)

        def after(byte: int | None) -> "Chances":
            nonlocal state
            new = before if byte is None else np.array([byte], dtype=np.uint8)
            state = model.advance(state, new)
            return model.distribution(state)

        return after
    text = bytearray(prompt)

    def last(byte: int | None) -> "Chances":
        if byte is not None:
            text.append(byte)
            del text[:-CONTEXT_BYTES]
        return model.next_byte(np.frombuffer(bytes(text), dtype=np.uint8))

    return last


def _pick(chances: "Chances", temperature: float, rng: "np.random.Generator") -> int:
    import numpy as np

    if temperature == 0:
        return int(np.argmax(chances))
    # In logarithms, so that neither a small nor a large power leaves the range of a double.
    with np.errstate(divide="ignore", over="ignore"):
        logs = np.log(chances)
        weights = np.exp((logs - logs.max()) / temperature)
    bounds = np.cumsum(weights)
    return int(np.searchsorted(bounds[:-1], rng.random() * bounds[-1], side="right"))
