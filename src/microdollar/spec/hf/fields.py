"""Reading the fields of a config: each value is checked when it is asked for."""

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from microdollar.errors import SpecError
from microdollar.spec.model import Block

MOST = 2**31 - 1
"""No width, count of heads or vocabulary may be larger (assumed: no such model exists)."""
MOST_LAYERS = 10_000
"""No stack may have more layers (assumed)."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one config.

    A field may have several names (``n_embd`` and ``hidden_size``); all that are present must
    agree. A field that is ``null`` counts as missing, but see ``has``.
    """

    config: Mapping[str, Any]
    family: str

    def has(self, name: str) -> bool:
        """Whether the field is written down, be it as ``null``."""
        return name in self.config

    def size(self, *names: str, default: int | None = None, most: int = MOST) -> int:
        """A whole number from 1 to ``most``; required where there is no default.

        Raises:
            SpecError: if it is missing, of another type or out of range.
        """
        found = self.optional_size(*names, most=most)
        if found is not None:
            return found
        if default is None:
            raise SpecError(
                f"{self.family} config has no {' or '.join(names)}, which has no safe default: "
                f"give a whole number from 1."
            )
        return default

    def optional_size(self, *names: str, most: int = MOST, least: int = 1) -> int | None:
        """The same, None if missing."""
        value = self._value(*names)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self._refused(names[0], value, f"a whole number from {least} to {most}")
        return value

    def layers(self, *names: str) -> int:
        """How many layers a stack has."""
        return self.size(*names, most=MOST_LAYERS)

    def flag(self, *names: str, default: bool) -> bool:
        """True or false.

        Raises:
            SpecError: if it is anything else.
        """
        value = self._value(*names)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._refused(names[0], value, "true or false")
        return value

    def word(self, name: str, default: str) -> str:
        """A text.

        Raises:
            SpecError: if it is anything else.
        """
        value = self._value(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self._refused(name, value, "a text")
        return value

    def items(self, name: str) -> Sequence[Any] | None:
        """A list, None if missing.

        Raises:
            SpecError: if it is anything else.
        """
        value = self._value(name)
        if value is None:
            return None
        if not isinstance(value, list | tuple):
            raise self._refused(name, value, "a list")
        return value

    def heads(self, hidden: int, *names: str) -> tuple[int, int]:
        """Attention heads, and the features of each where they share the model's width.

        Raises:
            SpecError: if ``hidden`` is no multiple of them.
        """
        heads = self.size(*names)
        if hidden % heads:
            raise self._refused(names[0], heads, f"a divisor of the width {hidden}")
        return heads, hidden // heads

    def kv_heads(self, heads: int, *names: str, default: int | None = None) -> int:
        """Heads of keys and values, ``heads`` where the config says nothing else.

        Raises:
            SpecError: if they do not divide ``heads``.
        """
        found = self.size(*names, default=heads if default is None else default)
        if heads % found:
            raise self._refused(names[0], found, f"a divisor of the {heads} heads")
        return found

    def architecture(self) -> str:
        """The class that the weights are for, e.g. ``LlamaForCausalLM``; empty if not said."""
        found = self.items("architectures")
        if not found:
            return ""
        if not isinstance(found[0], str):
            raise self._refused("architectures", found, "a list of class names")
        return found[0]

    def labels(self) -> int:
        """Classes of a classifier; 2 if nothing is said, as in transformers."""
        found = self._value("id2label")
        if isinstance(found, Mapping) and found:
            return len(found)
        return self.size("num_labels", default=2)

    def refuse_unless(self, name: str, expected: object) -> None:
        """Check that a field which changes the model, but is not covered, has its usual value.

        Raises:
            SpecError: naming the field and its value.
        """
        value = self._value(name)
        if value is not None and value != expected:
            raise self._refused(name, value, f"{expected!r}, nothing else is covered")

    def refused(self, name: str, accepted: str) -> SpecError:
        """The error that says what is accepted for a field."""
        return self._refused(name, self.config.get(name), accepted)

    def _value(self, *names: str) -> object:
        found, first = None, ""
        for name in names:
            value = self.config.get(name)
            if value is None:
                continue
            if first and value != found:
                raise self._refused(name, value, f"the same as {first}, {reprlib.repr(found)}")
            found, first = value, name
        return found

    def _refused(self, name: str, value: object, accepted: str) -> SpecError:
        return SpecError(
            f"{self.family} config: {name} is {reprlib.repr(value)}. Accepted: {accepted}."
        )


def merge(layers: Sequence[Block]) -> tuple[Block, ...]:
    """Layers from first to last as blocks: neighbours that are alike become one.

    Where kinds alternate all the way (Gemma 2 has 42 turns), each kind becomes one block: what is
    counted depends on how many layers there are of it, and a block for each would be slow.
    """
    runs = [(block, len(list(run))) for block, run in groupby(layers)]
    totals: dict[Block, int] = {}
    for block, count in runs:
        totals[block] = totals.get(block, 0) + count
    found = totals.items() if len(runs) > 2 * len(totals) else runs
    return tuple(replace(block, count=count) for block, count in found)
