"""How fast text is prepared, squeezed by simple rules, and scored, on one core.

Text is enwik8 as it is. The tokenizer is a byte-level BPE like GPT-2's, of as many entries at most,
learnt from the first half of the text; sequences of 1,024 tokens are cut from the second half.
Times are those of the processor.
"""

import json
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from microdollar.claims.experiments.base import Context
from microdollar.claims.experiments.parts import spread
from microdollar.claims.record import Values
from microdollar.errors import MissingExtraError
from microdollar.learn.tokens.budget import budget_of, keep_best
from microdollar.learn.tokens.scorers.base import make_scorer
from microdollar.learn.tokens.tokenizers import HuggingFace, Tokens
from microdollar.spec.arithmetic import Interval

LENGTH = 1_024
"""Tokens of a sequence."""
VOCABULARY = 50_257
RULES = ("random", "frequency", "short", "entropy", "ends")
"""The baselines of the document on training time."""
SCORED = 12
"""Sequences that quality is computed of: the usual library is slow."""


def run(context: Context) -> Values:
    """Measure on 2,000,000 bytes.

    Gives ``sequences_per_second``, ``read_share`` (of a second of reading and tokenizing, what is
    tokenizing), ``rule_seconds``, ``quality_seconds`` and ``evaluation_seconds`` (both).
    """
    assert context.corpus is not None
    text = bytes(context.corpus.data).decode("utf-8", "ignore")
    half = len(text) // 2
    context.progress(0, 4, "a tokenizer like GPT-2's")
    tokenizer = byte_level(text[:half])
    texts = cut(tokenizer, text[half:])
    context.progress(1, 4, "tokenizing")
    tokenizing = [seconds(lambda: [encode(tokenizer, one) for one in texts]) for _ in range(7)]
    with TemporaryDirectory(dir=context.folder) as folder:
        reading = reading_seconds(texts, Path(folder))
    context.progress(2, 4, "simple rules")
    sequences = [HuggingFace("bpe", lambda one: encode(tokenizer, one)).tokenize(x) for x in texts]
    ruled = [
        seconds(lambda rule=rule, one=one: squeezed(rule, one))  # type: ignore[misc]
        for one in sequences[:60]
        for rule in RULES
    ]
    context.progress(3, 4, "BLEU and ROUGE")
    scored = []
    for one in sequences[:SCORED]:
        kept = squeezed("entropy", one)
        read = [one.piece(i) if kept[i] else "" for i in range(len(one))]
        scored.append(seconds(lambda: quality_of(one.text, "".join(read))))  # noqa: B023
    rule, quality = spread(ruled), spread(scored)
    return {
        "sequences_per_second": spread([len(texts) / took for took in tokenizing]),
        "read_share": spread([t / (t + r) for t, r in zip(tokenizing, reading, strict=True)]),
        "rule_seconds": rule,
        "quality_seconds": quality,
        "evaluation_seconds": Interval(
            value=rule.value + quality.value,
            low=rule.low + quality.low,
            high=rule.high + quality.high,
        ),
    }


def byte_level(text: str) -> Any:  # noqa: ANN401
    """A byte-level BPE tokenizer learnt from a text.

    Raises:
        MissingExtraError: if tokenizers is not installed.
    """
    try:
        import tokenizers
    except ImportError as error:
        raise MissingExtraError("tokenizers", "tokens", "the rate of tokenizing") from error
    found = tokenizers.ByteLevelBPETokenizer()
    found.train_from_iterator(
        text.splitlines(keepends=True), vocab_size=VOCABULARY, show_progress=False
    )
    return found


def encode(tokenizer: Any, text: str) -> tuple[list[tuple[int, int]], list[int]]:  # noqa: ANN401
    """Spans and ids."""
    found = tokenizer.encode(text)
    return found.offsets, found.ids


def cut(tokenizer: Any, text: str) -> list[str]:  # noqa: ANN401
    """Pieces of a text of ``LENGTH`` tokens each; what is left at its end is left out."""
    spans, _ = encode(tokenizer, text)
    edges = [spans[i][0] for i in range(0, len(spans), LENGTH)]
    return [text[a:b] for a, b in pairwise(edges)]


def reading_seconds(texts: Sequence[str], folder: Path) -> list[float]:
    """Seconds to read sequences from a file of JSON lines, seven times."""
    path = folder / "sequences.jsonl"
    path.write_text("\n".join(json.dumps({"text": one}) for one in texts), "utf-8")

    def read() -> object:
        return [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()]

    return [seconds(read) for _ in range(7)]


def squeezed(rule: str, tokens: Tokens) -> np.ndarray:
    """Which half of the tokens a rule keeps, bool (n,), and the text of it made."""
    keep = keep_best(make_scorer(rule).score(tokens), budget_of(0.5, len(tokens)), None)
    tokens.join(keep)
    return keep


def quality_of(original: str, read: str) -> dict[str, float]:
    """BLEU of sacrebleu and ROUGE of rouge-score, as anyone would call them.

    Raises:
        MissingExtraError: if one is not installed.
    """
    try:
        rouge_scorer = import_module("rouge_score.rouge_scorer")
        metrics = import_module("sacrebleu.metrics")
    except ImportError as error:
        raise MissingExtraError("sacrebleu, rouge-score", "tokens", "BLEU and ROUGE") from error
    rouge = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"]).score(original, read)
    bleu = metrics.BLEU(effective_order=True).sentence_score(read, [original]).score
    return {name: 100 * score.fmeasure for name, score in rouge.items()} | {"bleu": bleu}


def seconds(call: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    began = time.thread_time()
    call()
    return time.thread_time() - began
