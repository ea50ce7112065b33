"""Both sides prove that they know the secret key, before anything else is said.

::

    client                              server
    hello (client_first)      ->
                              <-        challenge (server_first)
    proof (client_final)      ->                                    server checks the client
                              <-        welcome (server_final)      client checks the server

The exchange is SCRAM-SHA-256 (RFC 7677). Over TLS it is the -PLUS variant: the proofs cover the
hash of the server's certificate as each side sees it (``tls-server-end-point``), so somebody who sits
between with a certificate of his own makes both proofs fail, and nobody needs a certificate
authority. On a Unix socket of the same user the kernel's word stands for the exchange (mechanism
``PEER``: hello, then welcome), unless the client was given a key: that is checked.

Knows: messages and secrets. Must never know: sockets, Twisted, clocks, or what is served.

Rules:

* A server keeps salted verifiers, never a key. A user that does not exist goes through the same
  steps as one that does, and fails at the same one with the same words.
* No key and no part of the SCRAM exchange appears in an error or a repr.
* Any error ends the handshake; the connection must be closed. ``error_frame`` gives the last words.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection
from typing import NoReturn

import msgspec

from achilles.errors import AuthenticationError, ClusterError, ConfigError, ProtocolError, VersionMismatch
from achilles.lineReceiver.messages import (
    BEFORE_AUTHENTICATION,
    PROTOCOL,
    Challenge,
    Error,
    Hello,
    Message,
    Proof,
    Role,
    Welcome,
    check_allowed,
)
from achilles.lineReceiver.scram_client import ScramClient, prepared

__all__ = ["PEER", "SCRAM", "SCRAM_PLUS", "ClientHandshake", "ServerHandshake", "Verifiers"]
__all__ += ["error_frame", "error_from", "printable"]

PEER, SCRAM, SCRAM_PLUS = "PEER", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"

ITERATIONS = 4096
"""PBKDF2 rounds: what SCRAM asks for at least; a generated key has 128 bits and needs no more."""

MAX_ITERATIONS = 100_000
"""A stranger who poses as the server must not keep a client computing for minutes."""

ROLES: frozenset[Role] = frozenset({"node", "controller"})

_ASKED = "a username and secret_key"
_REMEDY = "pass them, set ACHILLES_USERNAME and ACHILLES_SECRET_KEY, or write a .env with genConfig()"
_WRONG_KEY = "the username or secret_key is wrong; use the ones that the server was started with"
_MAN_IN_THE_MIDDLE = (
    "the two sides see different TLS certificates (channel binding failed): somebody sits between them, "
    "or a proxy ends TLS on the way; connect to the server directly"
)

Verifier = tuple[bytes, bytes, bytes, int]  # salt, stored key, server key, iterations


class Verifiers:
    """What a server remembers of its users: enough to check a proof, not enough to make one.

    Args:
        username: First user, if any; may connect in every role.
        secret_key: That user's key. It is not kept.

    Raises:
        ConfigError: The name or key holds characters that SCRAM forbids.
    """

    def __init__(self, username: str | None = None, secret_key: str | None = None) -> None:
        self._users: dict[str, tuple[Verifier, frozenset[Role]]] = {}
        self._dummy_secret = secrets.token_bytes(32)
        if username is not None and secret_key is not None:
            self.add(username, secret_key)

    def __repr__(self) -> str:
        return f"<Verifiers of {len(self._users)} user(s)>"

    def add(self, username: str, secret_key: str, roles: Collection[Role] = ROLES) -> None:
        """Let a user connect in these roles, instead of what the name could do before."""
        from scramp import ScramMechanism

        name, _ = _prepared(username, secret_key)
        verifier: Verifier = ScramMechanism(SCRAM).make_auth_info(secret_key, iteration_count=ITERATIONS)
        self._users[name] = verifier, frozenset(roles)

    def for_user(self, username: str) -> Verifier:
        """The user's verifier; for an unknown one, always the same verifier that no key matches."""
        if username in self._users:
            return self._users[username][0]
        salt, stored_key, server_key = (
            hmac.digest(self._dummy_secret, purpose + username.encode(), hashlib.sha256)
            for purpose in (b"salt ", b"stored ", b"server ")
        )
        return salt, stored_key, server_key, ITERATIONS

    def roles_of(self, username: str) -> frozenset[Role]:
        """The roles the user may take; none for an unknown one."""
        return self._users[username][1] if username in self._users else frozenset()


