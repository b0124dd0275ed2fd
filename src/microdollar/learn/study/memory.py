"""Experiment 8: what a trained network and a shift register remember."""

import math
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from microdollar.learn.counts.hashing import byte_signs
from microdollar.learn.counts.satrnn_weights import shift_register
from microdollar.learn.study.construction import BITS, OFFSETS, by_depth
from microdollar.learn.study.features import CodeFeatures, Doubles, Floats, state_features
from microdollar.learn.study.rows import Outcome, Study, joined, stopwatch
from microdollar.work.formulas.study import recurrence_work

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.elman import ElmanModel

WARM_UP, STEPS = 50, 10_000
"""Steps before the exponent is measured, and at most over how many it is."""
GRADIENT_POSITIONS = 400
DEPTHS = 20
PROBE_TRAIN, PROBE_TEST = 60_000, 30_000
"""Positions on which a probe is fitted and scored, at most."""
PROBE_RIDGE = 1.0


def memory(study: Study) -> list[Outcome]:
    """Lyapunov exponent, gradient decorrelation by depth, information kept by depth.

    - **Stretch**: exp(lambda), lambda = mean over t of ln |J_t v_t| with v_{t+1} = J_t v_t / |.|
      and J_t = diag(1 - h_t^2) W_h along the trajectory that the bytes drive: the growth of a small
      difference in a step; chaos is a stretch above 1. The document prints 3.44 with "> 1 = chaos".
    - **Gradient decorrelation**: 1 - mean |cos| between the gradient of ln P(x_{t+1}) by h_t and
      the one by h_{t-d}. The document does not define its "100 % at d = 1"; this is our reading. A
      shift register has it too, and forgets nothing: directions move on without loss.
    - **Information kept**: a linear probe (ridge 1, one-hot targets, the largest output is the
      guess) reads x_{t-d} from h_t; share guessed right, mean over d = 0 .. 15. Fitted on training
      bytes; ``test`` is the held-out share. A probe that is linear misses some bytes of a code that
      holds them all, so the register also has the share that its codes give back by look-up.
    """
    network = study.trained()
    model = network.model
    rows = []
    with stopwatch() as watch:
        exponents = [
            lyapunov_exponent(model, text[: WARM_UP + STEPS])
            for text in (study.slice.train, study.slice.test)
        ]
    work = joined(network.work, recurrence_work(WARM_UP + STEPS, model.hidden))
    seconds = network.seconds
    rows.append(
        Outcome(
            key="trained network: stretch of a step",
            measure="stretch",
            kind="trained",
            train=math.exp(exponents[0]),
            test=math.exp(exponents[1]),
            detail={"exponent_nats": exponents[0], "exponent_nats_held_out": exponents[1]},
            work=work,
            seconds=seconds + watch.seconds,
        )
    )
    with stopwatch() as watch:
        lost, growth = gradient_by_depth(model, study.slice.train[: WARM_UP + STEPS])
        lost_test, _ = gradient_by_depth(model, study.slice.test[: WARM_UP + STEPS])
    rows.append(
        Outcome(
            key="trained network: gradient decorrelation at d = 1",
            measure="share",
            kind="trained",
            train=lost[1],
            test=lost_test[1],
            detail={"by_depth": lost, "ln_growth_by_depth": growth},
            work=work,
            seconds=seconds + watch.seconds,
        )
    )
    return [*rows, _decoded(study), *_kept_rows(study)]


