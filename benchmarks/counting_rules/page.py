"""``docs/counting-rules.md`` from the results of the comparison.

python benchmarks/counting_rules/page.py
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs" / "counting-rules.md"
_INTRODUCTION = """\
# Ways to combine orders

A text is counted after contexts of every length from 0 to K bytes. What is the chance of the next
byte? [The rules](#the-rules) that have been proposed, on the same counts and the same bytes, the
best first; bits per byte, lower is better. `python benchmarks/counting_rules/run.py ENWIK8
SHAKESPEARE --test` writes this page ({minutes:.0f} min of processor time, two slices at a time).

**Bytes.** enwik8: learnt from its first 1,000,000 bytes, scored on the next 200,000.
tinyshakespeare: learnt from nine tenths, scored on the rest. Scored once for this page, after every
choice was made; choices were made on enwik8, learnt from bytes 0 to 900,000 and scored on the next
100,000 (*development*), and nearly all of them come from the sources given below. Contexts have up
to 10 bytes, in the last column up to 6.

**Frozen** scores leave everything as it was after learning. **Adaptive** scores count each byte
after it was scored, and go on learning weights. The two can't be compared. Weights beyond counts
are learnt as `ngram` learns its own: from the last tenth of the training bytes, scored with the
counts of the rest.
"""
_RULES = """\
## The rules

- **Interpolated chains** give a part of each context's mass to the next shorter one, from 1/256 up.
  *Absolute discounting* takes D = n1/(n1 + 2 n2) from every count, *Witten-Bell* gives N/(T + N)
  where N kinds of byte were seen T times. *Kneser-Ney* is absolute discounting with continuation
  counts in shorter contexts (Kneser and Ney 1995), *modified* has three discounts (Chen and Goodman
  1998, equation 26). *Raw counts* are occurrences at every order.
- **`ngram`** multiplies modified Kneser-Ney's discounts by a factor for each class of evidence
  (order, kinds of byte, bytes seen), counted in one pass of expectation maximisation.
  **Bayes** takes the posterior mean over a grid of such factors (0.1 to 2), or of one discount
  (0.05 to 0.95), instead.
- **Partial matching** takes the longest context, excludes its bytes on escape, and counts by update
  exclusion: method C (Moffat 1990) and D (Howard 1993). PPMd variant I is Shkarin's, with inherited
  counts and secondary estimation (adaptive only).
- **Deleted interpolation** (Jelinek and Mercer 1980): l c/T + (1 - l) shorter, l by order and
  size of T, {rounds} passes of expectation maximisation.
- **Mixtures over the orders of a chain** are sums of its distributions at every order. *1/H*: each
  weighs (H + 0.05)^-1, H its entropy in bits. *EM*: weights by bucket (longest context, size of its
  total, kinds seen), counted by posteriors. *EM x 1/H*: their product.
- **CTW**, context-tree weighting (Willems, Shtarkov and Tjalkens 1995), is the mixture of all trees
  of contexts of up to K bytes, exactly: of bytes, (c + a)/(T + 256 a) with pseudo-count a, or of
  the eight bits of a byte one by one with the estimator of Krichevsky and Trofimov. It needs no
  held-back bytes.
- **`counted`** mixes the chain of `ngram` with word, skip, markup and match contexts, so it knows
  more than contexts of K bytes; see the [log](log.md).
"""


def _bits(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _table(
    slices: Mapping[str, Any], heads: Mapping[str, str], score: str, by: str
) -> Iterator[str]:
    shown = [name for name in heads if name in slices]
    yield f"| rule | {' | '.join(heads[name] for name in shown)} |"
    yield "|---|" + "--:|" * len(shown)
    rows = slices[by]["rows"]
    names = [name for name in rows if rows[name][score] is not None]
    for name in sorted(names, key=lambda name: rows[name][score]):
        cells = (_bits(slices[each]["rows"][name][score]) for each in shown)
        yield f"| {name} | {' | '.join(cells)} |"


def page(results: Mapping[str, Any], rounds: int = 15) -> str:
    """The page as Markdown; the same results give the same page."""
    slices = results["slices"]
    seconds = sum(each["cpu_seconds"] for each in slices.values())
    heads = {
        "enwik8": "enwik8",
        "tinyshakespeare": "tinyshakespeare",
        "development, order 10": "development",
        "development, order 6": "development, K = 6",
    }
    by = "enwik8" if "enwik8" in slices else "development, order 10"
    lines = [_INTRODUCTION.format(minutes=max(seconds / 60, 1))]
    for title, score in (("Frozen", "frozen"), ("Adaptive", "adaptive")):
        lines += [f"## {title}", "", *_table(slices, heads, score, by), ""]
    lines.append(_RULES.format(rounds=rounds))
    return "\n".join(lines)


def write() -> None:
    """Write the page of the kept results."""
    PAGE.write_text(page(json.loads(RESULTS.read_text("utf-8"))), "utf-8")


if __name__ == "__main__":
    write()
