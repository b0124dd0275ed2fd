"""The history of a model: the same bits back, whatever happens to the process or the file."""

import multiprocessing
import os
import shutil
import signal
import time

import numpy as np
import pytest

from microdollar.errors import DeltaError, JournalError
from microdollar.learn.concepts import journal as module
from microdollar.learn.concepts.codec import encode_delta
from microdollar.learn.concepts.core.layout import CoreConfig, fingerprint, initial
from microdollar.learn.concepts.journal import Journal, apply_delta, repair
from microdollar.learn.concepts.journal_file import RecordFile

CONFIG = CoreConfig(dim=8, width=8, heads=2, context=3)
TINY = CoreConfig(dim=2, width=2, heads=1, context=1)
LARGER = CoreConfig(dim=96, width=64, heads=2, context=3)
KINDS = [("fp32", 1.0), ("fp16", 1.0), ("int8", 1.0), ("topk-int8", 0.05)]


def delta_for(params, seed, method="topk-int8", share=0.05, config=CONFIG):
    change = 1e-2 * np.random.default_rng(seed).standard_normal(len(params), np.float32)
    return encode_delta(
        change, method=method, share=share, base_fingerprint=fingerprint(params, config)
    )


def grown(path, count):
    """A journal with ``count`` deltas; the journal and the state that each entry left."""
    params = initial(CONFIG)
    journal = Journal.create(path, CONFIG, params, encoder="e" * 64)
    states = {0: params.copy()}
    for step in range(count):
        method, share = KINDS[step % len(KINDS)]
        entry = journal.append(delta_for(params, step, method, share), params, {"gain": 0.01})
        states[entry.index] = params.copy()
        states[journal.head.index] = params.copy()  # a checkpoint may follow
    return journal, states


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.journal"


def same(a, b):
    return a.tobytes() == b.tobytes()


class TestHistory:
    def test_every_state_comes_back_bit_for_bit(self, path):
        journal, states = grown(path, 40)
        kinds = {entry.kind for entry in journal.entries}
        assert kinds == {"base", "delta", "checkpoint"}
        with journal:
            for index, state in states.items():
                assert same(journal.restore(index), state)
                assert same(journal.restore(journal.entries[index].hash[:8]), state)
        with Journal.open(path, write=False) as again:
            assert [e.hash for e in again.entries] == [e.hash for e in journal.entries]
            for index, state in states.items():
                assert same(again.restore(index), state)

    def test_the_sum_is_float32_of_before_and_decoded(self, path):
        params = initial(CONFIG)
        journal = Journal.create(path, CONFIG, params)
        change = np.full(len(params), 1e-3, np.float32)
        delta = encode_delta(change, method="fp32", base_fingerprint=journal.head.after)
        journal.append(delta, params, {})
        assert same(params, initial(CONFIG) + change)
        journal.close()

    def test_few_deltas_lie_between_a_state_and_its_checkpoint(self, path):
        journal, _ = grown(path, 70)
        with journal:
            run = longest = 0
            for entry in journal.entries:
                run = run + 1 if entry.kind == "delta" else 0
                longest = max(longest, run)
            assert longest <= module.CHECKPOINT_EVERY

    def test_large_deltas_make_checkpoints_sooner(self, path):
        params = initial(CONFIG)
        with Journal.create(path, CONFIG, params) as journal:
            for step in range(6):
                journal.append(delta_for(params, step, "fp32"), params, {})
            kinds = [entry.kind for entry in journal.entries[1:]]
        assert kinds == ["delta", "delta", "checkpoint"] * 3

    def test_rollback_is_journalled_and_can_be_undone(self, path):
        journal, states = grown(path, 9)
        last = journal.head.index
        assert same(journal.rollback("base"), states[0])
        assert journal.head.kind == "rollback"
        assert journal.head.after == journal.entries[0].after
        params = journal.restore()
        journal.append(delta_for(params, 99), params, {})
        branch = journal.head.index
        assert same(journal.rollback(last), states[last])
        assert same(journal.restore(branch), params)
        assert same(journal.rollback(branch), params)
        journal.close()
        with Journal.open(path) as again:
            assert same(again.restore(), params)
            assert same(again.restore(3), states[3])
            before = len(again.entries)
            again.rollback(again.head.index)  # already there
            assert len(again.entries) == before

    def test_entries_tell_what_happened(self, path):
        journal, _ = grown(path, 3)
        with journal:
            base, *deltas = journal.entries
            assert (base.kind, base.delta_bytes, base.to) == ("base", 0, None)
            assert all(entry.gate == {"gain": 0.01} and entry.delta_bytes for entry in deltas)
            assert abs(journal.head.time - time.time()) < 600
            assert journal.encoder == "e" * 64

    def test_a_model_of_the_default_size(self, path):
        config = CoreConfig()
        params = initial(config)
        with Journal.create(path, config, params) as journal:
            change = 1e-3 * np.random.default_rng(0).standard_normal(len(params), np.float32)
            delta = encode_delta(change, share=0.01, base_fingerprint=journal.head.after)
            journal.append(delta, params, {})
            assert same(journal.restore(), params)
            assert same(journal.rollback("base"), initial(config))


