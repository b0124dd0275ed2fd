"""Any row that can be read gets a finite, ordered quantity or a reason, from every predictor."""

import csv
import io
import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microdollar.run.validate import (
    SHIPPED,
    error_groups,
    fit_on,
    not_predicted,
    predict_all,
    predict_rules,
)
from microdollar.spec.run_units import METRICS
from microdollar.spec.runs import LONG_COLUMNS, MORE_COLUMNS, read_runs

DEGREES = st.sampled_from([1, 1, 2, 4, 8, 64])
UNITS = [(metric, unit) for metric, units in METRICS.items() for unit in units]


@st.composite
def rows(draw):
    """One row whose layout multiplies out, with sizes from tiny to absurd."""
    tp, pp, dp = draw(DEGREES), draw(DEGREES), draw(DEGREES)
    micro = draw(st.sampled_from([1, 2, 8, 1000]))
    heads = tp * draw(st.sampled_from([1, 2, 16]))
    metric, unit = draw(st.sampled_from(UNITS))
    words = draw(
        st.sampled_from(
            ["", "full act-ckpt", "selective AC", "FSDP compile", "ZeRO-1", "interleave 3"]
        )
    )
    batch = dp * micro * draw(st.sampled_from([1, 3, 1000]))
    return {
        "model": draw(st.sampled_from(["GPT", "Llama 7B", "Pythia-1B", "LLaMA-65B", "x"])),
        "params": draw(st.sampled_from(["", "1", "7e9", "1e18"])),
        "tokens": draw(st.sampled_from(["", "1", "1e12", "1e21"])),
        "seq_len": draw(st.sampled_from([1, 128, 2048, 10**9])),
        "layers": max(pp, draw(st.sampled_from([1, 12, 99_999]))),
        "d_model": min(heads * draw(st.sampled_from([1, 64, 10_000])), 10_000_000),
        "heads": heads,
        "kv_heads": draw(st.sampled_from(["", 1, heads])),
        "vocab": draw(st.sampled_from([1, 50_257, 10**8])),
        "hardware": draw(
            st.sampled_from(["A100", "H100", "TPU v3", "m4-pro", "V100", "epyc-7b13", "t4", "?"])
        ),
        "num_devices": tp * pp * dp,
        "precision": draw(st.sampled_from(["", "fp16", "bf16", "fp8", "fp32", "tf32"])),
        "metric": metric,
        "value": draw(st.sampled_from(["0", "1e-300", "1", "5e3", "1e30"])),
        "unit": unit,
        "source_url_or_title": draw(st.sampled_from(["", "mosaicml", "torchtitan", "bigscience"])),
        "config": f"TP{tp} PP{pp} DP{dp} MBS{micro} GBS{batch} {words}",
        "provenance": draw(st.sampled_from(["measured", "", "derived"])),
    }


def check(predictions):
    for each in predictions:
        quantity = each.predicted
        if quantity.value is None:
            assert quantity.reason
        else:
            assert 0 <= quantity.low <= quantity.value <= quantity.high < math.inf
    listed = [each.to_json() for each in predictions]
    groups = [group.to_json() for group in error_groups(predictions)]
    json.dumps([listed, groups], allow_nan=False)
    counted = sum(group["n"] for group in groups if group["by"] == "all")
    assert counted + sum(len(each.rows) for each in not_predicted(predictions)) == len(listed)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(table=st.lists(rows(), min_size=1, max_size=6), fitted=st.integers(0, 9))
def test_no_row_breaks_a_prediction(tmp_path_factory, table, fitted):
    text = io.StringIO()
    writer = csv.DictWriter(text, (*LONG_COLUMNS, *MORE_COLUMNS))
    writer.writeheader()
    writer.writerows(table)
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_text(text.getvalue())
    runs = read_runs(path)
    check(predict_all(runs, SHIPPED))
    check(predict_rules(runs))
    if fitted == 0:  # a fit takes a while
        check(predict_all(runs, fit_on(runs, runs)))


def test_progress_is_reported():
    seen = []
    predict_all([], SHIPPED, lambda *said: seen.append(said))
    assert seen == []


@pytest.mark.parametrize("metric", ["mfu", "iteration_time", "peak_memory", "oom"])
def test_a_row_without_sizes_says_so(tmp_path, metric):
    unit = next(iter(METRICS[metric]))
    path = tmp_path / "rows.csv"
    path.write_text(f"{','.join(LONG_COLUMNS)}\nx,A100,{metric},1,{unit}\n")
    (each,) = predict_all(read_runs(path), SHIPPED)
    assert "no layers" in each.predicted.reason
