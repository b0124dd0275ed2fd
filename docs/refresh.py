"""Write again what the documents take from the program: its help, its numbers, its picture.

    python docs/refresh.py

- ``docs/commands.md``: the block below each command's heading is what ``--help`` prints.
- ``README.md``, the tutorial, ``docs/howto`` and ``docs/quantities``: what stands between
  ``<!-- measured -->`` or ``<!-- claimed -->`` and ``<!-- end -->`` comes from
  ``benchmarks/enwik8/results.json``, which ``microdollar compare`` wrote; between
  ``<!-- accuracy -->`` and ``<!-- end -->`` from ``benchmarks/validation/results.json``;
  between ``<!-- checked -->`` and ``<!-- end -->`` from ``microdollar claims``. What
  ``microdollar estimate`` and ``search`` print there for a model and a device of the catalog is
  what they print now.
- ``docs/frontier.svg``: the same results as a picture. One file serves light and dark: the
  drawing names its colours, and a style sheet inside it gives each name the colour of the
  scheme that the reader's system asks for.
- ``docs/documents.md``, ``docs/claims.md``: by ``docs/documents.py``, ``docs/claims.py``.
- ``docs/limits.md``, ``docs/roofline.svg``: by ``docs/limits.py``.

``tests/test_docs.py`` and ``tests/test_snippets.py`` fail while one of them is out of date.
"""

import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from microdollar.cost import Quantity
from microdollar.report.facts import headline, times_text
from microdollar.report.figures import quality_against_cost
from microdollar.report.schema import Results, Row, parse_results, read_results
from microdollar.report.svg import inline_svg, standalone_svg
from microdollar.run.validate.page import accuracy_lines
from microdollar.units import format_bytes, format_dollars, format_seconds, format_si

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "enwik8" / "results.json"
ACCURACY = ROOT / "benchmarks" / "validation" / "results.json"
PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "tutorial.md",
    *sorted((ROOT / "docs" / "howto").glob("*.md")),
    *sorted((ROOT / "docs" / "quantities").glob("*.md")),
)
COMMANDS = ROOT / "docs" / "commands.md"
PICTURE = ROOT / "docs" / "frontier.svg"

_HELP = re.compile(r"^(## microdollar ?([^\n]*)\n\n)```text\n.*?```$", re.MULTILINE | re.DOTALL)
_ESTIMATE = re.compile(
    r"^(\$ microdollar ((?:estimate|search) [^\n]*)\n).*?(?=^```$|^\$ )", re.MULTILINE | re.DOTALL
)
_OF_ONES_OWN = re.compile(r"\.(toml|json)\b|^estimate(?! .*--device)")
"""Commands on a file of the reader's, or on the machine at hand."""
_ACCURACY = re.compile(r"(<!-- accuracy\b[^>]*-->\n).*?(<!-- end -->)", re.DOTALL)
_MEASURED = re.compile(r"(<!-- measured\b[^>]*-->\n).*?(<!-- end -->)", re.DOTALL)
_CHECKED = re.compile(r"(<!-- checked\b[^>]*-->\n).*?(<!-- end -->)", re.DOTALL)
_CLAIMED = re.compile(r"(<!-- claimed\b[^>]*-->\n).*?(<!-- end -->)", re.DOTALL)
_LEFT_OUT = ("ppmd-6", "ppmd-8")
"""Of the table; the picture has them."""


def output_of(command: str) -> str:
    """What ``microdollar COMMAND`` prints, 80 columns wide, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "microdollar", *command.split()],
        capture_output=True,
        text=True,
        check=True,
        # A folder that is not there, so that no ledger of one's own corrects what is printed.
        env={**os.environ, "COLUMNS": "80", "MICRODOLLAR_HOME": str(ROOT / "nowhere")},
    )
    return done.stdout


def with_help(text: str) -> str:
    """``text`` with the present help under each heading ``## microdollar COMMAND``."""
    return _HELP.sub(lambda found: f"{found[1]}```text\n{output_of(f'{found[2]} --help')}```", text)


def with_estimates(text: str) -> str:
    """``text`` with the present output below each ``$ microdollar estimate`` or ``search``.

    Output that is shown in part (``...``) stays, and that of commands on the reader's own.
    """

    def present(found: re.Match[str]) -> str:
        printed = found[0].removeprefix(found[1])
        if not printed or "..." in printed or _OF_ONES_OWN.search(found[2]):
            return found[0]
        return f"{found[1]}{output_of(found[2])}"

    return _ESTIMATE.sub(present, text)


