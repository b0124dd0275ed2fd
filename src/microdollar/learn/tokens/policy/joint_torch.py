"""Policy and reconstructor in turn: the one is paid by the other, which learns what it drops."""

from typing import Any

import numpy as np
import torch

from microdollar.learn.base import Progress, silent
from microdollar.learn.gradient.stepwise_torch import rate
from microdollar.learn.tokens.policy.material import Batch, draw_spans, make_batch, steps_in_pass
from microdollar.learn.tokens.policy.network_torch import PolicyTwin
from microdollar.learn.tokens.policy.reinforce_torch import Played, play
from microdollar.learn.tokens.policy.stages_torch import (
    WARM_UP,
    Workspace,
    descend,
    generator,
    groups,
    make_optimizer,
    reader_of,
    reading_seen,
    weights_of,
)
from microdollar.learn.tokens.reconstruct.masks import draw_masks
from microdollar.learn.tokens.reconstruct.train_infiller_torch import train_step
from microdollar.learn.tokens.vocabulary import PAD

_PRICE_MEMORY = 0.9
"""Of the running mean of the price at each ratio."""
_SEED = 7


class JointStage:
    """Steps of the policy with accumulated gradients, and now and then one of the reconstructor.

    The policy that is kept is the one that validates best, the start included. It is compared
    with the reconstructor as that was when the stage began, so that the policy is not paid for
    what the reconstructor learns.
    """

    name = "joint"
    coarse = False

    def __init__(self, work: Workspace) -> None:
        self.work = work
        options, run = work.config.joint, work.config.run
        self.batch = options.micro_batch * options.accumulation
        self.per_pass = steps_in_pass(work.sizes, run.length, self.batch)
        self.done, self.total = 0, options.epochs * self.per_pass
        self.twin = PolicyTwin(work.network)
        self.optimizer = make_optimizer(
            options.optimizer, groups(self.twin, options.weight_decay), options.learning_rate
        )
        self.reader = reader_of(work.reader.config, weights_of(work.reader))
        self.reader_optimizer = make_optimizer(
            options.reconstructor_optimizer,
            groups(self.reader, work.config.infiller_training.weight_decay),
            options.reconstructor_learning_rate,
        )
        self.prices = [float(np.mean([each.mean() for each in work.expected]))] * len(
            options.ratios
        )
        self.curve: list[tuple[int, float]] = []
        """Steps done and bits lost of a validation token."""
        self.best = {name: p.detach().clone() for name, p in self.twin.named_parameters()}
        times = options.validations
        self._due = {round(self.total * (i + 1) / times) for i in range(times)} - {0}

    def step(self, progress: Progress = silent) -> dict[str, float]:
        """One step of the policy, and what else is due."""
        work, options = self.work, self.work.config.joint
        run = work.config.run
        if not self.curve:
            self._validate()
        turn, place = divmod(self.done, self.per_pass)
        rng = np.random.default_rng([run.seed, _SEED, turn])
        spans = draw_spans(work.sizes, run.length, rng)[place * self.batch :][: self.batch]
        which = int(
            np.random.default_rng([run.seed, _SEED, 1, self.done]).integers(len(options.ratios))
        )
        draw = generator(run.seed, _SEED, self.done)
        self.twin.train()
        self.optimizer.zero_grad()
        played: list[Played] = []
        for first in range(0, len(spans), options.micro_batch):
            batch = make_batch(work.train, spans[first : first + options.micro_batch], run.length)
            played.append(self._play(batch, which, draw))
        found = sum(each.bits_per_dropped_token for each in played) / len(played)
        self.prices[which] += (1 - _PRICE_MEMORY) * (found - self.prices[which])
        now = options.learning_rate * rate(self.done, self.total, round(WARM_UP * self.total))
        norm = descend(self.twin, self.optimizer, None, now, options.clip)
        values = {
            "bits_per_dropped_token": found,
            "ratio": options.ratios[which],
            "rate": sum(each.rate for each in played) / len(played),
            "entropy": sum(each.entropy for each in played) / len(played),
            "gradient": norm,
        }
        self.done += 1
        if options.reconstructor_every and self.done % options.reconstructor_every == 0:
            values["reconstructor_bits"] = self._reconstruct(batch, played[-1])
        if self.done in self._due:
            values["validation_bits"] = self._validate()
        return values

    def _play(self, batch: Batch, which: int, draw: torch.Generator) -> Played:
        options = self.work.config.joint
        with reading_seen(self.reader) as reader:
            played = play(
                self.twin,
                reader,
                batch,
                torch.from_numpy(batch.gather(self.work.expected)),
                ratio=options.ratios[which],
                price=self.prices[which],
                length=reader.config.length,
                options=options,
                draw=draw,
            )
        torch.autograd.backward(played.loss / options.accumulation)
        return played

    def _reconstruct(self, batch: Batch, played: Played) -> float:
        """A step of the reconstructor: half of the chunks at the policy's masks, half at others."""
        seed = self.work.config.run.seed
        rng = np.random.default_rng([seed, _SEED, 2, self.done])
        length = min(self.reader.config.length, batch.numbers.shape[1])
        spare = -batch.numbers.shape[1] % length
        numbers = np.pad(batch.numbers, ((0, 0), (0, spare)), constant_values=PAD)
        actions = np.pad(played.actions[0].numpy(), ((0, 0), (0, spare)))
        numbers, actions = numbers.reshape(-1, length), actions.reshape(-1, length)
        filled = (numbers != PAD).any(1)
        numbers, actions = numbers[filled], actions[filled]
        others = draw_masks(numbers, self.work.vocabulary.counts, rng)
        keep = np.where(np.arange(len(numbers))[:, None] % 2, others, actions)
        self.reader.train()
        self.reader.draw.manual_seed(seed * 1_000_003 + self.done)
        return train_step(
            self.reader,
            self.reader_optimizer,
            torch.from_numpy(numbers),
            torch.from_numpy(keep),
            learning_rate=self.work.config.joint.reconstructor_learning_rate,
        )

    def _validate(self) -> float:
        bits = self.work.validate(self.twin.to_numpy())
        if not self.curve or bits < min(found for _, found in self.curve):
            self.best = {name: p.detach().clone() for name, p in self.twin.named_parameters()}
        self.curve.append((self.done, bits))
        return bits

    def finish(self) -> None:
        """The best policy, and the reconstructor as it is now."""
        self.twin.load_state_dict(self.best)
        self.work.network = self.twin.to_numpy()
        self.work.reader = self.reader
        self.work.history[self.name] = {
            "validation_bits_per_token": [list(pair) for pair in self.curve],
            "step": min(self.curve, key=lambda pair: pair[1])[0] if self.curve else 0,
        }

    def state(self) -> dict[str, Any]:
        """Weights, the optimizers' states, prices and what validated best."""
        return {
            "done": self.done,
            "twin": self.twin.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "reader": weights_of(self.reader),
            "reader_optimizer": self.reader_optimizer.state_dict(),
            "prices": self.prices,
            "curve": self.curve,
            "best": self.best,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on."""
        self.done, self.prices, self.best = state["done"], state["prices"], state["best"]
        self.curve = [(step, bits) for step, bits in state["curve"]]
        self.twin.load_state_dict(state["twin"])
        self.optimizer.load_state_dict(state["optimizer"])
        with torch.no_grad():
            for name, parameter in self.reader.named_parameters():
                parameter.copy_(state["reader"][name])
        self.reader_optimizer.load_state_dict(state["reader_optimizer"])
