"""Predict what learning will cost, learn, and see how wrong the prediction was.

    python examples/predict_then_measure.py [TRAIN_BYTES]

The run becomes a row of your ledger (``microdollar ledger list``), and the next prediction for
this learner on this machine is corrected by it. The first run measures the machine for a few
seconds.
"""

import sys

import microdollar as md

TRAIN_BYTES = int(sys.argv[1]) if len(sys.argv) > 1 else 400_000
TEST_BYTES = 20_000


def main() -> None:
    """Track one run of the n-gram learner on Python's own documentation."""
    text = md.load_corpus("python-docs", limit=TRAIN_BYTES + TEST_BYTES).data
    train, test = text[:TRAIN_BYTES], text[TRAIN_BYTES:]

    learner = md.learner("ngram", order=6)
    learner.warm_up()  # compiling is paid once a process and is no part of the cost
    plan = md.Plan(
        learner="ngram",
        options={"order": 6},
        data=md.DataSpec(bytes=len(train), name="python-docs"),
    )
    with md.track(plan) as run:
        model = run.fit(train)
        run.scores["test_bits_per_byte"] = model.bits_per_byte(test, context=train)

    for (name, predicted), (_, measured) in zip(
        run.predicted.items(), run.measured.items(), strict=True
    ):
        print(f"{name:<13} predicted {show(predicted)}   measured {show(measured)}")
    print(f"held-out bits per byte, frozen: {run.scores['test_bits_per_byte']:.3f}")
    print(f"row {run.row} of the ledger")


def show(quantity: md.Quantity) -> str:
    """A value in base units, or a dash where there is none: missing is not zero."""
    return f"{'–':>10}" if quantity.value is None else f"{quantity.value:10.3g}"


if __name__ == "__main__":
    main()
