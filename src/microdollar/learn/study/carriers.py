"""Experiment 7: carriers, that is the width of the code and what its bits mean."""

import numpy as np

from microdollar.learn.study import codes
from microdollar.learn.study.fixed import FROM_ZERO, Fixed
from microdollar.learn.study.rows import Outcome, Study, joined, stopwatch
from microdollar.work.formulas import study as formulas


def carriers(study: Study) -> list[Outcome]:
    """Pseudo-inverse and gradient readout over 16 offsets of four codes.

    Hash (16 x 8), full bandwidth (16 x 16), semantic features (16 x 8) and both of the 8-bit codes
    side by side (16 x 16). The semantic features are ours (``codes.semantic``): the document's
    are not published. Descent is that of "SGD from zero" in experiment 4.
    """
    designs = {
        "hash 16x8": codes.mixed(8),
        "full bandwidth 16x16": codes.mixed(16),
        "semantic 16x8": codes.semantic(),
        "hybrid 16x(8+8)": codes.hybrid(),
    }
    rows: list[Outcome] = []
    for name, signs in designs.items():
        count = codes.distinct(signs)
        rows.append(Outcome(key=f"{name}: distinct codes", measure="codes", train=float(count)))
        fixed = Fixed.of(study, signs)
        with stopwatch() as watch:
            W_y, chosen = fixed.pseudo_inverse()
        train, test = fixed.score(W_y, fixed.b_y)
        rows.append(
            Outcome(
                key=f"{name}: pseudo-inverse",
                train=train,
                test=test,
                detail=chosen,
                work=fixed.pseudo_inverse_work(),
                seconds=watch.seconds,
            )
        )
        zeros = np.zeros((256, fixed.train.units), np.float32)
        study.progress(len(rows), 12, f"{name}: descent")
        with stopwatch() as watch:
            W_y, b_y = fixed.optimised(study, zeros, fixed.b_y, FROM_ZERO)
        train, test = fixed.score(W_y, b_y)
        look_up = formulas.rows_work(len(fixed.learn.targets), fixed.train.units)
        rows.append(
            Outcome(
                key=f"{name}: SGD",
                kind="trained",
                train=train,
                test=test,
                detail=fixed.optimised_detail(FROM_ZERO),
                work=joined(look_up, fixed.optimised_work(FROM_ZERO)),
                seconds=watch.seconds,
            )
        )
    return rows
