"""The command: from a file to a law, from a law to a prediction, errors in a line or two."""

import json
import math

import pytest

from microdollar.cli.main import main
from microdollar.cost import Cost, Quantity
from microdollar.estimator.scaling.published import CHINCHILLA
from microdollar.ledger import Ledger, Record


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("MICRODOLLAR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def runs(here):
    """30 runs of Chinchilla's law and of one that is twice as bad."""
    lines = ["who,params,tokens,nats_per_token"]
    for who, factor in (("good", 1), ("bad", 2)):
        for i in range(6):
            for j in range(5):
                n, d = 4e7 * 4**i, 2e9 * 4**j
                noise = 1 + 0.004 * math.sin(17 * i + 5 * j)
                loss = factor * noise * CHINCHILLA.loss({"params": n, "tokens": d})
                lines.append(f"{who},{n},{d},{loss}")
    (here / "runs.csv").write_text("\n".join(lines) + "\n")
    return here / "runs.csv"


def json_of(capsys, *words):
    assert main([*words, "--json"]) == 0
    out = capsys.readouterr().out
    return json.loads(out)


def failed(capsys, *words):
    code = main(list(words))
    said = capsys.readouterr()
    assert said.out == ""
    lines = [line for line in said.err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and len(said.err.splitlines()) <= 3
    return code, said.err


def test_fit_predict_and_draw(runs, capsys):
    found = json_of(
        capsys, "scaling", "fit", "runs.csv", "--group-by", "who", "--hold-out", "dearer-half",
        "--bootstrap", "60", "--figure", "laws.svg", "-o", "law.json",
    )  # fmt: skip
    good, bad = found["laws"]
    assert (good["name"], good["form"], good["points"]) == ("good", "chinchilla", 30)
    assert good["parameters"]["alpha"] == pytest.approx(0.34, abs=0.02)
    narrow, wide = good["intervals"]["alpha"]
    assert wide["low"] <= narrow["low"] <= good["parameters"]["alpha"] <= wide["high"]
    assert good["held_out"]["median_error"] < 0.01
    assert len(good["held_out"]["rows"]) == good["held_out"]["predicted"] == 15
    assert good["optimal_params_exponent"]["value"] == pytest.approx(0.45, abs=0.03)
    assert "draws" not in good and found["left_out"] == []
    assert (runs.parent / "laws.svg").read_text().startswith("<svg")

    asked = ("--params", "70G", "--tokens", "1.4T")
    first = json_of(capsys, "scaling", "predict", "law.json", "--group", "good", *asked)
    assert first["loss"] == pytest.approx(CHINCHILLA.loss({"params": 7e10, "tokens": 1.4e12}), 0.02)
    assert first["intervals"][0]["low"] < first["loss"] < first["intervals"][0]["high"]
    second = json_of(capsys, "scaling", "predict", "law.json", "--group", "bad", *asked)
    assert second["loss"] == pytest.approx(2 * first["loss"], rel=0.05)
    assert bad["unit"] == second["unit"] == "nats_per_token"


def test_words_for_people(runs, capsys):
    assert main(["scaling", "fit", "runs.csv", "--group-by", "who", "--bootstrap", "20"]) == 0
    said = capsys.readouterr().out
    assert "good: L = E + A / N**alpha + B / D**beta   (30 runs, nats_per_token)" in said
    assert "80 %" in said.replace("80%", "80 %")


def test_a_budget_in_dollars(capsys):
    words = ("scaling", "predict", "epoch", "--budget-dollars", "1e5", "--device", "h100-sxm")
    found = json_of(capsys, *words)
    best, tenfold = found["optimum"], found["tenfold"]
    assert 6 * best["params"] * best["tokens"] == pytest.approx(found["budget_flops"])
    assert tenfold["flops"] == pytest.approx(10 * best["flops"])
    assert 0 < found["tenfold_reduction"] < 0.2
    assert {"device", "share of peak (MFU)", "price"} <= {a["key"] for a in found["assumptions"]}
    # Twice the share of the peak buys twice the operations.
    more = json_of(capsys, *words, "--mfu", "0.8")
    assert more["budget_flops"] == pytest.approx(2 * found["budget_flops"])
    assert main(list(words)) == 0
    assert "ten times the budget takes off" in capsys.readouterr().out


def test_a_budget_in_joules_and_far_sizes_warn(capsys):
    found = json_of(
        capsys, "scaling", "predict", "chinchilla", "--budget-joules", "1e15", "--device",
        "h100-sxm",
    )  # fmt: skip
    assert any("outside the runs" in text for text in found["warnings"])
    assert found["budget_joules"] == 1e15


def test_rows_of_the_ledger(here, capsys):
    none = Quantity.missing("no")
    ledger = Ledger(here / "some.db")
    for i in range(8):
        ledger.append(
            Record(
                learner="ngram",
                plan={"train_bytes": 1000 * 3**i, "corpus": "text"},
                device={"name": "box"},
                measured=Cost(
                    flops=Quantity(value=50.0 * 1000 * 3**i, basis="formula"),
                    int_ops=none, memory_bytes=none, seconds=none, joules=none, dollars=none,
                ),
                scores={"test_bits_per_byte": 2 + 3 * (1000 * 3**i / 1000) ** -0.3},
                note=str(i),
            )
        )  # fmt: skip
    found = json_of(
        capsys, "scaling", "fit", "--ledger", "some.db", "--form", "tokens", "-o", "law.json"
    )
    (law,) = found["laws"]
    assert law["name"] == "ngram on text"
    assert law["parameters"]["beta"] == pytest.approx(0.3, rel=1e-3)
    assert law["parameters"]["E"] == pytest.approx(2, rel=1e-3)
    best = json_of(capsys, "scaling", "predict", "law.json", "--budget-flops", "5e8")["optimum"]
    assert best["tokens"] == pytest.approx(1e7)
    assert best["params"] is None


def test_a_group_that_cant_be_fitted_is_left_out(runs, capsys):
    runs.write_text(runs.read_text() + "few,1e9,1e9,3\n")
    found = json_of(capsys, "scaling", "fit", "runs.csv", "--group-by", "who", "--bootstrap", "0")
    assert [law["name"] for law in found["laws"]] == ["good", "bad"]
    assert found["left_out"][0]["group"] == "few"
    assert "too few points" in found["left_out"][0]["reason"]
    assert found["laws"][0]["intervals"]["alpha"] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fit"], "give a CSV file of runs, or --ledger"),
        (["fit", "runs.csv", "--ledger", "x.db"], "one of them"),
        (["fit", "none.csv"], "can't read none.csv"),
        (["fit", "runs.csv", "--form", "cubic"], "'cubic' is not one of"),
        (["fit", "runs.csv", "--bootstrap", "5"], "give 20 to 10,000"),
        (["fit", "runs.csv", "--figure", "laws.png"], "does not end in .svg"),
        (["fit", "runs.csv", "--irreducible"], "Name a --form"),
        (["fit", "runs.csv", "--tokens", "nats_per_token"], "both the loss and tokens"),
        (["predict", "chinchilla", "--params", "0.5", "--tokens", "1"], "of 1 or more"),
        (["fit", "runs.csv", "--learner", "x"], "--learner chooses rows of the ledger"),
        (["fit", "runs.csv", "--form", "flops"], "has no flops"),
        (["fit", "--ledger", "none.db"], "no row in the ledger"),
        (["fit", "--ledger", "none.db", "--tokens", "x"], "--tokens is for a CSV file"),
        (["fit", "--ledger", "none.db", "--unit", "x"], "--unit is for a CSV file"),
        (["predict", "chinchila", "--params", "1"], "Did you mean chinchilla"),
        (["predict", "none.json", "--params", "1"], "can't read none.json"),
        (["predict", "chinchilla"], "give sizes"),
        (["predict", "chinchilla", "--params", "1G"], "Give --tokens"),
        (["predict", "chinchilla", "--params", "0", "--tokens", "1"], "not a positive"),
        (["predict", "chinchilla", "--params", "many"], "is not a number"),
        (["predict", "chinchilla", "--flops", "1e20"], "not of flops"),
        (["predict", "chinchilla", "--group", "x", "--params", "1"], "is one law"),
        (["predict", "chinchilla", "--params", "1", "--budget-flops", "1"], "give sizes"),
        (["predict", "chinchilla", "--budget-dollars", "1"], "needs a --device"),
        (["predict", "chinchilla", "--budget-flops", "1e20", "--mfu", "0.4"], "go with"),
        (
            [
                "predict",
                "chinchilla",
                "--budget-dollars",
                "1",
                "--device",
                "h100-sxm",
                "--mfu",
                "2",
            ],
            "MFU",
        ),
        (["predict", "chinchilla", "--budget-dollars", "1", "--device", "h999"], "unknown device"),
    ],
)
def test_wrong_usage_is_a_line_and_exit_code_2(words, said, runs, capsys):
    code, err = failed(capsys, "scaling", *words)
    assert said in err
    assert code == 2


def test_what_a_law_cant_say_is_exit_code_4(capsys):
    code, err = failed(capsys, "scaling", "predict", "kaplan-params", "--budget-flops", "1e20")
    assert code == 4 and "params alone" in err


def test_several_laws_need_a_name(runs, capsys):
    assert main(["scaling", "fit", "runs.csv", "--group-by", "who", "--bootstrap", "0", "-o",
                 "law.json"]) == 0  # fmt: skip
    capsys.readouterr()
    code, err = failed(capsys, "scaling", "predict", "law.json", "--params", "1", "--tokens", "1")
    assert code == 2 and "Choose one with --group" in err
    code, err = failed(
        capsys, "scaling", "predict", "law.json", "--group", "goood", "--params", "1"
    )
    assert code == 2 and "Did you mean good" in err
    whole = (runs.parent / "law.json").read_bytes()
    (runs.parent / "law.json").write_bytes(whole[: len(whole) // 2])
    code, err = failed(capsys, "scaling", "predict", "law.json", "--params", "1", "--tokens", "1")
    assert code == 2 and "not JSON" in err
