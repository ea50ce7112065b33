"""The proof of the secret: who gets in, who does not, and what each is told."""

from __future__ import annotations

import base64

import pytest

from achilles.errors import AuthenticationError, ClusterError, ConfigError, ProtocolError, VersionMismatch
from achilles.lineReceiver import messages as m
from achilles.lineReceiver.handshake import (
    ClientHandshake,
    ServerHandshake,
    Verifiers,
    error_frame,
    error_from,
)

KEY = "correct horse battery staple"
OURS, THEIRS = b"a" * 32, b"b" * 32  # bindings of two certificates
HELLO = m.Hello(m.PROTOCOL, "controller", "1.0", (3, 11), "laptop", 4711, 8)
VERIFIERS = Verifiers("foo", KEY)
VERIFIERS.add("worker", KEY, roles=["node"])


def client(
    username: str | None = "foo",
    secret_key: str | None = KEY,
    binding: bytes | None = OURS,
    trusted: bool = False,
    hello: m.Hello = HELLO,
) -> ClientHandshake:
    return ClientHandshake(
        hello,
        username=username,
        secret_key=secret_key,
        channel_binding=binding,
        peer_trusted=trusted,
        host="10.0.0.1",
        port=9999,
    )


def over_the_wire(message: m.Message) -> m.Message:
    return m.parse_header(m.encode(message)[:-2])


def converse(dialler: ClientHandshake, server: ServerHandshake) -> None:
    """Pass frames to and fro until nobody has anything to say; an error of the server goes to the client."""
    to_server = dialler.start()
    while to_server:
        try:
            to_client = [answer for message in to_server for answer in server.receive(over_the_wire(message))]
        except ClusterError as error:
            to_client = [error_frame(error)]
        to_server = [answer for message in to_client for answer in dialler.receive(over_the_wire(message))]


def test_the_right_key_over_tls() -> None:
    dialler, server = client(), ServerHandshake(VERIFIERS, OURS)
    converse(dialler, server)
    assert dialler.done and server.done
    assert server.username == "foo"
    assert server.hello is not None and server.hello.host == "laptop" and server.hello.cpu_count == 8
    assert server.hello.mechanism == "SCRAM-SHA-256-PLUS"
    assert dialler.welcome is not None


def test_the_right_key_on_a_unix_socket_is_checked_even_for_a_trusted_peer() -> None:
    for trusted in (True, False):
        dialler = client(binding=None, trusted=trusted)
        server = ServerHandshake(VERIFIERS, peer_trusted=trusted)
        converse(dialler, server)
        assert dialler.done and server.done and server.username == "foo"
    server = ServerHandshake(VERIFIERS, peer_trusted=True)
    with pytest.raises(AuthenticationError, match="secret_key is wrong"):
        converse(client(secret_key="wrong", binding=None, trusted=True), server)


def test_a_peer_that_the_kernel_vouches_for_needs_no_key() -> None:
    dialler = client(None, None, None, trusted=True)
    server = ServerHandshake(VERIFIERS, peer_trusted=True)
    converse(dialler, server)
    assert dialler.done and server.done and server.username is None


@pytest.mark.parametrize("server", [ServerHandshake(VERIFIERS, OURS, True), ServerHandshake(VERIFIERS)])
def test_nobody_else_gets_in_without_a_key(server: ServerHandshake) -> None:
    dialler = client(None, None, None, trusted=True)  # claims to be trusted
    with pytest.raises(AuthenticationError, match="asks for a username and secret_key"):
        converse(dialler, server)
    assert not server.done


