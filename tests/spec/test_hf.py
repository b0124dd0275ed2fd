"""Configs against transformers' own models, built small on the meta device."""

import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import SpecError
from microdollar.spec.hf import FAMILIES, MOST_BYTES, model_from_config, read_config
from microdollar.spec.model import ModelSpec
from microdollar.spec.parameters import count_parameters

LLAMA = {
    "vocab_size": 500,
    "hidden_size": 64,
    "intermediate_size": 120,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT2 = {"vocab_size": 500, "n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 32}
MOE = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
LATENT = LLAMA | {
    "num_key_value_heads": 4,
    "kv_lora_rank": 12,
    "q_lora_rank": 20,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 10,
    "n_routed_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "n_shared_experts": 2,
    "first_k_dense_replace": 1,
    "n_group": 2,
    "topk_group": 1,
}
BERT = {
    "vocab_size": 500,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 100,
    "max_position_embeddings": 40,
}
DISTIL = {"vocab_size": 500, "dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 100}
T5 = {"vocab_size": 500, "d_model": 64, "d_kv": 10, "d_ff": 100, "num_layers": 2, "num_heads": 4}
OPT = {
    "vocab_size": 500,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "ffn_dim": 100,
    "max_position_embeddings": 40,
    "word_embed_proj_dim": 64,
}
FALCON = {"vocab_size": 500, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}

CAUSAL = [
    ("gpt2", GPT2),
    ("gpt2", GPT2 | {"n_inner": 100}),
    ("gpt_bigcode", GPT2),
    ("gpt_bigcode", GPT2 | {"multi_query": False}),
    ("gptj", GPT2 | {"rotary_dim": 8}),
    ("gpt_neox", LLAMA),
    ("gpt_neox", LLAMA | {"attention_bias": False, "tie_word_embeddings": True}),
    ("bloom", {"vocab_size": 500, "hidden_size": 64, "n_layer": 2, "n_head": 4}),
    ("opt", OPT),
    ("opt", OPT | {"word_embed_proj_dim": 32, "do_layer_norm_before": False}),
    ("opt", OPT | {"enable_bias": False, "layer_norm_elementwise_affine": False}),
    ("mpt", {"vocab_size": 500, "d_model": 64, "n_layers": 2, "n_heads": 4}),
    ("falcon", FALCON),
    ("falcon", FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2, "bias": True}),
    ("falcon", FALCON | {"multi_query": False, "parallel_attn": False, "bias": True}),
    ("llama", LLAMA),
    ("llama", LLAMA | {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    ("llama", LLAMA | {"head_dim": 24}),
    ("mistral", LLAMA | {"head_dim": 24, "sliding_window": 16}),
    ("mixtral", LLAMA | {"num_local_experts": 6, "num_experts_per_tok": 2}),
    ("qwen2", LLAMA),
    ("qwen3", LLAMA),
    ("qwen3", LLAMA | {"head_dim": 24, "attention_bias": True, "tie_word_embeddings": True}),
    ("qwen2_moe", LLAMA | MOE | {"shared_expert_intermediate_size": 40, "mlp_only_layers": [1]}),
    ("qwen3_moe", LLAMA | MOE | {"decoder_sparse_step": 2, "head_dim": 24}),
    ("gemma", LLAMA),
    ("gemma", LLAMA | {"head_dim": 24}),
    ("gemma2", LLAMA | {"head_dim": 24}),
    ("gemma3_text", LLAMA | {"head_dim": 24, "sliding_window": 16}),
    ("phi3", LLAMA),
    ("smollm3", LLAMA),
    ("granite", LLAMA | {"attention_bias": True}),
    ("starcoder2", LLAMA),
    ("starcoder2", LLAMA | {"use_bias": False}),
    ("deepseek_v2", LATENT),
    ("deepseek_v2", LATENT | {"q_lora_rank": None, "attention_bias": True}),
    ("deepseek_v3", LATENT),
    ("deepseek_v3", LATENT | {"attention_bias": True, "n_shared_experts": 1}),
    ("rwkv", {"vocab_size": 500, "hidden_size": 64, "num_hidden_layers": 2}),
    ("mamba", {"vocab_size": 500, "hidden_size": 64, "num_hidden_layers": 2}),
    ("mamba", {"vocab_size": 500, "hidden_size": 40, "num_hidden_layers": 2, "expand": 3}),
]
OTHER = [
    ("AutoModelForMaskedLM", "bert", BERT),
    ("AutoModelForPreTraining", "bert", BERT | {"architectures": ["BertForPreTraining"]}),
    ("AutoModel", "bert", BERT | {"architectures": ["BertModel"], "type_vocab_size": 3}),
    (
        "AutoModelForSequenceClassification",
        "bert",
        BERT | {"architectures": ["BertForSequenceClassification"], "num_labels": 5},
    ),
    ("AutoModelForMaskedLM", "roberta", BERT),
    ("AutoModel", "roberta", BERT | {"architectures": ["RobertaModel"]}),
    (
        "AutoModelForSequenceClassification",
        "roberta",
        BERT | {"architectures": ["RobertaForSequenceClassification"], "num_labels": 5},
    ),
    ("AutoModelForMaskedLM", "distilbert", DISTIL),
    ("AutoModel", "distilbert", DISTIL | {"architectures": ["DistilBertModel"]}),
    (
        "AutoModelForSequenceClassification",
        "distilbert",
        DISTIL | {"architectures": ["DistilBertForSequenceClassification"]},
    ),
    ("AutoModelForSeq2SeqLM", "t5", T5),
    ("AutoModelForSeq2SeqLM", "t5", T5 | {"num_decoder_layers": 3, "num_heads": 6}),
    ("AutoModelForSeq2SeqLM", "t5", T5 | {"feed_forward_proj": "gated-gelu"}),
    ("AutoModelForTextEncoding", "t5", T5 | {"architectures": ["T5EncoderModel"]}),
    ("AutoModel", "llama", LLAMA | {"architectures": ["LlamaModel"]}),
    (
        "AutoModelForSequenceClassification",
        "llama",
        LLAMA | {"architectures": ["LlamaForSequenceClassification"], "num_labels": 3},
    ),
]


def reference(auto, family, fields):
    """Weights of transformers' model, and the router's bias that it keeps as a buffer."""
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    import torch

    config = transformers.AutoConfig.for_model(family, **fields)
    with torch.device("meta"):
        model = getattr(transformers, auto).from_config(config)
    model.tie_weights()
    biases = (b for name, b in model.named_buffers() if name.endswith("e_score_correction_bias"))
    return sum(p.numel() for p in model.parameters()) + sum(b.numel() for b in biases)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("family", "fields"), CAUSAL, ids=lambda value: str(value)[:12])
def test_decoders_as_transformers_has_them(family, fields):
    model = model_from_config({"model_type": family} | fields)
    assert count_parameters(model).total == reference("AutoModelForCausalLM", family, fields)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("auto", "family", "fields"), OTHER, ids=lambda value: str(value)[:12])
def test_other_models_as_transformers_has_them(auto, family, fields):
    model = model_from_config({"model_type": family} | fields)
    assert count_parameters(model).total == reference(auto, family, fields)


def test_an_untied_t5_has_a_head_of_its_own():
    # transformers 5 ties it whatever the config says; the published checkpoints of T5 1.1 are
    # not tied: flan-t5-base has 247,577,856 weights in its safetensors.
    config = {
        "model_type": "t5",
        "vocab_size": 32128,
        "d_model": 768,
        "d_kv": 64,
        "d_ff": 2048,
        "num_layers": 12,
        "num_heads": 12,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
    }
    assert count_parameters(model_from_config(config)).total == 247_577_856


def windows(**config):
    model = model_from_config(LLAMA | config)
    return [block.mixers[0].window for block in model.blocks for _ in range(block.count)]


def test_sliding_windows():
    assert windows(model_type="llama", sliding_window=8) == [None] * 3
    assert windows(model_type="mistral") == [4096] * 3
    assert windows(model_type="mistral", sliding_window=None) == [None] * 3
    assert windows(model_type="gemma2", sliding_window=8) == [8, None, 8]
    assert windows(model_type="gemma3_text", sliding_window=8, sliding_window_pattern=2) == [
        8,
        None,
        8,
    ]
    sliding = {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}
    assert windows(model_type="qwen2", **sliding) == [None, 8, 8]
    types = ["full_attention", "full_attention", "sliding_attention"]
    assert windows(model_type="qwen3", layer_types=types, **sliding) == [None, None, 8]


def test_neighbours_that_are_alike_are_one_block():
    model = model_from_config({"model_type": "deepseek_v3"} | LATENT)
    assert [block.count for block in model.blocks] == [1, 2]


def test_kinds_that_alternate_are_one_block_each():
    model = model_from_config({"model_type": "gemma2"} | LLAMA | {"num_hidden_layers": 42})
    assert [(block.count, block.mixers[0].window) for block in model.blocks] == [
        (21, 4096),
        (21, None),
    ]


BAD = [
    ({"model_type": "llama"} | LLAMA | {"hidden_size": None}, "hidden_size"),
    ({"model_type": "llama"} | LLAMA | {"hidden_size": 66}, "num_attention_heads is 4"),
    ({"model_type": "llama"} | LLAMA | {"num_key_value_heads": 3}, "num_key_value_heads is 3"),
    ({"model_type": "llama"} | LLAMA | {"num_hidden_layers": -1}, "num_hidden_layers is -1"),
    ({"model_type": "llama"} | LLAMA | {"vocab_size": float("nan")}, "vocab_size is nan"),
    ({"model_type": "llama"} | LLAMA | {"vocab_size": "32k"}, "vocab_size is '32k'"),
    ({"model_type": "llama"} | LLAMA | {"vocab_size": True}, "vocab_size is True"),
    ({"model_type": "llama"} | LLAMA | {"intermediate_size": 2**60}, "intermediate_size"),
    ({"model_type": "llama"} | LLAMA | {"attention_bias": 1}, "true or false"),
    ({"model_type": "gpt2"} | GPT2 | {"hidden_size": 65}, "the same as hidden_size, 65"),
    ({"model_type": "qwen3"} | LLAMA | {"layer_types": ["full_attention"]}, "layer_types"),
    ({"model_type": "mixtral"} | LLAMA | {"num_experts_per_tok": 9}, "num_experts_per_tok is 9"),
    ({"model_type": "mamba", "use_bias": True}, "use_bias is True"),
    ({"model_type": "bert", "architectures": ["BertForThings"]} | BERT, "BertForThings"),
    ({"model_type": "lama"}, "Did you mean llama"),
    ({"model_type": ["llama"]}, "TOML model with blocks"),
    ({}, "no model_type"),
    ({"model_type": "gemma3", "text_config": {}}, "text_config"),
]


@pytest.mark.parametrize(("config", "said"), BAD, ids=[said for _, said in BAD])
def test_what_is_wrong_is_named(config, said):
    with pytest.raises(SpecError) as caught:
        model_from_config(config)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_config_is_read_from_a_file_or_its_folder(tmp_path):
    folder = tmp_path / "tiny-llama"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"} | LLAMA))
    assert read_config(folder) == read_config(folder / "config.json")
    assert read_config(folder).name == "tiny-llama"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b'{"model_type": "llama"',
        b"[" * 200_000,
        b'{"model_type": "llama", "hidden_size": ' + b"9" * 5000 + b"}",
        b" " * (MOST_BYTES + 1),
    ],
    ids=lambda data: str(data[:12]),
)
def test_hostile_files(tmp_path, data):
    path = tmp_path / "config.json"
    path.write_bytes(data)
    with pytest.raises(SpecError) as caught:
        read_config(path)
    assert len(str(caught.value)) < 1000


