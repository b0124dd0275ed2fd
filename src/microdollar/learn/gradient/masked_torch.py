"""Training of the Elman network with some weights held at zero."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from microdollar.learn.base import Progress, silent
from microdollar.learn.elman import ElmanModel
from microdollar.learn.gradient.rnn_torch import Network, Weights, Window, _threads, one_cycle
from microdollar.work.formulas.elman import Segments

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.gradient.rnn import ElmanBPTT


def train_masked(
    options: "ElmanBPTT",
    data: "ByteArray",
    masks: "Mapping[str, npt.NDArray[np.bool_]]",
    *,
    progress: Progress = silent,
) -> ElmanModel:
    """Train as ``rnn-bptt`` does, with the weights outside the masks zero at every step.

    Products stay dense, so this costs what the dense network costs; what it shows is whether the
    gradient finds its way through fewer weights.

    Args:
        options: the learner; its time budget is not used.
        data: training bytes, at least two.
        masks: which entries may differ from zero, by array name and in its shape; arrays that are
            not named are free.
        progress: told the epochs that are done.
    """
    cut = Segments.of(len(data), options.batch, options.bptt)
    with _threads(options.threads):
        text = torch.empty((cut.length + 1, cut.streams), dtype=torch.uint8)
        for stream in range(cut.streams):
            start = stream * cut.length
            text.numpy()[:, stream] = data[start : start + cut.length + 1]
        network = Network(options.hidden, cut.longest, cut.streams, options.seed)
        free = torch.ones_like(network.vector)
        views = Weights(free, options.hidden)
        for name, mask in masks.items():
            getattr(views, name).copy_(torch.from_numpy(mask.astype("float32")))
        network.vector.mul_(free)
        adam = torch.optim.Adam([network.vector], lr=options.learning_rate, fused=True)
        network.vector.grad = network.gradient
        windows = {steps: Window(network.arrays, steps) for steps in {cut.longest, cut.rest} - {0}}
        planned = cut.steps * options.epochs
        nats, predictions = 0.0, 0
        for done in range(planned):
            epoch, segment = divmod(done, cut.steps)
            if segment == 0:
                network.arrays.states[0].zero_()
                nats, predictions = 0.0, 0
            rows = text[segment * cut.bptt : (segment + 1) * cut.bptt + 1]
            window = windows[len(rows) - 1]
            window.bytes.copy_(rows)
            network.forward(window)
            nats += float(network.loss(window))
            predictions += window.predictions
            network.backward(window)
            network.gradient.mul_(free)
            network.clip(options.clip, window.predictions)
            adam.param_groups[0]["lr"] = options.learning_rate * one_cycle(done / planned)
            adam.step()
            window.states[0].copy_(window.states[-1])
            if done % 16 == 0 or done + 1 == planned:
                bits = nats / predictions / math.log(2)
                label = f"epoch {epoch + 1} of {options.epochs}, {bits:.3f} bits"
                progress((done + 1) / planned * options.epochs, options.epochs, label)
    weights = network.weights
    return ElmanModel(
        name=options.name,
        W_x=weights.W_x.numpy().copy(),
        W_h=weights.W_h.numpy().copy(),
        b_h=weights.b_h.numpy().copy(),
        W_y=weights.W_y.numpy().copy(),
        b_y=weights.b_y.numpy().copy(),
        config=options.config() | {"free_parameters": int(free.sum())},
    )
