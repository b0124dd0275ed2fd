"""What a training step takes: counted by the arena, by tracemalloc, and by the kernel."""

import gc
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from microdollar.learn.concepts.core.arena import ALIGNMENT, Arena
from microdollar.learn.concepts.core.layout import CoreConfig
from microdollar.learn.concepts.core.model import Core

MB = 10**6
CONFIG = CoreConfig()


def stream(seed=0):
    rng = np.random.default_rng(seed)
    contexts = rng.standard_normal((1, 16, 384)).astype("f4") / 19
    targets = rng.standard_normal((1, 384)).astype("f4") / 19
    negatives = rng.standard_normal((256, 384)).astype("f4") / 19
    return contexts, targets, negatives


@pytest.mark.parametrize(
    ("optimizer", "most"),
    [("adam", 8 * MB), ("sgd", 8 * MB), ("adam-lowbit", 4 * MB), ("adam-2bit", 4 * MB)],
)
def test_a_step_of_16_concepts_and_256_negatives(optimizer, most):
    """Everything that is allocated from the constructor to the last step, inputs apart.

    The negatives are in it: the core holds them beside the target.
    """
    inputs = [stream(seed) for seed in range(3)]
    lengths = ([16], [3], None)
    tracemalloc.start()
    try:
        core = Core(CONFIG, optimizer=optimizer)
        # The initial parameters are made outside of the arena, and are gone by now.
        tracemalloc.reset_peak()
        for (contexts, targets, negatives), length in zip(inputs, lengths, strict=True):
            core.predict(contexts, length)
            core.train_step(None, None, targets, negatives, 0.05, lr=1e-4, weight_decay=0.01)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert core.arena.total_bytes <= most
    # All views and numbers of the interpreter included.
    assert peak <= most
    assert core.arena.total_bytes <= held
    # What a step takes for a moment: small sums, and numpy's buffers of 8192 numbers for each
    # operand that is broadcast. Never a tensor.
    assert peak - held < 3 * 8192 * 4


def test_with_all_gradients_kept_too():
    assert Core(CONFIG, keep_gradients=True).arena.total_bytes <= 8 * MB


@pytest.mark.parametrize("optimizer", ["adam", "adam-lowbit"])
def test_memory_does_not_grow(optimizer):
    config = CoreConfig(dim=64, width=64, context=8)
    rng = np.random.default_rng(0)
    core = Core(config, optimizer=optimizer, batch=3)
    values = rng.standard_normal((40, 64)).astype("f4") / 8
    places = rng.integers(0, 40, (3, 3, 8))

    def held_after(steps):
        for step in range(steps):
            b = 1 + step % 3
            core.train_step(values[places[:b, step % 3]], None, values[:b], values, 0.1, lr=1e-3)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        # numpy keeps small blocks for reuse, up to a bound; so the last hundred steps count.
        held = [held_after(100) for _ in range(4)]
    finally:
        tracemalloc.stop()
    assert held[3] - held[2] < 1_000


CHILD = """
import json, sys
import numpy as np
from microdollar.learn.concepts.core.model import Core
from microdollar.learn.concepts.core.layout import CoreConfig
core = Core(CoreConfig(), optimizer=sys.argv[1], keep_gradients=sys.argv[2] == "kept")
# No random numbers: numpy.random imports OpenSSL, 7 MB in all.
concepts = np.sin(np.arange(256 * 384, dtype=np.float32) ** 1.1).reshape(256, 384) / 14
for step in range(5):
    core.predict(concepts[None, step : step + 16])
    core.train_step(None, None, concepts[step + 16 : step + 17], concepts, 0.05, lr=1e-4)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({"bytes": int(status["VmHWM"].split()[0]) * 1024,
                  "modules": sorted({name.split(".")[0] for name in sys.modules})}))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
@pytest.mark.parametrize(
    ("optimizer", "gradients"), [("adam", "kept"), ("adam", "used up"), ("adam-lowbit", "used up")]
)
def test_a_process_that_learns(optimizer, gradients):
    """At most 40 MB resident at any time, with numpy and nothing heavier imported."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, optimizer, gradients],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    found = json.loads(ran.stdout)
    heavy = {"torch", "numba", "scipy", "pandas", "transformers", "flwr", "safetensors", "click"}
    assert not heavy & set(found["modules"])
    assert found["bytes"] <= 40 * MB


def test_arrays_of_an_arena_are_aligned_and_apart():
    arena = Arena({
        "a": {"x": ((3, 5), np.float32), "y": ((7,), np.uint8)}, "b": {"z": ((), np.float64)}
    })  # fmt: skip
    arrays = [arena["a"]["x"], arena["a"]["y"], arena["b"]["z"]]
    assert [array.shape for array in arrays] == [(3, 5), (7,), ()]
    assert all(array.ctypes.data % ALIGNMENT == 0 for array in arrays)
    assert not any(array.any() for array in arrays)
    for value, array in enumerate(arrays, 1):
        array[...] = value
    assert [array.flat[-1] for array in arrays] == [1, 2, 3]
    assert arena.bytes == {"a": 128, "b": 64}
    assert arena.total_bytes == 128 + 64 + ALIGNMENT
