"""Operations by formula against what torch's own counter sees in models of transformers.

Products are equal to the last operation: tolerance 0. Where torch counts something else, the test
says what and by how much.
"""

import os

import pytest

torch = pytest.importorskip("torch")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
transformers = pytest.importorskip("transformers")

from torch.utils.checkpoint import checkpoint  # noqa: E402
from torch.utils.flop_counter import (  # noqa: E402
    FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from microdollar.estimator.model_flops import FUSED_BACKWARD, count_flops  # noqa: E402
from microdollar.estimator.trace import trace_step  # noqa: E402
from microdollar.spec.hf import model_from_config  # noqa: E402
from microdollar.spec.training import Lora, TrainSpec  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

BATCH, SEQUENCE, TARGET = 2, 24, 16
SMALL = {
    "vocab_size": 96,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 80,
}
GROUPED = {**SMALL, "num_key_value_heads": 2}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 1}
EXPERTS = {"moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2}
LATENT = {
    **SMALL,
    **SPECIAL,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 24,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": 20,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
}
GPT2 = {"vocab_size": 96, "n_positions": 64, "n_embd": 48, "n_layer": 2, "n_head": 4, **SPECIAL}
T5 = {
    "vocab_size": 96,
    "d_model": 48,
    "num_layers": 2,
    "num_heads": 4,
    "d_kv": 12,
    "d_ff": 80,
    "decoder_start_token_id": 0,
}
OPT = {
    "vocab_size": 96,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "ffn_dim": 80,
    "max_position_embeddings": 64,
}
FAMILIES = {
    "gpt2": ("gpt2", GPT2),
    "gptj": ("gptj", {**GPT2, "rotary_dim": 8}),
    "gpt_neox": ("gpt_neox", SMALL),
    "bloom": ("bloom", {"vocab_size": 96, "hidden_size": 48, "n_layer": 2, "n_head": 4}),
    "opt": ("opt", {**OPT, "word_embed_proj_dim": 48}),
    "opt with a narrow table": ("opt", {**OPT, "word_embed_proj_dim": 32}),
    "mpt": ("mpt", {"vocab_size": 96, "d_model": 48, "n_layers": 2, "n_heads": 4}),
    "falcon": (
        "falcon",
        {"vocab_size": 96, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4},
    ),
    "llama": ("llama", GROUPED),
    "mistral": ("mistral", {**GROUPED, "sliding_window": 8}),
    "mixtral": ("mixtral", {**GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen2": ("qwen2", GROUPED),
    "qwen3": ("qwen3", {**GROUPED, "head_dim": 16}),
    "qwen2_moe": ("qwen2_moe", {**GROUPED, **EXPERTS, "shared_expert_intermediate_size": 40}),
    "qwen3_moe": ("qwen3_moe", {**GROUPED, **EXPERTS, "head_dim": 16}),
    "gemma": ("gemma", {**GROUPED, "num_key_value_heads": 1, "head_dim": 16}),
    "gemma2": ("gemma2", {**GROUPED, "head_dim": 16, "sliding_window": 8}),
    "gemma3": ("gemma3_text", {**GROUPED, "head_dim": 16, "sliding_window": 8}),
    "phi3": ("phi3", {**GROUPED, **SPECIAL}),
    "smollm3": ("smollm3", {**GROUPED, **SPECIAL}),
    "starcoder2": ("starcoder2", GROUPED),
    "deepseek_v2": ("deepseek_v2", LATENT),
    "deepseek_v3": ("deepseek_v3", LATENT),
    "bert": ("bert", SMALL),
    "roberta": ("roberta", SMALL),
    "distilbert": (
        "distilbert",
        {"vocab_size": 96, "dim": 48, "n_layers": 2, "n_heads": 4, "hidden_dim": 80},
    ),
    "t5": ("t5", T5),
    "gated untied t5": (
        "t5",
        {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "rwkv": ("rwkv", {**SMALL, "attention_hidden_size": 48, "context_length": 64}),
}
del FAMILIES["rwkv"][1]["num_attention_heads"]


def build(family, fields):
    """A module with random weights, and the description of the same config."""
    config = transformers.AutoConfig.for_model(family, **fields)
    auto = transformers.AutoModelForCausalLM
    if family == "t5":
        auto = transformers.AutoModelForSeq2SeqLM
    if family in ("bert", "roberta", "distilbert"):
        auto = transformers.AutoModelForMaskedLM
    kernels = {} if family in ("rwkv", "mamba") else {"attn_implementation": "eager"}
    if "moe" in family or "deepseek" in family or family == "mixtral":
        kernels["experts_implementation"] = "eager"
    torch.manual_seed(0)
    module = auto.from_config(config, **kernels)
    described = {**config.to_dict(), "model_type": family, "architectures": [type(module).__name__]}
    return module, model_from_config(described, name=family)


def run(module, family):
    """Operations that torch counts by operator, of the forward and of the backward pass."""
    tokens = torch.randint(2, 90, (BATCH, SEQUENCE))
    inputs = {"input_ids": tokens}
    if family == "t5":
        inputs["labels"] = torch.randint(2, 90, (BATCH, TARGET))
    if family not in ("bert", "roberta", "distilbert"):
        inputs["use_cache"] = False
    with FlopCounterMode(display=False) as forward:
        out = module(**inputs)
    with FlopCounterMode(display=False) as backward:
        out.logits.float().square().mean().backward()
    return by_operator(forward), by_operator(backward)


def by_operator(counter):
    return {str(op): flops for op, flops in counter.get_flop_counts().get("Global", {}).items()}


def total(*counts):
    return sum(sum(count.values()) for count in counts)


def train(**changes):
    fields = {"micro_batch": 1, "global_batch": 1, "attention": "naive", **changes}
    return TrainSpec(sequence=SEQUENCE, target_sequence=TARGET, **fields)


def ours(spec, **changes):
    """Forward and all products of the batch, by formula."""
    count = count_flops(spec, train(**changes))
    tokens = BATCH * SEQUENCE
    forward = sum(part.value for part in count.forward)
    return round(tokens * forward), round(tokens * count.hardware)


@pytest.mark.parametrize("name", FAMILIES)
def test_forward_and_backward_products_equal_torchs(name):
    family, fields = FAMILIES[name]
    module, spec = build(family, fields)
    forward, both = ours(spec)
    counted = run(module, family)
    assert total(counted[0]) == forward
    assert total(*counted) == both


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "qwen3_moe"])
def test_full_recomputation_repeats_the_layers_and_not_the_head(name):
    family, fields = FAMILIES[name]
    module, spec = build(family, fields)
    module.train()
    # Reentrant checkpoints run the whole layer again; the others stop before its last product.
    module.gradient_checkpointing_enable({"use_reentrant": True})
    counted = total(*run(module, family))
    assert counted == ours(spec, recompute="full")[1]


class Adapted(torch.nn.Module):
    """A frozen linear layer and a low-rank adapter beside it."""

    def __init__(self, base, rank):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = torch.nn.Linear(base.in_features, rank, bias=False)
        self.up = torch.nn.Linear(rank, base.out_features, bias=False)

    def forward(self, x):
        return self.base(x) + self.up(self.down(x))


@pytest.mark.parametrize("targets", ["attention", "all"])
@pytest.mark.parametrize("recompute", ["none", "full"])
def test_adapters_have_weight_gradients_and_frozen_weights_none(targets, recompute):
    family, fields = FAMILIES["llama"]
    module, spec = build(family, fields)
    module.requires_grad_(False)
    for layer in module.model.layers:
        parts = [layer.self_attn] + ([layer.mlp] if targets == "all" else [])
        for part in parts:
            for name, child in list(part.named_children()):
                if isinstance(child, torch.nn.Linear):
                    setattr(part, name, Adapted(child, rank=4))
    if recompute == "full":
        for layer in module.model.layers:
            forward = layer.forward
            layer.forward = lambda x, *, forward=forward, **keywords: checkpoint(
                forward, x, use_reentrant=False, early_stop=False, **keywords
            )
    counted = total(*run(module, family))
    assert counted == ours(spec, lora=Lora(rank=4, targets=targets), recompute=recompute)[1]


def test_a_state_space_models_products_equal_torchs_but_for_its_padded_convolution():
    fields = {**SMALL, "state_size": 8, "time_step_rank": 3, "conv_kernel": 4, "expand": 2}
    del fields["intermediate_size"], fields["num_attention_heads"]
    module, spec = build("mamba", fields)
    forward, _ = ours(spec)
    counted, gradients = run(module, "mamba")
    # torch pads both ends of the sequence by conv - 1 and throws the end away: 3 more positions
    # of 2 * 4 operations for each of 96 features, in 2 layers.
    assert total(counted) == forward + 2 * BATCH * 3 * 2 * 4 * 96
    # Nor do its formula for the backward pass of a convolution and ours compare: it takes the
    # gradient of a depthwise convolution's weights for that of a dense one. The rest is equal.
    convolution = 2 * BATCH * SEQUENCE * 2 * 4 * 96
    rest = sum(flops for op, flops in gradients.items() if "convolution" not in op)
    assert rest == 2 * (forward - convolution)


def test_a_fused_kernels_backward_is_two_and_a_half_times_its_forward_in_torch_too():
    shape = (BATCH, 4, SEQUENCE, 16)
    forward = sdpa_flop_count(shape, shape, shape)
    backward = sdpa_backward_flop_count(shape, shape, shape, shape)
    assert backward * FUSED_BACKWARD[1] == forward * FUSED_BACKWARD[0]


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "t5"])
def test_the_closed_form_equals_our_own_trace(name):
    family, fields = FAMILIES[name]
    module, spec = build(family, fields)
    assert traced(module, family).product_flops == ours(spec)[1]


def test_a_causal_fused_kernels_trace_has_the_visible_pairs_and_five_backward_products():
    family, fields = FAMILIES["opt"]
    module, spec = build(family, fields)
    module.set_attn_implementation("sdpa")  # OPT leaves the mask to the kernel
    assert traced(module, family).product_flops == ours(spec, attention="fused")[1]


def traced(module, family):
    inputs = {"input_ids": torch.zeros(BATCH, SEQUENCE, dtype=torch.long)}
    if family == "t5":
        inputs["labels"] = torch.zeros(BATCH, TARGET, dtype=torch.long)
    if family != "bert":
        inputs["use_cache"] = False
    return trace_step(module, inputs, loss=lambda out: out.logits.float().square().mean())
