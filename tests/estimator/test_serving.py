"""Serving: the cache by hand, limits that must hold, and the one published row that fits."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdollar.cost import Quantity
from microdollar.errors import CannotEstimateError, SpecError
from microdollar.estimator.kv_cache import cache_bytes
from microdollar.estimator.serving import estimate_serving
from microdollar.estimator.serving_counts import read_flops, token_flops, weights_read
from microdollar.spec.device_catalog import load_device
from microdollar.spec.model_catalog import load_model_spec
from microdollar.spec.parameters import count_parameters
from microdollar.spec.training import Layout, ServingPlan


def serve(name="llama-3-8b", device="h100-sxm", **changes):
    fields = {"prompt_tokens": 1000, "new_tokens": 100, **changes}
    spec = load_device(device) if isinstance(device, str) else device
    plan = ServingPlan(model=load_model_spec(name), device=spec.name, **fields)
    return estimate_serving(plan, spec)


@pytest.mark.parametrize(
    ("name", "tokens", "numbers"),
    [
        ("llama-3-8b", 1000, 2 * 32 * 8 * 128 * 1000),
        ("gpt2", 1000, 2 * 12 * 768 * 1000),
        # arXiv:2310.06825, section 2: a rolling buffer of 4096 tokens.
        ("mistral-7b", 1000, 2 * 32 * 8 * 128 * 1000),
        ("mistral-7b", 9000, 2 * 32 * 8 * 128 * 4096),
        # arXiv:2412.19437, section 4.2: 512 + 64 numbers a token, 61 layers.
        ("deepseek-v3", 1000, 61 * 576 * 1000),
    ],
)
def test_cache_by_hand(name, tokens, numbers):
    model = load_model_spec(name)
    assert cache_bytes(model, tokens=tokens, sequences=3, number_bytes=2) == 3 * 2 * numbers


@pytest.mark.parametrize("name", ["mamba-130m", "rwkv-4-169m", "sat-rnn"])
def test_recurrent_models_keep_a_state_of_one_size(name):
    model = load_model_spec(name)
    short, long = (
        cache_bytes(model, tokens=tokens, sequences=2, number_bytes=2) for tokens in (1, 10**6)
    )
    assert 0 < short == long


def test_mambas_state_by_hand():
    # 24 layers of 1536 features: 16 numbers of state and 4 taps each, in float32.
    model = load_model_spec("mamba-130m")
    assert cache_bytes(model, tokens=9, sequences=1, number_bytes=2) == 24 * 1536 * 20 * 4


def test_a_decoders_cache_has_the_encoders_tokens_once_and_its_own():
    model = load_model_spec("t5-small")
    kept = cache_bytes(model, tokens=10, sequences=1, number_bytes=2, encoded=50)
    assert kept == 6 * 2 * 512 * (10 + 50) * 2


def test_reading_a_prompt_is_two_operations_a_weight_and_attention():
    model = load_model_spec("llama-3-8b")
    head, active = 4096 * 128256, count_parameters(model).active
    attention = 32 * 4 * 32 * 128 * 1000 * 1001 // 2
    assert read_flops(model, 1000) == 2 * 1000 * (active - head) + 2 * head + attention


def test_a_token_is_two_operations_a_weight_and_one_row_of_attention():
    model = load_model_spec("llama-3-8b")
    active = count_parameters(model).active
    assert token_flops(model, 999, 999) == 2 * active + 32 * 4 * 32 * 128 * 1000


def test_reading_token_by_token_costs_what_reading_at_once_does():
    model = load_model_spec("gpt2")
    head = 2 * 768 * 50257
    steps = sum(token_flops(model, before, 0) - head for before in range(20))
    assert read_flops(model, 20) - head == steps


def test_one_sequence_reads_its_experts_and_many_read_all():
    model = load_model_spec("mixtral-8x7b")
    count = count_parameters(model)
    assert weights_read(model, 1) == pytest.approx(count.active, rel=0.001)
    everything = count.total - count.embedding
    assert weights_read(model, 1) < weights_read(model, 4) < weights_read(model, 1000)
    assert weights_read(model, 1000) == everything


def test_decoding_is_bound_by_memory_and_reading_by_arithmetic():
    one = serve()
    weights = 2 * (8_030_261_248 - 4096 * 128256)
    assert one.decode_seconds_per_token.low > weights / 3.35e12
    assert one.prefill_seconds.low > 2 * 7e9 * 1000 / 989e12
    many = serve(batch=32)
    # Thirty-two answers take hardly longer than one, thirty-two prompts that many times as long.
    assert many.decode_seconds_per_token.value < 2 * one.decode_seconds_per_token.value
    assert many.prefill_seconds.value == pytest.approx(32 * one.prefill_seconds.value)
    assert many.dollars_per_million_tokens.value < one.dollars_per_million_tokens.value / 8


def test_a_published_decoding_rate_lies_within_the_interval():
    # TinyLlama-1.1B's README: 71.8 tokens/s by llama.cpp on an Apple M2, batch 1, four-bit
    # weights (18 bytes for 32 of them). The prompt's length is not reported; a short one here.
    found = serve(
        "tinyllama-1.1b",
        "m2",
        prompt_tokens=64,
        new_tokens=128,
        precision="float16",
        weight_bytes=0.5625,
    )
    assert found.decode_tokens_per_second.contains(71.8)


def test_everything_is_said_and_adds_up():
    found = serve(batch=4)
    assert found.seconds.value == pytest.approx(
        found.prefill_seconds.value + 100 * found.decode_seconds_per_token.value
    )
    assert found.tokens_per_second.value == pytest.approx(400 / found.seconds.value)
    assert found.joules_per_million_tokens.value == pytest.approx(found.joules.value * 2500)
    assert found.fits is True and found.memory_bytes.value > 16e9
    assert all(part.source for part in found.assumptions)


def test_it_is_plain_data_too():
    found = serve(batch=4)
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["parameters"] == 8_030_261_248
    assert data["memory_bytes"]["cache"] == found.cache_bytes == 4 * 2 * 2 * 32 * 8 * 128 * 1100
    assert data["memory_bytes"]["allocated"]["value"] < data["memory_bytes"]["process"]["value"]
    assert data["memory_bytes"]["reserved"]["reason"] and data["int_ops"]["reason"]
    # Attention adds to 2N; the head runs for the last token of a prompt only.
    assert data["flops"]["hardware"]["value"] == pytest.approx(
        data["flops"]["2N"]["value"], rel=0.1
    )
    assert "tokens" in found._repr_html_()


def test_a_model_larger_than_the_device_does_not_fit():
    assert serve("llama-3-70b").fits is False
    assert serve("llama-3-70b", layout=Layout(tp=4)).fits is True


def test_tensor_parallelism_is_faster_but_less_than_in_proportion():
    one, four = serve(), serve(layout=Layout(tp=4))
    ratio = one.decode_seconds_per_token.value / four.decode_seconds_per_token.value
    assert 1 < ratio < 4


def test_what_is_not_known_is_said():
    device = load_device("h100-sxm")
    unknown = Quantity.missing("the catalog has no link bandwidth of it")
    with pytest.raises(CannotEstimateError, match="tp 2"):
        serve(device=replace(device, link_bytes_per_second=unknown), layout=Layout(tp=2))
    with pytest.raises(CannotEstimateError, match="no memory"):
        serve(
            device=replace(device, memory_bytes_per_second=Quantity.missing("no memory bandwidth"))
        )
    with pytest.raises(CannotEstimateError, match="float8"):
        serve(device="a100-80gb", precision="float8")
    free = replace(device, dollars_per_hour=Quantity.missing("no price"))
    assert serve(device=free).dollars_per_million_tokens.reason


def test_a_measured_machine_serves_at_its_rates(rates):
    device = replace(load_device("h100-sxm"), rates=rates)
    found = serve("gpt2", device, prompt_tokens=500, precision="float32")
    assert found.decode_seconds_per_token.basis == "calibrated"
    with pytest.raises(CannotEstimateError, match="bfloat16"):
        serve("gpt2", device)


def test_an_encoder_generates_nothing_but_reads():
    with pytest.raises(SpecError, match="new_tokens"):
        serve("bert-base", prompt_tokens=100)
    found = serve("bert-base", prompt_tokens=100, new_tokens=0)
    assert found.prefill_seconds.value > 0
    assert found.tokens_per_second.value is None and found.dollars_per_million_tokens.reason


def test_an_encoder_decoder_answers():
    found = serve("t5-base")
    assert found.prefill_seconds.value > 0 and found.decode_seconds_per_token.value > 0


@given(
    name=st.sampled_from(
        ["llama-3-8b", "mistral-7b", "deepseek-v2-lite", "mamba-130m", "t5-small"]
    ),
    prompt=st.integers(1, 10**6),
    new=st.integers(1, 10**5),
    batch=st.integers(1, 4096),
    layout=st.builds(
        Layout, tp=st.sampled_from([1, 2]), pp=st.integers(1, 6), dp=st.integers(1, 9)
    ),
)
def test_any_plan_has_ordered_finite_numbers_that_grow(name, prompt, new, batch, layout):
    def found(prompt, new, batch):
        return serve(name, prompt_tokens=prompt, new_tokens=new, batch=batch, layout=layout)

    here = found(prompt, new, batch)
    for more in (found(prompt + 1, new, batch), found(prompt, new + 1, batch)):
        assert more.cache_bytes >= here.cache_bytes
        assert more.seconds.value >= here.seconds.value
        assert more.flops > here.flops
    wider = found(prompt, new, batch + layout.dp)
    assert wider.seconds.value >= here.seconds.value
    assert wider.memory_bytes.value >= here.memory_bytes.value * (1 - 1e-12)
    assert here.joules.low < here.joules.value < here.joules.high
