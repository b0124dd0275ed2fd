import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.spec.load import plan_from_table
from microdollar.spec.model_catalog import list_model_specs
from microdollar.spec.training import Lora, TrainingPlan
from microdollar.ui.form import Form, pick
from microdollar.ui.toml import plan_toml, to_toml

LEAVES = st.one_of(
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)
TABLES = st.recursive(
    st.dictionaries(st.text(max_size=5), LEAVES, max_size=3),
    lambda inner: st.dictionaries(
        st.text(max_size=5),
        LEAVES | inner | st.lists(LEAVES, min_size=1, max_size=3) | st.lists(inner, min_size=1),
        max_size=3,
    ),
    max_leaves=12,
)


def _keys_are_text(value):
    if isinstance(value, dict):
        return all(not any("\ud800" <= c <= "\udfff" for c in k) for k in value) and all(
            map(_keys_are_text, value.values())
        )
    return not isinstance(value, list) or all(map(_keys_are_text, value))


@given(TABLES.filter(_keys_are_text))
def test_what_is_written_is_read_back(table):
    assert tomllib.loads(to_toml(table)) == table


def test_half_a_character_is_written_as_a_sign_of_it():
    assert tomllib.loads(to_toml({"name": "a\ud800"})) == {"name": "a�"}


@pytest.mark.parametrize("model", list_model_specs(), ids=lambda model: model.name)
def test_every_model_is_read_back_named_or_written_out(model):
    plan = pick(Form({"model": model.name, "device": "h100-sxm", "tokens": "1G"})).plan
    if plan.model == model:  # a plan of the same name comes before the model
        assert f'model = "{model.name}"' in plan_toml(plan)
    for each in (plan, replace(plan, model=replace(plan.model, name='my "own"'))):
        assert plan_from_table(tomllib.loads(plan_toml(each)), name="x", files=False).plan == each


def test_every_field_of_a_plan_is_read_back():
    plan = pick(
        Form(
            {
                "model": "rl-token-compression",
                "device": "h100-sxm",
                "tokens": "1e9",
                "count": "8",
                "zero": "3",
                "region": "france",
                "pue": "1.3",
                "stack": "torchtitan",
                "recompute": "full",
            }
        )
    ).plan
    assert isinstance(plan, TrainingPlan)
    plan = replace(plan, train=replace(plan.train, lora=Lora(rank=8, base_dtype="nf4")))
    assert plan_from_table(tomllib.loads(plan_toml(plan)), name="x", files=False).plan == plan
