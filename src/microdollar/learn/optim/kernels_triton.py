"""Loops of `kernels_cuda` for Triton; imported only where a step is to run through it.

A launch serves many matrices. ``table`` int64 (fields, many) says where they are, ``room`` float32
is memory between launches. A program finds its matrix by its number and works on tiles of
whole blocks of columns. Sums are taken in a fixed order, without atomics of floats.
"""

# mypy: disallow-untyped-decorators=False

import triton  # type: ignore[import-not-found,import-untyped,unused-ignore]
import triton.language as tl  # type: ignore[import-not-found,import-untyped,unused-ignore]

from microdollar.learn.optim.kernels_triton_parts import (
    ALL_AT,
    BLOCK,
    CLOSE,
    COLS,
    COLS_AT,
    CORRECTION1,
    CORRECTION2,
    HEIGHT,
    JOBS,
    KEEP,
    KEY,
    LANES,
    M_SCALE,
    MEAN_AT,
    OBSERVE,
    RANGE,
    ROWS,
    ROWS_AT,
    START,
    STEP,
    UPDATE,
    V_COL,
    M,
    P,
    V,
    at_random,
    average,
    columns_of,
    correction_of,
    decode,
    encode,
    field,
    fresh_of,
    job_of,
    load,
    mix,
    nearest,
    pack,
    pointer,
    rate_of,
    scale_of,
    sum_of,
    unpack,
    widen,
)

CODED = 2**61
"""Added to twice an integer and 1 for the way to `fill`, so that it always is an odd int64."""
_CODED = tl.constexpr(CODED)
_TINY, _HUGE = tl.constexpr(2.0**-126), tl.constexpr(3.4e38)


@triton.jit
def fill(table: tl.tensor, values: tl.tuple) -> None:
    """Write integers to ``table``: what a copy from the host may not do while a graph is made."""
    for i in tl.static_range(len(values)):
        tl.store(table + i, (values[i] - _CODED) >> 1)


@triton.jit(do_not_specialize=["many"])
def observe(
    table: tl.tensor,
    many: tl.tensor,
    grads: tl.tensor,
    room: tl.tensor,
    FACTORED: tl.constexpr,
    G_HALF: tl.constexpr,
    ALIGNED: tl.constexpr,
) -> None:
    """Sums of squares of one range of rows and one block of columns."""
    number = tl.program_id(0)
    job = job_of(table, many, OBSERVE, number)
    rows, cols = field(table, many, ROWS, job), columns_of(table, many, job, ALIGNED)
    blocks = tl.cdiv(cols, BLOCK)
    local = number - field(table, many, OBSERVE, job)
    block, height = local % blocks, field(table, many, RANGE, job)
    first = local // blocks * height
    c = block * BLOCK + tl.arange(0, BLOCK)
    g = pointer(tl.load(grads + job), G_HALF, ALIGNED)
    total = tl.zeros((HEIGHT, BLOCK), tl.float32)
    for start in range(first, tl.minimum(first + height, rows), HEIGHT):
        r = start + tl.arange(0, HEIGHT)
        inside = (r < rows)[:, None] & (c < cols)[None, :]
        value = load(g + r[:, None] * cols + c[None, :], inside, G_HALF)
        square = value * value
        total += square
        if FACTORED:
            place = field(table, many, ROWS_AT, job) + block * rows + r
            tl.store(room + place, tl.sum(square, axis=1), mask=r < rows)
    columns = tl.sum(total, axis=0)
    tl.store(room + field(table, many, ALL_AT, job) + local, tl.sum(columns, axis=0))
    if FACTORED:
        place = field(table, many, COLS_AT, job) + local // blocks * cols + c
        tl.store(room + place, columns, mask=c < cols)