class TestRefused:
    def test_names_that_are_not_there(self, path):
        journal, _ = grown(path, 3)
        with journal:
            for to in (4, -1, "17", "abcdef01" * 8, journal.head.hash[:7], "x", ""):
                with pytest.raises(JournalError, match=r"entries|entry"):
                    journal.rollback(to)
            assert len(journal.entries) == 4

    def test_a_second_writer_until_the_first_is_gone(self, path):
        journal, _ = grown(path, 2)
        with pytest.raises(JournalError, match="another process"):
            Journal.open(path)
        with pytest.raises(JournalError, match="another process"):
            repair(path)
        with Journal.open(path, write=False) as reader:  # readers may
            assert reader.head.hash == journal.head.hash
        journal.close()
        Journal.open(path).close()

    def test_deltas_and_parameters_of_another_state(self, path):
        journal, states = grown(path, 3)
        size = path.stat().st_size
        now, old = states[3].copy(), states[1]
        with journal:
            with pytest.raises(JournalError, match="not the state"):
                journal.append(delta_for(old, 1), old.copy(), {})
            with pytest.raises(DeltaError, match="Bring both"):
                journal.append(delta_for(old, 1), now, {})
            with pytest.raises(DeltaError):
                journal.append(delta_for(now, 1)[:-1], now, {})
            with pytest.raises(JournalError, match="float32 parameters"):
                journal.append(b"", now[1:], {})
            with pytest.raises(JournalError, match="finite"):
                journal.append(b"", np.full_like(now, np.nan), {})
            assert path.stat().st_size == size
            assert same(now, states[3])
            assert same(journal.restore(), states[3])

    def test_numbers_of_the_gate_that_are_none(self, path):
        journal, states = grown(path, 1)
        params, size = states[1].copy(), path.stat().st_size
        with journal, pytest.raises(ValueError, match="JSON"):
            journal.append(delta_for(params, 5), params, {"gain": float("nan")})
        assert path.stat().st_size == size
        assert same(params, states[1])

    def test_another_encoder(self, path):
        grown(path, 1)[0].close()
        with pytest.raises(JournalError, match="encoder"):
            Journal.open(path, encoder="f" * 64)
        Journal.open(path, encoder="e" * 64).close()

    def test_what_is_no_journal(self, path, tmp_path):
        with pytest.raises(JournalError, match="no such"):
            Journal.open(path)
        with pytest.raises(JournalError, match="regular"):
            Journal.open(tmp_path)
        for content in (b"", b"MDJ", b"\x00" * 999, os.urandom(999)):
            path.write_bytes(content)
            with pytest.raises(JournalError, match="entry"):
                Journal.open(path)
            with pytest.raises(JournalError, match="nothing can be restored"):
                repair(path)
            assert path.read_bytes() == content

    def test_an_existing_file_is_never_overwritten(self, path):
        path.write_text("mine")
        with pytest.raises(JournalError, match="exists"):
            Journal.create(path, CONFIG, initial(CONFIG))
        assert path.read_text() == "mine"
        assert list(path.parent.iterdir()) == [path]

    def test_a_base_that_is_not_finite_or_of_another_size(self, path):
        with pytest.raises(JournalError, match="finite"):
            Journal.create(path, CONFIG, np.full(CONFIG.n_params, np.inf, np.float32))
        with pytest.raises(JournalError, match="float32 parameters"):
            Journal.create(path, CONFIG, np.zeros(3, np.float32))
        assert not path.exists()

    def test_entries_with_sound_hashes_that_do_not_follow(self, path):
        journal, _ = grown(path, 2)
        head = journal.head
        journal.close()
        whole = path.read_bytes()
        good = {"previous": head.hash, "before": head.after, "after": head.after, "time": 0.0}
        for meta in (
            good | {"kind": "base"},
            good | {"kind": "checkpoint"},  # without its bytes
            good | {"kind": "rollback", "to": 0},  # the base has another fingerprint
            good | {"kind": "rollback", "to": 9},
            good | {"kind": "delta", "previous": "0" * 64},
            good | {"kind": "delta", "before": "0" * 64},
            good | {"kind": "else"},
            {"kind": "delta"},
        ):
            file = RecordFile(path, write=True)
            file.append(meta, b"")
            file.close()
            with pytest.raises(JournalError, match=r"another program|did not write"):
                Journal.open(path)
            path.write_bytes(whole)