def lyapunov_exponent(model: "ElmanModel", data: "ByteArray", *, seed: int = 0) -> float:
    """Largest Lyapunov exponent along ``data``, in nats a step.

    Args:
        model: the network.
        data: more than 50 bytes; the first 50 only set the direction.
        seed: of the first direction.
    """
    states = _states(model, data)
    W_h = model.W_h.astype(np.float64)
    vector = np.random.default_rng(seed).normal(size=model.hidden)
    vector /= np.linalg.norm(vector)
    total, counted = 0.0, 0
    warm = min(WARM_UP, len(data) // 2)
    for t in range(1, len(states)):
        vector = (1.0 - states[t].astype(np.float64) ** 2) * (W_h @ vector)
        size = float(np.linalg.norm(vector))
        # A product that has vanished has no direction: the floor keeps the logarithm finite.
        size = max(size, 1e-300)
        vector /= size
        if t > warm:
            total += math.log(size)
            counted += 1
    return total / max(counted, 1)


def gradient_by_depth(model: "ElmanModel", data: "ByteArray") -> tuple[list[float], list[float]]:
    """By depth d = 0 .. 19: 1 - mean |cos(g_0, g_d)|, and mean ln(|g_d| / |g_0|).

    g_0 = W_y' (onehot(x_{t+1}) - P) is the gradient of ln P(x_{t+1}) by h_t; one step further back
    g_{d+1} = W_h' (g_d * (1 - h_{t-d}^2)).
    """
    states = _states(model, data)
    positions = np.unique(np.linspace(DEPTHS, len(data) - 2, GRADIENT_POSITIONS).astype(np.int64))
    excess = -np.exp(model.log_probabilities(states[positions]))
    excess[np.arange(len(positions)), data[positions + 1]] += 1.0
    first = gradient = excess @ model.W_y.astype(np.float64)
    W_h = model.W_h.astype(np.float64)
    tiny = 1e-300
    size = np.maximum(np.linalg.norm(first, axis=1), tiny)
    lost, growth = [], []
    for depth in range(DEPTHS):
        now = np.maximum(np.linalg.norm(gradient, axis=1), tiny)
        cosine = np.abs((first * gradient).sum(axis=1)) / (size * now)
        lost.append(float(1.0 - min(cosine.mean(), 1.0)))
        growth.append(float(np.log(now / size).mean()))
        back = states[positions - depth].astype(np.float64)
        gradient = (gradient * (1.0 - back**2)) @ W_h
    return lost, growth


def _states(model: "ElmanModel", data: "ByteArray") -> Floats:
    """State after each byte, shape (n, H)."""
    found = np.empty((len(data), model.hidden), np.float32)
    for where, block in model.states_before(data, model.initial_state()):
        found[where] = block
    last = model.advance(found[-1].copy(), data[-1:])
    return np.vstack([found[1:], last[None, :]])


def _decoded(study: Study) -> Outcome:
    """Bytes that the codes of a shift register give back, by a table of the 256 codes."""
    signs = byte_signs("bijective", BITS)
    register = shift_register(
        "satrnn", hidden=OFFSETS * BITS, offsets=OFFSETS, bits=BITS, hash_name="bijective"
    )
    found = [
        by_depth(register, signs, text)
        for text in (study.slice.train[:PROBE_TRAIN], study.slice.test[:PROBE_TEST])
    ]
    means = [float(np.mean([depth["bytes"] for depth in each[:OFFSETS]])) for each in found]
    return Outcome(
        key="shift register: bytes looked up, mean of 16 depths",
        measure="share",
        train=means[0],
        test=means[1],
        detail={"by_depth": [depth["bytes"] for depth in found[0]]},
    )


def _kept_rows(study: Study) -> list[Outcome]:
    network = study.trained()
    train, test = study.slice.train[:PROBE_TRAIN], study.slice.test[:PROBE_TEST]
    register = [
        CodeFeatures(text, byte_signs("bijective", 8)).rows(slice(None)) for text in (train, test)
    ]
    with stopwatch() as watch:
        learnt = [
            each.rows(slice(None))[skip:]
            for each, skip in zip(state_features(network.model, [train, test]), (0, 1), strict=True)
        ]
    rows: list[Outcome] = []
    for key, features, kind, work, seconds in (
        ("shift register", register, "counted", joined(), 0.0),
        ("trained network", learnt, "trained", network.work, network.seconds + watch.seconds),
    ):
        study.progress(len(rows), 2, f"{key}: probes")
        shares = probe_by_depth(features[0], train, features[1], test)
        rows.append(
            Outcome(
                key=f"{key}: bytes read back, mean of 16 depths",
                measure="share",
                kind=kind,  # type: ignore[arg-type]
                train=float(np.mean([share[0] for share in shares[:16]])),
                test=float(np.mean([share[1] for share in shares[:16]])),
                detail={
                    "train_by_depth": [share[0] for share in shares],
                    "test_by_depth": [share[1] for share in shares],
                    "most_frequent_byte": float(np.bincount(test).max() / len(test)),
                },
                work=work,
                seconds=seconds,
            )
        )
    return rows


def probe_by_depth(
    train_rows: Floats, train: "ByteArray", test_rows: Floats, test: "ByteArray"
) -> list[tuple[float, float]]:
    """Share of bytes that a linear probe reads back at depths 0 .. 19, fitted and held out.

    Args:
        train_rows: states before bytes 1 .. n - 1, shape (n - 1, H).
        train: those bytes, with the first; shape (n,).
        test_rows: states before bytes 1 .. m - 1.
        test: held-out bytes, shape (m,).
    """
    columns = np.ones((len(train_rows), 1), np.float32)
    extended = np.hstack([train_rows, columns])
    held = np.hstack([test_rows, np.ones((len(test_rows), 1), np.float32)])
    with threadpool_limits(limits=1, user_api="blas"):
        gram = (extended.T @ extended).astype(np.float64)
        gram[np.diag_indices(len(gram))] += PROBE_RIDGE
        inverse = np.linalg.inv(gram)
        found = []
        for depth in range(DEPTHS):
            # Row r is the state after byte r: it holds byte r - depth, if at all.
            cross = np.zeros((256, extended.shape[1]))
            for byte in np.unique(train):
                at = np.flatnonzero(train[: len(train) - 1 - depth] == byte) + depth
                cross[byte] = extended[at].sum(axis=0, dtype=np.float64)
            weights: Doubles = cross @ inverse
            shares = [
                float((np.argmax(rows[depth:] @ weights.T, axis=1) == text[: len(text) - 1 - depth])
                      .mean())
                for rows, text in ((extended, train), (held, test))
            ]  # fmt: skip
            found.append((shares[0], shares[1]))
    return found