@triton.jit(do_not_specialize=["many"])
def close(
    table: tl.tensor,
    many: tl.tensor,
    room: tl.tensor,
    skipped: tl.tensor,
    found: tl.tensor,
    beta1: tl.tensor,
    fresh1: tl.tensor,
    beta2: tl.tensor,
    fresh2: tl.tensor,
    FACTORED: tl.constexpr,
    BETAS: tl.constexpr,
    FOUND: tl.constexpr,
) -> None:
    """Whether a gradient is finite; if so count the step and average one block of rows or columns.

    Args:
        table: see above.
        many: matrices of this launch.
        room: see above.
        skipped: int64, counts matrices left out because a gradient was not finite.
        found: GradScaler's, read if ``FOUND``.
        beta1: decay, or a pointer to it if ``BETAS``.
        fresh1: 1 - beta1, with all its digits; unused if ``BETAS``.
        beta2: as ``beta1``.
        fresh2: as ``fresh1``.
        FACTORED: whether there are rows and columns to average.
        BETAS: whether decays are read from the device.
        FOUND: whether there is a GradScaler.
    """
    number = tl.program_id(0)
    job = job_of(table, many, CLOSE, number)
    rows, cols = field(table, many, ROWS, job), field(table, many, COLS, job)
    blocks = tl.cdiv(cols, BLOCK)
    ranges = tl.cdiv(rows, field(table, many, RANGE, job))
    local = number - field(table, many, CLOSE, job)
    fresh2 = fresh_of(beta2, fresh2, BETAS)
    sums = tl.zeros((LANES,), tl.float32)
    parts = room + field(table, many, ALL_AT, job)
    for start in range(0, ranges * blocks, LANES):
        i = start + tl.arange(0, LANES)
        sums += tl.load(parts + i, mask=i < ranges * blocks, other=0.0)
    finite = tl.sum(sums, axis=0) < _HUGE
    wanted = finite == finite
    if FOUND:
        wanted = tl.load(found) == 0
    keep = finite & wanted
    if local == 0:
        counter = field(table, many, STEP, job).to(tl.pointer_type(tl.float32))
        count = tl.load(counter) + tl.where(keep, 1.0, 0.0)
        tl.store(counter, count)
        tl.store(room + KEEP * JOBS + job, tl.where(keep, 1.0, 0.0))
        correction1 = correction_of(fresh_of(beta1, fresh1, BETAS), count)
        tl.store(room + CORRECTION1 * JOBS + job, correction1)
        tl.store(room + CORRECTION2 * JOBS + job, correction_of(fresh2, count))
        key = mix(field(table, many, START, job).to(tl.uint32) + count.to(tl.int32).to(tl.uint32))
        # Bits that only look like a number.
        tl.store(room + KEY * JOBS + job, key.to(tl.float32, bitcast=True))
        tl.atomic_add(skipped, tl.where(wanted & (keep == 0), 1, 0).to(tl.int64))
    if FACTORED:  # noqa: SIM102 - one is known to the compiler, the other is not
        if keep:
            lane = tl.arange(0, BLOCK)
            if local < blocks:
                c = local * BLOCK + lane
                parts = room + field(table, many, COLS_AT, job)
                fresh = sum_of(parts, ranges, c, cols) / rows.to(tl.float32)
                average(field(table, many, V_COL, job), c, cols, fresh, fresh2)
            else:
                r = (local - blocks) * BLOCK + lane
                parts = room + field(table, many, ROWS_AT, job)
                fresh = sum_of(parts, blocks, r, rows) / cols.to(tl.float32)
                row = average(field(table, many, V, job), r, rows, fresh, fresh2)
                place = field(table, many, MEAN_AT, job) + local - blocks
                tl.store(room + place, tl.sum(row, axis=0))


