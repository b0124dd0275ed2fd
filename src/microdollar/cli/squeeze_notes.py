"""What ``squeeze`` says beside the text: how much was kept, lost and saved, and where it pays."""

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from microdollar.errors import UsageError
from microdollar.units import format_dollars, format_seconds, format_si

if TYPE_CHECKING:
    from microdollar.learn.tokens.squeeze import Squeezed

_NOT_OF_PROVIDERS = ("bytes", "words")


class Total:
    """Sums over blocks."""

    def __init__(self, bits: float | None) -> None:
        self.tokens = self.budget = self.kept = self.blocks = self.characters = 0
        self.bits = bits
        self.seconds = 0.0
        self.ends_line = False
        self.parts: list[str] = []
        self.dropped: list[list[int]] = []

    def add(self, block: "Squeezed", *, text: bool) -> None:
        """Count a block, and keep its text if that is asked for."""
        self.tokens += block.tokens
        self.budget += block.budget
        self.kept += block.kept
        self.blocks += 1
        self.ends_line = block.text.endswith("\n")
        lost = block.bits_lost
        self.bits = None if lost is None or self.bits is None else self.bits + lost
        if text:
            self.parts.append(block.text)
            self.dropped += [
                [self.characters + start, self.characters + end]
                for start, end in block.cut.runs(~block.keep)
            ]
        self.characters += len(block.cut.text)

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints of it."""
        return {
            "tokens": self.tokens,
            "budget": self.budget,
            "kept": self.kept,
            "tokens_saved": self.tokens - self.kept,
            "text": "".join(self.parts),
            "dropped": self.dropped,
            "bits_lost": self.bits,
            "blocks": self.blocks,
            "seconds": self.seconds,
        }


def pays_from(
    total: Total,
    fixed_seconds: float,
    machine_price: float,
    price: float | None,
    read_speed: float | None,
) -> dict[str, Any]:
    """From where on what was measured just now pays.

    Raises:
        UsageError: if nothing was dropped.
    """
    from microdollar.learn.tokens.price import break_even

    if not 0 < total.kept < total.tokens:
        raise UsageError("nothing was dropped, so nothing is saved. Give a lower ratio.")
    each = total.seconds / total.tokens
    found = break_even(
        ratio=total.kept / total.tokens,
        squeeze_seconds_per_token=each,
        fixed_seconds=fixed_seconds,
        machine_dollars_per_hour=machine_price,
        dollars_per_million_tokens=price,
        tokens_per_second=read_speed,
    )
    return {
        **asdict(found),
        "measured_seconds_per_token": each,
        "measured_fixed_seconds": fixed_seconds,
        "measured_on_tokens": total.tokens,
        "machine_dollars_per_hour": machine_price,
        "dollars_per_million_tokens": price,
        "tokens_per_second": read_speed,
    }


def print_notes(
    total: Total,
    facts: dict[str, Any],
    *,
    price: float | None,
    saved: float | None,
    pays: dict[str, Any] | None,
) -> None:
    """What was done, on standard error."""
    share = f" ({100 * total.kept / total.tokens:.1f} %)" if total.tokens else ""
    speed = format_si(total.tokens / total.seconds, "tokens/s")
    read = "" if total.bits is None else " and read back"
    _say(
        f"kept {total.kept:,} of {total.tokens:,} tokens{share} of {facts['tokenizer']}, chosen "
        f"by {facts['scorer']}{read} in {format_seconds(total.seconds)} ({speed})"
    )
    if total.bits is not None:
        dropped = max(total.tokens - total.kept, 1)
        _say(
            f"lost: {total.bits:,.0f} bits, {total.bits / dropped:.2f} a dropped token, as "
            f"{facts['reconstructor']} reads them given {facts['reconstructor_given']}"
        )
    if saved is not None:
        _say(f"saved: {format_dollars(saved)} at {format_dollars(price or 0)} a million tokens")
        if facts["tokenizer"] in _NOT_OF_PROVIDERS:
            _say(
                f"note: tokens of {facts['tokenizer']} are not those that a provider counts; "
                "--tokenizer names others"
            )
    if total.blocks > 1:
        _say(f"note: ranked within each of {total.blocks} blocks; the budget is that of the whole")
    if pays is not None:
        _say_break_even(pays)


def _say_break_even(pays: dict[str, Any]) -> None:
    each, start = pays["measured_seconds_per_token"], pays["measured_fixed_seconds"]
    _say(
        f"squeezing took {format_seconds(each)} a token, measured on "
        f"{pays['measured_on_tokens']:,}, and {format_seconds(start)} to start"
    )
    if pays["dollars_per_million_tokens"] is not None:
        least = format_dollars(pays["least_dollars_per_million_tokens"])
        _say(
            f"pays in money {_from(pays['tokens_for_money'])}; at any length only where a "
            f"million tokens cost more than {least}"
        )
    if pays["tokens_per_second"] is not None:
        most = format_si(pays["most_tokens_per_second"], "tokens/s")
        _say(
            f"pays in time {_from(pays['tokens_for_time'])}; at any length only where the model "
            f"reads slower than {most}"
        )


def _from(tokens: float | None) -> str:
    return "at no length" if tokens is None else f"from {math.ceil(tokens):,} tokens on"


def _say(line: str) -> None:
    click.echo(line, err=True)
