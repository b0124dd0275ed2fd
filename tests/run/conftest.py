"""A device with made-up rates, and a learner whose cost the tests decide."""

import sys
import time
import types

import numpy as np
import pytest

from microdollar.cost import Quantity
from microdollar.errors import CorpusError
from microdollar.learn.registry import LEARNERS
from microdollar.ledger import Ledger
from microdollar.spec import DeviceSpec
from microdollar.work import Buffer, Op, Work, tally


class Fixed:
    """Uniform over bytes; claims 10**9 integer operations, one second on the device."""

    name = "fixed"

    def __init__(self, *, seconds: float = 0.0, fail: bool = False, int_ops: int = 10**9) -> None:
        self.seconds, self.fail, self.int_ops = seconds, fail, int_ops

    def config(self):
        return {"seconds": self.seconds, "fail": self.fail, "int_ops": self.int_ops}

    def work(self, data):
        op = Op(name="think", kind="elementwise", int_ops=self.int_ops)
        return Work(
            ops=(op,), buffers=(Buffer(name="held", bytes=1000),), notes=("one", "two", "three")
        )

    def warm_up(self):
        pass

    def fit(self, data, *, progress=lambda *_: None):
        if self.fail:
            raise CorpusError("no")
        time.sleep(self.seconds)
        held = np.zeros(200_000, dtype=np.uint8)
        tally.add("think", flops=0, int_ops=1234)
        progress(1, 1)
        del held
        return Uniform(data)


class Uniform:
    """Eight bits a byte; remembers what it was shown."""

    name = "fixed"
    parameters = 0

    def __init__(self, data):
        self.train, self.scored = data, []

    def bits_per_byte(self, data, *, context=None):
        self.scored.append((data.tobytes(), None if context is None else context.tobytes()))
        return 8.0

    def next_byte(self, context):
        return np.full(256, 1 / 256)

    def save(self, folder):
        raise NotImplementedError


@pytest.fixture
def fixed(monkeypatch):
    """Register the learner ``fixed``; the class of its model."""
    module = types.SimpleNamespace(Fixed=Fixed)
    monkeypatch.setitem(sys.modules, "fixed_learner", module)
    monkeypatch.setitem(LEARNERS, "fixed", "fixed_learner:Fixed")


@pytest.fixture
def device(rates):
    """This machine as the tests want it: a cent an hour, everything measured."""
    return DeviceSpec(
        name="bench",
        kind="CPU",
        source="by hand",
        cores=2,
        memory_bytes=Quantity(value=1e9, basis="counter"),
        flops_per_second={},
        memory_bytes_per_second=Quantity(value=1e9, basis="calibrated"),
        idle_watts=Quantity(value=2.0, basis="assumed"),
        busy_watts=Quantity(value=10.0, basis="assumed"),
        dollars_per_hour=Quantity(value=0.01, basis="datasheet"),
        price_source="a price list",
        rates=rates,
    )


@pytest.fixture
def ledger(tmp_path):
    """A ledger that does not exist yet."""
    return Ledger(tmp_path / "home" / "ledger.db")