@triton.jit(do_not_specialize=["many"])
def update(
    table: tl.tensor,
    many: tl.tensor,
    grads: tl.tensor,
    room: tl.tensor,
    lr: tl.tensor,
    beta1: tl.tensor,
    fresh1: tl.tensor,
    beta2: tl.tensor,
    fresh2: tl.tensor,
    eps: tl.tensor,
    weight_decay: tl.tensor,
    M_STATE: tl.constexpr,
    V_STATE: tl.constexpr,
    BETAS: tl.constexpr,
    LR: tl.constexpr,
    RELEASE: tl.constexpr,
    MAXIMIZE: tl.constexpr,
    P_HALF: tl.constexpr,
    G_HALF: tl.constexpr,
    AT_RANDOM: tl.constexpr,
    ALIGNED: tl.constexpr,
) -> None:
    """The step of one tile; see `reference.matrix_step`. ``LR``: whether lr is a pointer."""
    # The last first: their gradient may still be in the cache.
    number = tl.num_programs(0) - 1 - tl.program_id(0)
    job = job_of(table, many, UPDATE, number)
    if tl.load(room + KEEP * JOBS + job) == 0:
        return
    rows, cols = field(table, many, ROWS, job), columns_of(table, many, job, ALIGNED)
    blocks = tl.cdiv(cols, BLOCK)
    local = number - field(table, many, UPDATE, job)
    block = local % blocks
    r = local // blocks * HEIGHT + tl.arange(0, HEIGHT)
    c = block * BLOCK + tl.arange(0, BLOCK)
    inside = (r < rows)[:, None] & (c < cols)[None, :]
    at = r[:, None] * cols + c[None, :]
    width = tl.minimum(cols - block * BLOCK, BLOCK).to(tl.float32)
    grad = load(pointer(tl.load(grads + job), G_HALF, ALIGNED) + at, inside, G_HALF)
    params = pointer(field(table, many, P, job), P_HALF, ALIGNED) + at
    old = load(params, inside, P_HALF)
    if MAXIMIZE:
        grad = -grad
    moved = grad
    if M_STATE != "none":
        fresh1 = fresh_of(beta1, fresh1, BETAS)
        kept1 = rate_of(beta1, BETAS)
        m_at, s_at = field(table, many, M, job), field(table, many, M_SCALE, job)
        if M_STATE == "fp32" or M_STATE == "bf16":
            moments = pointer(m_at, M_STATE == "bf16", ALIGNED) + at
            m = kept1 * load(moments, inside, M_STATE == "bf16") + fresh1 * grad
            if M_STATE == "bf16":
                half = nearest(m)
                tl.store(moments, half, mask=inside)
                lost = m - widen(half)
            else:
                tl.store(moments, m, mask=inside)
                lost = tl.zeros_like(m)
        else:
            scales = s_at.to(tl.pointer_type(tl.uint16)) + r * blocks + block
            scale = widen(tl.load(scales, mask=r < rows, other=0))
            codes = unpack(m_at, r, rows, cols, block, M_STATE, ALIGNED)
            m = kept1 * decode(codes, scale, M_STATE) + fresh1 * grad
            m = tl.where(inside, m, 0.0)
            half = scale_of(m, width, M_STATE)
            codes = encode(m, widen(half), width, M_STATE)
            lost = m - decode(codes, widen(half), M_STATE)
            # Other threads may still read what these write.
            tl.debug_barrier()
            tl.store(scales, half, mask=r < rows)
            pack(tl.where(inside, codes, 0), m_at, r, rows, cols, block, M_STATE, ALIGNED)
        moved = m / tl.load(room + CORRECTION1 * JOBS + job)
        if RELEASE:
            moved += lost * (kept1 / fresh1)
    root = tl.full((HEIGHT, BLOCK), 1.0, tl.float32)
    correction2 = tl.load(room + CORRECTION2 * JOBS + job)
    v_at = field(table, many, V, job).to(tl.pointer_type(tl.float32))
    if V_STATE == "factored":
        pieces = tl.cdiv(rows, BLOCK)
        sums = tl.zeros((BLOCK,), tl.float32)
        for start in range(0, pieces, BLOCK):
            i = start + tl.arange(0, BLOCK)
            place = room + field(table, many, MEAN_AT, job) + i
            sums += tl.load(place, mask=i < pieces, other=0.0)
        mean = tl.sum(sums, axis=0) / rows.to(tl.float32)
        row = tl.load(v_at + r, mask=r < rows, other=0.0)
        row = tl.sqrt(row / tl.maximum(mean * correction2, _TINY))
        columns = field(table, many, V_COL, job).to(tl.pointer_type(tl.float32))
        root = row[:, None] * tl.sqrt(tl.load(columns + c, mask=c < cols, other=0.0))[None, :]
    elif V_STATE == "tile":
        tiles = v_at + r * blocks + block
        fresh2 = fresh_of(beta2, fresh2, BETAS)
        v = tl.load(tiles, mask=r < rows, other=0.0) * (1 - fresh2)
        v += tl.sum(grad * grad, axis=1) / width * fresh2
        tl.debug_barrier()
        tl.store(tiles, v, mask=r < rows)
        root = tl.broadcast_to(tl.sqrt(v / correction2)[:, None], (HEIGHT, BLOCK))
    elif V_STATE == "fp32":
        own = pointer(field(table, many, V, job), False, ALIGNED) + at
        fresh2 = fresh_of(beta2, fresh2, BETAS)
        v = tl.load(own, mask=inside, other=0.0) * (1 - fresh2) + grad * grad * fresh2
        tl.store(own, v, mask=inside)
        root = tl.sqrt(v / correction2)
    rate = rate_of(lr, LR)
    new = old * (1 - rate * weight_decay) - rate * (moved / (root + eps))
    if P_HALF:
        if AT_RANDOM:
            key = tl.load(room + KEY * JOBS + job).to(tl.uint32, bitcast=True)
            tl.store(params, at_random(new, mix(at.to(tl.uint32) ^ key)), mask=inside)
        else:
            tl.store(params, nearest(new), mask=inside)
    else:
        tl.store(params, new, mask=inside)
