"""Operations of writing an Elman network's weights from counts, and of fitting its readout.

N training bytes, G offsets, V = 256 byte values, H hidden units of which U carry code bits,
B bits a code, E passes. Integer and floating-point operations are never added up. Counted:
index arithmetic and increments; additions, multiplications, divisions, exp, log and tanh as
1 each, a multiply-accumulate as 2. Not counted: copies, look-ups, comparisons (a maximum
among them), changes of type, loop control.

Functions named ``*_published`` are the document on analytic cost ("the document") as printed;
the others count what this package executes. Where the document slips:

- **Step 1 indexes twice with the same byte**, ``count[g][data[t-g-1]][data[t-g-1]]``, which
  fills only the diagonal. The second index must be the byte that followed.
- **9 N G** allows for a bounds check and a running row total; slices need no check, and the
  row totals are sums over the finished table. What remains is 3 a pair: shift, combine,
  increment. It also takes N pairs an offset; there are N - g - 1.
- **4 G V^2** is explained by "one division, one log, one subtraction", which is 3 G V^2.
- **G V^2 log-ratios are not the network's**: they are tables by byte value, for the sum of
  skip-bigrams. The readout of the network has V H entries, one for each unit, from counts
  pooled by the sign of a code bit.
- **1.49e8** is 9 N G + 4 G V^2 + N: the marginals that it calls negligible are the 1 % that
  turns 1.48 into 1.49. It adds integer and floating-point operations.
- **"Independent of H"** stands beside O(G V + H) in section 2.2 and O(G H V) in section 4.
  V H readout weights have to be written, and units beyond 8 G carry nothing unless G or
  the width of the code grows with H, so cost at fixed G says nothing of a network 32 times
  as wide. Its own Table 4 has 1.7e8 at H = 4,096.
- **1.35 TFLOP** for the readout alone: its formula without the lower-order terms gives 1.34
  at N = 1e6 and 10 passes. "10 passes" of the text are E' in the formula.
- **Table 3 against Table 4** at H = 128: 39,800 times against 43,600 for the same run, because
  Table 4's gradient descent is 6.5e12, 10 % above the 5.94e12 of Tables 2 and 3.
- **Table 5's dollars** don't follow from Table 3's rate (5.94e12 operations in 1,416 s, 0.034
  dollars an hour): 6 H^2 + 6 V H gives 35 dollars, not 115, at H = 1,024 and N = 1e8, and
  4,800, not 43,000, at H = 4,096 and N = 1e9. The first row rounds 1.34 to 1.30 and 12,400
  times to 13,000.
"""

V = 256
"""Byte values."""
PAIR_INT_OPS = 3
"""Of one counted pair: shift, combine, increment."""
ADD_INT_OPS = 1
"""Of adding one 32-bit count to a 64-bit one."""
RATIO_FLOPS = 6
"""Of one log-ratio: two pseudo-counts added, two logs, two subtractions (of the logs, and of
the logs of the totals)."""
SOFTMAX_FLOPS = 3
"""Of one output: subtract the maximum, exp, add up."""
ADAM_FLOPS = 13
"""Of one parameter: first moment 3, second moment 4, root, its correction and epsilon 3,
division, step and subtraction 3."""


def pairs(data_bytes: int, offsets: int) -> int:
    """Pairs of bytes g + 1 apart, g = 0 .. G-1: the sum of max(0, N - g - 1).

    Source: the document, section 2.2, step 1, which takes N G.
    """
    reach = min(offsets, max(data_bytes - 1, 0))
    return reach * data_bytes - reach * (reach + 1) // 2


def counting_int_ops_published(data_bytes: int, offsets: int) -> int:
    """9 N G: section 2.2, step 1 (index, bounds check, array index, increment, row total)."""
    return 9 * data_bytes * offsets


def counting_int_ops(data_bytes: int, offsets: int) -> int:
    """3 a pair, and one addition of each finished 32-bit table to the 64-bit ones.

    Source: the document, section 2.2, step 1, as corrected in this module's docstring.
    Assumes fewer than 2**30 bytes; past that, the tables are added up more than once.
    """
    added = tables_filled(data_bytes, offsets) * V * V
    return PAIR_INT_OPS * pairs(data_bytes, offsets) + ADD_INT_OPS * added


def tables_filled(data_bytes: int, offsets: int) -> int:
    """Offsets at which a text has a pair at all."""
    return min(offsets, max(data_bytes - 1, 0))