@pytest.mark.parametrize(("username", "secret_key"), [(None, None), ("foo", None), (None, KEY)])
@pytest.mark.parametrize("binding", [OURS, None])
def test_a_client_without_a_key_is_told_what_to_do(
    username: str | None, secret_key: str | None, binding: bytes | None
) -> None:
    with pytest.raises(AuthenticationError) as caught:
        client(username, secret_key, binding)
    assert str(caught.value) == (
        "the server at 10.0.0.1:9999 asks for a username and secret_key: pass them, set ACHILLES_USERNAME "
        "and ACHILLES_SECRET_KEY, or write a .env with genConfig()"
    )
    assert caught.value.port == 9999


def failure_of(username: str, secret_key: str) -> str:
    server = ServerHandshake(VERIFIERS, OURS)
    with pytest.raises(AuthenticationError) as caught:
        converse(client(username, secret_key), server)
    assert not server.done
    with pytest.raises(ProtocolError):
        server.receive(HELLO)
    return str(caught.value)


def test_wrong_key_and_unknown_user_cannot_be_told_apart() -> None:
    assert failure_of("foo", "wrong") == failure_of("nobody", KEY)
    assert "secret_key is wrong" in failure_of("foo", "wrong")
    known, unknown = VERIFIERS.for_user("foo"), VERIFIERS.for_user("nobody")
    assert [len(x) for x in known[:3]] == [len(x) for x in unknown[:3]] and known[3] == unknown[3]
    assert VERIFIERS.for_user("nobody") == unknown != VERIFIERS.for_user("nobody else")


def test_roles_are_separate_rights() -> None:
    node = m.Hello(m.PROTOCOL, "node")
    converse(client("worker", hello=node), ServerHandshake(VERIFIERS, OURS))
    server = ServerHandshake(VERIFIERS, OURS)
    with pytest.raises(AuthenticationError, match="may not connect as a controller"):
        converse(client("worker"), server)
    assert not server.done


def test_a_man_in_the_middle_fails_both_proofs() -> None:
    dialler, server = client(binding=THEIRS), ServerHandshake(VERIFIERS, OURS)
    with pytest.raises(AuthenticationError, match="different TLS certificates"):
        converse(dialler, server)
    assert not server.done and not dialler.done

    # He may lie about the certificate the client saw, but the proof covers it.
    dialler, server = client(binding=THEIRS), ServerHandshake(VERIFIERS, OURS)
    challenge = server.receive(dialler.start()[0])[0]
    proof = dialler.receive(challenge)[0]
    assert isinstance(proof, m.Proof)
    fields = proof.client_final.split(",")
    fields[0] = "c=" + base64.b64encode(b"p=tls-server-end-point,," + OURS).decode()
    with pytest.raises(AuthenticationError, match="secret_key is wrong"):
        server.receive(m.Proof(",".join(fields)))
    # And he cannot make a welcome himself.
    with pytest.raises(AuthenticationError, match="could not prove that it knows the secret_key"):
        dialler.receive(m.Welcome(server_final="v=" + base64.b64encode(b"x" * 32).decode()))


@pytest.mark.parametrize("server_final", [None, "", "v=AAAA", "e=other-error", "\0"])
def test_a_server_that_proves_nothing_is_left(server_final: str | None) -> None:
    dialler, server = client(), ServerHandshake(VERIFIERS, OURS)
    dialler.receive(server.receive(dialler.start()[0])[0])
    with pytest.raises(AuthenticationError, match="could not prove"):
        dialler.receive(m.Welcome(server_final=server_final))
    assert not dialler.done
    hasty = client()
    hasty.start()
    with pytest.raises(AuthenticationError, match="could not prove"):
        hasty.receive(m.Welcome())


def test_a_server_cannot_keep_a_client_computing() -> None:
    dialler = client()
    hello = dialler.start()[0]
    assert isinstance(hello, m.Hello) and hello.client_first is not None
    nonce = hello.client_first.partition("r=")[2]
    with pytest.raises(AuthenticationError, match="challenge"):
        dialler.receive(m.Challenge(f"r={nonce}x,s=AAAAAAAAAAAAAAAAAAAAAAAA,i=9999999"))