def _prepared(username: str, secret_key: str) -> tuple[str, str]:
    """Both in the normal form that SCRAM compares; or ConfigError."""
    if not username or not secret_key:
        raise ConfigError("username and secret_key must not be empty", key="secret_key")
    both = []
    for key, value in (("username", username), ("secret_key", secret_key)):
        try:
            both.append(prepared(value))
            usable = bool(both[-1].encode())
        except ValueError:  # of which a UnicodeError is one
            usable = False
        if not usable:
            raise ConfigError(
                f"{key} holds characters that are not allowed in it: use printable characters", key=key
            )
    return both[0], both[1]


class ServerHandshake:
    """The server's end of one connection.

    Args:
        verifiers: Who may connect.
        channel_binding: Over TLS, the binding of the server's certificate. None only on a Unix socket.
        peer_trusted: The kernel says that the other end of the Unix socket is our own user.

    Attributes:
        done: The peer is authenticated, and may take the role it named in its hello.
        hello: The peer's hello, once it came. Nothing in it is proven before ``done``.
        username: Who it is; None while not done, and for a peer that the kernel vouched for.
    """

    def __init__(
        self, verifiers: Verifiers, channel_binding: bytes | None = None, peer_trusted: bool = False
    ) -> None:
        from scramp import ScramMechanism

        self._verifiers = verifiers
        self._peer_trusted = peer_trusted and channel_binding is None
        self._binding = channel_binding
        self._claimed_name = ""
        mechanism = SCRAM if channel_binding is None else SCRAM_PLUS
        self._mechanism = mechanism
        binding = None if channel_binding is None else ("tls-server-end-point", channel_binding)
        self._scram = ScramMechanism(mechanism).make_server(self._look_up, channel_binding=binding)
        self._failed = False
        self.done = False
        self.hello: Hello | None = None
        self.username: str | None = None

    def _look_up(self, username: str) -> Verifier:
        self._claimed_name = username
        return self._verifiers.for_user(username)

    def receive(self, message: Message) -> list[Message]:
        """Take the peer's next frame; return what to send.

        The last answer is a :class:`Welcome`, in which the caller fills the facts about the server.

        Raises:
            AuthenticationError: The proof failed, none was offered, or the role is not the user's.
            ProtocolError: The frame is not allowed now.
            VersionMismatch: The peer speaks another version of the protocol.
        """
        try:
            if self._failed or self.done:
                raise ProtocolError("the handshake is over")
            check_allowed(message, BEFORE_AUTHENTICATION["server"])
            if isinstance(message, Hello) and self.hello is None:
                return self._greet(message)
            if isinstance(message, Proof) and self.hello is not None:
                return self._check(message, self.hello)
            raise ProtocolError(f"a {type(message).__name__.lower()} frame came out of turn")
        except ClusterError:
            self._failed = True
            raise

    def _greet(self, hello: Hello) -> list[Message]:
        if hello.protocol != PROTOCOL:
            raise VersionMismatch(
                f"the server speaks version {PROTOCOL} of the protocol and this {hello.role} version "
                f"{hello.protocol}: install the same release of achilles on both",
                ours=PROTOCOL,
                theirs=hello.protocol,
            )
        self.hello = hello
        if hello.mechanism == PEER and self._peer_trusted:
            self.done = True
            return [Welcome()]
        if hello.mechanism in (SCRAM, SCRAM_PLUS) and hello.mechanism != self._mechanism:
            raise AuthenticationError(f"this connection takes {self._mechanism}, not {hello.mechanism}")
        if hello.mechanism != self._mechanism or hello.client_first is None:
            raise AuthenticationError(f"the server asks for {_ASKED}: {_REMEDY}")
        from scramp import ScramException

        try:
            self._scram.set_client_first(hello.client_first)
            return [Challenge(self._scram.get_server_first())]
        except (ScramException, ValueError) as error:
            self._refuse(error)

    def _check(self, proof: Proof, hello: Hello) -> list[Message]:
        from scramp import ScramException

        try:
            self._scram.set_client_final(proof.client_final)
            server_final = self._scram.get_server_final()
        except (ScramException, ValueError) as error:
            self._refuse(error)
        if hello.role not in self._verifiers.roles_of(self._claimed_name):
            raise AuthenticationError(f"this user may not connect as a {hello.role}", code="forbidden")
        self.username = self._claimed_name
        self.done = True
        return [Welcome(server_final=server_final)]

    def _refuse(self, error: Exception) -> NoReturn:
        from scramp.core import ServerError

        reason = getattr(error, "server_error", None)
        bindings_differ = reason is ServerError.CHANNEL_BINDINGS_DONT_MATCH
        raise AuthenticationError(_MAN_IN_THE_MIDDLE if bindings_differ else _WRONG_KEY) from None


