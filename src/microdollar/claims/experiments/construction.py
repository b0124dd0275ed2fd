"""What construction from counts and training cost: counted, and measured on this machine."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from math import log
from typing import TYPE_CHECKING, Any

from microdollar.claims.experiments.base import Context
from microdollar.claims.experiments.parts import Part, kept, spread
from microdollar.claims.record import Values
from microdollar.learn.gradient.rnn import ElmanBPTT
from microdollar.learn.registry import create
from microdollar.spec.arithmetic import Interval
from microdollar.spec.data import DataSpec

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray

TRAIN_BYTES, TEST_BYTES = 1_000_000, 200_000
"""Of enwik8: the document's training bytes, and those that follow them, which no fit sees."""
GIVEN: Mapping[str, Any] = {
    "hidden": 128, "offsets": 16, "alpha": 1.0, "scale": 0.1, "threads": 1,
}  # fmt: skip
"""The document's construction with its smoothing and scale given, as its count of operations has
it: to choose them on held-back bytes costs more than to count."""
EPOCHS, READOUT_EPOCHS = 20, 10
"""Of the document."""
REPEATS = 7
"""Of what takes less than a few seconds."""
REHEARSED_STEPS = 500
"""Segments of 50 bytes of the network with one stream that are run to learn what one takes."""
WIDTHS = (128, 256, 512, 1024, 2048, 4096)


def count(context: Context) -> Values:
    """Operations by this package's count of what its learners execute; runs none of them.

    ``training_W`` and ``construction_W`` of a width W for 1,000,000 bytes and 20 epochs of 32
    streams, ``readout`` of 10 epochs, ``byte`` and ``byte_one_stream`` of a byte and epoch,
    ``training_exponent_A_B`` of the width between two widths, ``kept`` of the n-gram network.
    """
    data = DataSpec(bytes=TRAIN_BYTES)
    found: dict[str, float] = {}
    for width in WIDTHS:
        rnn = create("rnn-bptt", hidden=width, epochs=EPOCHS, batch=32)
        found[f"training_{width}"] = rnn.work(data).flops
        made = create("satrnn", **{**GIVEN, "hidden": width}).work(data)
        found[f"construction_{width}"] = made.int_ops + made.flops
    for low, high in ((128, 4096), (128, 256), (2048, 4096)):
        ratio = found[f"training_{high}"] / found[f"training_{low}"]
        found[f"training_exponent_{low}_{high}"] = log(ratio) / log(high / low)
    found["byte"] = found["training_128"] / (TRAIN_BYTES * EPOCHS)
    one = create("rnn-bptt", hidden=128, epochs=1, batch=1).work(data)
    found["byte_one_stream"] = one.flops / TRAIN_BYTES
    found["readout"] = create("readout-sgd", epochs=READOUT_EPOCHS).work(data).flops
    return {name: Interval.of(float(value)) for name, value in found.items()}


def measure(context: Context) -> Values:
    """Seconds of a core, and held-out bits a byte, of each way to the weights.

    Seconds are the processor's, of all threads, which is what a price for a core and hour is of;
    other work on the machine stretches the clock's. ``construction``, ``ngram`` and ``readout``
    run whole; ``training`` is 20 epochs of 32 streams, whole; ``one_stream`` is 20 epochs of one
    stream, of which the first 500 of 399,980 segments run and the rest are taken to last as long.
    ``NAME_seconds`` and ``NAME_bits``, the latter of the 200,000 bytes after those learnt from.
    """
    assert context.corpus is not None
    data = context.corpus.data
    train, test = data[:TRAIN_BYTES], data[TRAIN_BYTES : TRAIN_BYTES + TEST_BYTES]
    whole = {
        "construction": (GIVEN, REPEATS),
        "chosen": ({"threads": 1}, 3),
        "ngram": ({}, REPEATS),
        "readout": ({"epochs": READOUT_EPOCHS}, 1),
        "training": ({"batch": 32, "epochs": EPOCHS}, 1),
    }
    names = {"construction": "satrnn", "chosen": "satrnn", "readout": "readout-sgd"}
    names["training"] = "rnn-bptt"
    values: dict[str, Interval] = {}
    for number, (name, (options, repeats)) in enumerate(whole.items()):
        context.progress(number, len(whole) + 1, name)
        find = partial(_fit, names.get(name, name), options, repeats, train, test)
        part = kept(context, name, find)
        values[f"{name}_seconds"] = spread([part[f"seconds_{k}"] for k in range(repeats)])
        values[f"{name}_bits"] = Interval.of(part["bits"])
    part = kept(context, "one_stream", partial(_rehearse, train))
    values["one_stream_seconds"] = spread([part[f"seconds_{k}"] for k in range(REPEATS)])
    context.progress(1, 1, "")
    return values


def _fit(
    name: str, options: Mapping[str, Any], repeats: int, train: "ByteArray", test: "ByteArray"
) -> Part:
    learner = create(name, **options)
    learner.warm_up()
    models = []
    seconds = [_seconds(lambda: models.append(learner.fit(train))) for _ in range(repeats)]
    bits = models[-1].bits_per_byte(test, context=train)
    return {"bits": bits} | {f"seconds_{k}": one for k, one in enumerate(seconds)}


def _rehearse(train: "ByteArray") -> Part:
    """Of the whole training of one stream: so many segments, times how many there are."""
    learner = ElmanBPTT(batch=1, epochs=EPOCHS, threads=1)
    learner.warm_up()
    many = learner.full_steps(len(train)) / REHEARSED_STEPS
    return {
        f"seconds_{k}": many * _seconds(lambda: learner.rehearse(train, REHEARSED_STEPS))
        for k in range(REPEATS)
    }


def _seconds(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began
