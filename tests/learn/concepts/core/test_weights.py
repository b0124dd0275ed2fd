"""A model's file: what is read is what was written, and everything else is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microdollar.errors import ModelFileError
from microdollar.learn.concepts.core.layout import CoreConfig, initial
from microdollar.learn.concepts.core.weights import MAGIC, Weights, load_weights, save_weights

CONFIG = CoreConfig(dim=6, width=4, heads=2, context=3, gain=0.3)
WEIGHTS = Weights(config=CONFIG, params=initial(CONFIG, 1), encoder="abc")


@pytest.fixture
def file(tmp_path):
    save_weights(tmp_path / "model", WEIGHTS)
    return tmp_path / "model"


def test_comes_back_bit_for_bit(file):
    found = load_weights(file)
    assert (found.config, found.encoder) == (CONFIG, "abc")
    assert found.params.dtype == np.float32
    assert found.params.tobytes() == WEIGHTS.params.tobytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.data())
def test_a_changed_or_cut_file_is_refused(file, data):
    whole = file.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        # The encoder is not hashed, so leave its three letters alone.
        start = whole.index(b'"abc"')
        if start <= place < start + 5:
            return
        flipped = whole[place] ^ (1 << data.draw(st.integers(0, 7)))
        broken = whole[:place] + bytes([flipped]) + whole[place + 1 :]
    else:
        broken = whole[:place]
    other = file.with_name("broken")
    other.write_bytes(broken)
    try:
        found = load_weights(other)
    except ModelFileError as error:
        assert str(other) in str(error)
    else:  # a change of blanks between two entries, or of a key's escape
        assert found.params.tobytes() == WEIGHTS.params.tobytes()
        assert found.config == CONFIG


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"dim": 10**9}, "bytes of parameters"),
        ({"dim": -1}, "dim"),
        ({"heads": 3}, "3 heads"),
        ({"width": "4"}, "width"),
        ({"depth": 1}, "config"),
    ],
)
def test_a_hostile_config_costs_an_error(file, config, said):
    whole = file.read_bytes()
    size = int.from_bytes(whole[len(MAGIC) : len(MAGIC) + 4], "little")
    header = json.loads(whole[len(MAGIC) + 4 : len(MAGIC) + 4 + size])
    header["config"] |= config
    raw = json.dumps(header).encode()
    rest = whole[len(MAGIC) + 4 + size :]
    file.write_bytes(MAGIC + len(raw).to_bytes(4, "little") + raw + rest)
    with pytest.raises(ModelFileError, match=said):
        load_weights(file)


def test_a_failed_write_leaves_the_old_file(file, tmp_path):
    before = file.read_bytes()
    with pytest.raises(ModelFileError, match="can't write"):
        save_weights(tmp_path / "none" / "model", WEIGHTS)
    wrong = replace(WEIGHTS, params=WEIGHTS.params[1:])
    with pytest.raises(Exception, match="float32 parameters"):
        save_weights(file, wrong)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_missing_file(tmp_path):
    with pytest.raises(ModelFileError, match="can't read"):
        load_weights(tmp_path / "none")
