"""One pass over a text: the arrays that it changes, and the loop that drives it."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from microdollar.learn.arrays import ByteArray
from microdollar.learn.counts import rangecoder
from microdollar.learn.counts.mixed.ahead import Ahead, Gap, Memory, room_ahead
from microdollar.learn.counts.mixed.chain import Chain, work_for
from microdollar.learn.counts.mixed.contexts import CONTEXTS, PLACE_WORDS, Words
from microdollar.learn.counts.mixed.histories import with_room
from microdollar.learn.counts.mixed.kernels import (
    DAMAGED,
    DEPTH,
    POSITION,
    SCORE,
    VISITS,
    Modes,
    Scratch,
    remember,
    run,
)
from microdollar.learn.counts.mixed.lanes import LANES, zeros
from microdollar.learn.counts.mixed.strings import Numbers, Strings, contexts_of
from microdollar.learn.counts.mixed.weights import Weights, Words32
from microdollar.learn.counts.ngram.discounts import Floats
from microdollar.work import tally
from microdollar.work.formulas.counted import (
    CHUNK_BYTES,
    FLOPS_PER_BYTE,
    FLOPS_PER_VISIT,
    INT_OPS_PER_BYTE,
    LINES_PER_BYTE,
    REMEMBER_INT_OPS,
)


def _scratch(order: int) -> Scratch:
    return Scratch(
        work_for(order), room_ahead(), zeros(LANES, np.float32), np.zeros(CONTEXTS, np.int64),
        np.zeros(0, np.uint32), rangecoder.registers(),
    )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class State:
    """What a pass reads and changes, and where it stands."""

    strings: Strings
    memory: Memory
    chain: Chain
    weights: Weights
    without: npt.NDArray[np.bool_]
    """Shape (INPUTS + 2,): opinions that are left out, and last the calibration and the drift."""
    place: Words = field(default_factory=lambda: np.zeros(PLACE_WORDS, np.uint64))
    scratch: Scratch = field(init=False)
    at: Numbers = field(init=False)
    """Position and more, see ``kernels.run``."""

    def __post_init__(self) -> None:
        self.scratch = _scratch(self.strings.order)
        self.at = np.zeros(4, np.int64)

    def stand(self, position: int, before: ByteArray) -> None:
        """Go on at a position, with the contexts that these bytes before it make."""
        order = self.strings.order
        tail = np.ascontiguousarray(before[max(0, len(before) - order) :])
        context = self.scratch.work.context
        self.at[POSITION] = position
        self.at[DEPTH] = contexts_of(tail, order, self.strings.counts, context)

    def code(self, text: ByteArray, end: int, modes: Modes, gap: Gap, chance_of: Floats) -> None:
        """Score, pack or unpack up to ``end``, at most ``CHUNK_BYTES`` bytes.

        Chunks start at the same places whatever is done, for what grows between them may grow
        only where it does on the other side.
        """
        start, visits = int(self.at[POSITION]), int(self.at[VISITS])
        if modes.counting:
            lines = with_room(self.memory.lines, LINES_PER_BYTE * CHUNK_BYTES)
            self.memory = self.memory._replace(lines=lines)
        if self.without[-1]:
            modes = modes._replace(drift=0.0)
        while self.at[POSITION] < end and not self.at[DAMAGED]:
            if modes.counting:
                self.strings.reserve(CHUNK_BYTES)
            run(
                text, end, gap, modes, self.place, self.memory, self.strings.counts,
                self.strings.used, self.chain, self.weights, self.without, self.scratch,
                chance_of[int(self.at[POSITION]) - start :], self.at,
            )  # fmt: skip
        done = int(self.at[POSITION]) - start
        tally.add(
            "mix",
            flops=FLOPS_PER_BYTE[modes.weighing] * done
            + FLOPS_PER_VISIT * (int(self.at[VISITS]) - visits),
            int_ops=INT_OPS_PER_BYTE[modes.counting] * done,
        )

    def score(
        self,
        text: ByteArray,
        gap: Gap,
        *,
        weighing: bool,
        counting: bool,
        drift: float = 0.0,
        end: int | None = None,
    ) -> Floats:
        """Bits of each byte of ``text`` from where it stands."""
        start = int(self.at[POSITION])
        end = len(text) if end is None else end
        chances = np.empty(end - start)
        modes = Modes(SCORE, weighing, counting, float(drift))
        for position in range(start, end, CHUNK_BYTES):
            stop = min(position + CHUNK_BYTES, end)
            self.code(text, stop, modes, gap, chances[position - start :])
        bits: Floats = -np.log2(chances)
        return bits


def remembered(
    data: ByteArray, start: int, end: int, place: Words, memory: Memory, chances: Words32
) -> Memory:
    """The memory after bytes ``start`` to ``end``, with how histories went on in ``chances``."""
    ahead: Ahead = room_ahead()
    for begin in range(start, end, CHUNK_BYTES):
        stop = min(begin + CHUNK_BYTES, end)
        lines = with_room(memory.lines, LINES_PER_BYTE * (stop - begin))
        memory = memory._replace(lines=lines)
        remember(data, begin, stop, place, memory, ahead, chances)
    done = end - start
    tally.add("remember histories", flops=0, int_ops=REMEMBER_INT_OPS * done)
    return memory
