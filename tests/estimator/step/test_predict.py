"""Predictions: parts add up, intervals hold the value, more work takes longer."""

import math
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import CannotEstimateError
from microdollar.estimator.step import PRIOR, predict_step, shipped_fit, shipped_fits
from microdollar.spec.device_catalog import list_devices, load_device
from microdollar.spec.model import Dense, ModelSpec

from .plans import DEVICE, gpt_plan

A100 = load_device(DEVICE)


def test_parts_add_up_to_the_step():
    for fit in (None, PRIOR):
        estimate = predict_step(gpt_plan(tp=2, pp=2, dp=4), A100, fit)
        total = sum(part.value for part in estimate.parts)
        assert total == pytest.approx(estimate.seconds.value, rel=1e-9)
        assert all(part.value > 0 for part in estimate.parts)


@given(
    hidden=st.sampled_from([64, 256, 1024, 8192, 65536]),
    layers=st.sampled_from([8, 48, 1024]),
    micro_batch=st.sampled_from([1, 3, 64, 4096]),
    micro_steps=st.sampled_from([1, 7, 1000]),
    tp=st.sampled_from([1, 4, 16]),
    pp=st.sampled_from([1, 8]),
    dp=st.sampled_from([1, 64, 4096]),
    zero=st.sampled_from([0, 1, 3]),
    sequence=st.sampled_from([16, 2048, 1_000_000]),
    attention=st.sampled_from(["fused", "naive"]),
    stack=st.sampled_from([None, "megatron-deepspeed", "llm-foundry", "torchtitan", "unheard of"]),
)
@settings(max_examples=80, deadline=None)
def test_answers_are_finite_positive_intervals(**options):
    seconds = predict_step(gpt_plan(**options), A100).seconds
    assert 0 < seconds.low <= seconds.value <= seconds.high < math.inf


@pytest.mark.parametrize("size", [2**10, 2**18, 2**30, 2**50])
def test_absurd_sizes_have_finite_answers_or_a_reason(size):
    for fit in (None, PRIOR):
        plan = gpt_plan(hidden=size, micro_batch=size, micro_steps=1, sequence=size, heads=1)
        try:
            seconds = predict_step(plan, A100, fit).seconds
        except CannotEstimateError as error:
            assert size >= 2**18
            assert "smaller" in str(error)
            continue
        assert 0 < seconds.low <= seconds.value <= seconds.high < math.inf


def test_a_model_without_layers_has_an_answer():
    dense = ModelSpec(
        name="mlp",
        family="mlp",
        hidden=64,
        blocks=(),
        dense=(Dense(name="first", inputs=64, outputs=32),),
    )
    plan = replace(gpt_plan(), model=dense)
    estimate = predict_step(plan, A100)
    assert estimate.seconds.value > 0
    assert sum(part.value for part in estimate.parts) == pytest.approx(estimate.seconds.value)


def test_another_stack_on_a_measured_device_takes_its_rate_from_the_others():
    plan = gpt_plan(stack=None, precision="bfloat16")
    estimate = predict_step(plan, A100)
    assert "another stack" in estimate.basis
    fit = shipped_fit(plan)
    like = [
        math.log(factor)
        for (_, device, precision), factor in zip(fit.contexts, fit.compute, strict=True)
        if (device, precision) == (DEVICE, "bfloat16")
    ]
    assert like
    factor, variance = fit.compute_factor(plan, A100)
    assert math.log(factor) == pytest.approx(sum(like) / len(like))
    assert variance > 0


@pytest.mark.parametrize("name", ["hidden", "layers", "micro_batch", "micro_steps", "sequence"])
def test_before_any_correction_more_work_takes_longer(name):
    start = {"hidden": 1024, "layers": 12, "micro_batch": 1, "micro_steps": 4, "sequence": 1024}
    times = []
    for factor in (1, 2, 4, 8):
        plan = gpt_plan(**(start | {name: start[name] * factor}))
        times.append(predict_step(plan, A100, PRIOR).seconds.value)
    assert times == sorted(times)


def test_every_device_with_rates_has_an_answer_and_every_other_a_reason():
    for device in list_devices():
        for precision in ("bfloat16", "float16", "float32"):
            plan = gpt_plan(device=device.name, precision=precision, stack=None)
            known = precision in device.flops_per_second and device.memory_bytes_per_second.value
            if known:
                assert predict_step(plan, device).seconds.value > 0
            else:
                with pytest.raises(CannotEstimateError):
                    predict_step(plan, device)


def test_the_interval_is_wider_on_a_device_that_nobody_measured():
    near = predict_step(gpt_plan(hidden=2048, layers=16), A100).seconds
    other = load_device("NVIDIA B200 SXM")
    plan = gpt_plan(hidden=2048, layers=16, device=other.name)
    far = predict_step(plan, other).seconds
    assert math.log(far.high / far.low) > math.log(near.high / near.low)


def test_basis_says_what_was_measured():
    measured = predict_step(gpt_plan(), A100)
    assert measured.seconds.basis == "calibrated"
    assert "vTrain" in measured.basis
    assert predict_step(gpt_plan(), A100, PRIOR).seconds.basis == "datasheet"


def test_shipped_fits_state_their_rows_sources_dates_and_errors():
    fits = shipped_fits()
    assert len(fits) >= 4
    for entry in fits:
        assert entry.fit.rows > 0
        assert entry.fit.source
        assert entry.fit.date
        assert entry.fit.cross_validated is not None or entry.fit.rows < 10
    assert sum(not entry.stacks for entry in fits) == 1


def test_the_fit_is_chosen_by_stack_and_nodes():
    one = shipped_fit(gpt_plan(dp=8))
    many = shipped_fit(gpt_plan(dp=64))
    assert one.rows == 720
    assert many is not one
    any_stack = next(entry.fit for entry in shipped_fits() if not entry.stacks)
    assert shipped_fit(gpt_plan(stack=None)) is any_stack
    assert shipped_fit(gpt_plan(stack="unheard of")) is any_stack


def test_predicting_imports_neither_numpy_nor_torch():
    code = (
        "import sys\n"
        "from microdollar.estimator.step import predict_step, shipped_fits\n"
        "shipped_fits()\n"
        "assert not {'numpy', 'torch', 'scipy'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
