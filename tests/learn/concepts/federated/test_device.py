"""A client's state: versions, lost messages, and what survives being killed."""

import numpy as np
import pytest

from microdollar.errors import DeltaError
from microdollar.learn.concepts.codec import decode_delta, encode_delta
from microdollar.learn.concepts.core.layout import CoreConfig, fingerprint, initial
from microdollar.learn.concepts.federated.device import Device

CONFIG = CoreConfig(dim=8, width=4, heads=2, context=3)
START = initial(CONFIG)
N = CONFIG.n_params


def learned(device, seed):
    noise = np.random.default_rng(seed).standard_normal(N)
    return device.params + (0.01 * noise).astype(np.float32)


@pytest.fixture
def device():
    return Device.fresh(CONFIG, START)


def test_what_is_not_taken_in_is_sent_again(device):
    step = learned(device, 0) - device.params
    device.update(device.params + step, "topk-int8", 0.1)
    device.settle(taken=False)
    np.testing.assert_allclose(device.residual, step, rtol=1e-6, atol=1e-9)
    data = device.update(device.params, "topk-int8", 1.0)
    found = decode_delta(data, N, device.version) + device.residual
    np.testing.assert_allclose(found, step, rtol=1e-6, atol=1e-9)
    device.settle(taken=True)
    assert not device.pending and np.abs(device.residual).max() < 1e-3


def test_what_is_taken_in_leaves_only_what_coding_lost(device):
    step = learned(device, 1) - device.params
    data = device.update(device.params + step, "topk-int8", 0.1)
    sent = decode_delta(data, N, device.version)
    device.settle(taken=True)
    np.testing.assert_array_equal(sent + device.residual, (device.params + step) - device.params)


def test_the_state_survives_in_a_file(device, tmp_path):
    device.update(learned(device, 2), "int8", 1.0)
    path = tmp_path / "device.npz"
    device.save(path)
    again = Device.load(path, CONFIG, START + 5)
    assert again.version == device.version and again.pending_digest == device.pending_digest
    np.testing.assert_array_equal(again.params, device.params)
    np.testing.assert_array_equal(again.residual, device.residual)
    again.settle(taken=False)
    device.settle(taken=False)
    np.testing.assert_array_equal(again.residual, device.residual)
    fresh = Device.load(tmp_path / "none.npz", CONFIG, START)
    assert fresh.version == fingerprint(START, CONFIG) and not fresh.residual.any()


@pytest.mark.parametrize("place", [2, 300, -400])
def test_a_damaged_file_is_refused(device, tmp_path, place):
    path = tmp_path / "device.npz"
    device.save(path)
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DeltaError, match="Join as a new client"):
        Device.load(path, CONFIG, START)


def test_another_models_file_is_refused(device, tmp_path):
    path = tmp_path / "device.npz"
    device.save(path)
    with pytest.raises(DeltaError, match="another model's"):
        Device.load(path, CoreConfig(dim=8, width=4, heads=2, context=4), START)


def test_a_wrong_version_leaves_the_device_as_it_was(device):
    step = encode_delta(learned(device, 3) - START, method="fp32", base_fingerprint=device.version)
    after = fingerprint(START, CONFIG)[::-1]
    for chain, whole in [([step], b""), ([step, step], b""), ([], (START + 1).tobytes())]:
        with pytest.raises(DeltaError, match=r"leads to|for the model"):
            device.catch_up(chain, whole, after)
    with pytest.raises(DeltaError, match="7 bytes came"):
        device.catch_up([], b"1234567", after)
    broken = START.copy()
    broken[0] = np.nan
    with pytest.raises(DeltaError):
        device.catch_up([], broken.tobytes(), fingerprint(broken, CONFIG))
    np.testing.assert_array_equal(device.params, START)
    assert device.version == fingerprint(START, CONFIG)


def test_diverged_training_is_not_sent(device):
    bad = START.copy()
    bad[3] = np.inf
    with pytest.raises(DeltaError, match="value 3"):
        device.update(bad, "topk-int8", 0.1)
    assert not device.pending and not device.residual.any()
