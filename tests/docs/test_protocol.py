"""docs/protocol.md says what messages.py does: every message, field, limit and example."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from achilles import limits, sealed
from achilles.core import promised
from achilles.core.scheduler_state import MAX_UNASKED
from achilles.errors import ProtocolError
from achilles.lineReceiver import (
    handshake,
    hot_frames,
    messages,
    server,
    server_calls,
    server_connection,
    server_fetches,
    shared_payloads,
    wire,
)
from achilles.workers import blob_store, passing

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
KINDS = {str(kind.__struct_config__.tag): kind for kind in messages.Control.__subclasses__()}
ROWS = {
    row[0]: row
    for line in TEXT.splitlines()
    if line.count("→") and (row := re.findall(r"(?<=\| ).*?(?= \|)", line)) and row[0].startswith("`")
} | {
    row[0]: row
    for line in TEXT.splitlines()
    if "| any |" in line and (row := re.findall(r"(?<=\| ).*?(?= \|)", line))
}
FRAMES = [
    line for block in re.findall(r"```frames\n(.*?)```", TEXT, flags=re.DOTALL) for line in block.splitlines()
]


def test_every_message_is_documented_and_no_other() -> None:
    assert {name.strip("`") for name in ROWS} == set(KINDS)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_fields_defaults_and_payload(name: str) -> None:
    _, _, fields, payload, *_ = ROWS[f"`{name}`"]
    documented = {
        field: json.loads(default) if default else ...
        for field, default in re.findall(r"`(\w+)`(?:=(\[.*?\]|\"\"|[\w.]+))?", fields)
    }
    actual = {
        field.name: ... if field.required else json.loads(json.dumps(field.default))
        for field in msgspec.structs.fields(KINDS[name])
        if field.name != "size"
    }
    assert documented == actual
    assert list(documented) == list(actual)
    assert (payload == "yes") == KINDS[name].has_payload


@pytest.mark.parametrize("name", sorted(KINDS))
def test_directions(name: str) -> None:
    kind = KINDS[name]
    hops = {(sender, receiver) for (receiver, sender), kinds in messages.ALLOWED.items() if kind in kinds}
    before = messages.BEFORE_AUTHENTICATION
    documented = ROWS[f"`{name}`"][1]
    if documented == "any":
        assert hops == {(sender, receiver) for receiver, sender in messages.ALLOWED}
        return
    ways = [way.split(" → ") for way in documented.split(", ")]
    parties = ways[0]
    if "client" not in parties:
        assert hops == {hop for way in ways for hop in pairwise(way)}
    else:
        assert not hops
        assert [side for side, kinds in before.items() if kind in kinds] == [parties[1]]


def test_limits_are_those_of_the_code() -> None:
    assert f"at most {messages.MAX_HEADER_BYTES} bytes" in TEXT
    assert f"above {hot_frames.MAX_INT}." in TEXT
    assert f"| {wire.BEFORE_AUTHENTICATION_LIMITS.payload_bytes} bytes |" in TEXT
    assert f"| {limits.MAX_PAYLOAD_BYTES} bytes |" in TEXT
    assert f"at the server | {server_connection.LOGIN_S:g} s |" in TEXT
    assert f"results frame | {messages.MAX_UNITS} |" in TEXT
    assert f"numbers are | {messages.MAX_SEGMENTS} |" in TEXT
    assert f"more than {handshake.MAX_ITERATIONS} iterations" in TEXT
    assert f"have {handshake.ITERATIONS}." in TEXT
    assert f"every {server.HEARTBEAT_S:g} s" in TEXT
    assert f"A payload has at most {messages.MAX_OUTPUT_BYTES} bytes" in TEXT
    assert f"`most` is 1 to {messages.MAX_PIECE_BYTES}," in TEXT
    assert f"at most\n  {blob_store.PIECES_AHEAD} on their way" in TEXT
    assert f"for one node within {server_fetches.MAX_UNREAD_BYTES} bytes" in TEXT
    assert f"its only parcel, of at most {messages.MAX_WHOLE_BYTES} bytes" in TEXT
    assert f"when {server.MAX_UNHEARD_OUTPUT_BYTES} bytes went" in TEXT
    assert f"names up to {promised.MAX_OFFERS} nodes" in TEXT
    assert f"More than {promised.MAX_PROMISED} promises" in TEXT
    assert f"refused after {MAX_UNASKED} of a job" in TEXT
    assert f": {promised.FIRST_SLOT_TASKS} tasks for each slot" in TEXT
    assert f"at most {messages.MAX_EARLY_CANCELS} items" in TEXT
    assert (
        f"at most {passing.MAX_UNCLAIMED} ahead" in TEXT
        and f"{passing.MAX_UNCLAIMED} descriptors wait" in TEXT
    )
    assert f"multiple\n  of {sealed.ALIGNMENT} bytes" in TEXT
    assert f"from {sealed.SHARE_BYTES} bytes on" in TEXT
    assert f"after each {shared_payloads.TELL_BYTES} bytes" in TEXT
    assert f"but at least {server_connection.LEAST_UNHEARD_BYTES})" in TEXT
    assert f"{shared_payloads.MAX_UNHEARD_BYTES} bytes went by descriptor" in TEXT
    assert f"`protocol` must be {messages.PROTOCOL} on both sides" in TEXT


@pytest.mark.parametrize("line", FRAMES)
def test_example_frames_are_what_the_code_writes(line: str) -> None:
    parties, header = re.fullmatch(r"(\w+ ⟶ \w+) +(.*)", line).groups()
    header, _, payload = header.partition(" <")
    message = messages.parse_header(header.encode("ascii"))
    assert message.size == (int(payload.rstrip(">")) if payload else 0)
    assert messages.encode(message, message.size) == header.encode("ascii") + b"\r\n"
    sender, receiver = parties.split(" ⟶ ")
    if not isinstance(message, messages.Hello | messages.Welcome):
        assert type(message) in messages.ALLOWED[receiver, sender]


def test_hex_example() -> None:
    (block,) = re.findall(r"```hex\n(.*?)```", TEXT, flags=re.DOTALL)
    assert messages.encode(messages.Forget(job=7)) == bytes.fromhex(block)


def test_documented_shapes_of_hot_headers_are_those_of_the_code() -> None:
    for kind in (messages.Parcel, messages.Results):
        (shape,) = re.findall(rf"^{kind.__name__[0]} (<.*)$", TEXT, flags=re.MULTILINE)
        fields = [field.name for field in msgspec.structs.fields(kind)]
        # The last two are not on the line: they are its first letter, and what came beside it.
        assert fields[-2:] == ["by_descriptor", "shared"]
        assert re.findall(r"<(\w+)>", shape) == fields[:-2]


def test_documented_shapes_of_calls_are_those_of_the_code() -> None:
    for kind, beside in ((messages.Call, []), (messages.Answer, ["by_descriptor", "shared"])):
        (shape,) = re.findall(rf"^{kind.__name__[0]} (<.*)$", TEXT, flags=re.MULTILINE)
        fields = [field.name for field in msgspec.structs.fields(kind)]
        assert re.findall(r"<(\w+)>", shape) + beside == fields
    assert f"payload of a call | {messages.MAX_CALL_BYTES} bytes |" in TEXT
    assert f"not answered | {server_calls.MAX_CALLS} |" in TEXT


def test_what_the_page_says_is_refused_is_refused() -> None:
    for line in (b"hello", b'{"type":"unknown"}', b"P 01 0 1 0 0 1 1 1:1 1", b"R 1 0 1 0:1:3:1:1 1"):
        with pytest.raises(ProtocolError):
            messages.parse_header(line)
    assert messages.parse_header(b'{"type":"exit","later":1}') == messages.Exit()
