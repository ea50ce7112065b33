"""The client's half of SCRAM-SHA-256 and its -PLUS variant (RFC 5802, RFC 7677).

Own code, since connecting with an unchanged key should not compute the same salted key again: that is
PBKDF2 with thousands of rounds. RFC 5802 lets a client keep it. The server's half is `scramp`'s.

Rules:

* A salted key is remembered only after the server has proven that it knows it too, so a stranger
  who invents salts makes this process forget nothing.
* What is remembered is found by a hash under a secret of this process, never by the key itself.
* Anything that is not as the RFC says raises ValueError, without a word of the exchange in it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import threading
from collections import OrderedDict

__all__ = ["MAX_REMEMBERED", "ScramClient", "prepared"]

MAX_REMEMBERED = 32
MIN_ITERATIONS = 4096
MIN_SALT_BYTES = 12

_SECRET = secrets.token_bytes(32)
_lock = threading.Lock()
#: hash of (key, salt, iterations) -> (client key, server key)
_remembered: OrderedDict[bytes, tuple[bytes, bytes]] = OrderedDict()


def prepared(text: str) -> str:
    """A name or key in the form that SCRAM compares: SASLprep (RFC 4013).

    Raises:
        ValueError: It holds characters that are forbidden there.
    """
    # In printable ASCII nothing is mapped, normalized or prohibited (RFC 4013, 2.1 to 2.4), and importing
    # the tables for everything else takes longer than a connection.
    if text.isascii() and text.isprintable():
        return text
    from scramp import ScramException
    from scramp.utils import saslprep

    try:
        return str(saslprep(text))
    except ScramException as error:
        raise ValueError("characters that SASLprep forbids") from error


class ScramClient:
    """One exchange: `first`, then `final` with the server's answer, then `check`.

    Args:
        username: Already `prepared`.
        secret_key: The same.
        channel_binding: The ``tls-server-end-point`` binding, for the -PLUS variant.
        nonce: Ours; random unless a test says otherwise.
        max_iterations: A server that asks for more rounds is refused.
    """

    def __init__(
        self,
        username: str,
        secret_key: str,
        channel_binding: bytes | None,
        *,
        max_iterations: int,
        nonce: str | None = None,
    ) -> None:
        self._key = secret_key.encode()
        self._nonce = secrets.token_hex() if nonce is None else nonce
        self._max_iterations = max_iterations
        escaped = username.replace("=", "=3D").replace(",", "=2C")
        self._bare = f"n={escaped},r={self._nonce}"
        self._gs2 = "n,," if channel_binding is None else "p=tls-server-end-point,,"
        self._binding = self._gs2.encode() + (channel_binding or b"")
        self._server_signature = b""
        self._keys: tuple[bytes, bytes, bytes] | None = None

    def first(self) -> str:
        """The client-first message."""
        return self._gs2 + self._bare

    def final(self, server_first: str) -> str:
        """The client-final message: the proof."""
        fields = _fields(server_first, "rsi")
        nonce, salt, iterations = fields[0], _decoded(fields[1]), _number(fields[2])
        ours = self._nonce
        if not nonce.startswith(ours) or nonce == ours or not (nonce.isascii() and nonce.isprintable()):
            raise ValueError("the nonce does not continue ours")
        if len(salt) < MIN_SALT_BYTES or not MIN_ITERATIONS <= iterations <= self._max_iterations:
            raise ValueError("the salt or the number of iterations is out of bounds")
        client_key, server_key = self._salted(salt, iterations)
        bare = f"c={_encoded(self._binding)},r={nonce}"
        said = f"{self._bare},{server_first},{bare}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), said, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._server_signature = hmac.digest(server_key, said, "sha256")
        return f"{bare},p={_encoded(proof)}"

    def check(self, server_final: str) -> None:
        """See whether the server knows the key too; ValueError if not."""
        signature = _decoded(_fields(server_final, "v")[0])
        if not self._server_signature or not hmac.compare_digest(signature, self._server_signature):
            raise ValueError("the server's signature is wrong")
        if self._keys is not None:
            index, *keys = self._keys
            with _lock:
                _remembered[index] = keys[0], keys[1]
                _remembered.move_to_end(index)
                if len(_remembered) > MAX_REMEMBERED:
                    _remembered.popitem(last=False)

    def _salted(self, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
        """The client's and the server's key."""
        # Lengths, so that no two keys and salts run together to the same text.
        facts = b"%d %d %d " % (iterations, len(salt), len(self._key)) + salt + self._key
        index = hmac.digest(_SECRET, facts, "sha256")
        with _lock:
            known = _remembered.get(index)
        if known is None:
            salted = hashlib.pbkdf2_hmac("sha256", self._key, salt, iterations)
            known = (
                hmac.digest(salted, b"Client Key", "sha256"),
                hmac.digest(salted, b"Server Key", "sha256"),
            )
        self._keys = index, *known
        return known


def _fields(message: str, names: str) -> list[str]:
    """Values of the attributes with these names, in this order; extensions may follow."""
    parts = message.split(",")
    found = [part[:2] for part in parts]
    if found[: len(names)] != [f"{name}=" for name in names] or len(set(found)) != len(found):
        raise ValueError("the attributes are not those that belong there")
    if any(part[:1] == "m" or part[1:2] != "=" or not part[:1].isalpha() for part in parts):
        raise ValueError("an extension is mandatory, or is none")
    return [part[2:] for part in parts[: len(names)]]


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and text[0] != "0"):
        raise ValueError("not a number")
    return int(text)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
