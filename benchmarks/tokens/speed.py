"""Tokens a second of squeezing, by scorer and by step, and against a classifier of words.

    python benchmarks/tokens/speed.py FILE --model MODEL --out benchmarks/tokens/results/speed.json

One core: every library is held to one thread, and times are those of the processor. The peer has
the shape of LLMLingua-2: a token classifier of DistilBERT's size over windows of 512 tokens, then
the mean of each word, a threshold at the rate asked for, and the words above it joined. Its weights
are random and its token numbers are hashes of the same words (no word pieces, so it reads fewer
tokens and is spared their tokenizer), which changes nothing of its time per token but in its
favour. Both squeeze the same text in turn; ratios are of such pairs, and their median is shown.

Without --model the policy has random weights and a vocabulary of the text, which takes as long.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from transformers import DistilBertConfig, DistilBertForTokenClassification

from microdollar.learn.counts.ngram.learner import NGram
from microdollar.learn.tokens.budget import budget_of, keep_best
from microdollar.learn.tokens.policy.folder import PolicyModel
from microdollar.learn.tokens.policy.network import PolicyConfig, initial
from microdollar.learn.tokens.policy.pairs import Pairs
from microdollar.learn.tokens.price import break_even
from microdollar.learn.tokens.protect import USUAL, mask, protected
from microdollar.learn.tokens.scorers.base import Scorer, make_scorer
from microdollar.learn.tokens.scorers.policy import Policy
from microdollar.learn.tokens.tokenizers import Tokens, Words
from microdollar.learn.tokens.vocabulary import Vocabulary

HERE = Path(__file__).parent
STEPS = ("tokenize", "protect", "score", "select", "join")
AFTER = ("protect", "select", "join")
"""All that is not tokenizing or scoring."""
PLAIN = ("self-information", "stop-words", "textrank", "frequency", "entropy", "position")
WINDOW, BATCH = 512, 4
MACHINE_DOLLARS_PER_HOUR = 0.05
"""Of one core, assumed: a small rented machine."""
PRICES = (0.1, 1.0, 3.0)
"""Dollars of a million input tokens, from small to large models (assumed)."""
READ_SPEEDS = (1_000, 5_000, 20_000)
"""Tokens a second that a model reads (assumed): on a laptop, shared, alone."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--model", type=Path, help="what `microdollar tokens train` made")
    parser.add_argument("--ratio", type=float, default=0.5)
    parser.add_argument("--lengths", default="1000,10000,100000,1000000", help="in tokens")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--pair-tokens", type=int, default=2048, help="of the text of the pairs")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--out", type=Path, help="write the result here as JSON, and a table")
    return parser.parse_args()


