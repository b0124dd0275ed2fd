"""The kept results of the study, and the page that is made of them."""

import runpy
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from microdollar.learn.study.published import COMPARISONS, PUBLISHED, agrees

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    """What docs/experiments.py defines."""
    return runpy.run_path(str(ROOT / "docs" / "experiments.py"))


@pytest.fixture(scope="module")
def results(script):
    """The kept results."""
    return script["kept"]()


def test_page_and_picture_are_those_of_the_results(script, results):
    kept = (ROOT / "docs" / "experiments.md").read_text("utf-8")
    assert script["text"](results) == kept, "out of date. Type: python docs/experiments.py"

    def words(svg):
        return [element.text for element in ET.fromstring(svg).iter() if element.tag[-4:] == "text"]

    drawn = script["pictures"](results)[script["longest"](results)]
    assert words((ROOT / "docs" / "experiments.svg").read_text("utf-8")) == words(drawn)


def test_every_experiment_ran_at_every_scale(results):
    assert list(results["slices"]) == ["520", "1024", "1000000"]
    assert [each["number"] for each in results["experiments"]] == list(range(1, 12))
    rows = {
        (each["name"], row["key"]): row for each in results["experiments"] for row in each["rows"]
    }
    assert set(PUBLISHED) <= set(rows)
    assert len(results["comparisons"]) == len(COMPARISONS)


def test_verdicts_follow_from_the_numbers(results):
    for experiment in results["experiments"]:
        for row in experiment["rows"]:
            said = row["published"]
            if said is None:
                continue
            near = [
                piece
                for piece in ("520", "1024")
                if piece in row["values"]
                and row["values"][piece][said["beside"]] is not None
                and agrees(
                    row["values"][piece][said["beside"]],
                    PUBLISHED[experiment["name"], row["key"]].value,
                    row["measure"],
                )
            ]
            assert said["holds_on"] == near
            assert (said["verdict"] == "holds") == bool(near)


def test_the_published_programs_are_met_where_no_trained_weights_enter(results):
    free = {"construction", "readouts", "carriers"}
    judged = [
        (experiment["name"], row["key"], row["published"]["agrees_with_rerun"])
        for experiment in results["experiments"]
        for row in experiment["rows"]
        if experiment["name"] in free
        and row["published"]
        and row["published"]["agrees_with_rerun"] is not None
    ]
    assert len(judged) > 9
    assert all(agreed for _, _, agreed in judged), judged
