"""Certificates and keys of a federation."""

import ssl
import stat

import pytest

pytest.importorskip("cryptography")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from microdollar.errors import UsageError
from microdollar.learn.concepts.federated.keys import (
    AUTHORITY,
    CLIENTS,
    PRIVATE,
    client_public_keys,
    load_client_key,
    make_client_key,
    server_certificate,
)


def register(tmp_path, *names):
    (tmp_path / "server" / CLIENTS).mkdir(parents=True, exist_ok=True)
    for name in names:
        public = make_client_key(tmp_path / name)
        (tmp_path / "server" / CLIENTS / f"{name}.pub").write_bytes(public.read_bytes())
    return tmp_path / "server"


def test_a_key_is_made_once_and_read_by_its_owner_alone(tmp_path):
    public = make_client_key(tmp_path / "a")
    first = public.read_bytes()
    assert make_client_key(tmp_path / "a").read_bytes() == first
    private = tmp_path / "a" / PRIVATE
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert load_client_key(private).curve.name == "secp384r1"


def test_the_server_knows_the_keys_by_name(tmp_path):
    folder = register(tmp_path, "ann", "bob")
    found = client_public_keys(folder)
    assert list(found) == ["ann", "bob"]
    own = load_client_key(tmp_path / "bob" / PRIVATE).public_key()
    assert found["bob"] == own.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_bad_keys_are_named(tmp_path):
    with pytest.raises(UsageError, match="no public keys"):
        client_public_keys(tmp_path)
    folder = register(tmp_path, "ann")
    twin = folder / CLIENTS / "twin.pub"
    twin.write_bytes((folder / CLIENTS / "ann.pub").read_bytes())
    with pytest.raises(UsageError, match=r"twin\.pub is the key of another"):
        client_public_keys(folder)
    twin.write_text("no key")
    with pytest.raises(UsageError, match=r"twin\.pub is no public key"):
        client_public_keys(folder)
    other = ed25519.Ed25519PrivateKey.generate()
    twin.write_bytes(
        other.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
    )
    with pytest.raises(UsageError, match="elliptic-curve key is needed"):
        client_public_keys(folder)
    with pytest.raises(UsageError, match="Make one first"):
        load_client_key(tmp_path / "none")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "example.org"])
def test_the_servers_certificate_is_the_authoritys(tmp_path, host):
    certificate, key = server_certificate(tmp_path, host)
    first = (tmp_path / AUTHORITY).read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    certificate, key = server_certificate(tmp_path, host)
    assert (tmp_path / AUTHORITY).read_bytes() == first
    # A handshake in memory, as strict as the library knows.
    client = ssl.create_default_context(cafile=str(tmp_path / AUTHORITY))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    assert shake_hands(client, server, host)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client, server, "elsewhere.org")


def shake_hands(client, server, host):
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=host)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    done = set()
    for _ in range(20):
        for name, side in (("client", ours), ("server", theirs)):
            try:
                side.do_handshake()
                done.add(name)
            except ssl.SSLWantReadError:
                pass
        if len(done) == 2:
            return True
    return False
