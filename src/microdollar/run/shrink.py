"""Smaller files of an n-gram model, with the loss stated on bytes that were not learnt."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray

TEST_BYTES = 200_000
"""Bytes after those learnt on which a loss is measured, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Smaller:
    """What is to be left out: what was typed, or None."""

    prune_count: int | None = None
    prune_bits: float | None = None
    weight_bits: int | None = None

    @property
    def asked_for(self) -> bool:
        """Whether any of it was typed."""
        return self != Smaller()


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What the smaller model costs."""

    strings_before: int
    strings: int
    parameters: int
    test_bytes: int
    """Bytes after those learnt; 0 if there are none, and then no loss is known."""
    bits_per_byte_before: float | None
    bits_per_byte: float | None


def shrink(folder: Path, smaller: Smaller, test: "ByteArray", context: "ByteArray") -> Loss:
    """Replace the n-gram model in a folder by a smaller one.

    Args:
        folder: what a build wrote.
        smaller: what to leave out.
        test: bytes after those learnt; may be empty.
        context: bytes before them.

    Raises:
        UsageError: if a limit can't be.
    """
    from microdollar.learn.counts.ngram.model import NGramModel
    from microdollar.learn.counts.ngram.pruning import prune
    from microdollar.learn.counts.ngram.quantize import save_quantized

    whole = NGramModel.load(folder)
    model = prune(whole, min_count=smaller.prune_count or 1, min_bits=smaller.prune_bits or 0.0)
    if smaller.weight_bits is None:
        model.save(folder)
    else:
        model = save_quantized(model, smaller.weight_bits, folder)
    scored = len(test) > 0
    return Loss(
        strings_before=whole.network.trie.nodes - 1,
        strings=model.network.trie.nodes - 1,
        parameters=model.parameters,
        test_bytes=len(test),
        bits_per_byte_before=whole.bits_per_byte(test, context=context) if scored else None,
        bits_per_byte=model.bits_per_byte(test, context=context) if scored else None,
    )


def bytes_after(corpus: str, learnt: int, order: int) -> "tuple[ByteArray, ByteArray]":
    """Up to 200,000 bytes that follow the first ``learnt``, and the ``order`` bytes before them."""
    from microdollar.learn.corpus import load_corpus

    if "://" in corpus:
        from microdollar.learn.counts.scale.sources import source_of

        source = source_of(corpus)
        end = min(learnt + TEST_BYTES, source.size)
        text = source.read(max(learnt - order, 0), end)
    else:
        text = load_corpus(corpus, limit=learnt + TEST_BYTES).data[max(learnt - order, 0) :]
    before = min(order, learnt)
    return text[before:], text[:before]
