"""What the concept learner takes: tensors, process, a step, a way back, a delta.

The core of the default size, 384-256-384 with one attention layer, learns from random unit vectors:
none of this depends on what they say. A step is a prediction, the loss against 256 negatives, the
backward pass and AdamW, for one context of 16 concepts. Times are those of the processor, but a
rollback's, which reads a file, is by the clock.
"""

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from microdollar.claims.experiments.base import Context
from microdollar.claims.experiments.parts import spread
from microdollar.claims.record import Values
from microdollar.errors import MissingExtraError
from microdollar.learn.concepts.codec import encode_delta
from microdollar.learn.concepts.core.layout import CoreConfig, initial
from microdollar.learn.concepts.core.model import Core
from microdollar.learn.concepts.journal import Journal
from microdollar.spec.arithmetic import Interval

NEGATIVES, TAU, RATE = 256, 0.05, 1e-4
SENT = 0.01
"""Share of the values of a delta."""
_CHILD = """
import numpy as np
from microdollar.learn.concepts.core.layout import CoreConfig
from microdollar.learn.concepts.core.model import Core
core = Core(CoreConfig())
concepts = np.sin(np.arange(256 * 384, dtype=np.float32) ** 1.1).reshape(256, 384) / 14
for step in range(5):
    core.predict(concepts[None, step : step + 16])
    core.train_step(None, None, concepts[step + 16 : step + 17], concepts, 0.05, lr=1e-4)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) * 1024)
"""


def run(context: Context) -> Values:
    """Measure the learner of the default size.

    Gives ``parameters``, ``weight_bytes``, ``tensor_bytes`` and ``lowbit_bytes`` (one gradient at a
    time, Adam in float32 and in few bits), ``framework_bytes``, ``process_bytes``,
    ``step_seconds``, ``rollback_seconds``, ``wrong_rollbacks`` of a hundred, ``delta_bytes``.
    """
    config = CoreConfig()
    context.progress(0, 3, "steps")
    took = steps(_core("adam"), 400)[50:]
    context.progress(1, 3, "memory")
    framework = framework_bytes(config)
    process = process_bytes()
    context.progress(2, 3, "rollbacks")
    with TemporaryDirectory(dir=context.folder) as folder:
        delta, back, wrong = rollbacks(config, Path(folder), changes=60, number=100)
    exact = {
        "parameters": config.n_params,
        "weight_bytes": 4 * config.n_params,
        "tensor_bytes": _core("adam").arena.total_bytes,
        "lowbit_bytes": _core("adam-lowbit").arena.total_bytes,
        "wrong_rollbacks": wrong,
        "delta_bytes": delta,
    }
    return {
        **{name: Interval.of(float(value)) for name, value in exact.items()},
        "process_bytes": process if isinstance(process, str) else Interval.of(process),
        "framework_bytes": framework if isinstance(framework, str) else Interval.of(framework),
        "step_seconds": spread(took),
        "rollback_seconds": spread(back),
    }


def _core(optimizer: str) -> Core:
    return Core(CoreConfig(), negatives=NEGATIVES, optimizer=optimizer)


def steps(core: Core, number: int) -> list[float]:
    """CPU seconds of each of some steps of learning."""
    vectors = _vectors(core.config.dim)
    context = core.config.context
    took = []
    for step in range(number):
        at = step % 512
        others = vectors[at + context + 1 : at + context + 1 + core.negatives]
        began = time.thread_time()
        core.predict(vectors[None, at : at + context])
        core.train_step(None, None, vectors[at + context, None], others, TAU, lr=RATE)
        took.append(time.thread_time() - began)
    return took


def _vectors(dim: int) -> np.ndarray:
    """1,024 unit vectors (1024, dim)."""
    vectors = np.random.default_rng(0).standard_normal((1024, dim)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def framework_bytes(config: CoreConfig) -> float | str:
    """Most bytes of live tensors in a step of the same network on torch, or why there are none."""
    try:
        import torch

        from microdollar.learn.concepts.twin import Twin, contrast
        from microdollar.measure.torch_memory import peak_torch_bytes
    except (ImportError, MissingExtraError) as error:
        return str(error)
    vectors = torch.from_numpy(_vectors(config.dim))
    end = config.context

    def two_steps() -> None:
        twin = Twin(config)
        optimizer = torch.optim.AdamW(twin.parameters(), lr=RATE)
        for _ in range(2):
            optimizer.zero_grad()
            prediction = twin(vectors[None, :end])
            others = vectors[end + 1 : end + 1 + NEGATIVES]
            torch.autograd.backward(contrast(prediction, vectors[end, None], others, TAU))
            optimizer.step()

    found = peak_torch_bytes(two_steps).value
    assert found is not None
    return float(found)


def process_bytes() -> int | str:
    """Most bytes that a process ever had resident which does five steps with numpy alone."""
    if not Path("/proc/self/status").exists():
        return "a process's memory is read from /proc, which only Linux has"
    ran = subprocess.run([sys.executable, "-c", _CHILD], capture_output=True, text=True, check=True)
    return int(ran.stdout)


def rollbacks(
    config: CoreConfig, folder: Path, *, changes: int, number: int
) -> tuple[int, list[float], int]:
    """Bytes of a coded delta, seconds of rollbacks to states drawn at random, how many were wrong.

    Args:
        config: of the model.
        folder: for its journal.
        changes: deltas that are journalled first.
        number: of rollbacks.
    """
    rng, params, delta = np.random.default_rng(0), initial(config), b""
    took, wrong = [], 0
    with Journal.create(folder / "journal", config, params) as journal:
        states = {0: params.copy()}
        for _ in range(changes):
            change = 1e-3 * rng.standard_normal(config.n_params, np.float32)
            delta = encode_delta(change, share=SENT, base_fingerprint=journal.head.after)
            entry = journal.append(delta, params, {})
            states[entry.index] = params.copy()
        out = np.empty_like(params)
        for to in rng.choice(list(states), number):
            began = time.perf_counter()
            journal.rollback(int(to), out)
            took.append(time.perf_counter() - began)
            wrong += out.tobytes() != states[int(to)].tobytes()
    return len(delta), took, wrong
