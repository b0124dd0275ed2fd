"""The catalog's counts against published ones, its lookups and its files."""

import itertools
import json
import tomllib
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import SpecError, UnknownNameError, UsageError
from microdollar.spec.blocks import model_from_table
from microdollar.spec.model import ModelSpec
from microdollar.spec.model_catalog import list_model_specs, load_model_spec, model_aliases
from microdollar.spec.parameters import count_parameters

MODELS = list_model_specs()
PUBLISHED = [model for model in MODELS if model.published_parameters is not None]


@pytest.mark.parametrize("model", PUBLISHED, ids=lambda model: model.name)
def test_every_published_count_is_ours(model):
    assert count_parameters(model).total == model.published_parameters
    assert "parameters:" in model.source or "document" in model.source or "LNSP" in model.source


def test_hardly_a_row_is_without_a_count():
    without = {model.name for model in MODELS} - {model.name for model in PUBLISHED}
    assert without == {"gpt-6b", "ln-encoder", "rl-token-policy"}  # the documents only round


def test_every_number_has_its_source():
    for model in MODELS:
        assert model.source
        assert model.published_tokens is None or "tokens:" in model.source
        assert model.published_tokens is None or 1e10 < model.published_tokens < 1e14


def test_names_and_aliases_are_one_model_each():
    names = list(itertools.chain(*([name, *others] for name, others in model_aliases().items())))
    assert len(names) == len(set(names))
    assert all(name == name.casefold().strip() for name in names)
    for name, others in model_aliases().items():
        assert {load_model_spec(other).name for other in (name, *others)} == {name}


def test_the_documents_models():
    assert count_parameters(load_model_spec("sat-rnn")).total == 82_304
    assert count_parameters(load_model_spec("lnsp-small")).total == 462_208
    encoder = count_parameters(load_model_spec("ln-encoder")).total
    assert encoder == 66_362_880 + 768 * 256 + 256 + 256 * 384 + 384  # DistilBERT's body
    assert round(4 * encoder / 2**20, 1) == 254.3  # the document's "254 MB" are MiB of float32
    assert 6.4e9 < count_parameters(load_model_spec("gpt-6b")).total < 6.7e9
    assert 0.9e6 < count_parameters(load_model_spec("rl-token-policy")).total < 1.1e6


def test_experts_count_as_their_authors_say():
    # arXiv:2412.19437: 37B activated; Mixtral: 12.9B (both count the input table too).
    v3, mixtral = load_model_spec("deepseek-v3"), load_model_spec("mixtral-8x7b")
    assert count_parameters(v3).active == pytest.approx(37e9, rel=0.02)
    assert count_parameters(mixtral).active == pytest.approx(12.9e9, rel=0.02)


@pytest.mark.parametrize("name", ["GPT2", " gpt2-small ", "openai-community/gpt2"])
def test_names_in_any_case_and_from_a_hub(name):
    assert load_model_spec(name).name == "gpt2"


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(UnknownNameError, match=r"llama-3\.1-8b"):
        load_model_spec("llama-3.1-8bb")


def test_models_from_files(tmp_path):
    config = {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 100}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = load_model_spec(tmp_path)
    assert (model.family, model.hidden) == ("gpt2", 64)
    assert load_model_spec(str(tmp_path / "config.json")) == model
    toml = "".join(f"{key} = {value!r}\n" for key, value in config.items())
    (tmp_path / "small.toml").write_text("[model]\n" + toml)
    assert load_model_spec(tmp_path / "small.toml").blocks == model.blocks
    assert load_model_spec(tmp_path / "small.toml").name == "small"
    (tmp_path / "top.toml").write_text(toml)
    assert load_model_spec(tmp_path / "top.toml").blocks == model.blocks


@pytest.mark.parametrize("name", ["nowhere.json", "nowhere.toml", "a\0b.json", "x" * 5000])
def test_files_that_are_not_there(name):
    with pytest.raises(UsageError) as caught:
        load_model_spec(name)
    assert len(str(caught.value)) < 6000


KINDS = """
hidden = 64
vocab = 256
[[blocks]]
count = 2
mixers = [{ kind = "attention", heads = 4 }]
feed_forward = { inner = 128 }
[[blocks]]
mixers = [{ kind = "linear-attention", heads = 4, head_dim = 16 }]
[[blocks]]
mixers = [{ kind = "state-space", inner = 128, state = 16, conv = 4, dt_rank = 4 }]
norms = 1
[[blocks]]
mixers = [{ kind = "rwkv" }]
feed_forward = { kind = "rwkv", inner = 256 }
[[blocks]]
mixers = [{ kind = "recurrent", cell = "lstm", state = 64 }]
norms = 0
[[blocks]]
mixers = [{ kind = "attention", heads = 4, kv_heads = 2, head_dim = 8 }]
feed_forward = { experts = 4, active = 2, inner = 32 }
"""


