"""The network of the document in numbers, against sums by hand."""

from microdollar.claims.experiments.base import Context
from microdollar.claims.experiments.hashes import run
from microdollar.learn.counts.hashing import byte_signs


def test_sizes_are_those_of_an_elman_network_of_128_units():
    found = run(Context())
    assert found["parameters"].value == 2 * 128 * 256 + 128 * 128 + 128 + 256 == 82_304


def test_bytes_that_share_a_code_are_counted_one_against_all_others():
    codes = [tuple(signs) for signs in byte_signs("document", 8).tolist()]
    sharing = sum(
        any(code == other for j, other in enumerate(codes) if j != i)
        for i, code in enumerate(codes)
    )
    found = run(Context())
    assert found["sharing"].value == sharing
    assert found["mixed"].value == len(set(codes))
    # Every byte has a code of its own or shares one.
    assert sharing > 256 - found["mixed"].value