def marginal_ops_published(data_bytes: int) -> int:
    """N + 2 V: section 2.2, step 2, one scan, 256 divisions, 256 logs."""
    return data_bytes + 2 * V


def log_ratio_flops_published(offsets: int) -> int:
    """4 G V^2: section 2.2, step 3, of which the text explains 3."""
    return 4 * offsets * V**2


def assembly_ops_published(offsets: int, hidden: int) -> int:
    """G V + H: section 2.2, steps 4 and 5, taken with a constant of 1."""
    return offsets * V + hidden


def construction_ops_published(data_bytes: int, offsets: int) -> int:
    """9 N G + 4 G V^2: section 2.2, "total analytic cost"; mixes integers and floats."""
    return counting_int_ops_published(data_bytes, offsets) + log_ratio_flops_published(offsets)


def construction_ops_table_4(data_bytes: int, offsets: int, hidden: int) -> int:
    """9 N G + 4 G V^2 + G H V + G H: inferred from the ratios that Table 4 prints.

    With 1.1 times 6 H^2 + 6 V H for gradient descent it gives all six to their last digit.
    """
    extra = offsets * hidden * V + offsets * hidden
    return construction_ops_published(data_bytes, offsets) + extra


def readout_flops_published(data_bytes: int, epochs: int, hidden: int) -> int:
    """N 2 H^2 + N E' 4 V H: section 2.3, without its O(H) and O(V)."""
    return data_bytes * 2 * hidden**2 + data_bytes * epochs * 4 * V * hidden


def pooling_flops(offsets: int, bits: int) -> int:
    """2 G (B + 1) V^2 + G B V: counts pooled by the sign of each code bit, as a dense product.

    The extra row sums over all bytes; the count of the other sign is the difference.
    """
    return 2 * offsets * (bits + 1) * V**2 + offsets * bits * V


def log_ratio_flops(units: int) -> int:
    """6 V U + U (2 V + 3): ln P(o | sign +) - ln P(o | sign -) for U units.

    For each entry: see ``RATIO_FLOPS``. For each unit: 2 (V - 1) additions for its two
    totals, 2 for their pseudo-counts, 2 logs, 1 subtraction.
    """
    return RATIO_FLOPS * V * units + units * (2 * (V - 1) + 5)


def marginal_int_ops() -> int:
    """V (V - 1) + 1: byte counts as column sums of the table of offset 0, and the first byte.

    The document scans the text again (section 2.2, step 2).
    """
    return V * (V - 1) + 1


def marginal_flops() -> int:
    """4 V + 1: ln((c + 1/2) / (N + 128)) for every byte value.

    For each entry one addition, one log and one subtraction; once, V - 1 additions for N,
    one for its pseudo-counts, one log.
    """
    return 3 * V + (V - 1) + 2


def recurrence_flops(steps: int, hidden: int) -> int:
    """2 H^2 + 2 H a step: the recurrent product, its start W_x + b_h, and tanh.

    Source: the document, section 2.1; W_x e_x is a look-up. The product is dense, though a
    shift register has fewer than H non-zero weights.
    """
    return steps * (2 * hidden**2 + 2 * hidden)


def scale_trial_flops(positions: int) -> int:
    """5 V + 1 a position: one value of the scale scored on some positions.

    For each output: multiply by the scale, add b_y, and the softmax's 3, of which the sum is
    V - 1 additions; for each position a log and a subtraction. The mean is one operation more
    a position and is left out with the constants.
    """
    return positions * ((2 + SOFTMAX_FLOPS) * V + 1)


def readout_step_flops(batch: int, units: int) -> int:
    """4 V U b + b (2 U + 5 V + 1) + V (b - 1) + 13 V (U + 1): one step of Adam on b positions.

    The products are the scores and the gradient of W_y. For each position 2 U turn bits into
    signs and 1 finds the factor of the softmax; for each output: b_y, the softmax's 3 (of which
    the sum is V - 1), that factor; once, 1 off the true byte. The gradient of b_y is V (b - 1).
    Source: section 2.3, which has the products and O(V), and no optimizer.
    """
    softmax = batch * (2 * units + (2 + SOFTMAX_FLOPS) * V + 1)
    return 4 * V * units * batch + softmax + V * (batch - 1) + ADAM_FLOPS * V * (units + 1)
