"""The documents say what the program does: commands, options, keys, numbers, links."""

import json
import re
import runpy
import shlex
import xml.etree.ElementTree as ET
from pathlib import Path

import click
import numpy as np
import pytest

import microdollar as md
from microdollar.cli import concepts as concepts_module
from microdollar.cli import ledger as ledger_module
from microdollar.cli import scaling as scaling_module
from microdollar.cli import search as search_module
from microdollar.cli import tokens as tokens_module
from microdollar.cli.main import COMMANDS, cli, main
from microdollar.cost import Cost, Quantity
from microdollar.ledger import Ledger, Record
from microdollar.report.schema import parse_results, read_results

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
REFERENCE = (ROOT / "docs" / "commands.md").read_text("utf-8")
ACCURACY = ROOT / "benchmarks" / "validation" / "results.json"
RESULTS = ROOT / "benchmarks" / "enwik8" / "results.json"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
GROUPS = {
    "concepts": concepts_module.concepts,
    "ledger": ledger_module.ledger,
    "scaling": scaling_module.scaling,
    "search": search_module.search,
    "tokens": tokens_module.tokens,
}
SUBCOMMANDS = [f"{name} {sub}" for name, group in GROUPS.items() for sub in group.commands]
HOW_TO_REFRESH = "out of date. Type: python docs/refresh.py"


