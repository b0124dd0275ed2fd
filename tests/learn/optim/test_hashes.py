"""Hash families: exact values, exact families over small fields, and draws of the real ones.

Draws are from fixed seeds, so these tests always give the same answer. ALARM is the probability
that a true family would have failed one comparison, had its seeds been drawn anew.
"""

from functools import lru_cache
from itertools import combinations, product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from microdollar.learn.optim.hashes import (
    FAMILIES,
    Mersenne,
    MultiplyShift,
    _two_words,
    buckets_of,
    draw,
    family_for,
    random_words,
    signs_of,
    tile_hash,
)

ALARM = 1e-7
DRAWS = 1500
CPU = torch.device("cpu")


def by_hand(hashing, key):
    """The definition, on Python's integers."""
    if isinstance(hashing, MultiplyShift):
        return (((hashing.a * key + hashing.b) % 2**64) * hashing.buckets) >> 64
    value = sum(c * key**power for power, c in enumerate(hashing.coefficients)) % hashing.keys
    return (value * hashing.buckets) >> hashing.exponent


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("buckets", [1, 2, 1024, 2**30])
@given(seed=st.integers(0, 2**40), data=st.data())
def test_the_value_is_that_of_the_definition(family, buckets, seed, data):
    hashing = draw(family, buckets, (seed,))
    keys = data.draw(st.lists(st.integers(0, hashing.keys - 1), min_size=1, max_size=5))
    keys.append(hashing.keys - 1)
    assert hashing(torch.tensor(keys)).tolist() == [by_hand(hashing, key) for key in keys]


@given(seed=st.integers(0, 2**40), key=st.integers(0, 2**31 - 2), buckets=st.integers(1, 2**30))
@pytest.mark.parametrize("family", ["mersenne31", "mersenne61"])
def test_quadratics_and_any_number_of_buckets(family, seed, key, buckets):
    hashing = draw(family, buckets, (seed,), independence=3)
    assert hashing(torch.tensor([key])).item() == by_hand(hashing, key)


@pytest.mark.parametrize(
    ("family", "independence"), [*((family, 2) for family in FAMILIES), ("mersenne31", 3),
                                 ("mersenne61", 3)],
)  # fmt: skip
def test_the_compiled_hash_is_the_same_bit_for_bit(family, independence):
    for buckets in (1, 2, 4096) if family == "multiply-shift" else (1, 3, 1000, 2**30):
        hashing = draw(family, buckets, (7, buckets), independence=independence)
        for start in (0, 2**20 - 7, hashing.keys - 5000):
            keys = torch.arange(start, start + 5000)
            assert torch.equal(buckets_of(hashing, keys), hashing(keys))


@pytest.mark.parametrize("buckets", [2, 3, 8, 13])
def test_carter_wegman_over_a_small_field_is_exactly_universal(buckets):
    """Every a but 0 and every b: no two keys meet in more than 1/buckets of the family."""
    exponent, p = 5, 31
    keys = torch.arange(p)
    meet = torch.zeros(p, p, dtype=torch.int64)
    for a, b in product(range(1, p), range(p)):
        found = Mersenne((b, a), buckets, exponent)(keys)
        meet += found[:, None] == found[None]
    meet.fill_diagonal_(0)
    assert int(meet.max()) * buckets <= p * (p - 1)


