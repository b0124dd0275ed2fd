"""Files of published runs: both sets of columns, and every way in which they can be wrong.

``tests/data/runs_published.csv`` has one row of each source's shorthand (the source is in the
row); ``runs_vtrain_*.csv`` are rows of github:VIA-Research/vTrain (MIT).
"""

import csv
import io
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import UsageError
from microdollar.spec.device_spelling import read_device
from microdollar.spec.run_text import read_run_text
from microdollar.spec.run_units import METRICS, base_value
from microdollar.spec.runs import LONG_COLUMNS, MORE_COLUMNS, VTRAIN_COLUMNS, read_runs

DATA = Path(__file__).parents[1] / "data"
ROWS = {run.label: run for run in read_runs(DATA / "runs_published.csv")}
HEADER = ",".join(LONG_COLUMNS)
GOOD = "LLaMA,A100-SXM-80GB,gpu_hours,3,GPU-h"


def layout(label):
    plan = ROWS[label].plan
    lay, train = plan.layout, plan.train
    return (lay.tp, lay.pp, lay.cp, lay.dp, lay.zero, train.micro_batch, train.global_batch)


@pytest.mark.parametrize(
    ("label", "expected", "recompute", "stack"),
    [
        ("BLOOM tune-up 200B", (8, 10, 1, 1, 1, 1, 2048), "full", "megatron-deepspeed"),
        ("Llama 3.1 8B (torchtitan)", (1, 1, 1, 8, 3, 2, 16), "selective", "torchtitan-compile"),
        ("MPT-13b", (1, 1, 1, 512, 3, 16, 8192), "full", "llm-foundry"),
        ("GPT 39.1B (vTrain)", (2, 8, 1, 32, 0, 2, 1536), "full", "megatron-deepspeed"),
        ("GPT 529.6B (PTD)", (8, 35, 1, 8, 0, 1, 2240), "full", "megatron"),
        ("GPT-3 175B (Korthikanti 2022)", (8, 8, 1, 1, 0, 1, 64), "selective", "megatron"),
    ],
)
def test_each_source_s_shorthand_is_read(label, expected, recompute, stack):
    assert layout(label) == expected
    assert ROWS[label].plan.train.recompute == recompute
    assert ROWS[label].stack == ROWS[label].plan.stack == stack


def test_details_of_a_layout():
    korthikanti = ROWS["GPT-3 175B (Korthikanti 2022)"].plan.layout
    assert korthikanti.sequence_parallel
    assert korthikanti.interleave == 3
    assert ROWS["Llama 3.1 8B (torchtitan)"].plan.train.compiled
    assert not ROWS["Llama 3.1 8B (torchtitan)"].plan.layout.sequence_parallel  # tp is 1
    assert ROWS["BLOOM tune-up 206B"].plan.train.gradient_bytes == 4


def gpt_parameters(model):
    """Of a GPT block, by hand: 12 h^2 weights, 13 h biases and norms a layer; tables; norms."""
    h, layers = model.hidden, model.layers
    tables = model.vocab * (1 if model.tied else 2) + model.positions + 2 * model.final_norms
    return layers * (12 * h * h + 13 * h) + tables * h


def test_models_have_the_published_parameters():
    mpt = ROWS["MPT-13b"]
    assert gpt_parameters(mpt.plan.model) == mpt.parameters  # llm-foundry counts them exactly
    for label, off in (("GPT 39.1B (vTrain)", 0.001), ("GPT 529.6B (PTD)", 0.001)):
        run = ROWS[label]
        assert gpt_parameters(run.plan.model) == pytest.approx(run.parameters, rel=off)
    llama = ROWS["Llama 3.1 8B (torchtitan)"].plan.model.blocks[0]
    assert llama.feed_forward.inner == 14336  # its config.json
    assert llama.mixers[0].kv_heads == 8


def test_values_are_in_base_units():
    assert ROWS["BLOOM tune-up 200B"].value == 73 * 2**30  # nvidia-smi's GB is GiB
    assert ROWS["MPT-13b"].value == pytest.approx(0.4112)
    assert ROWS["GPT 39.1B (vTrain)"].value == pytest.approx(21.8904)
    assert ROWS["GPT 529.6B (PTD)"].value == pytest.approx(159e12)
    assert ROWS["LLaMA-65B"].value == 1022362 * 3600
    assert ROWS["Meena-2.6B"].value == pytest.approx(232 * 3.6e9)
    assert base_value("peak_memory", 1, "GB") == 1e9


def test_what_a_row_lacks_is_said():
    assert "layers" in ROWS["LLaMA-65B"].plan_missing
    assert ROWS["LLaMA-65B"].device == "NVIDIA A100 SXM 80GB"
    assert ROWS["PaliGemma"].device_missing == "several kinds of device"
    assert "640" in ROWS["BLOOM tune-up 187B"].plan_missing
    assert "320" in ROWS["BLOOM tune-up 187B"].plan_missing


