"""Headers: every message survives the trip, and nothing else gets in."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from achilles.errors import ProtocolError
from achilles.lineReceiver import messages as m
from achilles.lineReceiver.hot_frames import MAX_INT, MAX_TASKS

counts = st.integers(0, 2**63 - 1)
small = st.integers(0, 2**40)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
short = st.text(st.characters(exclude_categories=["Cc", "Cf", "Zl", "Zp"]), max_size=255)
versions = st.tuples(st.integers(0, 999), st.integers(0, 999))

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "protocol": counts,
    "role": st.sampled_from(["node", "controller"]),
    "python": versions,
    "function": digests,
    "sha256": digests,
    "message": st.text(max_size=500),
    "origin": st.text(max_size=500),
    "server_first": st.text(max_size=500),
    "client_final": st.text(max_size=500),
    "client_first": st.none() | st.text(max_size=500),
    "server_final": st.none() | st.text(max_size=500),
    "parcel": counts,
    "offers": st.lists(st.tuples(counts, st.integers(1, m.MAX_SLOTS)), max_size=8).map(tuple),
    "promised": st.lists(counts, max_size=8).map(tuple),
    "reason": st.text(max_size=500),
    "load": st.floats(0, 1e6),
    "heartbeat_s": st.floats(0.001, 3600),
    "cpu_count": st.integers(0, m.MAX_SLOTS),
    **dict.fromkeys(["version", "host", "mechanism", "code", "session", "name", "module"], short),
}

patterns = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40)
OF_JOBS: dict[str, st.SearchStrategy[Any]] = {
    "priority": st.integers(-1000, 1000),
    "nodes": st.lists(patterns, max_size=64).map(tuple),
    "slots": st.integers(1, m.MAX_SLOTS),
}
OF_BLOBS: dict[str, st.SearchStrategy[Any]] = {
    "most": st.integers(1, m.MAX_PIECE_BYTES),
    "reason": short,
}
OF_KEPT = {**OF_BLOBS, "name": digests}
OF = {
    m.Submit: OF_JOBS,
    m.Job: OF_JOBS,
    m.FetchBlob: OF_BLOBS,
    m.Blob: OF_BLOBS,
    m.FetchKept: OF_KEPT,
    m.KeptPiece: OF_KEPT,
    m.DropKept: OF_KEPT,
    m.Lent: {"slots": st.integers(0, m.MAX_SLOTS)},
}


@st.composite
def controls(draw: st.DrawFn, kind: type[m.Control]) -> m.Control:
    known = FIELDS | OF.get(kind, {})
    fields = [field for field in msgspec.structs.fields(kind) if field.name != "size"]
    others = {bool: st.booleans()}
    return kind(**{each.name: draw(known.get(each.name, others.get(each.type, counts))) for each in fields})


@st.composite
def parcels(draw: st.DrawFn) -> m.Parcel:
    lengths = st.integers(0, MAX_TASKS // 20)
    units = draw(st.lists(st.tuples(lengths, small), min_size=1, max_size=20))
    tasks = sum(unit[0] for unit in units)
    first = draw(st.integers(0, MAX_INT - tasks))
    return m.Parcel(draw(counts), draw(counts), draw(counts), draw(counts), first, tasks, draw(counts), units)


@st.composite
def results(draw: st.DrawFn) -> m.Results:
    segment = st.tuples(counts, counts, st.integers(0, 2), counts, small)
    return m.Results(
        draw(counts), draw(counts), draw(counts), draw(st.lists(segment, min_size=1, max_size=20))
    )


@st.composite
def calls(draw: st.DrawFn) -> m.Call | m.Answer:
    if draw(st.booleans()):
        return m.Call(draw(counts), draw(counts), draw(counts))
    return m.Answer(draw(counts), draw(st.integers(0, m.CALL_LOST)), draw(counts))


def payload_bytes(message: m.Message) -> int:
    if isinstance(message, m.Parcel):
        return sum(unit[1] for unit in message.units)
    if isinstance(message, m.Results):
        return sum(segment[4] for segment in message.segments)
    if isinstance(message, m.Call | m.Answer):
        return 0 if isinstance(message, m.Answer) and message.status >= m.CALL_REFUSED else 77
    return 77 if message.has_payload else 0


def clean(value: Any) -> Any:
    """What a text looks like on the other side: lone surrogates cannot travel."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


# The first strategies are made within the first example, which takes seconds on a busy machine.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(parcels() | results() | calls())
def test_every_hot_message_survives_the_trip(message: m.Message) -> None:
    check_trip(message)


# Each by itself: of all together, few examples would be of one whose fields have bounds.
@pytest.mark.parametrize("kind", m.Control.__subclasses__())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=50)
@given(st.data())
def test_every_control_message_survives_the_trip(kind: type[m.Control], data: st.DataObject) -> None:
    check_trip(data.draw(controls(kind)))


