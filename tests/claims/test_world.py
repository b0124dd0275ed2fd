"""Experiments run once, are resumed, and say why they are missing."""

import numpy as np
import pytest

from microdollar.claims import world as world_module
from microdollar.claims.experiments import EXPERIMENTS, Context, Experiment
from microdollar.claims.experiments.parts import kept
from microdollar.claims.world import World
from microdollar.errors import MissingExtraError, UnknownNameError
from microdollar.learn.corpus import Corpus
from microdollar.spec.arithmetic import Interval

CORPUS = Corpus(data=np.zeros(10, np.uint8), name="zeros", sha256="0")


@pytest.fixture
def counted(monkeypatch):
    """A slow experiment that counts how often it ran."""
    ran = []

    def run(self, context):
        ran.append(context)
        if len(ran) > 5:
            raise MissingExtraError("torch", "torch", "this")
        return {"times": Interval.of(float(len(ran)))}

    monkeypatch.setattr(Experiment, "run", run)
    one = Experiment(name="slow", title="slow", home="x:y", corpus_bytes=10)
    monkeypatch.setitem(EXPERIMENTS, "slow", one)
    return ran


def all_of(folder):
    return World(run="all", corpus=CORPUS, folder=folder)


def test_a_kept_record_is_not_measured_again(counted, tmp_path):
    for _ in range(2):
        values, reasons, said = all_of(tmp_path).names(["slow"])
        assert values["times"].value == 1.0
        assert not reasons
        assert said
    assert len(counted) == 1
    assert counted[0].corpus is CORPUS
    assert counted[0].folder.is_dir()


DEEP = "[" * 100_000
DAMAGE = ["", "{", "[]", '{"schema_version": 2}', "\0", DEEP]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_is_measured_again(counted, tmp_path, damage):
    all_of(tmp_path).names(["slow"])
    (tmp_path / "slow.json").write_text(damage)
    assert all_of(tmp_path).names(["slow"])[0]["times"].value == 2.0


@pytest.mark.parametrize("damage", [*DAMAGE, '{"x": "1"}', '{"x": NaN}', f'{{"x": {"9" * 400}}}'])
def test_a_damaged_part_is_found_again(tmp_path, damage):
    context = Context(folder=tmp_path)
    assert kept(context, "part", lambda: {"x": 1.0}) == {"x": 1.0}
    (tmp_path / "part.json").write_text(damage)
    assert kept(context, "part", lambda: {"x": 2.0}) == {"x": 2.0}
    assert kept(context, "part", lambda: {"x": 3.0}) == {"x": 2.0}


def test_another_seed_or_corpus_is_another_measurement(counted, tmp_path):
    all_of(tmp_path).names(["slow"])
    World(run="all", corpus=CORPUS, folder=tmp_path, seed=1).names(["slow"])
    other = Corpus(data=np.ones(10, np.uint8), name="ones", sha256="1")
    World(run="all", corpus=other, folder=tmp_path).names(["slow"])
    assert len(counted) == 3


def test_fast_reads_what_the_package_carries(counted, monkeypatch):
    monkeypatch.setattr(world_module, "recorded", lambda name: None)
    values, reasons, _ = World().names(["slow"])
    assert not values
    assert "microdollar claims --run all" in reasons[""]
    assert not counted


def test_a_missing_package_is_a_reason(counted, tmp_path):
    counted.extend([None] * 5)
    _, reasons, _ = all_of(tmp_path).names(["slow"])
    assert "pip install 'microdollar[torch]'" in reasons[""]
    assert not (tmp_path / "slow.json").exists()


def test_an_unknown_experiment():
    with pytest.raises(UnknownNameError, match="hashs"):
        World().names(["hashs"])


def test_parts_of_another_seed_are_kept_apart(counted, tmp_path):
    all_of(tmp_path).names(["slow"])
    World(run="all", corpus=CORPUS, folder=tmp_path, seed=1).names(["slow"])
    assert counted[0].folder != counted[1].folder


def test_a_longer_text_with_the_same_beginning_is_the_same_measurement(counted, tmp_path):
    all_of(tmp_path).names(["slow"])
    longer = Corpus(data=np.zeros(99, np.uint8), name="zeros", sha256="2")
    World(run="all", corpus=longer, folder=tmp_path).names(["slow"])
    assert len(counted) == 1