def test_facts_of_a_run():
    deepseek = ROWS["DeepSeek-V3"]
    assert deepseek.active_parameters == 37e9
    assert deepseek.precision == "float8"
    assert not deepseek.measured
    assert ROWS["Meena-2.6B"].measured
    assert ROWS["PaliGemma"].devices == 256  # printed 256.0
    assert [run.row for run in ROWS.values()] == list(range(1, len(ROWS) + 1))


@pytest.mark.parametrize("name", ["runs_vtrain_multi.csv", "runs_vtrain_single.csv"])
def test_vtrain_rows_become_plans(name):
    with (DATA / name).open() as file:
        raw = list(csv.DictReader(file))
    runs = read_runs(DATA / name)
    assert len(runs) == len(raw)
    for run, cells in zip(runs, raw, strict=True):
        assert run.metric == "iteration_time"
        assert run.value == pytest.approx(float(cells["iteration time (ms)"]) / 1000)
        assert run.plan.layout.devices == int(cells["# GPUs"])
        assert run.plan.model.hidden == int(cells["hidden size"])
        assert run.plan.model.layers == int(cells["# layers"])
        assert run.plan.train.micro_batch == int(cells["micro batch"])
        assert run.plan.train.recompute == "full"
        assert run.measured


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("A100-SXM-80GB", "NVIDIA A100 SXM 80GB"),
        ("NVIDIA A100 SXM4 40 GB", "NVIDIA A100 SXM 40GB"),
        ("NVIDIA H100 SXM5 80GB", "NVIDIA H100 SXM"),
        ("H100-96GB HBM2e 500W", "NVIDIA H100 SXM"),
        ("TPU v3", "Google TPU v3"),
        ("Google TPU v4", "Google TPU v4"),
        ("H200-SXM", "NVIDIA H200 SXM"),
        ("h800", "NVIDIA H800 SXM"),
        ("m4-pro", "Apple M4 Pro (20-core GPU)"),
        ("AMD EPYC 7B13 (Milan, 64 cores)", "AMD EPYC 7B13 (Milan, 64 cores)"),
    ],
)
def test_spellings_of_devices(text, device):
    assert read_device(text).device == device


def test_a_device_that_is_not_known_is_no_other():
    for text in ("", "NVIDIA P100", "Huawei Ascend 910", "NVIDIA A100,NVIDIA Tesla V100 SXM2"):
        assert read_device(text).device is None
        assert read_device(text).missing


def test_words_of_a_layout():
    assert read_run_text("act-ckpt False, micro-batch 64, grad-accum 4").recompute == "none"
    assert read_run_text("FSDP32 TP8 compile full AC LBS16 async TP").fsdp == 32
    assert read_run_text("FSDP32 TP8 compile full AC LBS16 async TP").tp == 8
    assert read_run_text("TP8 PP16 DP48 batch 3072 seqs").global_batch == 3072
    assert read_run_text("global batch 2,097,152 tokens").global_batch_tokens == 2097152
    assert read_run_text("global batch 2,097,152 tokens").global_batch is None
    assert read_run_text("full AC AsyncTP; Interleaved 1F1B").interleaved
    assert not read_run_text("full AC 1F1B; FSDP8 CP1").interleaved
    ambiguous = "MBS1 GBS2048 ZeRO-1; source header says GBS=512, table says 2048: ambiguous"
    assert read_run_text(ambiguous).global_batch == 512
    assert "512" in read_run_text(ambiguous).doubtful
    assert read_run_text("").tp is None
    assert read_run_text("TP99999999999999999999").tp is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("model,hardware,metric,value\n", "'unit' is missing"),
        ("# gpus,global batch\n1,2\n", "is missing"),
        (f"{HEADER},unit\n", "twice"),
        (f"{HEADER}\n", "no rows"),
        (f"{HEADER}\n{GOOD},6\n", "row 1: 6 fields"),
        (f"{HEADER}\n{GOOD}\nx,y\n", "row 2: 2 fields"),
        (f"{HEADER}\nx,A100,gpu_hours,nan,GPU-h\n", "value 'nan'"),
        (f"{HEADER}\nx,A100,gpu_hours,inf,GPU-h\n", "value 'inf'"),
        (f"{HEADER}\nx,A100,gpu_hours,-3,GPU-h\n", "value '-3'"),
        (f"{HEADER}\nx,A100,gpu_hours,1e300,GPU-h\n", "value '1e300'"),
        (f"{HEADER}\nx,A100,gpu_hours,,GPU-h\n", "value is empty"),
        (f"{HEADER}\nx,A100,,3,GPU-h\n", "metric is empty"),
        (f"{HEADER}\nx,A100,gpu_hours,3,parsec\n", "Accepted: gpu-h"),
        (f"{HEADER},layers\n{GOOD},1e9\n", "layers '1e9'"),
        (f"{HEADER},layers\n{GOOD},-1\n", "layers '-1'"),
        (f"{HEADER},layers\n{GOOD},2.5\n", "whole number"),
        (f"{HEADER},params\n{GOOD},many\n", "params 'many'"),
        (f'{HEADER}\n"{"x" * 200_000}",A100,gpu_hours,3,GPU-h\n', "not a CSV file"),
        (f'{HEADER}\n"x,A100,gpu_hours,3,GPU-h\n', "not a CSV file"),
    ],
)
def test_a_bad_file_is_one_clear_error(tmp_path, text, said):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_runs(path)
    assert said in str(caught.value)
    assert "rows.csv" in str(caught.value)