def check_trip(message: m.Message) -> None:
    size = payload_bytes(message)
    line = m.encode(message, size)
    assert line.isascii() and line.endswith(b"\r\n") and line.count(b"\n") == 1
    received = m.parse_header(line[:-2])
    assert received.size == size
    assert type(received) is type(message)
    for name in message.__struct_fields__:
        assert getattr(received, name) == clean(getattr(message, name))


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: b"P 1 2" + tail))
def test_any_other_line_is_refused_in_a_short_ascii_sentence(line: bytes) -> None:
    try:
        m.parse_header(line)
    except ProtocolError as error:
        assert str(error).isprintable() and str(error).isascii()
        assert len(str(error)) < 600


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_other_json_is_refused(value: Any) -> None:
    with pytest.raises(ProtocolError):
        m.parse_header(json.dumps(value).encode())


GOOD_PARCEL = b"P 1 2 1 0 16 8 4 4:60,4:40 100"
GOOD_RESULTS = b"R 1 2 1 16:4:0:1500:60,20:4:2:0:40 100"


def test_hot_headers_are_written_as_documented() -> None:
    parcel = m.Parcel(1, 2, 1, 0, 16, 8, 4, [(4, 60), (4, 40)])
    assert m.encode(parcel, 100) == GOOD_PARCEL + b"\r\n"
    assert m.parse_header(GOOD_PARCEL) == parcel
    answer = m.Results(1, 2, 1, [(16, 4, 0, 1500, 60), (20, 4, 2, 0, 40)])
    assert m.encode(answer, 100) == GOOD_RESULTS + b"\r\n"
    assert m.parse_header(GOOD_RESULTS) == answer


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"P",
        b"P ",
        b"P" + b" " * 9,
        b"P 1 2 1 0 16 8 4 4:60,4:40 99",  # bytes do not add up
        b"P 1 2 1 0 16 9 4 4:60,4:40 100",  # tasks do not add up
        b"P 1 2 1 0 16 8 4 4:60,4:40 +100",
        b"P 1 2 1 0 16 8 4 4:60,4:40 1_00",
        b"P 1 2 1 0 16 8 4 4:60,4:40 100 ",
        b"P 1 2 1 0 16 8 4 4:60,4:40  100",
        b"P 1 2 1 0 16 8 4 4:60,4:40 100,1",
        b"P 1,2 1 0 16 8 4 4:60,4:40 100",
        b"P 1,2 1 0 16 8 4 7 4:60,4:40 100",
        b"P -1 2 1 0 16 8 4 4:60,4:40 100",
        b"P 01 2 1 0 16 8 4 4:60,4:40 100",
        b"P 1.0 2 1 0 16 8 4 4:60,4:40 100",
        b"P 1 2 1 0 16 8 4 4:60:4:40 100",
        b"P 1 2 1 0 16 8 4 4,60,4,40 100",
        b"P 1 2 1 0 16 8 4 4:60,4:40, 100",
        b"P 1 2 1 0 16 8 4 :,: 100",
        b"P 1 2 1 0 16 8 4  100",
        b"P 1 2 1 0 16 8 4 4:60,4:40",
        b"P\t1 2 1 0 16 8 4 4:60,4:40 100",
        b"Px1 2 1 0 16 8 4 4:60,4:40 100",
        b"P01 2 1 0 16 8 4 4:60,4:40 100",
        b"P:1 2 1 0 16 8 4 4:60,4:40 100",
        b"P 9223372036854775808 2 1 0 16 8 4 4:60,4:40 100",
        b"P " + b"9" * 5000 + b" 2 1 0 16 8 4 4:60,4:40 100",
        b"P 1 2 1 0 16 513 4 " + b",".join([b"1:0"] * 513) + b" 0",
        b"R 1 2 1 16:4:3:1500:60 60",  # no such status
        b"R 1 2 1 16:4:0:1500:60 61",
        b"R 1 2 1 16:4:0:1500 1500",
        b"R 1 2 16:4:0:1500:60 60",
        b"R 1 2 1 " + b",".join([b"1:1:0:1:0"] * 513) + b" 0",
        b"q 1 2 1 0 16 8 4 4:60,4:40 100",
        b"[]",
        b"{",
        b"{}",
        b'{"type":"hallo"}',
        b'{"type":"ping"}',
        b'{"type":"ping","sent_ns":-1}',
        b'{"type":"ping","sent_ns":"1"}',
        b'{"type":"ping","sent_ns":1} {}',
        b'{"type":"ping","sent_ns":1,"size":5}',  # pings carry nothing
        b'{"type":"status_reply","size":-5}',
        b'{"type":"status_reply","size":1e400}',
        b'{"type":"hello","protocol":1,"role":"server"}',
        b'{"type":"hello","protocol":1,"role":"node","host":"' + b"x" * 256 + b'"}',
        *(
            b'{"type":"submit","job":1,"function":"","session":"","chunksize":1,' + wrong + b"}"
            for wrong in (
                b'"priority":1001',
                b'"priority":-1001',
                b'"priority":0.5',
                b'"slots":0',
                b'"slots":4097',
                b'"nodes":"gpu*"',
                b'"nodes":[""]',
                b'"nodes":["a\\n"]',
                b'"nodes":["\\u00fc"]',
                b'"nodes":["' + b"x" * 256 + b'"]',
                b'"nodes":[' + b",".join([b'"x"'] * 65) + b"]",
            )
        ),
        b'{"type":"job","job":1,"function":"","session":"","slots":0}',
        b'{"type":"fetched","job":1,"request":1,"found":true,"sha256":"../../etc"}',
        '{"type":"error","code":"é","message":""}'.encode(),
        b'{"type":"error","code":"\\ud800","message":""}',
        b'{"x":' * 3000 + b"1" + b"}" * 3000,
        b"\x80\x04\x95",
    ],
)
def test_bad_headers_are_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        m.parse_header(line)
    assert str(caught.value).isprintable()


