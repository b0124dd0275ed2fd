import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.cli.plan_options import read_plan
from microdollar.errors import MicrodollarError, SpecError, UnknownNameError
from microdollar.spec.load import load_plan
from microdollar.spec.training import OPTIMIZERS, ServingPlan, TrainingPlan
from microdollar.ui.form import MOST_PARTS, MOST_TEXT, FieldError, Form, pick

GPT2 = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257}


def form(**values):
    return Form({"source": "name", "device": "l4", **values})


def pasted(text, **values):
    return Form({"source": "text", "text": text, **values})


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "count": st.sampled_from(["1", "8", "64"]),
        "tokens": st.sampled_from(["1G", "300G", "1e6", "1_000"]),
        "batch": st.sampled_from(["8", "64", "1k", "1024"]),
        "micro_batch": st.sampled_from(["1", "2", "8"]),
        "sequence": st.sampled_from(["512", "1k", "1024"]),
        "dtype": st.sampled_from(["fp32", "bf16", "fp8"]),
        "optimizer": st.sampled_from(OPTIMIZERS),
        "recompute": st.sampled_from(["none", "selective", "full"]),
        "attention": st.sampled_from(["fused", "naive"]),
        "lora": st.sampled_from(["8", "64"]),
        "offload": st.sampled_from(["optimizer", "all"]),
        "zero": st.sampled_from(["0", "1", "3"]),
        "tp": st.sampled_from(["1", "2", "5"]),
        "pp": st.sampled_from(["1", "2", "40"]),
        "dp": st.sampled_from(["1", "4", "8"]),
        "pue": st.sampled_from(["1", "1.25", "0.5"]),
        "region": st.sampled_from(["france", "FR", "atlantis"]),
    },
)


@given(
    model=st.sampled_from(["gpt2", "openai-community/gpt2", "rl-token-compression", "t5-small"]),
    options=OPTIONS,
)
def test_the_plan_is_that_of_the_command_line(model, options):
    from microdollar.units import parse_count

    words = ("dtype", "optimizer", "recompute", "attention", "offload", "region")
    typed = {
        name: value if name in words else float(value) if name == "pue" else parse_count(value)
        for name, value in options.items()
    }
    try:
        expected = read_plan(model, "l4", typed)
    except MicrodollarError as error:
        with pytest.raises(MicrodollarError) as refused:
            pick(form(model=model, **options))
        assert str(refused.value) == str(error)
    else:
        assert pick(form(model=model, **options)).plan == expected


def test_serving_asks_only_what_it_needs():
    picked = pick(form(model="gpt2", task="serve", generate="200", sequence="512", tokens="1G"))
    assert isinstance(picked.plan, ServingPlan)
    assert (picked.plan.prompt_tokens, picked.plan.new_tokens) == (512, 200)
    assert "--tokens" not in dict(picked.given)


def test_serving_needs_new_tokens():
    with pytest.raises(FieldError, match="generate") as error:
        pick(form(model="gpt2", task="serve"))
    assert error.value.name == "generate"


def test_a_config_and_the_same_model_in_toml_are_one_plan():
    toml = "\n".join(f"{key} = {json.dumps(value)}" for key, value in GPT2.items())
    first = pick(pasted(json.dumps(GPT2), device="l4"))
    second = pick(pasted(f"[model]\nname = 'gpt2'\n{toml}\n", device="l4"))
    assert (first.argument, second.argument) == ("config.json", "model.toml")
    assert first.plan == second.plan


def test_a_plan_of_the_package_by_name_and_pasted():
    named = pick(Form({"model": "rl-token-compression"}))
    text = 'extends = "rl-token-compression"'
    assert named.plan == load_plan("rl-token-compression").plan
    assert pick(pasted(text)).plan == named.plan
    changed = pick(pasted(text, tokens="1G"))
    assert isinstance(changed.plan, TrainingPlan)
    assert changed.plan.train.tokens == 1e9
    assert changed.given == (("--tokens", "1G"),)
    assert (named.of_plan, changed.of_plan, pick(form(model="gpt2")).of_plan) == (1, 1, 0)


def test_fields_that_the_task_or_the_source_hides_do_not_count():
    assert pick(form(model="gpt2", generate="5")).plan == pick(form(model="gpt2")).plan
    assert pick(form(model="gpt2", text="nonsense")).plan == pick(form(model="gpt2")).plan


