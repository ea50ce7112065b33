"""With a key for nodes alone, a node cannot submit and a controller cannot pose as a node."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from achilles.lineReceiver import messages as wire
from achilles.lineReceiver.handshake import ClientHandshake
from achilles.lineReceiver.tls import end_point_binding
from tests.hostile.speaking import connect, hello
from tests.integration.cluster.parties import SECRET_KEY, USERNAME, Cluster, Place

NODES = {"username": "achilles-node", "secret_key": "another-key-for-nodes"}
CONTROLLERS = {"username": USERNAME, "secret_key": SECRET_KEY}


@pytest.fixture(scope="module")
def strict(place: Place) -> Iterator[Cluster]:
    cluster = Cluster(place, ACHILLES_NODE_SECRET_KEY=NODES["secret_key"])
    yield cluster
    cluster.close()


@pytest.mark.parametrize(
    ("role", "proof", "welcome"),
    [
        ("node", NODES, True),
        ("controller", CONTROLLERS, True),
        ("node", CONTROLLERS, False),
        ("controller", NODES, False),
    ],
)
def test_each_key_is_good_for_one_role(
    strict: Cluster, role: str, proof: dict[str, str], welcome: bool
) -> None:
    with connect(strict, "tls") as client:
        binding = end_point_binding(client.socket.getpeercert(binary_form=True))
        shake = ClientHandshake(hello(role), **proof, channel_binding=binding)
        client.send(shake.start()[0])
        client.send(shake.receive(client.next()[0])[0])
        if welcome:
            client.expect(wire.Welcome)
        else:
            client.refused(f"may not connect as a {role}")
