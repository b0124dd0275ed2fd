from pathlib import Path

import pytest

from microdollar.errors import SpecError, UnknownNameError, UsageError
from microdollar.learn.tokens.policy.config import TrainConfig, parse_config, read_config

EXAMPLES = Path(__file__).parents[4] / "examples" / "tokens"


def test_nothing_given_is_the_defaults():
    config = parse_config({})
    assert config == TrainConfig(
        infiller=config.infiller, infiller_training=config.infiller_training
    )
    assert config.infiller.vocabulary == config.run.vocabulary
    assert config.infiller_training.threads == config.run.threads


def test_what_all_stages_share_is_given_once():
    config = parse_config({"run": {"vocabulary": 100, "seed": 5, "products": "float32"}})
    assert config.infiller.vocabulary == 100
    assert config.infiller_training.seed == 5
    assert config.infiller_training.products == "float32"
    with pytest.raises(SpecError, match="accepts"):
        parse_config({"infiller": {"vocabulary": 100}})


@pytest.mark.parametrize(
    ("tables", "named"),
    [
        ({"joints": {}}, "joint"),
        ({"joint": {"epoch": 3}}, "epochs"),
        ({"joint": {"epochs": 3.0}}, "int"),
        ({"joint": {"epochs": True}}, "int"),
        ({"joint": {"ratios": 0.5}}, "list"),
        ({"joint": {"ratios": [0.5, 1.5]}}, "1.5"),
        ({"joint": {"ratios": []}}, "ratios"),
        ({"joint": 3}, "table"),
        ({"joint": {"samples": 1}}, "samples"),
        ({"joint": {"temperature": 0}}, "temperature"),
        ({"policy": {"kernel": 4}}, "kernel"),
        ({"run": {"threads": 0}}, "threads"),
        ({"run": {"vocabulary": 2}}, "vocabulary"),
        ({"supervised": {"dropout": 1.0}}, "dropout"),
        ({"supervised": {"readings": 0}}, "readings"),
    ],
)
def test_what_is_not_accepted_is_named(tables, named):
    with pytest.raises(UsageError, match=named):
        parse_config(tables)


def test_unknown_names():
    for table, key in (
        ("joint", "optimizer"), ("joint", "baseline"), ("supervised", "optimizer"),
        ("run", "products"),
    ):  # fmt: skip
        with pytest.raises(UnknownNameError):
            parse_config({table: {key: "colins"}})


def test_files(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("[joint]\nlearning_rate = 1\n")
    assert read_config(path).joint.learning_rate == 1.0
    path.write_text("[joint\n")
    with pytest.raises(SpecError, match="no TOML"):
        read_config(path)
    with pytest.raises(SpecError, match="can't be read"):
        read_config(tmp_path / "none.toml")


def test_the_examples_are_accepted():
    full = read_config(EXAMPLES / "full.toml")
    assert full.joint.epochs == 100
    assert full.joint.micro_batch * full.joint.accumulation == 16
    assert full.joint.ratios == (0.3, 0.5, 0.7)
    assert 0.9e6 < read_config(EXAMPLES / "small.toml").policy.parameters < 1.1e6
