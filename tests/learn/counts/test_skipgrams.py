import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microdollar.errors import UnknownNameError
from microdollar.learn.counts.hashing import HASHES, byte_codes, byte_signs
from microdollar.learn.counts.skipgrams import byte_counts, count_skipgrams
from microdollar.work import tally
from microdollar.work.formulas import counting

texts = st.binary(max_size=300) | st.text("ab", max_size=300).map(str.encode)


def as_bytes(text: bytes) -> np.ndarray:
    return np.frombuffer(text, dtype=np.uint8)


def brute_force(data: np.ndarray, offsets: int) -> np.ndarray:
    tables = np.zeros((offsets, 256, 256), dtype=np.int64)
    for offset in range(offsets):
        distance = offset + 1
        np.add.at(tables[offset], (data[:-distance], data[distance:]), 1)
    return tables


@settings(max_examples=60, deadline=None)
@given(texts, st.integers(1, 5), st.integers(1, 3), st.integers(1, 40))
def test_equals_brute_force_whatever_the_chunks_and_threads(text, offsets, threads, chunk):
    data = as_bytes(text)
    got = count_skipgrams(data, offsets, threads=threads, chunk_pairs=chunk)
    np.testing.assert_array_equal(got, brute_force(data, offsets))


@settings(max_examples=40, deadline=None)
@given(texts, st.integers(1, 5), st.integers(0, 310))
def test_counting_in_two_goes_is_counting_in_one(text, offsets, cut):
    data = as_bytes(text)
    cut = min(cut, len(data))
    tables = count_skipgrams(data[:cut], offsets)
    again = count_skipgrams(data, offsets, start=cut, into=tables)
    assert again is tables
    np.testing.assert_array_equal(tables, brute_force(data, offsets))


def test_empty_one_byte_and_all_values():
    assert not count_skipgrams(as_bytes(b""), 3).any()
    assert not count_skipgrams(as_bytes(b"x"), 3).any()
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(count_skipgrams(every, 16), brute_force(every, 16))


def test_counts_pass_32_bits():
    large = np.full((1, 256, 256), 2**32 - 1, dtype=np.int64)
    tables = count_skipgrams(as_bytes(b"aaaa"), 1, into=large)
    assert tables[0, 97, 97] == 2**32 + 2
    assert tables[0, 97, 98] == 2**32 - 1


def test_a_strided_or_read_only_text_is_counted_as_it_reads():
    base = np.random.default_rng(1).integers(0, 256, 200, dtype=np.uint8)
    np.testing.assert_array_equal(count_skipgrams(base[::2], 4), brute_force(base[::2].copy(), 4))


@pytest.mark.parametrize(
    "wrong",
    [
        {"offsets": 0},
        {"offsets": 2, "start": -1},
        {"offsets": 2, "threads": 0},
        {"offsets": 2, "chunk_pairs": 2**32},
        {"offsets": 2, "into": np.zeros((1, 256, 256), np.int64)},
        {"offsets": 2, "into": np.zeros((2, 256, 256), np.int32)},
    ],
)
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError, match="want"):
        count_skipgrams(as_bytes(b"abc"), **wrong)


@settings(max_examples=30, deadline=None)
@given(texts.filter(bool))
def test_byte_counts_come_out_of_the_first_table(text):
    data = as_bytes(text)
    got = byte_counts(data, count_skipgrams(data, 2))
    np.testing.assert_array_equal(got, np.bincount(data, minlength=256))


def test_tally_is_what_was_counted():
    data = as_bytes(b"abcdefghij")
    with tally.listen() as heard:
        tables = count_skipgrams(data, 4, chunk_pairs=5)
    assert heard.by_name["count skip-bigrams"].int_ops == counting.PAIR_INT_OPS * tables.sum()
    # 9, 8, 7 and 6 pairs in chunks of 5 are 2 additions each
    assert heard.by_name["add up tables"].int_ops == 8 * 65536


def test_document_hash_matches_the_published_programs():
    codes = byte_codes("document", 8)
    known = {0: 50, 32: 10, 65: 37, 97: 144, 101: 4, 255: 184}
    assert {byte: int(codes[byte]) for byte in known} == known
    assert int(codes.sum()) == 34_622
    assert len(set(codes.tolist())) == 170
    assert len(set(byte_codes("document", 16).tolist())) == 253


def test_bijective_hash_tells_all_bytes_apart_and_mixes():
    signs = byte_signs("bijective", 32).astype(int)
    for lane in range(4):
        part = signs[:, 8 * lane : 8 * lane + 8]
        assert len({tuple(row) for row in part}) == 256
    assert (signs.sum(axis=0) == 0).all()
    # Walsh spectrum: no bit of the code is close to any parity of raw bits (256 is a copy)
    parity = np.array(
        [[(mask & byte).bit_count() % 2 for byte in range(256)] for mask in range(256)]
    )
    assert np.abs((1 - 2 * parity) @ signs).max() <= 60
    # and no two bits of the code are copies of each other
    overlap = np.abs(signs.T @ signs)
    assert (overlap[~np.eye(32, dtype=bool)] < 128).all()


@pytest.mark.parametrize("name", HASHES)
def test_narrow_codes_are_the_low_bits_of_wide_ones(name):
    wide = byte_codes(name, 32)
    for bits in (1, 5, 8, 17):
        np.testing.assert_array_equal(byte_codes(name, bits), wide & np.uint32(2**bits - 1))


def test_unknown_hash_and_impossible_width():
    with pytest.raises(UnknownNameError, match="bijective"):
        byte_signs("bijectiv", 8)
    for bits in (0, 33):
        with pytest.raises(ValueError, match="1 to 32"):
            byte_signs("document", bits)