def test_what_is_no_text_or_no_file(tmp_path):
    for data in (b"\x00\x01\x02", b"\xff\xfe\x00a", "mod\u00e8le,x".encode("latin-1")):
        path = tmp_path / "rows.csv"
        path.write_bytes(data)
        with pytest.raises(UsageError, match=r"rows\.csv"):
            read_runs(path)
    for path in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(UsageError, match="can't read"):
            read_runs(path)


def test_a_metric_that_nobody_knows_is_kept(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(f"\ufeff{HEADER}\nx,A100,perplexity,3,bits\n\n")
    (run,) = read_runs(path)
    assert (run.metric, run.value, run.unit) == ("perplexity", 3, "bits")


def test_torchtitan_s_own_settings_fill_its_blanks(tmp_path):
    path = tmp_path / "rows.csv"
    names = (*LONG_COLUMNS, "layers", "d_model", "heads", "kv_heads", "vocab", "num_devices")
    cells = "x,H100,throughput,100,tokens/s/GPU,32,4096,32,8,128256,64"
    path.write_text(
        f"{','.join(names)},source_url_or_title,config\n"
        f"{cells},pytorch/torchtitan,FSDP8 TP8 compile LBS12 vanilla TP\n"
        f"{cells},pytorch/torchtitan,FSDP4 TP4 PP4 LBS8 full AC Interleaved 1F1B\n"
    )
    first, second = (run.plan for run in read_runs(path))
    assert first.train.sequence == 8192
    assert first.train.recompute == "selective"
    assert first.layout.sequence_parallel
    assert first.train.global_batch == 96
    assert (second.layout.interleave, second.train.micro_batch) == (2, 2)
    assert second.train.recompute == "full"
    assert "selective recomputation" in " ".join(read_runs(path)[0].assumed)


CELLS = st.one_of(
    st.text(max_size=12),
    st.floats().map(str),
    st.integers().map(str),
    st.sampled_from(["A100", "TP8 PP2 DP4 MBS1 GBS64", "LBS2 GBS16", "iteration_time", "s", "8"]),
)


@settings(max_examples=300, deadline=None)
@given(rows=st.lists(st.lists(CELLS, min_size=18, max_size=18), max_size=3), vtrain=st.booleans())
def test_no_table_does_more_than_fail(tmp_path_factory, rows, vtrain):
    names = VTRAIN_COLUMNS if vtrain else (*LONG_COLUMNS, *MORE_COLUMNS)
    text = io.StringIO()
    csv.writer(text).writerows([names, *(row[: len(names)] for row in rows)])
    path = tmp_path_factory.getbasetemp() / "table.csv"
    path.write_bytes(text.getvalue().encode("utf-8", "surrogatepass"))
    try:
        runs = read_runs(path)
    except UsageError as error:
        assert "table.csv" in str(error)
        return
    for run in runs:
        assert math.isfinite(run.value)
        assert run.value >= 0
        assert (run.plan is None) == (run.plan_missing is not None)
        assert (run.device is None) == (run.device_missing is not None)


SIZES = st.integers(1, 300)


@settings(max_examples=200, deadline=None)
@given(tp=SIZES, pp=SIZES, dp=SIZES, micro=SIZES, batch=SIZES, heads=SIZES, width=SIZES)
def test_a_layout_is_a_plan_or_a_reason(tmp_path_factory, tp, pp, dp, micro, batch, heads, width):
    config = f"TP{tp} PP{pp} DP{dp} MBS{micro} GBS{batch * dp * micro}"
    path = tmp_path_factory.getbasetemp() / "layout.csv"
    names = (*LONG_COLUMNS, "layers", "d_model", "heads", "vocab", "seq_len", "num_devices")
    cells = ("x", "A100", "iteration_time", 1, "s", 64, width * 8, heads, 100, 128, tp * pp * dp)
    path.write_text(f"{','.join(names)},config\n{','.join(map(str, cells))},{config}\n")
    (run,) = read_runs(path)
    if (width * 8) % heads or heads % tp or pp > 64:
        assert run.plan is None
    else:
        assert run.plan.micro_steps == batch


def test_every_metric_has_a_unit():
    assert all(factor > 0 for units in METRICS.values() for factor in units.values())