def with_accuracy(text: str, results: dict[str, Any]) -> str:
    """``text`` with the present held-out errors between its marks."""
    table = "\n".join(accuracy_lines(results))
    return _ACCURACY.sub(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", text)


def with_measurements(text: str, results: Results) -> str:
    """``text`` with the present numbers between its marks."""
    for form, lines in ((_MEASURED, _measured(results)), (_CLAIMED, _claims(results))):
        table = "\n".join(lines).replace("\\", "\\\\")
        text = form.sub(rf"\1\n{table}\n\n\2", text)
    return text


def with_verdicts(text: str) -> str:
    """``text`` with the present counts of verdicts between its marks."""
    if not _CHECKED.search(text):
        return text
    claims = runpy.run_path(str(ROOT / "docs" / "claims.py"))
    table = "\n".join(claims["summary"](claims["checked_claims"](), "docs/claims.md"))
    return _CHECKED.sub(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", text)


def picture(results: Results) -> str:
    """The first figure of the report as a file of its own, with its colours and background."""
    svg = inline_svg(
        quality_against_cost(results),
        name="frontier",
        title="Held-out bits per byte against the cost of learning",
        description=headline(results),
    )
    return standalone_svg(svg)


def _measured(results: Results) -> Iterator[str]:
    yield "| learner | frozen | adaptive | seconds, predicted | measured | price | memory |"
    yield "|---" * 7 + "|"
    for row in results.rows:
        if row.learner in _LEFT_OUT:
            continue
        predicted = row.predicted.seconds if row.predicted else None
        cells = (
            row.label,
            _bits(row.test_bits_per_byte),
            _bits(row.test_bits_per_byte_adaptive),
            _text(predicted, "seconds"),
            _text(row.measured.seconds, "seconds"),
            _text(row.measured.dollars, "dollars"),
            _text(row.measured.memory_bytes, "memory"),
        )
        yield f"| {' | '.join(cells)} |"


def _claims(results: Results) -> Iterator[str]:
    ngram, sat, readout, rnn = (
        _row(results, name) for name in ("ngram", "satrnn", "readout-sgd", "rnn-bptt")
    )
    yield "| what the documents say | what we measured on held-out bytes |"
    yield "|---|---|"
    yield (
        "| All weights from counts: 1.89 bits per byte, trained model 4.97 (on the bytes "
        f"counted; on their other half 4.88 and 5.08) | From counts "
        f"{_bits(sat.test_bits_per_byte)}, trained {_bits(rnn.test_bits_per_byte)}. The claim "
        f"does not hold; telescoped contexts make it true: {_bits(ngram.test_bits_per_byte)}. |"
    )
    yield (
        "| The same with the readout optimised: 0.59 against 4.97 | "
        f"{_bits(readout.test_bits_per_byte)} against {_bits(rnn.test_bits_per_byte)}. "
        "It does not hold. |"
    )
    yield (
        f"| 5.94 TFLOP to train the RNN for 20 epochs, 1,416 s | {_flop(rnn)} counted; "
        f"{_text(rnn.measured.seconds, 'seconds')} on one core with 32 streams. "
        "The operations hold. |"
    )
    yield (
        f"| $0.0000011 and 149 M operations to construct | {_text(sat.measured.dollars, 'dollars')}"
        f", {_text(sat.measured.int_ops, 'int_ops')} on integers and {_flop(sat)}, nearly all of "
        "them to choose pseudo-count and scale on held-back bytes. The order of magnitude holds. |"
    )
    yield (
        "| Training costs 12,400 times as much as construction | With one stream and the smoothing "
        f"given, as there, {_one_stream()} times, within the factor of two of another processor. "
        f"With 32 streams and the smoothing chosen on held-back bytes {_times(rnn, sat)} times the "
        f"sat-rnn, which is worse; {_times(rnn, ngram)} times the n-gram network, which is "
        "better. |"
    )


def _one_stream() -> str:
    path = ROOT / "src/microdollar/claims/recorded/construction_cost.json"
    values = json.loads(path.read_text("utf-8"))["values"]
    ratio = values["one_stream_seconds"]["value"] / values["construction_seconds"]["value"]
    return f"{float(f'{ratio:.2g}'):,.0f}"


def _row(results: Results, learner: str) -> Row:
    return next(row for row in results.rows if row.learner == learner)


def _bits(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _flop(row: Row) -> str:
    assert row.measured.flops.value is not None
    return format_si(row.measured.flops.value, "FLOP")


def _times(dear: Row, cheap: Row) -> str:
    above, below = dear.measured.dollars.value, cheap.measured.dollars.value
    assert above is not None and below
    return times_text(above / below)


def _text(quantity: Quantity | None, kind: str) -> str:
    if quantity is None or quantity.value is None:
        return "–"
    if kind == "int_ops":
        return f"{format_si(quantity.value)} operations"
    form = {"seconds": format_seconds, "dollars": format_dollars, "memory": format_bytes}[kind]
    return form(quantity.value)


def main() -> None:
    """Write the files; those that others take numbers from first."""
    for name in ("documents", "claims", "limits"):
        runpy.run_path(str(ROOT / "docs" / f"{name}.py"), run_name="__main__")
    results = parse_results(read_results(RESULTS))
    accuracy = json.loads(ACCURACY.read_text("utf-8"))
    for page in PAGES:
        text = with_measurements(page.read_text("utf-8"), results)
        text = with_verdicts(with_estimates(with_accuracy(text, accuracy)))
        page.write_text(text, encoding="utf-8")
    COMMANDS.write_text(with_help(COMMANDS.read_text("utf-8")), encoding="utf-8")
    PICTURE.write_text(picture(results), encoding="utf-8")


if __name__ == "__main__":
    main()
