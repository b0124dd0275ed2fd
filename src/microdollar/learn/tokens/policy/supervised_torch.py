"""The policy by regression: the change in reconstruction loss when a token is dropped.

Two outputs are fitted to the two measurements (``targets_torch``), each where it was taken: the
bits of the token itself, and what its absence costs others. Their sum, the second times a weight,
is the score. Squared errors and nothing robust, since it is the mean cost that a choice is paid in
and costs are skewed. Errors count by how often a target was measured.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from microdollar.learn.base import Progress, silent
from microdollar.learn.gradient.stepwise_torch import rate
from microdollar.learn.tokens.policy.actions_torch import chances
from microdollar.learn.tokens.policy.material import (
    Batch,
    Span,
    draw_spans,
    make_batch,
    steps_in_pass,
)
from microdollar.learn.tokens.policy.network_torch import PolicyTwin
from microdollar.learn.tokens.policy.stages_torch import (
    WARM_UP,
    Workspace,
    descend,
    generator,
    groups,
    make_optimizer,
    reading_seen,
)
from microdollar.learn.tokens.policy.targets_torch import Masks, Targets, measure, random_masks

Floats = npt.NDArray[np.float32]
BITS = 8.0
"""One of the score: about what targets differ by."""

TINY = 1e-6
"""Least that measurements of a token count where they count at all."""


class Regression(nn.Module):
    """A policy with a second output for the influence on others.

    Args:
        twin: the policy; its own output is fitted to the bits of the token itself.
    """

    def __init__(self, twin: PolicyTwin) -> None:
        super().__init__()
        self.twin = twin
        for name in ("head", "direct"):
            own = twin.get_parameter(name)
            self.register_parameter(f"influence_{name}", nn.Parameter(torch.zeros_like(own)))
        self.means = nn.Parameter(torch.zeros(2))
        """Of both, in units of ``BITS``: scores need none, targets have one."""

    def forward(self, batch: Batch, draw: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Bits of each token itself and of its influence, in units of ``BITS``, (B, T) each."""
        numeric = torch.from_numpy(batch.numeric)
        hidden = self.twin.hidden(
            torch.from_numpy(batch.rows), numeric, torch.from_numpy(batch.present), draw
        )

        def output(module: nn.Module, before: str, mean: Tensor) -> Tensor:
            direct = numeric @ module.get_parameter(f"{before}direct")
            found: Tensor = hidden @ module.get_parameter(f"{before}head") + direct + mean
            return found

        return output(self.twin, "", self.means[0]), output(self, "influence_", self.means[1])

    def loss(self, batch: Batch, targets: Targets, draw: torch.Generator | None = None) -> Tensor:
        """Mean squared error of a measurement in units of ``BITS``, both kinds added."""
        total = torch.zeros(())
        arrays = targets.arrays()
        for name, found in zip(("own", "influence"), self(batch, draw), strict=True):
            times = torch.from_numpy(batch.gather(arrays[f"{name}_times"]))
            sums = torch.from_numpy(batch.gather(arrays[name])) / BITS
            # sum of (x - y)^2 over the measurements y of a token, but for what is constant in x
            error = times * (found - sums / times.clamp(min=TINY)).square()
            total = total + error.sum() / times.sum().clamp(min=1)
        return total

    def policy(self, weight: float) -> PolicyTwin:
        """The policy whose score is the token's own bits plus ``weight`` times its influence."""
        twin = PolicyTwin(self.twin.to_numpy(), self.twin.dropout)
        with torch.no_grad():
            for name in ("head", "direct"):
                other = self.get_parameter(f"influence_{name}")
                twin.get_parameter(name).add_(weight * other)
        return twin


