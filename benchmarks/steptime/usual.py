"""The rules that step time is usually predicted with, to stand beside ours."""

from collections.abc import Callable, Sequence

import numpy as np
from rows import StepRow
from scipy.optimize import nnls

from microdollar.spec.device_catalog import load_device
from microdollar.spec.model import Attention
from microdollar.spec.parameters import count_parameters

Rule = Callable[[Sequence[StepRow], Sequence[StepRow]], np.ndarray]
"""From training and test rows to the predicted seconds of the test rows."""


def fixed_mfu(train: Sequence[StepRow], test: Sequence[StepRow]) -> np.ndarray:
    """6 N D at 40 % of the printed peak."""
    return np.array(
        [6 * count_parameters(row.plan.model).total * row.plan.step_tokens for row in test]
    ) / (0.40 * np.array([_peaks(row) for row in test]))


def constant_mfu(train: Sequence[StepRow], test: Sequence[StepRow]) -> np.ndarray:
    """Model FLOPs with the pipeline bubble at the median MFU of the training rows' device.

    The formula of Narayanan et al. 2021 (arXiv:2104.04473, section 5.1) without recomputation.
    """
    ratios = np.array([row.seconds for row in train]) / np.array([_ideal(row) for row in train])
    devices = np.array([row.plan.device for row in train])
    found = []
    for row in test:
        own = ratios[devices == row.plan.device]
        found.append(_ideal(row) * float(np.median(own if len(own) else ratios)))
    return np.array(found)


def thirteen(train: Sequence[StepRow], test: Sequence[StepRow]) -> np.ndarray:
    """Thirteen non-negative coefficients by reweighted least squares of relative errors."""
    rows, seconds = _terms(train), np.array([row.seconds for row in train])
    coefficients = nnls(rows / seconds[:, None], np.ones(len(seconds)), maxiter=5000)[0]
    for _ in range(15):
        off = np.abs(rows @ coefficients / seconds - 1) + 0.02
        weight = 1 / (seconds * np.sqrt(off))
        coefficients = nnls(rows * weight[:, None], weight * seconds, maxiter=5000)[0]
    return np.maximum(_terms(test) @ coefficients, 1e-9)


def _peaks(row: StepRow) -> float:
    device = load_device(row.plan.device)
    return device.flops_per_second[row.plan.train.precision] * row.plan.layout.devices


def _sizes(row: StepRow) -> tuple[int, int, int, int, int]:
    plan = row.plan
    mixer = plan.model.blocks[0].mixers[0]
    heads = mixer.heads if isinstance(mixer, Attention) else 1
    model = plan.model
    return model.hidden, model.layers, plan.train.sequence, model.vocab, heads


def _ideal(row: StepRow) -> float:
    hidden, layers, sequence, vocab, _ = _sizes(row)
    flops = 72 * row.plan.step_tokens * layers * hidden**2
    flops *= 1 + sequence / (6 * hidden) + vocab / (12 * layers * hidden)
    steps = row.plan.micro_steps
    return flops / _peaks(row) * (steps + row.plan.layout.pp - 1) / steps


def _terms(rows: Sequence[StepRow]) -> np.ndarray:
    return np.array([_thirteen_terms(row) for row in rows], float)


def _thirteen_terms(row: StepRow) -> list[float]:
    h, layers, s, vocab, a = _sizes(row)
    layout, b = row.plan.layout, row.plan.train.micro_batch
    t, p, d, n = layout.tp, layout.pp, layout.dp, layout.devices
    peak = _peaks(row) / n
    memory, near, far = 2.0e12, 150e9, 25e9
    weights, tokens = 12 * layers * h**2 + vocab * h, b * s
    full = row.plan.train.recompute == "full"
    slots = row.plan.micro_steps + p - 1
    work = layers / p * slots
    ring_t, ring_d = (near if t <= 8 else far), (near if n <= 8 else far)
    return [
        (96 if full else 72) * tokens * h * h * work / (t * peak),
        (16 if full else 12) * tokens * s * h * work / (t * peak),
        2 * tokens * h * work / memory,
        2 * tokens * h * work / (t * memory),
        2 * b * a * s * s * work / (t * memory),
        1e-4 * work,
        (t > 1) * 2 * tokens * h * work * (t - 1) / t / ring_t,
        (t > 1) * 1e-4 * work,
        (p > 1) * 2 * tokens * h * slots / far,
        (d > 1) * weights / (t * p) * 2 * (d - 1) / d / ring_d,
        16 * weights / (t * p) / memory,
        8 * tokens * h * vocab * slots / (t * peak),
        1e-3,
    ]