def test_every_kind_of_layer_can_be_written(tmp_path):
    path = tmp_path / "kinds.toml"
    path.write_text(KINDS)
    model = load_model_spec(path)
    mixers = [type(mixer).__name__ for block in model.blocks for mixer in block.mixers]
    assert mixers == [
        "Attention",
        "LinearAttention",
        "StateSpace",
        "Rwkv",
        "Recurrent",
        "Attention",
    ]
    assert model.layers == 7
    assert model.blocks[0].mixers[0].head_dim == 16


BAD = [
    ({}, "describes no model"),
    ({"hidden": 8, "blocks": []}, "no layers"),
    ({"blocks": [{"mixers": []}]}, "has no hidden"),
    ({"hidden": 8, "blocks": [{"mixer": []}]}, "Did you mean mixers"),
    ({"hidden": 8, "blocks": [{"mixers": [{"kind": "atention"}]}]}, "Accepted: attention"),
    ({"hidden": 8, "blocks": [{"mixers": [{"kind": "attention", "heads": 3}]}]}, "Give head_dim"),
    ({"hidden": 8, "blocks": [{"mixers": [{"kind": "attention", "heads": 0}]}]}, "Give head_dim"),
    ({"hidden": 8, "blocks": [{"mixers": [{"kind": "rwkv", "heads": 3}]}]}, "unknown key 'heads'"),
    ({"hidden": 8, "blocks": 3}, "list of tables"),
    ({"hidden": 2.5, "blocks": [{"mixers": [{"kind": "rwkv"}]}]}, "hidden is 2.5"),
    ({"hidden": 8, "tied": 1, "blocks": [{"mixers": [{"kind": "rwkv"}]}]}, "tied is 1"),
]


@pytest.mark.parametrize(("table", "said"), BAD, ids=[said for _, said in BAD])
def test_what_is_wrong_with_blocks_is_named(table, said):
    with pytest.raises(SpecError) as caught:
        model_from_table(table, name="bad")
    assert said in str(caught.value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 9) | st.integers() | st.floats() | st.text("ax"),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)
MIXER = st.fixed_dictionaries(
    {"kind": st.sampled_from(["attention", "rwkv", "recurrent", "linear-attention"])},
    optional={
        "heads": VALUES,
        "head_dim": VALUES,
        "cell": st.sampled_from(["lstm", "gru", "x"]),
        "state": VALUES,
        "window": VALUES,
    },
)
BLOCK = st.fixed_dictionaries(
    {"mixers": st.lists(MIXER, max_size=2) | VALUES},
    optional={
        "count": VALUES,
        "norms": VALUES,
        "feed_forward": VALUES | st.dictionaries(st.sampled_from(["inner", "gated"]), VALUES),
    },
)


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {"hidden": VALUES, "blocks": st.lists(BLOCK, max_size=2) | VALUES},
        optional={"vocab": VALUES, "tied": VALUES, "dense": VALUES, "name": VALUES},
    )
)
def test_any_blocks_are_a_model_or_one_clear_error(table):
    try:
        model = model_from_table(table, name="any")
    except SpecError as error:
        assert 10 < len(str(error)) < 1000
    else:
        assert isinstance(model, ModelSpec)
        assert count_parameters(model).total >= 0


def configs():
    folder = resources.files("microdollar.spec") / "catalog" / "models"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        for row in tomllib.loads(file.read_text("utf-8"))["model"]:
            if "model_type" in row["config"]:
                yield row["name"], row["config"]


CLASSES = {
    "BertForPreTraining": "AutoModelForPreTraining",
    "BertModel": "AutoModel",
    "RobertaForMaskedLM": "AutoModelForMaskedLM",
    "DistilBertForMaskedLM": "AutoModelForMaskedLM",
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_row_as_transformers_builds_it():
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    for name, row in configs():
        config = {key: None if key == "q_lora_rank" and not row[key] else row[key] for key in row}
        family = config.pop("model_type")
        auto = CLASSES.get(config.get("architectures", [""])[0], "AutoModelForCausalLM")
        if family == "t5":
            auto = "AutoModelForSeq2SeqLM"
        with torch.device("meta"):
            model = getattr(transformers, auto).from_config(
                transformers.AutoConfig.for_model(family, **config)
            )
        model.tie_weights()
        total = sum(parameter.numel() for parameter in model.parameters())
        total += sum(b.numel() for key, b in model.named_buffers() if "e_score_correction" in key)
        if family == "t5" and config.get("tie_word_embeddings") is False:
            total += config["vocab_size"] * config["d_model"]  # transformers 5 ties it anyway
        assert count_parameters(load_model_spec(name)).total == total, name