class SupervisedStage:
    """Readings at masks, and then the regression on what they found.

    Args:
        work: where it stands.
        again: at masks that the policy draws rather than by chance.
    """

    coarse = False

    def __init__(self, work: Workspace, *, again: bool) -> None:
        self.work, self.again = work, again
        config = work.config
        options = config.supervised
        self.name = "supervised again" if again else "supervised"
        self.readings = options.policy_readings if again else options.readings
        self.per_pass = steps_in_pass(work.sizes, config.run.length, options.batch)
        self.done, self.total = 0, self.readings + options.epochs * self.per_pass
        self.targets = Targets.empty(work.sizes)
        self.regression = Regression(PolicyTwin(work.network, options.dropout))
        self.optimizer = make_optimizer(
            options.optimizer, groups(self.regression, options.weight_decay), options.learning_rate
        )
        self.spans: list[Span] = []

    def step(self, progress: Progress = silent) -> dict[str, float]:
        """A reading of all documents, or a batch of the regression."""
        found = self._read(progress) if self.done < self.readings else self._regress()
        self.done += 1
        self.coarse = self.done <= self.readings
        return found

    def _read(self, progress: Progress) -> dict[str, float]:
        work, config = self.work, self.work.config

        def told(done: int, total: int) -> None:
            progress(self.done + done / total, self.readings, f"{self.name}: reading")

        before = sum(float(each.sum()) for each in self.targets.own)
        times = sum(float(each.sum()) for each in self.targets.own_times)
        rng = np.random.default_rng([config.run.seed, 1 + self.again, self.done])
        with reading_seen(work.reader) as reader:
            measure(
                self.targets,
                work.train,
                reader,
                self._policy_masks() if self.again else random_masks,
                rng,
                length=reader.config.length,
                spacing=config.supervised.spacing,
                told=told,
            )
        after = sum(float(each.sum()) for each in self.targets.own)
        count = sum(float(each.sum()) for each in self.targets.own_times)
        return {"bits_per_dropped_token": (after - before) / max(count - times, 1)}

    def _policy_masks(self) -> Masks:
        """Noise is added to scores, so that every token is dropped now and then.

        A measurement counts by how much the chance to be kept changes with the score: what a
        token costs is asked where it is at the edge of the budget.
        """
        work = self.work
        temperature, ratios = work.config.joint.temperature, work.config.joint.ratios
        scores = [work.network.scores(d.features).astype(np.float32) for d in work.train]

        def masks(batch: Batch, rng: np.random.Generator) -> "tuple[npt.NDArray[np.bool_], Floats]":
            present = torch.from_numpy(batch.present)
            found = torch.from_numpy(batch.gather(scores))
            kept = np.empty(batch.numbers.shape, np.float32)
            for i, ratio in enumerate(rng.choice(ratios, len(kept))):
                logits = chances(found[[i]], present[[i]], float(ratio), temperature)
                kept[i] = torch.sigmoid(logits)[0].numpy()
            return rng.random(kept.shape) < kept, np.asarray(4 * kept * (1 - kept), np.float32)

        return masks

    def _regress(self) -> dict[str, float]:
        work, options, config = self.work, self.work.config.supervised, self.work.config
        step = self.done - self.readings
        turn, place = divmod(step, self.per_pass)
        seed = [config.run.seed, 3 + self.again, turn]
        if place == 0 or not self.spans:
            self.spans = draw_spans(work.sizes, config.run.length, np.random.default_rng(seed))
        spans = self.spans[place * options.batch : (place + 1) * options.batch]
        batch = make_batch(work.train, spans, config.run.length)
        draw = generator(config.run.seed, 3 + self.again, step)
        self.regression.train()
        loss = self.regression.loss(batch, self.targets, draw)
        steps = self.total - self.readings
        now = options.learning_rate * rate(step, steps, math.ceil(WARM_UP * steps))
        norm = descend(self.regression, self.optimizer, loss, now, 1.0)
        return {"loss": float(loss.detach()), "gradient": norm}

    def finish(self) -> None:
        """The weight of the influence that loses the fewest bits on validation documents."""
        work = self.work
        if not self.total - self.readings:
            return
        self.regression.eval()
        candidates = {
            weight: self.regression.policy(weight).to_numpy()
            for weight in (work.config.supervised.influence if self.targets_others else (0.0,))
        }
        found = {weight: work.validate(network) for weight, network in candidates.items()}
        best = min(found, key=lambda weight: found[weight])
        own = candidates.get(0.0) or self.regression.policy(0.0).to_numpy()
        mean = float(self.regression.means[0].detach())
        work.network = candidates[best]
        work.expected = [
            np.maximum(BITS * (own.scores(d.features) + mean), 0).astype(np.float32)
            for d in work.train
        ]
        work.history[self.name] = {
            "influence": best,
            "validation_bits_per_token": {str(weight): bits for weight, bits in found.items()},
        }

    @property
    def targets_others(self) -> bool:
        """Whether any influence was measured."""
        return any(times.any() for times in self.targets.influence_times)

    def state(self) -> dict[str, Any]:
        """Targets, weights and the optimizer's state."""
        return {
            "done": self.done,
            "targets": {
                name: [torch.from_numpy(each) for each in arrays]
                for name, arrays in self.targets.arrays().items()
            },
            "regression": self.regression.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on."""
        self.done = state["done"]
        self.coarse = self.done <= self.readings
        self.targets = Targets(
            **{n: [each.numpy() for each in arrays] for n, arrays in state["targets"].items()}
        )
        self.regression.load_state_dict(state["regression"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.spans = []