def test_quadratics_over_a_small_field_are_exactly_three_independent():
    """Every triple of values is met once, for any three keys."""
    p = 7
    values = torch.stack(
        [Mersenne(c, p, 3).value(torch.arange(p)) for c in product(range(p), repeat=3)]
    )
    for triple in combinations(range(p), 3):
        codes = values[:, triple] @ torch.tensor([p * p, p, 1])
        assert torch.equal(codes.sort().values, torch.arange(p**3))


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_multiply_shift_of_a_small_word_is_exactly_two_independent(bits):
    """Every pair of values equally often, for any two keys that it promises that for."""
    word, buckets = 6, 1 << bits
    example = MultiplyShift(0, 0, buckets, word)
    keys = torch.arange(example.keys)
    found = torch.stack(
        [MultiplyShift(a, b, buckets, word)(keys) for a, b in product(range(64), repeat=2)]
    )
    for i, j in combinations(range(len(keys)), 2):
        counts = torch.bincount(found[:, i] * buckets + found[:, j], minlength=buckets**2)
        assert counts.unique().tolist() == [64 * 64 // buckets**2]


PAIRS = [(0, 1), (1, 2), (5, 5 + 2**16), (3, 3 + 2**30), (2**20 - 1, 2**31 - 2)]


@lru_cache
def drawn(family):
    """Values below 16 of the keys of PAIRS, shape (draws, pairs, 2)."""
    keys = torch.tensor(PAIRS)
    return torch.stack([draw(family, 16, (seed, 3))(keys) for seed in range(DRAWS)])


@pytest.mark.parametrize("family", FAMILIES)
def test_two_keys_of_the_real_family_rarely_meet(family):
    found = drawn(family)
    for pair in range(len(PAIRS)):
        meet = int((found[:, pair, 0] == found[:, pair, 1]).sum())
        assert stats.binomtest(meet, DRAWS, 1 / 16, alternative="greater").pvalue > ALARM


@pytest.mark.parametrize("family", FAMILIES)
def test_pairs_of_values_of_the_real_family_are_uniform(family):
    """Chi-square over the pairs of the upper bits; of one bit, these are signs."""
    for buckets in (2, 4):
        found = drawn(family) // (16 // buckets)
        for pair in range(len(PAIRS)):
            cells = torch.bincount(
                found[:, pair, 0] * buckets + found[:, pair, 1], minlength=buckets**2
            )
            assert stats.chisquare(cells.numpy()).pvalue > ALARM


@pytest.mark.parametrize("family", FAMILIES)
def test_one_member_spreads_keys_evenly_on_average_over_members(family):
    """The mean over members of sum (count - n/k)^2 is n (1 - 1/k) for independent pairs."""
    n, k, members = 512, 64, 400
    keys = torch.arange(n)
    squares = [
        float(((torch.bincount(draw(family, k, (s,))(keys), minlength=k) - n / k) ** 2).sum())
        for s in range(members)
    ]
    spread = np.std(squares, ddof=1) / members**0.5
    z = (np.mean(squares) - n * (1 - 1 / k)) / spread
    assert abs(z) < stats.norm.isf(ALARM / 2)


def test_tiles_meet_only_within_a_tile_and_never_within_a_row():
    hashing = tile_hash(16, 8, (1,))
    bucket, sign = hashing.places(0, 1000, CPU)
    assert torch.equal(bucket // 16, torch.arange(1000) // 128)
    for start in range(0, 992, 16):
        assert bucket[start : start + 16].unique().numel() == 16
    assert set(sign.tolist()) == {-1.0, 1.0}


def test_a_range_of_a_tile_hash_is_a_part_of_the_whole():
    hashing = tile_hash(32, 5, (2,))
    bucket, sign = hashing.places(0, 2000, CPU)
    for start, stop in ((0, 1), (159, 161), (777, 1999)):
        part, signs = hashing.places(start, stop, CPU)
        assert torch.equal(part, bucket[start:stop])
        assert torch.equal(signs, sign[start:stop])


def test_elements_of_two_rows_of_a_tile_meet_once_in_its_width_with_fair_signs():
    width, rows = 8, 32
    one, other = torch.tensor([0, 7, 8, 100, 3]), torch.tensor([8, 8, 255, 9, 131])
    meet, products, pairs = [], [], []
    for seed in range(DRAWS):
        # The third tile, so that its multipliers are mixed ones.
        bucket, sign = tile_hash(width, rows, (seed,)).places(512, 768, CPU)
        meet.append(bucket[one] == bucket[other])
        products.append(sign[one] * sign[other])
        pairs.append((bucket[one] % width) * width + bucket[other] % width)
    bound = stats.norm.isf(ALARM / 2)
    for column in torch.stack(meet).T:
        assert stats.binomtest(int(column.sum()), DRAWS, 1 / width).pvalue > ALARM
    for column in torch.stack(products).T:
        assert abs(float(column.sum())) < bound * DRAWS**0.5
    for column in torch.stack(pairs).T:
        cells = torch.bincount(column, minlength=width**2).numpy()
        assert stats.chisquare(cells).pvalue > ALARM


def test_multipliers_of_tiles_are_splitmix64():
    """Its published first outputs from seed 0."""
    high, low = _two_words(torch.arange(3), 0)
    words = [(int(h) << 32) | int(w) for h, w in zip(high, low, strict=True)]
    assert words == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_draws_depend_on_every_part_of_the_seed_and_on_nothing_else():
    torch.manual_seed(0)
    one = draw("mersenne31", 100, (1, 2, 3))
    torch.manual_seed(1)
    assert draw("mersenne31", 100, (1, 2, 3)) == one
    assert len({draw("mersenne31", 100, s) for s in ((1, 2, 3), (1, 2, 4), (2, 1, 3))}) == 3
    # Fixed for all time: a checkpoint depends on it.
    assert random_words((0, 0, 0, 0), 1) == (15793235383387715774,)


def test_signs_are_of_bits():
    assert signs_of(torch.tensor([0, 1])).tolist() == [1.0, -1.0]


def test_keys_beyond_the_field_need_the_larger_one():
    assert family_for(2**31 - 1, "mersenne31") == "mersenne31"
    assert family_for(2**31, "mersenne31") == "mersenne61"
    small = draw("mersenne31", 1000, (0,))
    assert small.keys == 2**31 - 1
    twins = small(torch.tensor([5, 5 + small.keys]))
    assert twins[0] == twins[1]
    large = draw("mersenne61", 2**30, (0,))(torch.tensor([5, 5 + small.keys]))
    assert large[0] != large[1]


@pytest.mark.parametrize(
    ("family", "buckets", "independence", "said"),
    [
        ("murmur", 4, 2, "one of mersenne31"),
        ("mersenne31", 0, 2, "1 to 1073741824, got 0"),
        ("mersenne31", 2**30 + 1, 2, "got 1073741825"),
        ("multiply-shift", 12, 2, "power of two"),
        ("multiply-shift", 16, 3, "mersenne31"),
    ],
)
def test_what_a_family_has_not_is_refused(family, buckets, independence, said):
    with pytest.raises(ValueError, match=said):
        draw(family, buckets, (0,), independence=independence)


@pytest.mark.parametrize(("width", "rows"), [(0, 4), (12, 4), (2**17, 4), (16, 0), (16, 2**17)])
def test_tiles_have_bounds(width, rows):
    with pytest.raises(ValueError, match="65536"):
        tile_hash(width, rows, (0,))
