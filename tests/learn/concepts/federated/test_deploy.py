"""A federation over real sockets with TLS: strangers are refused, the killed lose nothing."""

import ssl
import subprocess
import sys
import threading
import time
from http.client import HTTPSConnection

import numpy as np
import pytest

pytest.importorskip("flwr")

from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE

from microdollar.errors import FederationError, UsageError
from microdollar.learn.concepts.federated.deploy import join, local_privacy, serve_federated
from microdollar.learn.concepts.federated.device import Device
from microdollar.learn.concepts.federated.keys import make_client_key, server_certificate
from microdollar.learn.concepts.journal import Journal

from . import party

ROUNDS, CLIENTS = 4, 3


def wait_for(what, *processes):
    """Until it holds; a process that has ended with an error is one here, too."""
    for _ in range(1200):
        if what():
            return
        assert all(process.poll() in (None, 0) for process in processes)
        time.sleep(0.05)
    raise AssertionError("waited in vain")


class Federation:
    """Its folders and processes."""

    def __init__(self, folder):
        self.folder, self.server_folder = folder, folder / "server"
        self.authority = self.server_folder / "ca.pem"
        (self.server_folder / "clients").mkdir(parents=True)
        self.processes, self.threads = [], []
        for number in range(CLIENTS):
            public = make_client_key(self.client_folder(number))
            (self.server_folder / "clients" / f"{number}.pub").write_bytes(public.read_bytes())

    def client_folder(self, number):
        return self.folder / f"client-{number}"

    def start(self, *arguments):
        command = [sys.executable, party.__file__, *map(str, arguments)]
        with (self.folder / "log").open("a") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def serve(self, port=0):
        ready = self.server_folder / "port"
        ready.unlink(missing_ok=True)
        journal = self.folder / "journal"
        server = self.start("server", self.server_folder, journal, port, ROUNDS)
        wait_for(ready.exists, server)
        return server, int(ready.read_text() or ready.read_text())

    def client(self, number, port):
        folder = self.client_folder(number)
        return self.start("client", folder, port, self.authority, number)

    def client_here(self, number, port):
        """In a thread of this process, since starting one takes seconds."""
        arguments = (self.client_folder(number), port, self.authority, number)
        thread = threading.Thread(target=party.client, args=arguments, daemon=True)
        thread.start()
        self.threads.append(thread)

    def done(self):
        path = self.server_folder / "done"
        return int(path.read_text() or 0) if path.exists() else 0

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()
        for thread in self.threads:
            thread.join(timeout=30)


@pytest.fixture
def federation(tmp_path):
    found = Federation(tmp_path)
    yield found
    found.close()


def test_nothing_is_lost_and_nobody_comes_in(federation):
    Journal.create(federation.folder / "journal", party.CONFIG, party.START).close()
    server, port = federation.serve()
    strangers_are_refused(federation, port)
    # One client hangs in its first round, is killed there, and started again.
    (federation.client_folder(1) / "hang").touch()
    client = federation.client(1, port)
    federation.client_here(0, port)
    federation.client_here(2, port)
    wait_for((federation.client_folder(1) / "hanging").exists, server, client)
    client.kill()
    client.wait()
    (federation.client_folder(1) / "hang").unlink()
    client = federation.client(1, port)
    # The server is killed after its second round, and started again.
    wait_for(lambda: federation.done() >= 2, server, client)
    server.kill()
    server.wait()
    server, _ = federation.serve(port)
    finals = [federation.client_folder(number) / "final.npy" for number in range(CLIENTS)]
    wait_for(lambda: all(path.exists() for path in finals), server, client)
    wait_for(lambda: server.poll() == client.poll() == 0, server, client)
    everything_counts_once(federation)


def strangers_are_refused(federation, port):
    arguments = {"config": party.CONFIG, "params": party.START, "wait_seconds": 30.0}
    address, folder = f"127.0.0.1:{port}", federation.folder / "stranger"
    learner = party.Counter(folder, 5)
    with pytest.raises(UsageError, match="Make one first"):
        join(folder, address, federation.authority, learner=learner, **arguments)
    make_client_key(folder)
    with pytest.raises(FederationError, match="refuses this client"):
        join(folder, address, federation.authority, learner=learner, **arguments)
    with pytest.raises(UsageError, match=r"Get the server's ca\.pem"):
        join(folder, address, folder / "ca.pem", learner=learner, **arguments)
    server_certificate(federation.folder / "elsewhere", "127.0.0.1")
    other = federation.folder / "elsewhere" / "ca.pem"
    with pytest.raises(FederationError, match="did not sign"):
        join(federation.client_folder(0), address, other, learner=learner, **arguments)
    # Neither Flower's control API nor endless bodies: there a key could be registered.
    context = ssl.create_default_context(cafile=str(federation.authority))
    for path, size, status in [
        ("/v1/control/register-node", 10, 404),
        ("/v1/control/start-run", 10, 404),
        ("/v1/runtime/acquire-task", 10, 404),
        ("/docs", 0, 404),
        ("/v1/fleet/push-object", 10**9, 413),
        ("/v1/fleet/pull-messages", 10, 400),
    ]:
        connection = HTTPSConnection("127.0.0.1", port, context=context, timeout=30)
        connection.putrequest("POST", path)
        connection.putheader("content-type", PROTOBUF_MEDIA_TYPE)
        connection.putheader("content-length", str(size))
        connection.endheaders(b"\xff" * min(size, 10))
        with connection.getresponse() as response:
            assert response.status == status
        connection.close()


def everything_counts_once(federation):
    with Journal.open(federation.folder / "journal") as journal:
        params = journal.restore()
        assert sum(entry.kind == "delta" for entry in journal.entries) == ROUNDS
    moved = params.astype(float) - party.START
    for number in range(CLIENTS):
        folder = federation.client_folder(number)
        np.testing.assert_array_equal(np.load(folder / "final.npy"), params)
        device = Device.load(folder / "device.npz", party.CONFIG, party.START)
        # Each round is the mean of three: a client's steps are in the model, or still with it.
        learned = len((folder / "learned").read_text()) * float(party.STEP)
        kept = float(device.residual[number])
        assert 3 * moved[number] + kept == pytest.approx(learned, abs=1e-5)
        assert learned >= ROUNDS * party.STEP


def test_a_server_without_clients_says_so(tmp_path):
    Journal.create(tmp_path / "journal", party.CONFIG, party.START).close()
    arguments = {"rules": party.RULES, "rounds": 1, "wait_seconds": 0.0}
    with Journal.open(tmp_path / "journal") as journal:
        with pytest.raises(UsageError, match="no public keys"):
            serve_federated(tmp_path, journal, **arguments)
        (tmp_path / "clients").mkdir()
        public = make_client_key(tmp_path / "a")
        (tmp_path / "clients" / "a.pub").write_bytes(public.read_bytes())
        with pytest.raises(UsageError, match="0 clients are connected, 3 are needed"):
            serve_federated(tmp_path, journal, **arguments)


@pytest.mark.parametrize("numbers", [(0, 1, 0.1), (1, 0, 0.1), (1, 2, 0.1), (1, 1, 0), (1, 1, 1)])
def test_privacy_without_a_guarantee_is_refused(numbers):
    with pytest.raises(UsageError, match="give no privacy"):
        local_privacy(*numbers)