@pytest.mark.parametrize(
    ("values", "field", "said"),
    [
        ({"model": "gpt2", "tokens": "many"}, "tokens", "'many' is not a number"),
        ({"model": "gpt2", "tokens": "-5"}, "tokens", "not a number"),
        ({"model": "gpt2", "count": "0"}, "count", "less than 1"),
        ({"model": "gpt2", "zero": "x"}, "zero", "not a number"),
        ({"model": "gpt2", "pue": "warm"}, "pue", "not a number"),
        ({"model": ""}, "model", "name a model"),
        ({"model": "gpt2", "device": ""}, "device", "pick a device"),
        ({"model": "x" * 201}, "model", "more than 200"),
        ({"source": "text", "text": ""}, "text", "paste"),
        ({"source": "text", "text": "{"}, "text", "Read as JSON"),
        ({"source": "text", "text": "a ="}, "text", "Read as TOML"),
        ({"source": "text", "text": "x" * (MOST_TEXT + 1)}, "text", "more than"),
        ({"source": "text", "text": '{"a": ' + "9" * 5000 + "}"}, "text", "too many digits"),
        ({"source": "text", "text": "[" * 9 + "x" * 1000}, "text", "a line has more"),
        ({"source": "text", "text": "a" + ".a" * 60 + " = 1"}, "text", "or 50 dots"),
        ({"source": "text", "text": '{"a":' * 20000}, "text", "more than|nested"),
        ({"model": "rl-token-compression", "task": "serve"}, "task", "Choose Train"),
    ],
)
def test_what_is_wrong_is_said_of_its_field(values, field, said):
    with pytest.raises(FieldError, match=said) as error:
        pick(form(**values))
    assert error.value.name == field


def test_a_serving_plan_takes_no_training_options():
    text = 'model = "gpt2"\ndevice = "l4"\n[serve]\nprompt_tokens = 10\nnew_tokens = 5\n'
    assert isinstance(pick(pasted(text, device="t4")).plan, ServingPlan)
    with pytest.raises(FieldError, match="leave this empty") as error:
        pick(pasted(text, tokens="1G"))
    assert error.value.name == "tokens"


def test_a_plan_of_a_learner_is_named_as_one():
    with pytest.raises(SpecError, match="learner 'rnn-bptt'"):
        pick(pasted('learner = "rnn-bptt"\ndevice = "l4"\ndata = { bytes = 1000 }'))


@pytest.mark.parametrize("name", ["../gpt2", "./gpt2", "config.json", "/etc/passwd", "model.toml"])
def test_a_path_is_an_unknown_name_even_where_there_is_a_file(name, empty_home):
    for file in ("config.json", "model.toml"):
        (empty_home / file).write_text(json.dumps(GPT2), "utf-8")
    if name.endswith("gpt2"):
        # The last part of a hub's name is looked up, as the catalog does: no file is.
        (empty_home / "gpt2").mkdir()
        (empty_home / "gpt2" / "config.json").write_text('{"model_type": "bert"}', "utf-8")
        assert pick(form(model=name)).plan.model.family == "gpt2"
        return
    with pytest.raises(UnknownNameError):
        pick(form(model=name))


@pytest.mark.parametrize(
    "text",
    [
        'extends = "../plan.toml"',
        'extends = "plan.toml"',
        'model = "config.json"\ndevice = "l4"\n[train]',
        'model = "./"\ndevice = "l4"\n[train]',
        'model = "gpt2"\ndevice = "l4"\n[train]\n[[others]]\nmodel = "config.json"',
    ],
)
def test_a_pasted_plan_names_no_file(text, empty_home):
    (empty_home / "config.json").write_text(json.dumps(GPT2), "utf-8")
    (empty_home / "plan.toml").write_text('extends = "rl-token-compression"', "utf-8")
    with pytest.raises(MicrodollarError, match=r"unknown model|is a file"):
        pick(pasted(text))


def test_a_plan_of_too_many_parts_is_refused():
    text = "\n".join(f"[[blocks]]\ncount = {n + 1}" for n in range(MOST_PARTS + 1))
    with pytest.raises(SpecError, match="too many for this page"):
        pick(pasted(f"hidden = 8\nvocab = 8\n{text}", device="l4"))
    with pytest.raises(SpecError, match="10,001 layers"):
        pick(pasted("hidden = 8\nvocab = 8\n[[blocks]]\ncount = 10_001", device="l4"))
    others = '[[others]]\nmodel = "gpt2"\n' * 20
    with pytest.raises(SpecError, match="21 models"):
        pick(pasted(f'model = "gpt2"\ndevice = "l4"\n[train]\n{others}'))


def test_the_query_is_read_back():
    first = form(model="gpt2", tokens="1 & 2", region="köln", source="text")
    from urllib.parse import parse_qsl

    assert Form.read(parse_qsl(first.query("b-")), "b-") == first


def test_emptied_fields_leave_all_to_the_model_or_the_plan():
    filled = {"device": "l4", "tokens": "1G", "zero": "1"}
    assert Form({"model": "gpt2", **filled}).cleared() == Form({"model": "gpt2", "device": "l4"})
    plan = Form({"model": "rl-token-compression"})
    assert Form({**plan.values, **filled}).cleared() == plan
