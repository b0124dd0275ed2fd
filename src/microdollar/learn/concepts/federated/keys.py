"""Certificates and keys of a federation: its own authority, a server, a key for each client.

Private keys are OpenSSH files of the curve P-384, which Flower's own programs read too; the
authority's and the server's are PEM. Nothing here leaves the machine: a client makes its key
pair itself and hands in the public half; the operator puts it into the server's folder
``clients/``, and gives the client ``ca.pem``.
"""

import datetime
import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from microdollar.errors import MissingExtraError, UsageError
from microdollar.files import whole_file

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

AUTHORITY = "ca.pem"
"""Certificate that clients check the server's against."""
CLIENTS = "clients"
"""Folder of the public keys that may take part, one ``NAME.pub`` each."""
PRIVATE, PUBLIC = "client.key", "client.pub"
_AUTHORITY_KEY, _SERVER, _SERVER_KEY = "ca.key", "server.pem", "server.key"
_YEARS = datetime.timedelta(days=3650)
_SERVER_DAYS = datetime.timedelta(days=397)  # what browsers accept; made anew at every start


def make_client_key(folder: Path) -> Path:
    """Make a client's key pair, unless it has one.

    Returns:
        Path of the public key, which the server's operator needs.

    Raises:
        MissingExtraError: without the ``federated`` extra.
    """
    with _cryptography():
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

    private, public = folder / PRIVATE, folder / PUBLIC
    folder.mkdir(parents=True, exist_ok=True)
    if not private.exists():
        key = ec.generate_private_key(ec.SECP384R1())
        _write_secret(
            private,
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            ),
        )
    with whole_file(public, "wb") as out:
        out.write(
            load_client_key(private)
            .public_key()
            .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        )
    return public


def load_client_key(path: Path) -> "ec.EllipticCurvePrivateKey":
    """A client's private key.

    Raises:
        UsageError: if there is none, or it is of another kind.
    """
    with _cryptography():
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_ssh_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(
            f"{path} is no private key in OpenSSH's format without a password "
            f"({str(error)[:80]}). Make one first and give its public half to the server."
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UsageError(f"{path} is a {type(key).__name__}; an elliptic-curve key is needed.")
    return key


def client_public_keys(folder: Path) -> dict[str, bytes]:
    """Public keys that may take part, as Flower sends them (PEM), by client.

    Raises:
        UsageError: if there is none, one is malformed, or two clients have the same.
    """
    with _cryptography():
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

    found: dict[str, bytes] = {}
    for path in sorted((folder / CLIENTS).glob("*.pub")):
        try:
            key = serialization.load_ssh_public_key(path.read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise UsageError(f"{path} is no public key ({str(error)[:80]}). Remove it.") from error
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise UsageError(f"{path} is a {type(key).__name__}; an elliptic-curve key is needed.")
        pem = key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        if pem in found.values():
            raise UsageError(f"{path} is the key of another client too. Each needs its own.")
        found[path.stem] = pem
    if not found:
        raise UsageError(
            f"{folder / CLIENTS} has no public keys (NAME.pub), so nobody could take part. "
            "Put those of the clients there."
        )
    return found


def server_certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """A fresh certificate of the server for a host, and its key; the authority's if need be.

    Args:
        folder: of the server.
        host: name or address under which clients reach it.

    Returns:
        Paths of the certificate and of the private key.

    Raises:
        MissingExtraError: without the ``federated`` extra.
    """
    with _cryptography():
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

    folder.mkdir(parents=True, exist_ok=True)
    authority, authority_key = _authority(folder)
    key = ec.generate_private_key(ec.SECP384R1())
    try:
        names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(host))]
    except ValueError:
        names = [x509.DNSName(host)]
    certificate = (
        _builder("microdollar federation server", authority.subject, key.public_key(), _SERVER_DAYS)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA384())
    )
    with whole_file(folder / _SERVER, "wb") as out:
        out.write(certificate.public_bytes(serialization.Encoding.PEM))
    _write_secret(folder / _SERVER_KEY, _pem(key))
    return folder / _SERVER, folder / _SERVER_KEY


def _authority(folder: Path) -> "tuple[x509.Certificate, ec.EllipticCurvePrivateKey]":
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    path, key_path = folder / AUTHORITY, folder / _AUTHORITY_KEY
    if path.exists() and key_path.exists():
        key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return x509.load_pem_x509_certificate(path.read_bytes()), key
    fresh = ec.generate_private_key(ec.SECP384R1())
    name = "microdollar federation"
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _builder(name, None, fresh.public_key(), _YEARS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(fresh, hashes.SHA384())
    )
    _write_secret(key_path, _pem(fresh))
    with whole_file(path, "wb") as out:
        out.write(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate, fresh


def _builder(
    name: str,
    issuer: "x509.Name | None",
    public_key: "ec.EllipticCurvePublicKey",
    valid: datetime.timedelta,
) -> "x509.CertificateBuilder":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))  # clocks differ
        .not_valid_after(now + valid)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _pem(key: "ec.EllipticCurvePrivateKey") -> bytes:
    from cryptography.hazmat.primitives import serialization

    found: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return found


def _write_secret(path: Path, data: bytes) -> None:
    """Whole or not at all, and readable by the owner alone from the first byte on."""
    fresh = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


@contextmanager
def _cryptography() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise MissingExtraError("cryptography", "federated", "certificates and keys") from error