def scorers(text: str, model: Path | None) -> dict[str, Scorer]:
    """Every scorer that runs on one core in reasonable time, the slowest last.

    What needs a model and is given none learns from the first quarter of the text.
    """
    found = {name: make_scorer(name) for name in PLAIN}
    learnt = text[: len(text) // 4]
    frozen = NGram(order=6).fit(np.frombuffer(learnt.encode(), np.uint8))
    found["self-information, frozen"] = make_scorer("self-information", model=frozen)
    if model is None:
        tokens = Words().tokenize(learnt)
        vocabulary = Vocabulary.of([tokens])
        pairs = Pairs.of([vocabulary.numbers(tokens)], len(vocabulary))
        network = initial(PolicyConfig())
        policy = PolicyModel(network=network, vocabulary=vocabulary, pairs=pairs)
    else:
        policy = PolicyModel.load(model)
    found["policy"] = make_scorer("policy", model=policy)
    return found


def steps_of(text: str, scorer: Scorer, ratio: float) -> dict[str, float]:
    """Seconds of the processor for each step of squeezing a text."""
    if isinstance(scorer, Policy):  # of a text that is new, the unknown pieces are too
        scorer._ready.vocabulary._spelled.clear()
    at = [time.process_time()]
    tokens = Words().tokenize(text)
    at.append(time.process_time())
    must = mask(tokens, protected(text, kinds=USUAL))
    at.append(time.process_time())
    scores = scorer.score(tokens)
    at.append(time.process_time())
    budget = budget_of(ratio, len(tokens))
    # Nothing is protected where that alone would exceed the budget: the choice takes as long.
    keep = keep_best(scores, budget, must if must.sum() <= budget else None)
    at.append(time.process_time())
    tokens.join(keep)
    at.append(time.process_time())
    return {step: after - before for step, before, after in zip(STEPS, at, at[1:], strict=False)}


class Classifier:
    """A token classifier of DistilBERT's size with random weights, and what goes round it."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        config = DistilBertConfig(num_labels=2)
        self.network = DistilBertForTokenClassification(config).eval()
        self.vocabulary = config.vocab_size
        self.parameters = sum(each.numel() for each in self.network.parameters())

    def squeeze(self, text: str, ratio: float) -> str:
        """Words whose chance to be kept is above the threshold of the rate."""
        tokens = Words().tokenize(text)
        numbers = torch.from_numpy(tokens.ids % self.vocabulary)
        windows = [numbers[at : at + WINDOW] for at in range(0, len(numbers), WINDOW)]
        chances = []
        with torch.inference_mode():
            for at in range(0, len(windows), BATCH):
                batch = torch.nn.utils.rnn.pad_sequence(windows[at : at + BATCH], batch_first=True)
                there = torch.nn.utils.rnn.pad_sequence(
                    [torch.ones_like(each) for each in windows[at : at + BATCH]], batch_first=True
                )
                logits = self.network(input_ids=batch, attention_mask=there).logits
                chances.append(logits.softmax(-1)[..., 1][there.bool()].numpy())
        every = np.concatenate(chances)
        return tokens.join(_whole_words(tokens, every, ratio))


def _whole_words(tokens: Tokens, chances: np.ndarray, ratio: float) -> np.ndarray:
    """Tokens of the words (between white space) whose mean chance is above the threshold."""
    begins = np.array([piece[:1].isspace() for piece in map(tokens.piece, range(len(tokens)))])
    word = np.cumsum(begins) - begins[0]
    means = np.bincount(word, chances) / np.bincount(word)
    return means[word] > np.quantile(means[word], 1 - ratio)


def paired(ways: dict[str, Callable[[], object]], peer: str, pairs: int) -> dict[str, float]:
    """How many times as long the peer takes as each other way: medians of pairs in turn."""
    found: dict[str, list[float]] = {name: [] for name in ways if name != peer}
    for _ in range(pairs):
        base = seconds(ways[peer])
        for name, each in found.items():
            # Ours takes milliseconds: as often as it takes to be measured.
            often = max(1, int(0.05 / max(seconds(ways[name]), 1e-4)))
            each.append(base / (seconds(ways[name], often) / often))
    return {name: statistics.median(each) for name, each in found.items()}


def seconds(run: Callable[[], object], times: int = 1) -> float:
    began = time.process_time()
    for _ in range(times):
        run()
    return time.process_time() - began


def measured(text: str, scorer: Scorer, given: argparse.Namespace) -> dict[str, object]:
    """Tokens a second at each length, the share of each step, and how time grows."""
    starts = Words().tokenize(text).starts
    lengths = [int(each) for each in given.lengths.split(",")]
    rows = []
    for length in lengths:
        times = -(-length // len(starts))
        part = text[: starts[length]] if length < len(starts) else text * times
        if times > 1:
            part = part[: Words().tokenize(part).starts[length]]
        steps_of(text[: starts[min(500, len(starts) - 1)]], scorer, given.ratio)  # compiles
        runs = [steps_of(part, scorer, given.ratio) for _ in range(given.repeats)]
        run = sorted(runs, key=lambda each: sum(each.values()))[len(runs) // 2]
        total = sum(run.values())
        rows.append(
            {
                "tokens": length,
                "seconds": total,
                "tokens_per_second": length / total,
                "tokens_per_second_scoring_and_selecting": length / (run["score"] + run["select"]),
                "share_after": sum(run[step] for step in AFTER) / total,
                "step_seconds": run,
            }
        )
    long = [row for row in rows if row["tokens"] >= 10_000]
    exponent = None
    if len(long) > 1:
        exponent = float(
            np.polyfit(
                np.log([row["tokens"] for row in long]), np.log([row["seconds"] for row in long]), 1
            )[0]
        )
    return {"lengths": rows, "exponent": exponent}


def output_of(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=False)
    return done.stdout.strip()


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def pays(each: float, ratio: float) -> dict[str, object]:
    """Break-even of squeezing at some seconds a token; to load it takes ``start`` seconds."""
    start = min(
        float(output_of(sys.executable, "-c", f"{_START}\nprint(time.process_time())"))
        for _ in range(3)
    )
    both = zip(PRICES, READ_SPEEDS, strict=True)
    found = [
        {
            "dollars_per_million_tokens": price,
            "tokens_per_second": speed,
            **{
                name: getattr(even, name)
                for even in [
                    break_even(
                        ratio=ratio, squeeze_seconds_per_token=each, fixed_seconds=start,
                        machine_dollars_per_hour=MACHINE_DOLLARS_PER_HOUR,
                        dollars_per_million_tokens=price, tokens_per_second=speed,
                    )
                ]
                for name in (
                    "tokens_for_money", "tokens_for_time", "least_dollars_per_million_tokens",
                    "most_tokens_per_second",
                )
            },
        }
        for price, speed in both
    ]  # fmt: skip
    return {
        "seconds_per_token": each,
        "start_seconds": start,
        "machine_dollars_per_hour": MACHINE_DOLLARS_PER_HOUR,
        "at": found,
    }


_START = """
import time
from microdollar.learn.tokens.squeeze import squeeze
squeeze("One two three four five.", 0.5)
"""
"""What a process does before its first long text: imports, and one short text."""


def table(row: dict) -> str:
    """The results in Markdown."""
    lines = [
        f"Made by `{row['command']}` at {row['commit'][:12]}, one core of {row['processor']}.",
        "",
        "| scorer | tokens | tokens/s, all | tokens/s, scoring and selecting | protect, select and "
        "join | time grows as length to the | times as fast as the classifier |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in row["scorers"].items():
        for each in found["lengths"]:
            last = each is found["lengths"][-1]
            power = f"{found['exponent']:.3f}" if last and found["exponent"] else ""
            lines.append(
                f"| {name} | {each['tokens']:,} | {each['tokens_per_second']:,.0f} "
                f"| {each['tokens_per_second_scoring_and_selecting']:,.0f} "
                f"| {100 * each['share_after']:.1f} % | {power} "
                f"| {row['times_as_fast'][name]:,.0f} |"
            )
    lines += [
        "",
        f"The classifier ({row['classifier']['parameters']:,} parameters) squeezes "
        f"{row['classifier']['tokens_per_second']:,.0f} tokens a second.",
        "",
        f"| scorer | a million tokens cost | a model reads, tokens/s | pays in money from | pays "
        f"in time from (keeping {row['ratio']:g}) |",
        "|---|---|---|---|---|",
    ]
    for name, found in row["break_even"].items():
        for each in found["at"]:
            money, long = (each["tokens_for_money"], each["tokens_for_time"])
            lines.append(
                f"| {name} | ${each['dollars_per_million_tokens']:g} "
                f"| {each['tokens_per_second']:,} "
                f"| {'never' if money is None else f'{money:,.0f} tokens'} "
                f"| {'never' if long is None else f'{long:,.0f} tokens'} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    given = arguments()
    threadpool_limits(1)
    text = given.file.read_text(encoding="utf-8", errors="replace")
    classifier = Classifier()
    every = scorers(text, given.model)
    part = text[: Words().tokenize(text[: 40 * given.pair_tokens]).starts[given.pair_tokens]]
    ways: dict[str, Callable[[], object]] = {
        name: lambda scorer=scorer: steps_of(part, scorer, given.ratio)
        for name, scorer in every.items()
    }
    ways["classifier"] = lambda: classifier.squeeze(part, given.ratio)
    ways["classifier"]()
    fast = paired(ways, "classifier", given.pairs)
    alone = statistics.median(seconds(ways["classifier"]) for _ in range(3))
    found = {}
    for name, scorer in every.items():
        found[name] = measured(text, scorer, given)
        longest = found[name]["lengths"][-1]
        print(
            f"{name}: {longest['tokens_per_second']:,.0f} tokens/s at {longest['tokens']:,}, "
            f"{100 * longest['share_after']:.1f} % after scoring, {fast[name]:,.0f} times as fast",
            flush=True,
        )
    shown = [Path(each).name if Path(each).is_absolute() else each for each in sys.argv[1:]]
    row = {
        "command": " ".join(["python", "benchmarks/tokens/speed.py", *shown]),
        "commit": output_of("git", "rev-parse", "HEAD"),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "policy": "random weights" if given.model is None else given.model.name,
        "ratio": given.ratio,
        "repeats": given.repeats,
        "pairs": given.pairs,
        "pair_tokens": given.pair_tokens,
        "scorers": found,
        "times_as_fast": fast,
        "classifier": {
            "parameters": classifier.parameters,
            "tokens_per_second": given.pair_tokens / alone,
        },
        "break_even": {
            name: pays(
                found[name]["lengths"][-1]["seconds"] / found[name]["lengths"][-1]["tokens"],
                given.ratio,
            )
            for name in ("self-information", "policy")
        },
    }
    if given.out:
        given.out.parent.mkdir(exist_ok=True)
        given.out.write_text(json.dumps(row, indent=2) + "\n")
        given.out.with_suffix(".md").write_text(table(row))


if __name__ == "__main__":
    main()
