"""Squeeze texts of any length, block by block, at a budget that is exact for the whole."""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import AnyStr, Unpack

import numpy as np

from microdollar.errors import BudgetError, CorpusError, UsageError
from microdollar.learn.tokens.budget import budget_of
from microdollar.learn.tokens.protect import Span, mask
from microdollar.learn.tokens.scorers.sentences import sentence_of_token
from microdollar.learn.tokens.squeeze import (
    BoolArray,
    Method,
    Options,
    Squeezed,
    over_budget,
    shares,
    tokens_of_kinds,
)
from microdollar.learn.tokens.tokenizers import Tokens

BLOCK_TOKENS = 1 << 17
"""Tokens that are ranked together: a long book, in some tens of megabytes of memory."""
_LINES = 1000
"""Characters of the lines before a block that are looked at again."""
_HELD = 8
"""Tokens at the end of what was read that more text may still change, and some to spare."""


def squeeze_stream(
    chunks: Iterable[str],
    ratio: float,
    *,
    block_tokens: int = BLOCK_TOKENS,
    **options: Unpack[Options],
) -> Iterator[str]:
    """Squeeze a text that comes in parts and need not fit into memory.

    Tokens are ranked among those of their block, so what is kept may differ from what
    ``squeeze`` keeps of the whole; how many are kept does not. A text of one block is squeezed
    as ``squeeze`` does it.

    Args:
        chunks: the text, cut anywhere.
        ratio: part of the tokens to keep, above 0 and at most 1.
        block_tokens: tokens of a block at most, at least 2. Blocks end where paragraphs do, or
            sentences, or in need anywhere between two tokens.
        options: as of ``squeeze``.

    Yields:
        What is left of each block.

    Raises:
        BudgetError: before the last block, if the protected tokens exceed the budget of the
            whole, or those at the end what is left of it.
        UsageError: as ``squeeze``.
    """
    blocks = squeeze_blocks(chunks, ratio, block_tokens=block_tokens, **options)
    return (block.text for block in blocks)


def squeeze_blocks(
    chunks: Iterable[str],
    ratio: float,
    *,
    block_tokens: int = BLOCK_TOKENS,
    **options: Unpack[Options],
) -> Iterator[Squeezed]:
    """As ``squeeze_stream``, with all that is known of each block.

    The budget of a block is what the ratio allows up to its end, less what was kept before. Where
    more than that is protected, the block takes it from those that follow.

    Raises:
        UsageError: if a block has less than two tokens, or as ``squeeze``.
    """
    if block_tokens < 2:
        raise UsageError(f"blocks of {block_tokens} tokens. Give at least 2.")
    method, account = Method.of(**options), _Account(ratio)
    return _blocks(chunks, method, account, block_tokens)


def squeeze_texts(texts: Iterable[str], ratio: float, **options: Unpack[Options]) -> list[Squeezed]:
    """Squeeze several texts at one budget, each ranked by itself.

    Args:
        texts: a document each.
        ratio: part of the tokens of all texts together. What is protected in one beyond its
            part is taken from the others.
        options: as of ``squeeze``.

    Raises:
        BudgetError: if the protected tokens alone exceed the budget of all.
        UsageError: as ``squeeze``.
    """
    method, account = Method.of(**options), _Account(ratio)
    cuts = [(method.tokenizer.tokenize(text), method.spans(text)) for text in texts]
    protected = [int(np.count_nonzero(mask(tokens, spans))) for tokens, spans in cuts]
    budget, later = budget_of(ratio, sum(len(tokens) for tokens, _ in cuts)), sum(protected)
    found = []
    for (tokens, spans), own in zip(cuts, protected, strict=True):
        later -= own
        found.append(account.squeeze(method, tokens, spans, most=budget - later))
    account.close()
    return found


