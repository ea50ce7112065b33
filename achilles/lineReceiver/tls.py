"""TLS 1.3 without a certificate authority: the server's certificate, and stdlib clients.

The certificate is made once per server, signed by itself, and proves nothing alone. The SCRAM
handshake inside the connection covers its hash (``tls-server-end-point``, RFC 5929), and that is what
tells the server from an impostor. So a client's context verifies no chain and no name, and nothing
may be said on a connection before its handshake is done.

Twisted's contexts are in :mod:`~achilles.lineReceiver.tls_twisted`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import ssl
import stat
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from achilles.errors import ConfigError

__all__ = ["ServerCertificate", "client_context", "end_point_binding", "fingerprint", "server_certificate"]

LIFETIME = timedelta(days=3652)


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A server's certificate and where its key lies.

    Attributes:
        pem_path: A file with the private key and the certificate, readable by its owner alone.
        der: The certificate as the peer sees it.
    """

    pem_path: Path
    der: bytes

    @property
    def binding(self) -> bytes:
        """What the handshake proofs cover."""
        return end_point_binding(self.der)


def end_point_binding(der: bytes) -> bytes:
    """The ``tls-server-end-point`` channel binding of a certificate.

    The hash is that of the certificate's signature (RFC 5929, section 4.1), and ours are all
    signed with SHA-256. Another signature means another certificate, whose binding differs anyhow.
    """
    return hashlib.sha256(der).digest()


def fingerprint(der: bytes) -> str:
    """The certificate's SHA-256 in hex, for people and connection files."""
    return hashlib.sha256(der).hexdigest()


def client_context() -> ssl.SSLContext:
    """A stdlib context for clients. Check the channel binding: this verifies nothing by itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def server_certificate(directory: Path, name: str) -> ServerCertificate:
    """The server's certificate, made at the first call.

    Args:
        directory: Where it is kept; made with mode 0700 if missing.
        name: Names the file, ``<name>.pem``.

    Raises:
        ConfigError: The file is broken, open to other users, or cannot be written.
    """
    if not name or name.startswith(".") or set(name) & set('/\\\0:*?"<>|'):
        raise ConfigError(f"{name!r} cannot be a file name", key="name")
    path = directory / f"{name}.pem"
    try:
        if not path.exists():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create(path)
        return _load(path)
    except OSError as error:
        raise ConfigError(
            f"the server's TLS certificate {path} cannot be read or written ({error.strerror}): "
            "make its directory writable",
            key="certificate",
            source=str(path),
        ) from error


def _load(path: Path) -> ServerCertificate:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

    mode = path.stat().st_mode
    if hasattr(os, "getuid") and stat.S_IMODE(mode) & 0o077:
        raise ConfigError(
            f"other users can read the TLS key {path}: delete it, and the server makes a new one",
            key="certificate",
            source=str(path),
        )
    content = path.read_bytes()
    try:
        key = load_pem_private_key(content, password=None)
        certificate = x509.load_pem_x509_certificate(content)
        matching = isinstance(key, EllipticCurvePrivateKey) and key.public_key() == certificate.public_key()
    except (ValueError, TypeError):
        matching = False
    if not matching:
        raise ConfigError(
            f"{path} is not a TLS key and certificate as this server makes them: delete it, and the "
            "server makes a new one",
            key="certificate",
            source=str(path),
        )
    return ServerCertificate(path, certificate.public_bytes(Encoding.DER))


def _create(path: Path) -> None:
    """Write a new key and certificate; if another process was faster, leave its file."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(_generate())
            file.flush()
            os.fsync(descriptor)
        try:
            # Unlike a rename, a link never replaces what another server has loaded already.
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:
            os.replace(temporary, path)  # a file system without hard links
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def _generate() -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "achilles")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks differ
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("achilles")]), critical=False)
        .sign(key, hashes.SHA256())  # end_point_binding relies on this hash
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem + certificate.public_bytes(Encoding.PEM)
