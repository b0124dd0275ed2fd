"""The optimizers by name: how each is made, and the learning rate its grid starts from.

All have betas (0.9, 0.99) where they have such, decoupled weight decay 0.1 on tensors of two
dimensions or more, and one learning rate for all tensors. Everything else is the default of
the package or paper.
"""

# ruff: noqa: ANN001, ANN003, ANN201

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

import peers
import torch
from torch import nn

from microdollar.learn.optim import Collins

BETAS = (0.9, 0.99)
Make = Callable[[list[dict[str, Any]], float], torch.optim.Optimizer]


@dataclass(frozen=True)
class Entry:
    """How an optimizer is made from groups and a learning rate, and where its grid starts."""

    make: Make
    lr: float = 4e-3
    origin: str = "re-implementation"


def groups_of(model: nn.Module, decay: float = 0.1) -> list[dict[str, Any]]:
    """Tensors that decay and those that do not, each with its names."""
    named = list(model.named_parameters())
    cut = [[x for x in named if x[1].ndim >= 2], [x for x in named if x[1].ndim < 2]]
    return [
        {"params": [p for _, p in part], "names": [n for n, _ in part], "weight_decay": wd}
        for part, wd in zip(cut, (decay, 0.0), strict=True)
    ]


def adamw(groups, lr):
    return torch.optim.AdamW(groups, lr=lr, betas=BETAS, fused=True)


def adafactor(groups, lr):
    return torch.optim.Adafactor(groups, lr=lr)


def torchao(name, groups, lr):
    """Without compilation, which takes minutes on a CPU and changes no figure."""
    import torchao.optim

    for group in groups:
        group.pop("names")
    optimizer = getattr(torchao.optim, name)(groups, lr=lr, betas=BETAS)
    step = optimizer.step

    def plain_step() -> None:
        with mock.patch.object(torch, "compile", lambda function, **_: function):
            step()

    optimizer.step = plain_step
    return optimizer


def collins(groups, lr, **options):
    return Collins(groups, lr=lr, betas=BETAS, **options)


def entry(make, origin, lr=4e-3, **options) -> Entry:
    return Entry(partial(make, **options), lr, origin)


OPTIMIZERS: dict[str, Entry] = {
    "AdamW": Entry(adamw, origin="torch"),
    "Adafactor": Entry(adafactor, 3.2e-2, "torch"),
    "AdamW 8-bit": Entry(partial(torchao, "AdamW8bit"), origin="torchao"),
    "AdamW 4-bit": Entry(partial(torchao, "AdamW4bit"), origin="torchao"),
    "Adam-mini": Entry(peers.AdamMini),
    "Lion": Entry(peers.Lion, 5e-4),
    "Muon": Entry(peers.Muon, origin="torch's orthogonalisation"),
    "APOLLO-Mini": Entry(peers.ApolloMini),
    "SCALE": Entry(peers.Scale),
    "SinkGD": Entry(peers.SinkGD),
    "SMMF": Entry(peers.SMMF, 2e-3),
    "no momentum": Entry(peers.NoMomentum),
}
OPTIMIZERS |= {
    f"Collins {m}": entry(collins, "microdollar", m_state=m)
    for m in ("fp32", "bf16", "8bit", "4bit", "2bit", "1bit", "none")
}
OPTIMIZERS |= {
    f"Collins {m} without release": entry(collins, "microdollar", m_state=m, release=False)
    for m in ("4bit", "2bit", "1bit")
}
OPTIMIZERS |= {
    f"sketch c={c}": entry(
        collins, "microdollar", m_state="sketch", v_state="sketch", compression=c
    )
    for c in (8, 16, 32, 34, 40, 64)
}
