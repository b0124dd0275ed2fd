"""What a release states in several places is the same in all of them."""

import re
import tomllib
from datetime import date
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from microdollar.cli.errors import EXTRAS

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "microdollar"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
FOR_USERS = {*PROJECT["project"]["optional-dependencies"]} - {"all", "docs", "dev"}
LAYERS = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]


def names_of(layer):
    """The names on a line of the contract or of the list."""
    return frozenset(re.findall(r"\w+", layer))


@pytest.fixture(scope="module")
def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))


@pytest.fixture(scope="module")
def newest():
    """Number and date of the first release that the changelog names."""
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    return re.search(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)$", changes, re.MULTILINE)


def test_one_version(citation, newest):
    assert PROJECT["project"]["version"] == version("microdollar")
    assert citation["version"] == newest[1] == PROJECT["project"]["version"]


def test_citation_has_what_its_format_requires(citation):
    # https://github.com/citation-file-format/citation-file-format, schema guide of 1.2.0
    assert citation["cff-version"] == "1.2.0"
    assert citation["message"]
    assert citation["title"].startswith("microdollar")
    assert citation["authors"] == [{"name": PROJECT["project"]["authors"][0]["name"]}]
    allowed = (
        "abstract authors cff-version date-released keywords license message title type version"
    )
    assert set(citation) <= set(allowed.split())
    assert all(isinstance(citation[key], str) for key in ("version", "message", "title"))


def test_citation_agrees_with_the_project(citation, newest):
    assert citation["date-released"] == date.fromisoformat(newest[2])
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["keywords"] == PROJECT["project"]["keywords"]
    assert citation["type"] == "software"


def test_the_list_of_layers_is_the_contract():
    listed = CONTRIBUTING.partition("only what stands below it")[2].split("```text\n")[1]
    drawn = [names_of(line) for line in listed.partition("```")[0].splitlines()]
    assert drawn == [names_of(layer) for layer in LAYERS]


def test_the_layout_names_every_folder_and_no_other():
    there = {
        path.stem
        for path in SOURCE.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    } - {"__init__", "__main__"}
    assert frozenset.union(*map(names_of, LAYERS)) == there
    layout = CONTRIBUTING.partition("src/microdollar/\n")[2].partition("\ntests/")[0]
    named = re.findall(r"^  (\S.*?)(?:  |$)", layout, re.MULTILINE)
    assert set(re.findall(r"\w+", " ".join(named))) == there


def test_every_requirement_is_pinned():
    text = (ROOT / "constraints.txt").read_text("utf-8")
    pinned = {name(line) for line in text.splitlines() if "==" in line}
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(one for extra in extras.values() for one in extra)]
    assert {name(one) for one in wanted} - {"microdollar"} <= pinned


def name(requirement):
    """A distribution's name, as package indices compare it."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+?(?=[\[=<>~! ]|$)", requirement)[0]).lower()


def test_all_is_every_extra_for_users():
    extras = PROJECT["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    assert set(re.search(r"\[(.*)\]", everything)[1].split(",")) == FOR_USERS


def test_every_extra_is_tried_by_itself():
    smokes = tomllib.loads((ROOT / "tests" / "wheel" / "smokes.toml").read_text("utf-8"))
    assert {smoke["extra"] for smoke in smokes["smoke"]} == FOR_USERS | {"core"}
    makefile = (ROOT / "Makefile").read_text("utf-8")
    tried = re.findall(r"tests/wheel/check\.py dist/\*\.whl (.*)", makefile)
    assert set(" ".join(tried).split()) == FOR_USERS | {"core"}


def test_extras_that_an_error_names_exist():
    assert set(EXTRAS.values()) <= FOR_USERS
