"""Plans from TOML: what is filled in, what is refused, and that nothing else comes out."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import SpecError, UnknownNameError, UsageError
from microdollar.spec.load import PlanFile, list_plans, load_plan, plan_from_table
from microdollar.spec.parameters import count_parameters
from microdollar.spec.training import ServingPlan, TrainingPlan

TRAIN = {"sequence": 512, "micro_batch": 4}


def plan(**changes):
    table = {"model": "gpt2", "device": "h100-sxm", "train": TRAIN} | changes
    return plan_from_table(
        {key: value for key, value in table.items() if value is not None}, name="x"
    )


def test_the_documents_plan():
    file = load_plan("rl-token-compression")
    assert "rl-token-compression" in list_plans()
    assert (file.plan.steps, file.plan.micro_steps) == (312_500, 8)  # the document's 5.1
    assert file.plan.train.tokens == 50_000 * 100 * 1024
    (reconstructor,) = file.plan.others
    assert reconstructor.trains
    assert count_parameters(reconstructor.model).total == 124_439_808
    assert file.claims and file.source == "training-time"
    assert "117M" in file.notes


@pytest.mark.parametrize("name", list_plans())
def test_every_shipped_plan_loads(name):
    assert load_plan(name).name == name


def test_what_is_left_out_is_filled_in():
    train = plan(train={}).plan.train
    assert (train.sequence, train.micro_batch, train.global_batch) == (1024, 1, 1)
    assert train.precision == "bfloat16"
    assert train.tokens is None
    assert plan(device="this").plan.train.precision == "float32"
    assert plan(device="v100-16gb").plan.train.precision == "float16"


def test_the_batch_and_the_layout_follow_from_the_count():
    found = plan(count=16, layout={"tp": 2}, train=TRAIN | {"accumulation": 3}).plan
    assert found.layout.dp == 8
    assert found.train.global_batch == 8 * 4 * 3
    assert found.micro_steps == 3


def test_tokens_from_sequences_and_epochs():
    train = plan(train=TRAIN | {"sequences": 1000, "epochs": 2}).plan.train
    assert train.tokens == 1000 * 2 * 512


def test_a_serving_plan():
    found = plan(train=None, serve={"prompt_tokens": 10, "new_tokens": 5, "precision": "fp16"}).plan
    assert isinstance(found, ServingPlan)
    assert found.precision == "float16"


def test_adapters_and_other_models():
    found = plan(
        train=TRAIN | {"lora": {"rank": 8, "base_dtype": "nf4"}},
        others=[{"model": "bert-base", "passes": 2}],
    ).plan
    assert found.train.lora.rank == 8
    assert found.others[0].model.name == "bert-base"


def test_a_file_with_a_model_beside_it(tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text(
        '{"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 9}'
    )
    path = tmp_path / "a plan.toml"
    path.write_text('model = "tiny/config.json"\ndevice = "this"\n[train]\nsequence = 8\n')
    assert load_plan(path).plan.model.hidden == 8
    assert load_plan(path).name == "a plan"


def test_the_example_of_the_docstring_is_a_plan():
    import microdollar.spec.load as module

    text = module.__doc__.split("\n\n", 1)[1].partition("\n\nA ``[model]``")[0]
    serve = text.index("    [serve]")
    document = text.index("    [document]")
    example = "\n".join(line[4:] for line in (text[:serve] + text[document:]).splitlines())
    found = plan_from_table(tomllib.loads(example), name="docstring")
    assert found.plan.layout.devices == 8
    assert found.plan.train.lora.rank == 16
    served = tomllib.loads("\n".join(line[4:] for line in text[serve:document].splitlines()))
    assert plan(train=None, **served).plan.new_tokens == 200


BAD = [
    ({"model": None}, "no model"),
    ({"device": None}, "no device"),
    ({"device": "h1000"}, "unknown device"),
    ({"model": "gpt-22"}, "unknown model"),
    ({"model": 3}, "model must be a name"),
    ({"train": None}, "exactly one of them"),
    ({"learner": "ngram"}, "exactly one of them"),
    ({"data": {"bytes": 5}}, "a plan with a model has no data"),
    ({"serve": {}}, "exactly one of them"),
    ({"trian": {}}, "Did you mean train"),
    ({"train": TRAIN | {"microbatch": 3}}, "Did you mean micro_batch"),
    ({"train": TRAIN | {"micro_batch": 0}}, "micro_batch must be a whole number"),
    ({"train": TRAIN | {"micro_batch": 2.5}}, "micro_batch is 2.5"),
    ({"train": TRAIN | {"precision": "fp7"}}, "precision is 'fp7'"),
    ({"train": TRAIN | {"optimizer": "adamm"}}, "optimizer 'adamm'"),
    ({"train": TRAIN | {"tokens": float("nan")}}, "tokens is nan"),
    ({"train": TRAIN | {"tokens": 10**400}}, "tokens is 1"),
    ({"train": TRAIN | {"tokens": 5, "sequences": 5}}, "both tokens and sequences"),
    ({"train": TRAIN | {"epochs": 5}}, "epochs need sequences"),
    ({"train": TRAIN | {"epochs": -1, "sequences": 5}}, "epochs must be a positive number"),
    ({"train": TRAIN | {"global_batch": 5, "accumulation": 2}}, "global_batch 5 is not"),
    ({"train": TRAIN | {"lora": 3}}, "must be a table"),
    ({"count": 8, "layout": {"tp": 3}}, "not a multiple of tp x pp x cp = 3"),
    ({"count": 8, "layout": {"dp": 4}}, "count 8 is not"),
    ({"count": -8}, "count -8"),
    ({"layout": {"tp": 5}}, "does not divide the 12 heads"),
    ({"layout": {"zero": 4}}, "zero 4"),
    ({"pue": 0.5}, "pue 0.5"),
    ({"others": [{"model": "gpt2", "passes": 0}]}, "passes must be positive"),
    ({"others": [{"modell": "gpt2"}]}, "others[0] model"),
    ({"document": {"claims": [{"quantity": "seconds"}]}}, "has no value"),
    ({"document": {"claims": [{"quantity": "s", "value": 1, "unit": "hh"}]}}, "unit 'hh'"),
    ({"document": {"claims": [{"quantity": "s", "value": 0}]}}, "ratios are of numbers"),
    ({"document": {"claims": [{"quantity": "s", "own": "3 - 3"}]}}, "ratios are of numbers"),
    ({"document": {"claims": [{"quantity": "s", "own": "__import__('os')"}]}}, "is no sum"),
    ({"document": {"claims": [{"quantity": "s", "value": 1, "over": "x"}]}}, "needs than"),
    ({"document": {"claim": []}}, "Did you mean claims"),
    ({"train": None, "serve": {"prompt_tokens": 1}}, "has no new_tokens"),
    ({"train": None, "serve": {"prompt_tokens": 1, "new_tokens": 1}, "pue": 1.2}, "pue is about"),
]


@pytest.mark.parametrize(("changes", "said"), BAD, ids=[said for _, said in BAD])
def test_what_is_wrong_is_named(changes, said):
    with pytest.raises(UsageError) as caught:
        plan(**changes)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "x", "= 3", "a = [" * 5000, "a = 1979-05-27", "[train]\n[train]"]
)
def test_files_that_are_no_plan(tmp_path, text):
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(SpecError):
        load_plan(path)


def test_plans_that_are_not_there():
    with pytest.raises(UnknownNameError, match="rl-token-compression"):
        load_plan("rl-token-compresion")
    with pytest.raises(SpecError, match="no file"):
        load_plan("nowhere.toml")


VALUES = st.recursive(
    st.booleans()
    | st.integers(0, 9)
    | st.integers()
    | st.floats()
    | st.dates()
    | st.sampled_from(["gpt2", "this", "bf16", "adam", "full", "", "sat-rnn"])
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["model", "rank", "tp", "tokens", "kind", "x"]), inner)
    ),
    max_leaves=4,
)


def tables(*names):
    return st.dictionaries(st.sampled_from(names), VALUES, max_size=3)


TRAINS = tables(
    *("sequence", "micro_batch", "global_batch", "tokens", "epochs", "sequences", "accumulation"),
    *("precision", "lora", "optimizer", "recompute", "dropout", "eval_sequences", "master"),
)
PLANS = st.fixed_dictionaries(
    {"model": st.just("gpt2") | VALUES, "device": st.just("this") | VALUES},
    optional={
        "train": TRAINS | VALUES,
        "layout": tables("tp", "dp", "pp", "cp", "ep", "zero", "shard_group") | VALUES,
        "count": VALUES,
        "pue": VALUES,
        "stack": VALUES,
        "others": st.lists(tables("model", "trains", "passes"), max_size=2) | VALUES,
        "serve": tables("prompt_tokens", "new_tokens", "batch", "cache_bytes"),
        "document": tables("title", "claims") | VALUES,
        "learner": VALUES,
        "data": tables("bytes", "name"),
        "options": tables("hidden") | VALUES,
        "extends": st.just("rl-token-compression") | VALUES,
    },
)


def test_a_plan_of_a_learner():
    found = plan_from_table(
        {"learner": "rnn-bptt", "device": "this", "data": {"bytes": 9}, "options": {"hidden": 3}},
        name="x",
    ).plan
    assert (found.learner, found.data.bytes, found.options) == ("rnn-bptt", 9, {"hidden": 3})
    for bad, said in (
        ({"data": {}}, "has no bytes"),
        ({"data": {"bytes": 0}}, "from 1"),
        ({"model": "gpt2"}, "no model"),
        ({"options": 3}, "must be a table"),
    ):
        table = {"learner": "rnn-bptt", "device": "this", "data": {"bytes": 9}} | bad
        with pytest.raises(SpecError, match=said):
            plan_from_table(table, name="x")


def test_the_docstrings_plan_of_a_learner():
    import microdollar.spec.load as module

    text = module.__doc__.split("in place of a model::\n\n")[1].split("\n\nWith")[0]
    assert plan_from_table(tomllib.loads(text), name="x").plan.options["hidden"] == 128


def write(folder, name, text):
    path = folder / f"{name}.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_a_plan_that_extends_another(tmp_path):
    path = write(
        tmp_path,
        "mine",
        'extends = "rl-token-compression"\ndevice = "h100-sxm"\n[train]\naccumulation = 4',
    )
    mine, shipped = load_plan(path), load_plan("rl-token-compression")
    assert mine.name == shipped.name
    assert mine.plan.device == "h100-sxm"
    assert mine.plan.train.global_batch == 8
    assert mine.plan.train.tokens == shipped.plan.train.tokens
    assert mine.plan.others == shipped.plan.others


def test_files_extend_files_in_other_folders(tmp_path):
    config = '{"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 9}'
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text(config)
    write(
        tmp_path / "base", "one", 'model = "./config.json"\ndevice = "this"\n[train]\nsequence = 8'
    )
    two = write(tmp_path, "two", 'extends = "base/one.toml"\n[train]\nmicro_batch = 2')
    found = load_plan(two).plan
    assert (found.model.hidden, found.train.sequence, found.train.micro_batch) == (8, 8, 2)
    serving = 'extends = "two.toml"\n[serve]\nprompt_tokens = 4\nnew_tokens = 2'
    assert isinstance(load_plan(write(tmp_path, "three", serving)).plan, ServingPlan)


def test_plans_that_extend_in_a_circle_or_too_deep(tmp_path):
    write(tmp_path, "a", 'extends = "b.toml"')
    write(tmp_path, "b", 'extends = "a.toml"')
    with pytest.raises(SpecError, match="leads back to itself"):
        load_plan(tmp_path / "a.toml")
    for index in range(12):
        write(tmp_path, f"c{index}", f'extends = "c{index + 1}.toml"')
    with pytest.raises(SpecError, match="one too many, at most 8"):
        load_plan(tmp_path / "c0.toml")
    with pytest.raises(UnknownNameError, match="rl-token-compression"):
        load_plan(write(tmp_path, "d", 'extends = "rl-token"'))
    with pytest.raises(SpecError, match="extends is 3"):
        load_plan(write(tmp_path, "e", "extends = 3"))
    with pytest.raises(SpecError, match="no file"):
        load_plan(write(tmp_path, "f", 'extends = "nowhere.toml"'))


@settings(deadline=None, max_examples=300)
@given(PLANS)
def test_any_table_is_a_plan_or_one_clear_error(table):
    try:
        found = plan_from_table(table, name="any", folder=Path("/nowhere"))
    except UsageError as error:
        assert 10 < len(str(error)) < 3000
    else:
        assert isinstance(found, PlanFile)
        if isinstance(found.plan, TrainingPlan):
            assert found.plan.micro_steps >= 1
            assert found.plan.steps is None or found.plan.steps >= 1


@settings(deadline=None)
@given(
    st.integers(1, 64), st.integers(1, 8), st.integers(1, 8), st.sampled_from([1, 2, 3, 4, 6, 12])
)
def test_the_batch_adds_up(replicas, micro, accumulation, tp):
    train = {"sequence": 8, "micro_batch": micro, "accumulation": accumulation}
    found = plan(count=replicas * tp, layout={"tp": tp}, train=train).plan
    assert found.layout.dp == replicas
    assert found.micro_steps == accumulation
    assert found.step_tokens == 8 * micro * accumulation * replicas