@pytest.fixture(scope="module")
def refresh():
    """What the script that writes these documents again defines."""
    return runpy.run_path(str(ROOT / "docs" / "refresh.py"))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working folder and a user's folder in it."""
    monkeypatch.setenv("MICRODOLLAR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def section(command):
    """The part of the reference below a command's heading."""
    heading = f"## microdollar {command}".rstrip()
    found = re.search(rf"^{heading}\n(.*?)(?=^## |\Z)", REFERENCE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/commands.md has no heading {heading!r}"
    return found[1]


def tables(text):
    """The keys that each table names in its first column."""
    for table in re.findall(r"^\| key \|.*?(?=\n\n|\Z)", text, re.MULTILINE | re.DOTALL):
        rows = table.splitlines()[2:]
        yield {key for row in rows for key in re.findall(r"`([^`]+)`", row.split("|")[1])}


def keys(command):
    """The keys of the first table of a command."""
    return next(tables(section(command)))


def json_of(capsys, *words):
    """The object that a command prints, without the version that all of them have."""
    assert main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said.pop("schema_version") == 1
    return said


def test_every_command_has_a_heading_and_no_other():
    headings = re.findall(r"^## microdollar ?(.*)$", REFERENCE, re.MULTILINE)
    assert headings[0] == ""
    assert set(headings[1:]) == {*COMMANDS, *SUBCOMMANDS}
    assert len(headings) == len(set(headings))


def test_help_texts_are_those_of_the_program(refresh):
    assert refresh["with_help"](REFERENCE) == REFERENCE, f"docs/commands.md is {HOW_TO_REFRESH}"


def test_exit_codes_are_documented():
    documented = re.findall(r"^\| (\d+) \|", REFERENCE, re.MULTILINE)
    classes = [md.MicrodollarError, *md.MicrodollarError.__subclasses__()]
    assert {str(error.exit_code) for error in classes} <= set(documented)
    line = re.search(r"Exit codes: (.*)\.", README)[1]
    assert line in " ".join(section("").split())


def test_keys_of_build_and_score(here, capsys):
    (here / "text").write_bytes(b"the cost of learning " * 50)
    built = json_of(capsys, "build", "text", "-o", "model", "--order", "3")
    assert set(built) == keys("build")
    scored = json_of(capsys, "score", "model", "text", "--start", "100")
    assert set(scored) == keys("score")


def test_keys_of_claims(capsys):
    assert main(["claims", "--document", "analytic-cost", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert all(set(one) == keys("claims") - {"part", "what", "value", "kept"} for one in found)


def test_keys_of_pack(here, capsys):
    (here / "text").write_bytes(b"the cost of learning " * 50)
    assert set(json_of(capsys, "pack", "text", "-o", "packed")) == keys("pack")


def test_keys_of_concepts(here, capsys):
    trained = json_of(capsys, "concepts", "train", "-o", "m", "--encoder", "counted",
                      "--engine", "numpy", "--epochs", "1", "--width", "16")  # fmt: skip
    assert set(trained) == keys("concepts train")
    scored = json_of(capsys, "concepts", "eval", "python-docs", "--model", "m")
    assert set(scored) == keys("concepts eval")
    for name in ("models", "gain_over_best_training_free"):
        row = re.search(rf"^\| `{name}` \| (.*) \|$", section("concepts eval"), re.MULTILINE)[1]
        found = scored[name][0] if name == "models" else scored[name]
        assert set(re.findall(r"`(\w+)`", row)) - {"lnsp"} == set(found)
    streamed = json_of(capsys, "concepts", "stream", "m", "python-docs", "--every", "0")
    assert set(streamed) == keys("concepts stream")
    listed = json_of(capsys, "concepts", "rollback", "m")
    went = json_of(capsys, "concepts", "rollback", "m", "base")
    assert set(listed) | set(went) == keys("concepts rollback")


def test_keys_of_scaling(here, capsys):
    runs = str(ROOT / "benchmarks" / "scaling" / "runs.csv")
    fitted = json_of(capsys, "scaling", "fit", runs, "--group-by", "learner", "--form", "tokens",
                     "--bootstrap", "20", "-o", "law.json")  # fmt: skip
    assert set(fitted) == keys("scaling fit")
    of_sizes, of_budgets = tables(section("scaling predict"))
    law = ("scaling", "predict", "chinchilla")
    assert set(json_of(capsys, *law, "--params", "70G", "--tokens", "1.4T")) == of_sizes
    assert set(json_of(capsys, *law, "--budget-flops", "1e21")) == of_budgets


def test_keys_of_crossover(capsys):
    predicted = json_of(capsys, "crossover", "--layers", "attention,elman", "--lengths", "32,64",
                        "--widths", "64", "--device", "h100-sxm")  # fmt: skip
    listed = keys("crossover")
    tops = [key for key in listed if "[]." not in key and key[0] not in "._"]
    assert set(predicted) == {key.removesuffix("[]") for key in tops}


def test_keys_of_limits(capsys):
    assert set(json_of(capsys, "limits")) == keys("limits")


def test_keys_of_squeeze_and_tokens(here, capsys):
    (here / "text").write_text("The cat of 1999 sat on the mat, and the dog did not. " * 20)
    assert set(json_of(capsys, "squeeze", "text", "--ratio", "0.5")) == keys("squeeze")
    (here / "texts").mkdir()
    for i in range(30):
        (here / "texts" / f"page{i}.txt").write_text(f"the cat {i} sat on the mat. A dog ran. " * 9)
    (here / "small.toml").write_text(
        "[run]\nvocabulary = 40\nmin_tokens = 20\nlength = 64\n[policy]\nknown = 20\nbuckets = 4\n"
        "width = 8\ninner = 8\n[infiller]\nwidth = 8\nheads = 2\nlayers = 1\ninner = 8\n"
        "length = 32\ncopying = 4\n[infiller_training]\nepochs = 1\n[supervised]\nreadings = 1\n"
        "policy_readings = 1\nepochs = 1\n[joint]\nepochs = 1\nsamples = 2\nvalidations = 1\n"
    )
    words = ("texts", "--config", "small.toml")
    trained = json_of(capsys, "tokens", "train", *words, "-o", "model")
    assert set(trained) == keys("tokens train")
    probed = json_of(capsys, "tokens", "train", *words, "--probe")
    assert set(probed) == {"seconds", "memory_bytes", "kinds"}
    scored = json_of(capsys, "tokens", "eval", "texts", "--model", "model", "--ratios", "0.5",
                     "--scorers", "policy,rare")  # fmt: skip
    assert set(scored) == keys("tokens eval")
    said = section("tokens eval").partition("A row has ")[2].replace("`low` and\n`high`", "")
    assert set(scored["rows"][0]) - {"low", "high"} == set(re.findall(r"`(\w+)`", said))


def test_keys_of_estimate(capsys):
    words = ("--learner", "rnn-bptt", "--train-bytes", "1M", "--device", "h100-sxm")
    said = json_of(capsys, "estimate", *words)
    assert set(said) == keys("estimate")
    for name in ("breakdown", "assumptions"):
        row = next(line for line in section("estimate").splitlines() if f"| `{name}`" in line)
        assert set(re.findall(r"`([^`]+)`", row)) == {name, *said[name][0]}
    quantities = REFERENCE.partition("## Quantities")[2]
    assert set(re.findall(r"`([^`]+)`", quantities.split("\n\n")[1])) == {
        "predicted",
        "measured",
        *said["predicted"],
    }
    for quantity in said["predicted"].values():
        assert set(quantity) == next(tables(quantities))


def test_keys_of_estimates_of_models(capsys):
    words = ("estimate", "gpt2", "--device", "l4")
    _, trained, served, *_ = tables(section("estimate"))
    said = json_of(capsys, *words)
    conventions, memory, bound = (
        next(found for found in re.findall(rf"^\| `{name}` \|(.*)$", REFERENCE, re.MULTILINE))
        for name in ("flops", "memory_bytes", "landauer")
    )
    assert set(said) == trained
    assert set(said["flops"]) == set(re.findall(r"`([^`]+)`", conventions))
    assert set(said["memory_bytes"]) == set(re.findall(r"`([^`]+)`", memory))
    assert set(said["landauer"]) == set(re.findall(r"`([^`]+)`", bound))
    assert set(json_of(capsys, *words, "--generate", "5")) == served
    assert set(json_of(capsys, "estimate", "--list-models")) == {"models", "plans"}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("largest", ()),
        ("layouts", ()),
        ("devices", ("--among", "l4")),
        ("savings", ()),
        ("sweep", ("--over", "batch=1,2")),
        ("sensitivity", ()),
    ],
)
def test_keys_of_search(name, options, capsys):
    said = json_of(capsys, "search", name, "gpt2", "--device", "l4", *options)
    assert set(said) == keys(f"search {name}")
    if name == "largest":
        trial = re.search(r"^A trial: (.*?)\n\n", section("search largest"), re.M | re.S)[1]
        assert set(said["trial"]) == set(re.findall(r"`(\w+)`", trial))
    row = next(iter(said.values()))
    if isinstance(row, list) and name not in ("layouts", "sweep"):
        line = re.search(rf"^\| `{next(iter(said))}` \| (.*) \|$", section(f"search {name}"), re.M)
        assert set(row[0]) <= set(re.findall(r"`(\w+)`", line[1]))


def test_keys_of_doctor(capsys):
    assert set(json_of(capsys, "doctor")) == keys("doctor")


def test_keys_of_the_ledger(here, capsys):
    unknown = Cost(**{name: Quantity(value=1.0, basis="assumed") for name in Cost.__slots__})
    row = Record(learner="ngram", plan={}, device={}, predicted=unknown, measured=unknown)
    Ledger().append(row)
    listed = json_of(capsys, "ledger", "list")
    assert set(listed) == keys("ledger list")
    documented = re.search(r"^\| `rows` \| (.*) \|$", section("ledger list"), re.MULTILINE)[1]
    assert set(re.findall(r"`(\w+)`", documented)) == set(listed["rows"][0])
    assert set(json_of(capsys, "ledger", "show", "1")) == keys("ledger show")
    compared = json_of(capsys, "ledger", "compare")
    assert set(compared) == keys("ledger compare")
    for name in ("comparisons", "summary"):
        line = re.search(rf"^\| `{name}` \| (.*) \|$", section("ledger compare"), re.MULTILINE)
        assert set(re.findall(r"`(\w+)`", line[1])) == set(compared[name][0])
    assert main(["ledger", "export", "-o", "rows.jsonl"]) == 0
    words = ("ledger", "import", "rows.jsonl", "--ledger", "other.db")
    capsys.readouterr()
    assert set(json_of(capsys, *words)) == keys("ledger import")


def test_keys_of_results():
    results = json.loads(RESULTS.read_text("utf-8"))
    of_results, of_rows = tables(section("compare"))
    assert set(results) == of_results | {"schema_version"}
    for row in results["rows"]:
        assert set(row) <= of_rows
    assert set().union(*results["rows"]) == of_rows
    for name in ("corpus", "device"):
        line = re.search(rf"^\| `{name}` \| (.*) \|$", section("compare"), re.MULTILINE)
        assert set(re.findall(r"`(\w+)`", line[1])) == set(results[name])


def test_measured_numbers_are_those_of_the_results(refresh):
    results = parse_results(read_results(RESULTS))
    accuracy = json.loads(ACCURACY.read_text("utf-8"))
    regions = 0
    for page in refresh["PAGES"]:
        text = page.read_text("utf-8")
        regions += len(re.findall("<!-- (?:measured|claimed|accuracy)", text))
        fresh = refresh["with_accuracy"](refresh["with_measurements"](text, results), accuracy)
        fresh = refresh["with_verdicts"](fresh)
        assert fresh == text, f"{page.name} is {HOW_TO_REFRESH}"
    assert regions == 3


def test_picture_is_that_of_the_results(refresh):
    def words(svg):
        return [element.text for element in ET.fromstring(svg).iter() if element.tag[-4:] == "text"]

    kept = (ROOT / "docs" / "frontier.svg").read_text("utf-8")
    drawn = refresh["picture"](parse_results(read_results(RESULTS)))
    assert words(kept) == words(drawn), f"docs/frontier.svg is {HOW_TO_REFRESH}"
    assert "prefers-color-scheme:dark" in kept
    used, defined = (set(re.findall(form, kept)) for form in (r"var\(--(\w+)\)", r"--(\w+):#"))
    assert used <= defined


def typed(text):
    """Every command line of ``text``: after a prompt, or between backquotes with options."""
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield from (line[2:] for line in block.splitlines() if line.startswith("$ "))
    for code in re.findall(r"`(microdollar [^`]*?--[^`]*)`", text):
        yield " ".join(code.split())


@pytest.mark.parametrize(
    "line", sorted({line for path in (ROOT / "README.md",) for line in typed(path.read_text())})
)
def test_command_lines_of_the_readme_parse(line):
    program, *words = shlex.split(line, comments=True)
    if program == "make":
        makefile = (ROOT / "Makefile").read_text()
        assert re.search(rf"^{words[0]}:", makefile, re.MULTILINE)
        return
    assert program == "microdollar"
    with cli.make_context("microdollar", words) as group:
        name, command, rest = cli.resolve_command(group, words)
        # Raises for an option that does not exist, or one that is missing.
        assert isinstance(command.make_context(name, rest, parent=group), click.Context)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?:)([^)#]*)(?:#[^)]*)?\)", path.read_text("utf-8")):
        assert not target or (path.parent / target).exists(), f"{path.name}: {target}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_anchors_exist(path):
    text = path.read_text("utf-8")
    headings = {
        re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= headings


def test_layout_of_memory_is_as_described():
    model = md.learner("ngram", order=2).fit(np.frombuffer(b"abracadabra" * 20, np.uint8))
    trie = model.network.trie
    described = (ROOT / "docs" / "how-it-works.md").read_text("utf-8")
    assert f"({trie.rows.itemsize * trie.rows.shape[1]} bytes)" in described
    assert f"suffix link ({trie.suffix.itemsize} bytes)" in described