class TestKilled:
    @pytest.mark.parametrize("last", ["delta", "checkpoint"])
    def test_cut_at_every_byte_of_the_last_entry(self, path, tmp_path, last):
        params = initial(TINY)
        states = [params.copy()]
        with Journal.create(path, TINY, params) as journal:
            while journal.head.kind != last:
                journal.append(delta_for(params, 0, "int8", config=TINY), params, {})
                states.extend([params.copy()] * (len(journal.entries) - len(states)))
            start, before = journal._file.records[-2].end, journal.head.index - 1
        whole = path.read_bytes()
        cut = tmp_path / "cut.journal"
        for length in range(start, len(whole)):
            cut.write_bytes(whole[:length])
            with Journal.open(cut, write=False) as reader:  # reading changes nothing
                assert reader.torn_bytes == length - start
                assert same(reader.restore(), states[before])
            assert cut.stat().st_size == length
            if length % 8:
                continue
            with Journal.open(cut) as found:
                assert found.head.index == before
                assert found.torn_bytes == length - start
                params = found.restore()
                assert same(params, states[before])
                found.append(delta_for(params, 4, config=TINY), params, {})
            with Journal.open(cut) as found:
                assert same(found.restore(), params)

    def test_killed_at_any_moment(self, path):
        """Whatever was acknowledged before SIGKILL is there, and what is there is whole."""
        params = initial(LARGER)
        Journal.create(path, LARGER, params).close()
        fork = multiprocessing.get_context("fork")
        rng = np.random.default_rng(0)
        for _ in range(40):
            reading, writing = fork.Pipe(duplex=False)
            child = fork.Process(target=_write_for_ever, args=(path, writing))
            child.start()
            writing.close()
            acknowledged = reading.recv()
            time.sleep(rng.uniform(0, 0.01))
            os.kill(child.pid, signal.SIGKILL)
            child.join()
            try:
                while True:
                    acknowledged = reading.recv()
            except EOFError:
                pass
            reading.close()
            with Journal.open(path) as found:
                index, after = acknowledged
                assert found.head.index >= index
                assert found.entries[index].after == after
                assert fingerprint(found.restore(), LARGER) == found.head.after
                assert fingerprint(found.restore(index), LARGER) == after

    def test_a_full_disk_leaves_the_journal_as_it_was(self, path, monkeypatch):
        journal, states = grown(path, 2)
        size, params = path.stat().st_size, states[2].copy()
        delta = delta_for(params, 7)

        def full(descriptor):
            raise OSError(28, "No space left on device")

        with journal:
            with monkeypatch.context() as patched:
                patched.setattr("os.fsync", full)
                with pytest.raises(JournalError, match="No space left"):
                    journal.append(delta, params, {})
            assert path.stat().st_size == size
            assert same(params, states[2])
            journal.append(delta, params, {})
            assert same(journal.restore(), params)