def test_an_error_quotes_little_of_what_the_peer_sent() -> None:
    for line in (b"A" * 5000, b'{"type":"' + b"A" * 5000 + b'"}', b"P " + b"1" * 5000, b'{"' + b"A" * 5000):
        with pytest.raises(ProtocolError) as caught:
            m.parse_header(line)
        assert str(caught.value).count("A") + str(caught.value).count("1") <= 70


def test_unknown_fields_are_ignored_and_numbers_may_have_any_json_spacing() -> None:
    assert m.parse_header(b'{ "new": [1], "sent_ns": 5, "type": "ping" }') == m.Ping(sent_ns=5)


def test_lone_surrogates_do_not_stop_an_error_from_arriving() -> None:
    line = m.encode(m.Error("internal", "no file \udcff\n"))
    assert m.parse_header(line[:-2]) == m.Error("internal", "no file ?\n")


@pytest.mark.parametrize("letter", ["x", "é", "\U0001f600", "\0"])
def test_long_error_texts_are_cut_to_fit(letter: str) -> None:
    received = m.parse_header(m.encode(m.Error("internal", letter * 20_000))[:-2])
    assert isinstance(received, m.Error) and received.message.startswith(letter * 1000)


@pytest.mark.parametrize(
    ("message", "size"),
    [
        (m.Ping(1), 3),
        (m.Parcel(1, 2, 1, 0, 0, 8, 8, [(8, 100)]), 99),
        (m.Parcel(1, 2, 1, 0, 0, 0, 8, []), 0),
        (m.Results(1, 2, 1, [(0, 8, 0, 1, 100)]), 99),
        (m.Results(1, 2, 1, [(10**18, 10**18, 0, 10**18, 0)] * 500), 0),
        (m.Fetched(1, 1, True, origin="x" * 20_000), 5),
    ],
)
def test_what_the_peer_would_refuse_is_not_sent(message: m.Message, size: int) -> None:
    with pytest.raises(ValueError, match=r"parcel|payload|header"):
        m.encode(message, size)


def test_tables_cover_every_message() -> None:
    known: set[type] = {m.Parcel, m.Results, m.Call, m.Answer, *m.Control.__subclasses__()}
    received = frozenset().union(*m.ALLOWED.values(), *m.BEFORE_AUTHENTICATION.values())
    assert received == known
    assert m.Hello not in frozenset().union(*m.ALLOWED.values())


def test_a_type_outside_the_table_is_refused() -> None:
    m.check_allowed(m.Proof("x"), m.BEFORE_AUTHENTICATION["server"])
    with pytest.raises(ProtocolError, match="parcel frame is not allowed here; allowed now: hello, proof"):
        m.check_allowed(m.Parcel(1, 1, 1, 1, 1, 1, 1, []), m.BEFORE_AUTHENTICATION["server"])
    with pytest.raises(ProtocolError, match="kill frame"):
        m.check_allowed(m.Kill(), m.ALLOWED["server", "node"])


def test_as_many_segments_as_promised_fit_whatever_their_numbers() -> None:
    most = 2**63 - 1
    results = m.Results(most, most, most, [(most, most, 2, most, 0)] * m.MAX_SEGMENTS)
    results.segments[0] = (most, most, 2, most, most)
    worst = m.Results(most, most, most, [(most, most, 2, most, most // m.MAX_SEGMENTS)] * m.MAX_SEGMENTS)
    for message in (results, worst):
        line = m.encode(message, sum(segment[4] for segment in message.segments))
        assert m.parse_header(line[:-2]) == message