def decoded(chunks: Iterable[bytes]) -> Iterator[str]:
    """Text of UTF-8 in parts, which may end within a character.

    Raises:
        CorpusError: at the first byte that is no UTF-8; says where it is.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    read = 0
    for chunk, last in _with_last(chunks):
        before = len(decoder.getstate()[0])
        try:
            text = decoder.decode(chunk, last)
        except UnicodeDecodeError as error:
            raise CorpusError(
                f"byte {read - before + error.start:,} of the text is no UTF-8 "
                f"({error.object[error.start]:#04x}: {error.reason}). Convert it first, for "
                "example with iconv -f latin1 -t utf-8."
            ) from error
        read += len(chunk)
        yield text


@dataclass(slots=True)
class _Account:
    """What was kept of how many tokens so far."""

    ratio: float
    tokens: int = 0
    kept: int = 0
    protected: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    """Tokens of each kind, in blocks of which more was protected than was due."""

    def __post_init__(self) -> None:
        budget_of(self.ratio, 0)

    def squeeze(
        self, method: Method, tokens: Tokens, spans: list[Span], most: int | None = None
    ) -> Squeezed:
        """Squeeze the next tokens, so that at most ``most`` are kept of all up to here."""
        must = mask(tokens, spans)
        protected = int(np.count_nonzero(must))
        total = budget_of(self.ratio, self.tokens + len(tokens))
        due = (total if most is None else min(total, most)) - self.kept
        if protected > due:
            for kind, count in tokens_of_kinds(tokens, spans).items():
                self.kinds[kind] = self.kinds.get(kind, 0) + count
        found = method.squeeze(tokens, must, max(due, protected))
        self.tokens += found.tokens
        self.kept += found.kept
        self.protected += protected
        return found

    def close(self) -> None:
        """Find out whether the budget of all was met.

        Raises:
            BudgetError: if it was not.
        """
        budget = budget_of(self.ratio, self.tokens)
        if self.kept <= budget:
            return
        kinds = dict(sorted(self.kinds.items(), key=lambda item: -item[1]))
        if self.protected > budget:
            raise over_budget(self.protected, budget, self.tokens, kinds)
        raise BudgetError(
            f"more is protected at the end of the text than was left of the budget: "
            f"{self.kept:,} tokens were kept of {budget:,} ({shares(kinds)}). "
            "Give larger blocks, or fewer kinds."
        )


def _blocks(
    chunks: Iterable[str], method: Method, account: _Account, block_tokens: int
) -> Iterator[Squeezed]:
    context = ""
    parts: list[str] = []
    read, wanted = 0, 4 * block_tokens  # characters; about right for words, and corrected below
    for chunk, last in _with_last(_pieces(chunks, wanted)):
        parts.append(chunk)
        read += len(chunk)
        if read < wanted and not last:
            continue
        buffer = "".join(parts)
        while buffer and (last or len(buffer) >= wanted):
            tokens = method.tokenizer.tokenize(buffer)
            if last and len(tokens) <= block_tokens:
                end = len(tokens)
            elif len(tokens) < block_tokens + _HELD and not last:
                # Twice as much at least, so that long tokens are not read again and again.
                full = len(buffer) * (block_tokens + 2 * _HELD) // max(len(tokens), 1)
                wanted = max(full, len(buffer) + 1) if len(tokens) > _HELD else 2 * len(buffer)
                break
            else:
                end = 0
            skip, found = len(context), method.spans(context + buffer)
            spans = [(start - skip, after - skip, kind) for start, after, kind in found]
            block = _first(tokens, end or _end_of_block(tokens, spans, block_tokens))
            size = len(block.text)
            squeezed = account.squeeze(
                method, block, [span for span in spans if span[0] < size and span[1] > 0]
            )
            if last and size == len(buffer):
                account.close()
            yield squeezed
            context, buffer = _context(context + buffer, found, skip + size), buffer[size:]
        parts, read = [buffer], len(buffer)


def _end_of_block(tokens: Tokens, spans: list[Span], most: int) -> int:
    """The token that the next block begins with: at the end of a paragraph, a sentence or any."""
    least = max(most // 2, 1)
    sentences = sentence_of_token(tokens)[: most + 1]
    within = _within_spans(tokens, spans)[: most + 1]
    free = np.flatnonzero(~within[least:]) + least
    ends = free[sentences[free] != sentences[free - 1]]
    for end in reversed(ends.tolist()):
        piece = tokens.piece(end)
        if piece[: len(piece) - len(piece.lstrip())].count("\n") > 1:
            return int(end)
    return int(ends[-1] if len(ends) else free[-1] if len(free) else most)


def _within_spans(tokens: Tokens, spans: list[Span]) -> BoolArray:
    """Which tokens begin within a span that began before them, shape (n,)."""
    starts = np.fromiter((span[0] for span in spans), np.int64, len(spans))
    ends = np.fromiter((span[1] for span in spans), np.int64, len(spans))
    n = len(tokens)
    changes = np.bincount(np.searchsorted(tokens.starts, starts, side="right"), minlength=n + 1)
    changes -= np.bincount(np.searchsorted(tokens.starts, ends, side="left"), minlength=n + 1)
    return np.cumsum(changes)[:n] > 0


def _first(tokens: Tokens, count: int) -> Tokens:
    if count == len(tokens):
        return tokens
    ends = tokens.ends[:count]
    return Tokens(
        text=tokens.text[: ends[-1]], starts=tokens.starts[:count], ends=ends,
        ids=tokens.ids[:count],
    )  # fmt: skip


def _context(text: str, spans: list[Span], end: int) -> str:
    """What decides about the text after a place: two lines, and what opens the code it is in.

    Whether a line opens or closes a block is known here, and must come out the same again: what
    closes one is left out, and a line of text is put before what only looks like an opening.
    """
    began = max(text.rfind("\n", 0, max(text.rfind("\n", 0, end), 0)) + 1, end - _LINES)
    lines = ".\n" + text[began:end]
    for start, after, kind in spans:
        if kind != "code" or "\n" not in text[start:after]:
            continue
        if start < end < after:
            opener = text[start : text.find("\n", start) + 1] if start < began else ""
            return opener + text[max(start, began) : end]
        if began < after <= end:
            lines = "." + text[after:end]
    return lines


def _pieces(chunks: Iterable[str], size: int) -> Iterator[str]:
    """The same text in parts that are not longer than ``size``."""
    for chunk in chunks:
        for start in range(0, len(chunk), size):
            yield chunk[start : start + size]


def _with_last(items: Iterable[AnyStr]) -> Iterator[tuple[AnyStr, bool]]:
    """Each item, and whether it is the last."""
    held: list[AnyStr] = []
    for item in items:
        if held:
            yield held.pop(), False
        held.append(item)
    if held:
        yield held.pop(), True
