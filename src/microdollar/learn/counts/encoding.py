"""Whether the states of a shift register really hold the bytes that they should."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from microdollar.errors import CheckFailedError
from microdollar.learn.counts.hashing import byte_codes

if TYPE_CHECKING:
    from microdollar.learn.arrays import ByteArray
    from microdollar.learn.elman import ElmanModel


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingCheck:
    """How many codes and bytes a network's states carried rightly."""

    positions: int
    """States looked at."""
    codes_right: int
    """Groups whose signs are the code of the byte that they should hold."""
    codes_wrong: int
    bytes_recovered: int
    """Of the right codes, those that only one byte value has: the byte is known exactly."""
    bytes_ambiguous: int
    """Of the right codes, those that several byte values share."""

    @property
    def codes(self) -> int:
        """Groups that were checked."""
        return self.codes_right + self.codes_wrong

    def require(self, *, exact: bool) -> None:
        """Raise unless every code was right and, if ``exact``, every byte was recovered.

        Raises:
            CheckFailedError: with the counts.
        """
        if self.codes_wrong or (exact and self.bytes_ambiguous):
            raise CheckFailedError(
                f"the encoding does not hold: {self.codes_wrong:,} codes wrong, "
                f"{self.bytes_ambiguous:,} ambiguous, {self.bytes_recovered:,} bytes recovered. "
                "Build with hash 'bijective' and at least 8 hash bits for exact bytes."
            )


def check_encoding(model: "ElmanModel", data: "ByteArray") -> EncodingCheck:
    """Run the real recurrence over ``data`` and decode every group at every position.

    At position t the groups 0 .. min(t, G - 1) hold a byte and are checked; the others are
    still at rest.

    Args:
        model: a network whose ``config`` has ``offsets``, ``hash_bits`` and ``hash``.
        data: bytes, shape (n,).
    """
    offsets, bits = int(model.config["offsets"]), int(model.config["hash_bits"])
    codes = byte_codes(str(model.config["hash"]), bits)
    powers = np.left_shift(np.uint32(1), np.arange(bits, dtype=np.uint32))
    shared = np.isin(codes, [code for code in codes if (codes == code).sum() > 1])
    right = wrong = ambiguous = 0
    # States come before the byte of their row: the last byte's own state is not needed.
    for where, states in model.states_before(data, model.initial_state()):
        groups = states[:, : offsets * bits].reshape(-1, offsets, bits)
        held = np.where(groups > 0, powers, np.uint32(0)).sum(axis=2, dtype=np.uint32)
        at_rest = (groups == 0).any(axis=2)
        for offset in range(offsets):
            first = max(where.start, offset + 1)
            past = data[first - offset - 1 : where.stop - offset - 1]
            if first >= where.stop:
                continue
            rows = slice(first - where.start, None)
            good = (held[rows, offset] == codes[past]) & ~at_rest[rows, offset]
            right += int(good.sum())
            wrong += int((~good).sum())
            ambiguous += int((good & shared[past]).sum())
    return EncodingCheck(
        positions=max(0, len(data) - 1),
        codes_right=right,
        codes_wrong=wrong,
        bytes_recovered=right - ambiguous,
        bytes_ambiguous=ambiguous,
    )
