"""Experiment 3: what the states of a constructed network hold."""

from typing import TYPE_CHECKING

import numpy as np

from microdollar.learn.counts.hashing import byte_signs
from microdollar.learn.counts.satrnn_weights import shift_register
from microdollar.learn.study.rows import NOTHING, RECURRENCE_BYTES, Outcome, Study, stopwatch

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.elman import ElmanModel

OFFSETS, BITS = 16, 8
BEYOND = 4
"""Depths past the last group that are looked at as well."""
HASHES = ("document", "bijective")


def construction(study: Study) -> list[Outcome]:
    """Run the real recurrence with constructed W_x, W_h and decode every group at every depth.

    W_x[x, j] = 10 s(x, j) for the 8 units of group 0, W_h copies group g - 1 into group g with
    weight 5, b_h = 0. A code is right if all 8 signs are those of the byte at that depth; a byte is
    recovered if its code is right and no other of the 256 has the same. ``codes`` is the lowest
    share of right codes over the 16 depths, ``bytes`` the lowest share of recovered bytes.
    """
    rows = []
    for name in HASHES:
        with stopwatch() as watch:
            model = shift_register(
                "satrnn", hidden=OFFSETS * BITS, offsets=OFFSETS, bits=BITS, hash_name=name
            )
        found = [
            by_depth(model, byte_signs(name, BITS), text[:RECURRENCE_BYTES])
            for text in (study.slice.train, study.slice.test)
        ]
        for key in ("codes", "bytes"):
            shares = [[depth[key] for depth in each] for each in found]
            rows.append(
                Outcome(
                    key=f"{name} hash: {key} right",
                    measure="share",
                    train=min(shares[0][:OFFSETS]),
                    test=min(shares[1][:OFFSETS]),
                    detail={"by_depth": shares[0]},
                    work=NOTHING,
                    seconds=watch.seconds,
                )
            )
    return rows


def by_depth(
    model: "ElmanModel", signs: "np.typing.NDArray[np.int8]", data: "ByteArray"
) -> list[dict[str, float]]:
    """Share of right codes and of recovered bytes at depths 0 .. 19.

    Depth d at position t is group d and byte x(t - d); only positions with t >= d count. Past the
    last group there is nothing that could hold the byte, so both are 0 there.

    Args:
        model: a shift register of 16 groups.
        signs: its code, shape (256, 8).
        data: bytes to run it over.
    """
    codes = np.packbits(signs > 0, axis=1)[:, 0]
    unique = np.bincount(codes, minlength=256)[codes] == 1
    right, recovered, looked = (np.zeros(OFFSETS, np.int64) for _ in range(3))
    for where, states in model.states_before(data, model.initial_state()):
        groups = states.reshape(-1, OFFSETS, BITS)
        held = np.packbits(groups > 0, axis=2)[:, :, 0]
        at_rest = (groups == 0).any(axis=2)
        for depth in range(OFFSETS):
            # The state before byte p holds byte p - 1 - depth in group ``depth``.
            first = max(where.start, depth + 1)
            if first >= where.stop:
                continue
            past = data[first - depth - 1 : where.stop - depth - 1]
            rows = slice(first - where.start, None)
            good = (held[rows, depth] == codes[past]) & ~at_rest[rows, depth]
            looked[depth] += len(past)
            right[depth] += int(good.sum())
            recovered[depth] += int((good & unique[past]).sum())
    shares = [
        {"codes": float(r / n), "bytes": float(b / n)}
        for r, b, n in zip(right, recovered, np.maximum(looked, 1), strict=True)
    ]
    return shares + [{"codes": 0.0, "bytes": 0.0}] * BEYOND
