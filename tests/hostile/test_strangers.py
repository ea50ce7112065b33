"""Attacks on the server by peers that have no key, on every way in."""

from __future__ import annotations

import socket
import ssl
import warnings

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from achilles import getClusterStatus
from achilles.lineReceiver import messages as wire
from achilles.lineReceiver.handshake import ClientHandshake
from achilles.lineReceiver.tls import client_context, end_point_binding
from tests.hostile.conftest import CANARY
from tests.hostile.speaking import Speaker, connect, hello, log_in
from tests.integration.cluster.parties import SECRET_KEY, USERNAME, Cluster, wait_until

WAYS = ["tcp", "tls", "unix"]
NEARLY = st.sampled_from(
    [b'{"type":"hello",', b"P 1 2 ", b"R 1 2 3 ", b"\r\n", b'{"type":"proof"}\r\n', b"\x16\x03\x01"]
)


@pytest.mark.parametrize("how", WAYS)
@settings(
    derandomize=True,
    max_examples=25,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(parts=st.lists(st.binary(max_size=200) | NEARLY, max_size=6))
def test_random_bytes(victim: Cluster, how: str, parts: list[bytes]) -> None:
    with connect(victim, how) as stranger:
        try:
            stranger.raw(b"".join(parts))
        except OSError:
            pass  # it had enough after the first ones


HEADERS = {
    "deep": (b'{"type":"hello","x":' + b"[" * 8000 + b"\r\n", "not valid"),
    "deep and closed": (b'{"type":"hello","x":' + b"[" * 7000 + b"]" * 7000 + b"}\r\n", "not valid"),
    "endless": (b'{"' + b"a" * 20_000, "no line end"),
    "no line of ours": (b"GET / HTTP/1.1\r\n\r\n", "starts with"),
    "unknown": (b'{"type":"root"}\r\n', "not valid"),
    "no type": (b"{}\r\n", "not valid"),
    "not ascii": ('{"type":"héllo"}\r\n'.encode(), "ASCII"),
    "line feed": (b'{"type":"status"}\n', "LF alone"),
    "huge": (
        b'{"type":"submit","job":1,"function":"","session":"","chunksize":1,"size":99999999999}\r\n',
        "payload",
    ),
    "more than a stranger may send": (
        b'{"type":"submit","job":1,"function":"","session":"","chunksize":1,"size":65537}\r\n',
        "payload; the limit is 65536",
    ),
    "negative": (
        b'{"type":"submit","job":1,"function":"","session":"","chunksize":1,"size":-1}\r\n',
        "not valid",
    ),
    "before its turn": (b'{"type":"proof","client_final":"c=biws,r=x,p=eA=="}\r\n', "out of turn"),
    "too early": (b'{"type":"kill","shutdown_server":true}\r\n', "not allowed"),
    "a parcel": (b"P 1 0 1 0 0 1 1 1:4 4\r\nabcd", "not allowed"),
    "results": (b"R 1 0 1 0:1:0:1:4 4\r\nabcd", "not allowed"),
    "a sum that lies": (b"R 1 0 1 0:1:0:1:5 4\r\nabcd", "add up"),
    "absurd slots": (b'{"type":"hello","protocol":1,"role":"node","cpu_count":1000000}\r\n', "cpu_count"),
    "a name that paints": (b'{"type":"hello","protocol":1,"role":"node","host":"a\\u001b[31m"}\r\n', "host"),
    "another version": (b'{"type":"hello","protocol":2,"role":"node"}\r\n', "version"),
}


@pytest.mark.parametrize("how", ["tls", "unix"])
@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_may_not_be(victim: Cluster, how: str, name: str) -> None:
    header, because = HEADERS[name]
    with connect(victim, how) as stranger:
        stranger.raw(header)
        stranger.refused(because)


def test_a_payload_that_is_taken_for_a_header_is_not_logged(victim: Cluster, bomb: bytes) -> None:
    with connect(victim, "tls") as stranger:
        stranger.raw(bomb)
        stranger.refused(CANARY)
    wait_until(lambda: "starts with one of {PRpr" in victim.server.text)


def test_plain_text_instead_of_tls(victim: Cluster) -> None:
    with connect(victim, "tcp") as stranger:
        stranger.send(hello())
        stranger.refused("TLS 1.3")
    wait_until(lambda: "is not TLS" in victim.server.text)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2])
def test_an_older_tls(victim: Cluster, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = version
        context.maximum_version = version
    seen = victim.server.text.count("TLS 1.3 was not established")
    plain = socket.create_connection(("127.0.0.1", victim.port), timeout=20)
    with plain, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(plain)
    wait_until(lambda: victim.server.text.count("TLS 1.3 was not established") > seen)


def test_a_handshake_that_was_overheard(victim: Cluster) -> None:
    with connect(victim, "tls") as honest:
        binding = end_point_binding(honest.socket.getpeercert(binary_form=True))
        shake = ClientHandshake(hello(), username=USERNAME, secret_key=SECRET_KEY, channel_binding=binding)
        first = shake.start()
        honest.send(first[0])
        proof = shake.receive(honest.next()[0])
        honest.send(proof[0])
        honest.expect(wire.Welcome)
    with connect(victim, "tls") as thief:
        thief.send(first[0])
        thief.expect(wire.Challenge)
        thief.send(proof[0])
        thief.refused("wrong")


def test_a_proof_for_another_certificate(victim: Cluster) -> None:
    with connect(victim, "tls") as client:
        shake = ClientHandshake(
            hello(), username=USERNAME, secret_key=SECRET_KEY, channel_binding=b"the man in the middle's"
        )
        client.send(shake.start()[0])
        client.send(shake.receive(client.next()[0])[0])
        client.refused("channel binding failed")


def test_a_byte_now_and_then(victim: Cluster) -> None:
    with connect(victim, "tls") as slow:
        slow.raw(b"{")
        slow.refused("no proof of the secret key within 1 s")


@pytest.mark.parametrize("how", WAYS)
def test_a_crowd_that_says_nothing(victim: Cluster, how: str) -> None:
    process = psutil.Process(victim.server.pid)
    before = process.num_fds()
    crowd = [connect(victim, how) for _ in range(150 if how == "tls" else 400)]
    try:
        with connect(victim, "tls") as honest:
            log_in(honest)
        assert getClusterStatus(**victim.address).nodes == []
        wait_until(lambda: process.num_fds() <= before + 80)
    finally:
        for stranger in crowd:
            stranger.socket.close()
    wait_until(lambda: process.num_fds() <= before + 2)


def test_a_crowd_pushes_out_nobody_elsewhere(victim: Cluster) -> None:
    honest = connect(victim, "tcp").socket
    crowd = [connect(victim, "unix") for _ in range(400)]
    try:
        with Speaker(client_context().wrap_socket(honest)) as speaker:
            log_in(speaker)
    finally:
        for stranger in crowd:
            stranger.socket.close()
