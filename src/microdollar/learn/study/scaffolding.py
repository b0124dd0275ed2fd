"""Experiment 9: does the sparse network train from scratch, or only the dense one?"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from microdollar.errors import MissingExtraError
from microdollar.learn.gradient.rnn import ElmanBPTT
from microdollar.learn.study.rows import Outcome, Study, joined, model_bits, stopwatch
from microdollar.learn.study.trained import training
from microdollar.spec.data import DataSpec

if TYPE_CHECKING:
    import numpy.typing as npt

    from microdollar.learn.elman import ElmanModel

    Masks = dict[str, npt.NDArray[np.bool_]]

READOUT_NEURONS = 20
"""Neurons that the document's minimal model reads out."""
W_H_ENTRIES = 5_887
"""Entries of W_h that it keeps: 36 %."""
FREE_PARAMETERS = 26_000
"""Of the document's sparse network; W_x gets what the rest leaves."""
EPOCHS = (50, 200)
"""Passes on a short slice: the document's 50, and four times as many."""
LONG_EPOCHS = (4,)


def scaffolding(study: Study) -> list[Outcome]:
    """Bits of networks trained from the same initial weights, dense and with 26,000 free weights.

    Free are 5,887 entries of W_h (36 %), the readout weights of 20 neurons, both biases, and as
    many entries of W_x as make 26,000; the document names the total, the 20 neurons and the 36 %,
    the split is ours. *Chosen* masks keep what is largest in the trained dense network (neurons by
    the norm of their readout); *random* masks keep as many at random. Each is trained from scratch
    with the optimiser of the dense network (Adam, clipped BPTT-50, one-cycle).
    """
    network = study.trained()
    learner = training(len(study.slice.train), study.seed)
    small = study.slice.small
    variants: dict[str, Masks] = {
        "dense": {},
        "sparse, chosen": chosen_masks(network.model),
        "sparse, random": random_masks(network.model.hidden, study.seed),
    }
    rows = []
    for epochs in EPOCHS if small else LONG_EPOCHS:
        options = replace(learner, epochs=epochs)
        work = options.work(DataSpec(bytes=len(study.slice.train)))
        for name, masks in variants.items():
            with stopwatch() as watch:
                model = _train(options, study, masks)
            train, test = model_bits(model, study.slice)
            before = name == "sparse, chosen"
            rows.append(
                Outcome(
                    key=f"{name}, {_passes(epochs, small)}",
                    kind="trained",
                    train=train,
                    test=test,
                    detail={
                        "free_parameters": int(model.config["free_parameters"]),
                        "epochs": epochs,
                    },
                    work=joined(network.work, work) if before else work,
                    seconds=watch.seconds + (network.seconds if before else 0.0),
                )
            )
    return rows


def _passes(epochs: int, small: bool) -> str:
    if not small:
        return "document's passes"
    return "document's passes" if epochs == EPOCHS[0] else "four times the passes"


def _train(options: ElmanBPTT, study: Study, masks: "Masks") -> "ElmanModel":
    try:
        from microdollar.learn.gradient.masked_torch import train_masked
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError("torch", "torch", "training a network") from error
    return train_masked(options, study.slice.train, masks, progress=study.progress)


def chosen_masks(model: "ElmanModel") -> "Masks":
    """The largest entries of a trained network, 26,000 with the biases."""
    norms = np.linalg.norm(model.W_y, axis=0)
    neurons = np.argsort(-norms, kind="stable")[: min(READOUT_NEURONS, model.hidden)]
    return _masks(np.abs(model.W_h), np.abs(model.W_x), neurons)


def random_masks(hidden: int, seed: int) -> "Masks":
    """As many entries at random."""
    draw = np.random.default_rng(seed)
    neurons = draw.permutation(hidden)[: min(READOUT_NEURONS, hidden)]
    return _masks(draw.random((hidden, hidden)), draw.random((256, hidden)), neurons)


def _masks(
    W_h_size: "npt.NDArray[np.floating]",
    W_x_size: "npt.NDArray[np.floating]",
    neurons: "npt.NDArray[np.int64]",
) -> "Masks":
    hidden = len(W_h_size)
    W_y = np.zeros((256, hidden), dtype=bool)
    W_y[:, neurons] = True
    recurrent = min(W_H_ENTRIES, W_h_size.size)
    rest = FREE_PARAMETERS - recurrent - int(W_y.sum()) - hidden - 256
    return {
        "W_h": _largest(W_h_size, recurrent),
        "W_x": _largest(W_x_size, min(max(rest, 0), W_x_size.size)),
        "W_y": W_y,
    }


def _largest(size: "npt.NDArray[np.floating]", count: int) -> "npt.NDArray[np.bool_]":
    mask = np.zeros(size.size, dtype=bool)
    mask[np.argsort(-size.ravel(), kind="stable")[:count]] = True
    return mask.reshape(size.shape)