def test_downgrades_are_refused() -> None:
    with pytest.raises(AuthenticationError, match="takes SCRAM-SHA-256-PLUS"):
        ServerHandshake(VERIFIERS, OURS).receive(client(binding=None).start()[0])
    without = client(binding=None).start()[0]
    assert isinstance(without, m.Hello)
    without.mechanism = "SCRAM-SHA-256-PLUS"
    with pytest.raises(AuthenticationError):
        ServerHandshake(VERIFIERS, OURS).receive(without)


@pytest.mark.parametrize(
    "client_first", [None, "", "n,,", "p=tls-unique,,n=foo,r=x", "p=tls-server-end-point,,n="]
)
def test_a_malformed_first_message_is_an_ordinary_refusal(client_first: str | None) -> None:
    hello = m.Hello(m.PROTOCOL, "node", mechanism="SCRAM-SHA-256-PLUS", client_first=client_first)
    with pytest.raises(AuthenticationError):
        ServerHandshake(VERIFIERS, OURS).receive(hello)


def test_other_versions_of_the_protocol_are_named() -> None:
    server = ServerHandshake(VERIFIERS, OURS)
    with pytest.raises(VersionMismatch, match="and this controller version 7") as caught:
        converse(client(hello=m.Hello(7, "controller")), server)
    assert caught.value.ours == m.PROTOCOL
    with pytest.raises(VersionMismatch) as at_server:
        ServerHandshake(VERIFIERS).receive(m.Hello(7, "node"))
    assert at_server.value.theirs == 7


def test_frames_out_of_turn_are_refused() -> None:
    with pytest.raises(ProtocolError, match="out of turn"):
        ServerHandshake(VERIFIERS).receive(m.Proof("x"))
    with pytest.raises(ProtocolError, match="not allowed here"):
        ServerHandshake(VERIFIERS).receive(m.Kill())
    server = ServerHandshake(VERIFIERS, OURS)
    first = client().start()[0]
    server.receive(first)
    with pytest.raises(ProtocolError, match="out of turn"):
        server.receive(first)
    dialler = client(None, None, None, trusted=True)
    with pytest.raises(ProtocolError):
        dialler.receive(m.Welcome())
    dialler = client(None, None, None, trusted=True)
    dialler.start()
    with pytest.raises(ProtocolError, match="out of turn"):
        dialler.receive(m.Challenge("x"))
    with pytest.raises(ProtocolError):
        dialler.receive(m.Welcome())


def test_a_finished_handshake_takes_nothing_more() -> None:
    dialler, server = client(), ServerHandshake(VERIFIERS, OURS)
    converse(dialler, server)
    with pytest.raises(ProtocolError):
        server.receive(HELLO)
    with pytest.raises(ProtocolError):
        dialler.receive(m.Welcome())


def test_the_key_stays_out_of_reprs() -> None:
    for thing in (VERIFIERS, client(), ServerHandshake(VERIFIERS, OURS)):
        assert KEY not in repr(thing)
    for bad in ("", "tab\there", "lone \udc80"):
        with pytest.raises(ConfigError) as caught:
            Verifiers("foo", bad)
        assert "here" not in str(caught.value) and "lone" not in str(caught.value)
        with pytest.raises(ConfigError):
            client(secret_key=bad)


def test_names_and_keys_in_any_script() -> None:
    verifiers = Verifiers("Алехандро, =1", "пароль ﬁ")
    dialler = client("Алехандро, =1", "пароль ﬁ")
    converse(dialler, ServerHandshake(verifiers, OURS))
    assert dialler.done


def test_what_an_unproven_server_says_cannot_move_the_cursor() -> None:
    error = error_from(m.Error("busy", "come\x1b[2Jback" + "x" * 5000), "::1", 9999)
    assert str(error).startswith("the server at [::1]:9999 refused the connection: come?[2Jback")
    assert len(str(error)) < 1200 and error.code == "busy"