class ClientHandshake:
    """The dialling side's end, of a node or a controller.

    Args:
        hello: Facts about this side; ``mechanism`` and ``client_first`` are filled in here.
        username: May be missing only on a Unix socket of our own user.
        secret_key: The same.
        channel_binding: Over TLS, the binding of the certificate that the peer showed. None only on
            a Unix socket.
        peer_trusted: The kernel says that the other end of the Unix socket is our own user.
        host: Where we connected to, for error texts.
        port: The same.

    Attributes:
        done: The server is authenticated, and has accepted us.
        welcome: Its welcome, once done.
    """

    def __init__(
        self,
        hello: Hello,
        *,
        username: str | None = None,
        secret_key: str | None = None,
        channel_binding: bytes | None = None,
        peer_trusted: bool = False,
        host: str | None = None,
        port: int | None = None,
    ) -> None:
        self._hello = hello
        self._host, self._port = host, port
        self._scram: ScramClient | None = None
        self._mechanism = PEER
        self._started = self._proved = self._failed = False
        self.done = False
        self.welcome: Welcome | None = None
        if username is not None and secret_key is not None:
            self._mechanism = SCRAM if channel_binding is None else SCRAM_PLUS
            self._scram = ScramClient(
                *_prepared(username, secret_key), channel_binding, max_iterations=MAX_ITERATIONS
            )
        elif channel_binding is not None or not peer_trusted:
            raise self._error(f"{self._server} asks for {_ASKED}: {_REMEDY}")

    @property
    def _server(self) -> str:
        return _server_at(self._host, self._port)

    def _error(self, text: str) -> AuthenticationError:
        return AuthenticationError(text, host=self._host, port=self._port)

    def start(self) -> list[Message]:
        """The first frames to send."""
        if self._started:
            raise ProtocolError("the handshake has begun already")
        self._started = True
        client_first = None if self._scram is None else self._scram.first()
        return [msgspec.structs.replace(self._hello, mechanism=self._mechanism, client_first=client_first)]

    def receive(self, message: Message) -> list[Message]:
        """Take the server's next frame; return what to send.

        Raises:
            AuthenticationError: The server refused us, or did not prove that it knows the key.
            ProtocolError: The frame is not allowed now.
            VersionMismatch: The server speaks another version of the protocol.
        """
        try:
            if self._failed or self.done or not self._started:
                raise ProtocolError("no handshake is under way")
            check_allowed(message, BEFORE_AUTHENTICATION["client"])
            if isinstance(message, Error):
                raise error_from(message, self._host, self._port)
            if isinstance(message, Challenge) and self._scram is not None and not self._proved:
                return [self._prove(message, self._scram)]
            if isinstance(message, Welcome):
                self._check(message)
                self.welcome = message
                self.done = True
                return []
            raise ProtocolError(f"a {type(message).__name__.lower()} frame came out of turn")
        except ClusterError:
            self._failed = True
            raise

    def _prove(self, challenge: Challenge, scram: ScramClient) -> Proof:
        self._proved = True
        try:
            return Proof(scram.final(challenge.server_first))
        except ValueError:
            pass
        raise self._error(f"{self._server} sent a challenge that is not a valid one")

    def _check(self, welcome: Welcome) -> None:
        if self._scram is None:
            return
        try:
            if self._proved and welcome.server_final is not None:
                self._scram.check(welcome.server_final)
                return
        except ValueError:
            pass
        raise self._error(
            f"what answers as {self._server} could not prove that it knows the secret_key: "
            "it is not your server, or somebody sits between; no work was sent to it"
        )


def _server_at(host: str | None, port: int | None) -> str:
    if host is None:
        return "the server"
    return f"the server at {f'[{host}]' if ':' in host else host}:{port}"


def error_frame(error: ClusterError) -> Error:
    """The frame that tells the peer why its connection ends."""
    if isinstance(error, AuthenticationError):
        return Error(error.fields.get("code", "authentication"), str(error))
    if isinstance(error, VersionMismatch):
        return Error("version", str(error))
    return Error("protocol" if isinstance(error, ProtocolError) else "internal", str(error))


def printable(text: str) -> str:
    """A peer's text, fit for a terminal or a log: no control characters, and not without end."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:1000])


def error_from(frame: Error, host: str | None = None, port: int | None = None) -> ClusterError:
    """The exception for an error frame from a server, which may not be authenticated yet."""
    sentence = f"{_server_at(host, port)} refused the connection: {printable(frame.message)}"
    if frame.code in ("authentication", "forbidden"):
        return AuthenticationError(sentence, host=host, port=port)
    if frame.code == "version":
        return VersionMismatch(sentence, ours=PROTOCOL, theirs=None)
    if frame.code == "protocol":
        return ProtocolError(sentence)
    return ClusterError(sentence, host=host, port=port, code=frame.code)