def test_no_file(tmp_path):
    with pytest.raises(SpecError, match="no file"):
        read_config(tmp_path)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 80)
    | st.integers()
    | st.floats()
    | st.text(string.ascii_letters, max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
NAMES = st.sampled_from(
    [
        *sorted({*LLAMA, *GPT2, *MOE, *LATENT, *BERT, *DISTIL, *T5, *OPT, *FALCON}),
        *("architectures", "layer_types", "sliding_window", "head_dim", "tie_word_embeddings"),
        *("mlp_only_layers", "id2label", "time_step_rank", "expand", "new_decoder_architecture"),
    ]
)
EVERYTHING = LATENT | MOE | BERT | DISTIL | T5 | OPT | FALCON | {"intermediate_size": 9}


@settings(deadline=None)
@given(
    st.sampled_from(sorted(FAMILIES)),
    st.dictionaries(NAMES, VALUES, max_size=4),
    st.booleans(),
)
def test_any_config_is_a_model_or_one_clear_error(family, changes, complete):
    config = (EVERYTHING if complete else {}) | changes | {"model_type": family}
    try:
        model = model_from_config(config)
    except SpecError as error:
        assert 10 < len(str(error)) < 1000
    else:
        assert isinstance(model, ModelSpec)
        assert count_parameters(model).total > 0


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_one_clear_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("config") / "config.json"
    path.write_bytes(data)
    with pytest.raises(SpecError):
        read_config(path)
