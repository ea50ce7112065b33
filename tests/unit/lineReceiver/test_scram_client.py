"""The client's half of SCRAM: the RFC's example, strange servers, and what is remembered."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from scramp import ScramMechanism
from scramp.utils import saslprep

from achilles.lineReceiver import scram_client
from achilles.lineReceiver.scram_client import ScramClient, prepared

# RFC 7677, section 3.
NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
CLIENT_FINAL = (
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
SERVER_FINAL = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@pytest.fixture(autouse=True)
def rounds(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """The keys that PBKDF2 was computed for; nothing is remembered yet."""
    seen: list[bytes] = []
    compute = hashlib.pbkdf2_hmac

    def counted(name: str, key: bytes, salt: bytes, iterations: int) -> bytes:
        seen.append(key)
        return compute(name, key, salt, iterations)

    monkeypatch.setattr(scram_client.hashlib, "pbkdf2_hmac", counted)
    scram_client._remembered.clear()
    yield seen
    scram_client._remembered.clear()


def client(key: str = "pencil", username: str = "user", binding: bytes | None = None) -> ScramClient:
    return ScramClient(username, key, binding, max_iterations=10_000, nonce=NONCE)


def test_the_example_of_the_rfc() -> None:
    scram = client()
    assert scram.first() == f"n,,n=user,r={NONCE}"
    assert scram.final(SERVER_FIRST) == CLIENT_FINAL
    scram.check(SERVER_FINAL)


@pytest.mark.parametrize("binding", [None, b"b" * 32])
@pytest.mark.parametrize("username", ["user", "a=b,c", "=2C", "jos\N{LATIN SMALL LETTER E WITH ACUTE}"])
def test_it_agrees_with_the_servers_half(username: str, binding: bytes | None) -> None:
    mechanism = ScramMechanism("SCRAM-SHA-256" if binding is None else "SCRAM-SHA-256-PLUS")
    known = mechanism.make_auth_info("key, with = and \u00fc")
    asked: list[str] = []

    def look_up(name: str) -> Any:
        asked.append(name)
        return known

    more = {} if binding is None else {"channel_binding": ("tls-server-end-point", binding)}
    server = mechanism.make_server(look_up, **more)
    scram = ScramClient(username, "key, with = and \u00fc", binding, max_iterations=10_000)
    server.set_client_first(scram.first())
    server.set_client_final(scram.final(server.get_server_first()))
    scram.check(server.get_server_final())
    assert asked == [username]


@pytest.mark.parametrize(
    "server_first",
    [
        "",
        "r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        f"r={NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        SERVER_FIRST.replace("k0,", "k0\x07,"),
        SERVER_FIRST.replace("W22ZaJ0SNY7soEsUEjb6gQ==", "AAAA"),
        SERVER_FIRST.replace("W22Z", "W2!Z"),
        SERVER_FIRST.replace("4096", "4095"),
        SERVER_FIRST.replace("4096", "10001"),
        SERVER_FIRST.replace("4096", "9" * 5000),
        SERVER_FIRST.replace("4096", "04096"),
        SERVER_FIRST.replace("4096", "\u0664096"),
        SERVER_FIRST.replace("4096", ""),
        SERVER_FIRST + ",m=x",
        SERVER_FIRST + ",i=4097",
        SERVER_FIRST + ",",
        "m=x," + SERVER_FIRST,
        "e=other-error",
    ],
)
def test_a_challenge_that_is_none(server_first: str, rounds: list[bytes]) -> None:
    with pytest.raises(ValueError) as caught:
        client().final(server_first)
    assert not rounds
    assert NONCE not in str(caught.value)


@pytest.mark.parametrize("server_final", ["", "v=", "v=AAAA", "v=!", "e=invalid-proof", SERVER_FINAL[:-4]])
def test_a_server_that_does_not_know_the_key(server_final: str) -> None:
    scram = client()
    scram.final(SERVER_FIRST)
    with pytest.raises(ValueError):
        scram.check(server_final)
    assert not scram_client._remembered


def test_a_server_that_was_given_no_proof_has_none() -> None:
    with pytest.raises(ValueError):
        client().check(SERVER_FINAL)
    with pytest.raises(ValueError):
        client().check("v=")


def test_a_salted_key_is_computed_once(rounds: list[bytes]) -> None:
    for _ in range(3):
        scram = client()
        assert scram.final(SERVER_FIRST) == CLIENT_FINAL
        scram.check(SERVER_FINAL)
    assert rounds == [b"pencil"]


def test_it_is_not_remembered_for_a_server_that_proved_nothing(rounds: list[bytes]) -> None:
    for _ in range(2):
        client().final(SERVER_FIRST)
    assert len(rounds) == 2


def test_another_key_salt_or_number_of_rounds_is_another(rounds: list[bytes]) -> None:
    scram = client()
    scram.final(SERVER_FIRST)
    scram.check(SERVER_FINAL)
    client("pencil2").final(SERVER_FIRST)
    client().final(SERVER_FIRST.replace("W22Z", "W23Z"))
    client().final(SERVER_FIRST.replace("4096", "4097"))
    assert rounds == [b"pencil", b"pencil2", b"pencil", b"pencil"]


def test_only_so_much_is_remembered(monkeypatch: pytest.MonkeyPatch, rounds: list[bytes]) -> None:
    monkeypatch.setattr(scram_client, "MAX_REMEMBERED", 2)
    mechanism = ScramMechanism("SCRAM-SHA-256")

    def log_in(key: str) -> None:
        server = mechanism.make_server(lambda _: known[key])
        scram = ScramClient("user", key, None, max_iterations=10_000)
        server.set_client_first(scram.first())
        server.set_client_final(scram.final(server.get_server_first()))
        scram.check(server.get_server_final())

    known = {key: mechanism.make_auth_info(key) for key in ("a", "b", "c")}
    del rounds[:]
    for key in "abacba":
        log_in(key)
    assert rounds == [b"a", b"b", b"c", b"b", b"a"]
    assert len(scram_client._remembered) == 2


def test_neither_the_key_nor_what_is_made_of_it_names_an_entry() -> None:
    scram = client()
    scram.final(SERVER_FIRST)
    scram.check(SERVER_FINAL)
    assert all(b"pencil" not in index for index in scram_client._remembered)
    assert "pencil" not in repr(scram)


def test_preparing_is_saslprep() -> None:
    for code in range(0x20, 0x7F):
        assert prepared(chr(code)) == saslprep(chr(code)) == chr(code)
    assert prepared("I\u00adX\u00a0\u2168") == "IX IX"
    for forbidden in ("\x07", "a\x7f", "\u0627\u0031", "\n"):
        with pytest.raises(ValueError):
            prepared(forbidden)
