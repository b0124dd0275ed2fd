"""What readouts on fixed dynamics share: the rows of a slice, and how choices are made on it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from microdollar.learn.study import readout
from microdollar.learn.study.counted import best_scale
from microdollar.learn.study.features import Features, Floats, code_features, part
from microdollar.learn.study.rows import Study, joined
from microdollar.work.formulas import study as formulas
from microdollar.work.ops import Work

OFFSETS, BITS = 16, 8
UNITS = OFFSETS * BITS
PI_SCALES = tuple(0.5 * k for k in range(2, 101))
"""1 to 50: published, and searched on the bytes that are scored."""
LONG_ALPHAS = (1.0, 4.0, 16.0, 64.0)
LONG_SCALES = tuple(0.01 * 1.2**k for k in range(24))
LONG_PI_SCALES = tuple(1.2**k for k in range(24))
"""On a long slice: fewer, evenly by ratio."""
CHOOSE_BYTES = 10_000
"""On a long slice pseudo-count and scale are chosen on so many of its last bytes."""
SKIP, LAST = 16, 1
"""Rows that the published programs do not learn from, though they score them: groups not yet
filled, and the last pair."""
FROM_ZERO = readout.stepped_rates(0.5, 1000, (300, 600, 800))
"""The published descent from zero: 1,000 epochs, the rate times 0.3 at three of them."""
LONG_EPOCHS, LONG_BATCH, LONG_RATE = 3, 1024, 0.02
"""Of minibatch Adam, which stands for full-batch descent on a long slice."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fixed:
    """Features of a slice and what several readouts share."""

    train: Features
    test: Features
    learn: Features
    """Training rows that a fit may use: without the first 16 and the last one."""
    choose: Features
    """Training rows on which pseudo-count and scale are chosen: all of a short slice, as the
    document does, the last 10,000 of a long one."""
    b_y: Floats
    small: bool

    @classmethod
    def of(cls, study: Study, signs: "np.typing.NDArray[np.int8]") -> "Fixed":
        """The rows of a shift register with this code."""
        train, test = code_features(study.slice.train, study.slice.test, signs, offsets=OFFSETS)
        return cls.over(study, train, test)

    @classmethod
    def over(cls, study: Study, train: Features, test: Features) -> "Fixed":
        """Any rows of the slice."""
        small = study.slice.small
        choose = train if small else part(train, slice(-CHOOSE_BYTES, None))
        b_y = readout.log_marginal(study.slice.train)
        # A long slice stays whole: its 17 rows are nothing, and a copy would be large.
        learn = part(train, slice(SKIP, len(train.targets) - LAST)) if small else train
        return cls(train=train, test=test, learn=learn, choose=choose, b_y=b_y, small=small)

    def score(self, W_y: Floats, b_y: Floats) -> tuple[float, float]:
        """Bits per byte on training and on held-out rows."""
        return readout.bits(self.train, W_y, b_y), readout.bits(self.test, W_y, b_y)

    def pseudo_inverse(self) -> tuple[Floats, dict[str, float]]:
        """W_y by least squares with residual targets, at its best scale."""
        W_y = readout.pseudo_inverse(self.learn, self.b_y)
        return best_scale(self.choose, W_y, self.b_y, self.scales)

    @property
    def scales(self) -> tuple[float, ...]:
        """Factors of the pseudo-inverse that are tried."""
        return PI_SCALES if self.small else LONG_PI_SCALES

    def pseudo_inverse_work(self) -> Work:
        """Operations of ``pseudo_inverse``."""
        n = len(self.learn.targets)
        return joined(
            formulas.rows_work(n, self.train.units),
            formulas.pseudo_inverse_work(
                n, self.train.units, len(self.scales), len(self.choose.targets)
            ),
        )

    def optimised(
        self, study: Study, W_y: Floats, b_y: Floats, rates: list[float]
    ) -> tuple[Floats, Floats]:
        """Descent with these rates on a short slice, minibatch Adam on a long one."""
        if self.small:
            return readout.descend(self.learn, W_y, b_y, rates, progress=study.progress)
        return readout.adam(
            self.learn,
            W_y,
            b_y,
            epochs=LONG_EPOCHS,
            batch=LONG_BATCH,
            rate=LONG_RATE,
            seed=study.seed,
            progress=study.progress,
        )

    def optimised_work(self, rates: list[float]) -> Work:
        """Operations of ``optimised``."""
        n, units = len(self.train.targets), self.train.units
        if self.small:
            return formulas.gradient_work(n, units, len(rates))
        return formulas.adam_work(n, units, LONG_EPOCHS, LONG_BATCH)

    def optimised_detail(self, rates: list[float]) -> dict[str, Any]:
        """What ``optimised`` does, in words."""
        if self.small:
            return {"steps": len(rates), "method": "full-batch gradient descent"}
        return {"epochs": LONG_EPOCHS, "batch": LONG_BATCH, "method": "minibatch Adam"}
