"""Gradient runs that can be killed and taken up again: the loop, its checkpoint, its clock.

The clock is the processor's time of this process, so a machine that is busy with other work
changes it little, and a pause not at all. It begins before the network is made and leaves out
imports and a few warm-up steps, as everywhere in this project.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from microdollar.learn.elman import ElmanModel
from microdollar.learn.gradient import gpt_torch, lstm_torch, rnn_torch
from microdollar.learn.gradient.gpt import GPT
from microdollar.learn.gradient.lstm import LSTMBPTT
from microdollar.learn.gradient.rnn import ElmanBPTT
from microdollar.learn.gradient.stepwise_torch import Training, settings
from microdollar.work.formulas.elman import Segments

CHECKPOINT_SECONDS = 45.0
PROBE_STEPS = 6
CLASSES = {"lstm-bptt": LSTMBPTT, "gpt": GPT, "rnn-bptt": ElmanBPTT}
NETWORKS = {"lstm-bptt": lstm_torch.Network, "gpt": gpt_torch.Network}


class Elman:
    """``rnn-bptt`` step by step: what its ``fit`` does, with a state that can be saved."""

    def __init__(self, options: Any, data: np.ndarray) -> None:
        self.options, self.data = options, data
        cut = self.cut = Segments.of(len(data), options.batch, options.bptt)
        self.planned = cut.steps * options.epochs
        self.text = torch.empty((cut.length + 1, cut.streams), dtype=torch.uint8)
        for stream in range(cut.streams):
            start = stream * cut.length
            self.text.numpy()[:, stream] = data[start : start + cut.length + 1]
        self.network = rnn_torch.Network(options.hidden, cut.longest, cut.streams, options.seed)
        self.adam = torch.optim.Adam([self.network.vector], lr=options.learning_rate, fused=True)
        self.network.vector.grad = self.network.gradient
        lengths = {cut.longest, cut.rest} - {0}
        self.windows = {n: rnn_torch.Window(self.network.arrays, n) for n in lengths}
        self.done, self.curve = 0, []

    @property
    def steps(self) -> int:
        return self.planned

    def run(self, until: int) -> None:
        network, options, cut = self.network, self.options, self.cut
        while self.done < min(until, self.planned):
            segment = self.done % cut.steps
            if segment == 0:
                network.arrays.states[0].zero_()
            rows = self.text[segment * cut.bptt : (segment + 1) * cut.bptt + 1]
            window = self.windows[len(rows) - 1]
            window.bytes.copy_(rows)
            network.forward(window)
            network.loss(window)
            network.backward(window)
            network.clip(options.clip, window.predictions)
            rate = rnn_torch.one_cycle(self.done / self.planned)
            self.adam.param_groups[0]["lr"] = options.learning_rate * rate
            self.adam.step()
            window.states[0].copy_(window.states[-1])
            self.done += 1

    def state(self) -> dict[str, Any]:
        return {
            "done": self.done,
            "vector": self.network.vector,
            "adam": self.adam.state_dict(),
            "carried": self.network.arrays.states[0],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.done = state["done"]
        self.network.vector.copy_(state["vector"])
        self.adam.load_state_dict(state["adam"])
        self.network.arrays.states[0].copy_(state["carried"])

    def weights(self) -> torch.Tensor:
        return self.network.vector


def start(learner: Any, data: np.ndarray) -> Any:
    """A run at its first step."""
    if learner.name == "rnn-bptt":
        return Elman(learner, data)
    return Training(learner, NETWORKS[learner.name](learner, data))


def step_seconds(learner: Any, data: np.ndarray) -> float:
    """Processor seconds of one step, from a few of them after as many to warm up."""
    with settings(1, getattr(learner, "products", "float32")), torch.no_grad():
        run = start(learner, data)
        run.run(PROBE_STEPS)
        began = time.process_time()
        run.run(3 * PROBE_STEPS)
        return (time.process_time() - began) / (2 * PROBE_STEPS)


def train(
    learner: Any, data: np.ndarray, checkpoint: Path, say: Callable[[str], None]
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Run to the end, from the checkpoint if there is one.

    Returns:
        The weights as one vector, and what the run did.
    """
    with settings(1, getattr(learner, "products", "float32")), torch.no_grad():
        began = time.process_time()
        run = start(learner, data)
        spent = 0.0
        if checkpoint.exists():
            saved = torch.load(checkpoint, weights_only=False)
            run.load_state(saved["run"])
            began, spent = time.process_time(), saved["cpu_seconds"]
            say(f"goes on at step {run.done:,}")
        steps = learner.steps if hasattr(learner, "steps") else run.planned
        block = max(1, steps // 200)
        written = time.process_time()
        while run.done < steps:
            run.run(run.done + block)
            now = time.process_time()
            if now - written > CHECKPOINT_SECONDS or run.done >= steps:
                spent += now - began
                beside = checkpoint.with_suffix(".part")
                torch.save({"run": run.state(), "cpu_seconds": spent}, beside)
                beside.replace(checkpoint)
                say(f"step {run.done:,} of {steps:,}, {spent:.0f} CPU s, {run.curve[-1:]}")
                began = written = time.process_time()
    done = {
        "cpu_seconds": spent,
        "steps": steps,
        "validation_nats": [list(point) for point in run.curve],
    }
    return run.weights().clone(), done


def model(learner: Any, vector: torch.Tensor) -> Any:
    """The model that the learner's ``fit`` would hand back."""
    if learner.name == "rnn-bptt":
        weights = rnn_torch.Weights(vector, learner.hidden)
        names = ("W_x", "W_h", "b_h", "W_y", "b_y")
        return ElmanModel(name="rnn-bptt", **{n: getattr(weights, n).numpy() for n in names})
    return learner.model(vector)


def made(name: str, options: dict[str, Any]) -> Any:
    """The learner."""
    return CLASSES[name](**options)