class TestDamage:
    def test_a_flipped_bit_anywhere_is_refused_and_repair_keeps_what_is_before(self, path):
        journal, states = grown(path, 6)
        ends = [record.end for record in journal._file.records]
        journal.close()
        whole = path.read_bytes()
        rng = np.random.default_rng(1)
        places = [*rng.integers(ends[0], len(whole), 60), *range(ends[2], ends[2] + 40)]
        for place in map(int, places):
            damaged = next(i for i, end in enumerate(ends) if place < end)
            wrong = bytearray(whole)
            wrong[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(wrong)
            with pytest.raises(JournalError, match=f"entry {damaged} is damaged") as info:
                Journal.open(path)
            assert info.value.entry == damaged
            assert "restored" in str(info.value)
            assert path.read_bytes() == wrong
            kept, aside = repair(path)
            assert kept == damaged
            assert aside.read_bytes() == wrong
            aside.unlink()
            with Journal.open(path) as found:
                assert same(found.restore(), states[damaged - 1])

    def test_a_removed_or_moved_entry_is_refused(self, path):
        journal, _ = grown(path, 4)
        ends = [record.end for record in journal._file.records]
        journal.close()
        whole = path.read_bytes()
        without = whole[: ends[1]] + whole[ends[2] :]
        swapped = (
            whole[: ends[1]] + whole[ends[2] : ends[3]] + whole[ends[1] : ends[2]]
            + whole[ends[3] :]
        )  # fmt: skip
        for wrong in (without, swapped):
            path.write_bytes(wrong)
            with pytest.raises(JournalError, match="entry 2 is damaged"):
                Journal.open(path)

    def test_a_damaged_base_can_not_be_repaired(self, path):
        grown(path, 2)[0].close()
        wrong = bytearray(path.read_bytes())
        wrong[600] ^= 1
        path.write_bytes(wrong)
        for use in (Journal.open, repair):
            with pytest.raises(JournalError, match="othing can be restored"):
                use(path)

    def test_a_sound_journal_is_repaired_by_doing_nothing(self, path):
        grown(path, 4)[0].close()
        whole = path.read_bytes()
        assert repair(path) == (5, None)
        assert path.read_bytes() == whole

    def test_damage_while_it_is_open_is_found_before_anything_is_returned(self, path):
        journal, _ = grown(path, 4)
        with journal:
            record = journal._file.records[3]
            with path.open("r+b") as file:
                file.seek(record.payload_start + record.payload_bytes // 2)
                byte = file.read(1)
                file.seek(-1, 1)
                file.write(bytes([byte[0] ^ 1]))
            with pytest.raises(JournalError, match="damaged"):
                journal.rollback(4)
            shutil.copy(path, path.with_suffix(".copy"))
            os.truncate(path, record.payload_start)
            with pytest.raises(JournalError, match="too early"):
                journal.restore(3)


def test_apply_delta_leaves_its_arguments_alone():
    params = initial(CONFIG)
    kept = params.copy()
    after = apply_delta(delta_for(params, 0), params, fingerprint(params, CONFIG))
    assert same(params, kept)
    assert not same(after, params)


def test_a_sum_that_is_not_finite_is_refused(path):
    params = np.full(CONFIG.n_params, 3e38, np.float32)
    delta = encode_delta(params, method="fp32", base_fingerprint=fingerprint(params, CONFIG))
    with Journal.create(path, CONFIG, params) as journal:
        with pytest.raises(DeltaError, match="finite"):
            journal.append(delta, params, {})
        assert len(journal.entries) == 1
        assert same(journal.restore(), params)


def _write_for_ever(path, acknowledge):
    """Append deltas and checkpoints, telling of each that is on the disk."""
    journal = Journal.open(path)
    params = journal.restore()
    for step in range(10**9):
        if step % 7 == 6:
            params = journal.rollback(max(0, journal.head.index - 3))
        else:
            delta = delta_for(params, step, *KINDS[step % 4], config=LARGER)
            journal.append(delta, params, {"step": step})
        acknowledge.send((journal.head.index, journal.head.after))
