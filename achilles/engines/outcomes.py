"""From the result segments of a parcel to the packets that the user sees.

A segment is a range of tasks with a status: 0, its payload is the list of results; 1, some items
failed; 2, all did (`achilles/workers/worker_main.py` defines the payloads). When the job reduces, a
segment that covers whole packets holds one value for each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

from ..core.record import Record
from ..errors import KeptLost, SerializationError, VersionMismatch
from ..serialization import Buffer, deserialize, load_failure, numbered

__all__ = ["OnError", "Packet", "ParcelResults", "items_of", "packets_of", "results_of"]

OnError = str
# (first index, tasks, status, busy_us, payload)
Segment = tuple[int, int, int, int, Buffer]


class Packet(NamedTuple):
    """One packet's results, or what went wrong in it.

    ``counter`` is what the user sees as ``ARGS_COUNTER``. ``result`` is the list of results, or the
    reduced value. ``failures`` are the exceptions of failed items, in order; ``dropped`` says that
    nothing is left to deliver (``on_error="skip"`` and no value).
    """

    counter: int
    result: Any
    failures: list[BaseException]
    tasks: int
    dropped: bool = False


class ParcelResults(Record):
    """A delivered parcel, or whole packets of one: where it lies in the input, and what came back."""

    first: int
    tasks: int
    packet_tasks: int
    packet_number: int
    lists: bool
    segments: list[Segment]
    lost: BaseException | None = None
    number: int = 0
    # Arguments that were not sent, by index: what failed here, which the workers know less well.
    refused: Mapping[int, BaseException] | None = None


def packets_of(parcel: ParcelResults, *, reduces: bool, on_error: OnError) -> Iterator[Packet]:
    """Cut a parcel's results into its packets, in order.

    Args:
        parcel: The complete parcel.
        reduces: Whether the job has a reducer.
        on_error: ``"raise"``, ``"return"`` (exceptions stand where results would) or ``"skip"``.
    """
    if parcel.lost is not None:
        yield from _lost_packets(parcel, on_error)
    elif reduces:
        yield from _reduced_packets(parcel, on_error)
    else:
        yield from _plain_packets(parcel, on_error)


def results_of(parcel: ParcelResults, *, reduces: bool) -> list[Any] | None:
    """The packets' results alone, in order, or None if anything failed: then `packets_of` says what."""
    if parcel.lost is not None or any(segment[2] for segment in parcel.segments):
        return None
    if reduces or parcel.lists or not parcel.packet_tasks:
        values = _values(parcel, {})
        return values if reduces else [values]
    packets: list[list[Any]] = []
    begun: list[Any] = []
    for values in _loaded(parcel, {}):
        begun = _cut(values, parcel.packet_tasks, begun, packets)
    if begun:
        packets.append(begun)
    return packets


def _cut(values: list[Any], length: int, begun: list[Any], packets: list[list[Any]]) -> list[Any]:
    """Add values to a packet that was begun, and further packets; returns the one that is begun now, or [].

    While they are still in the processor's cache: all together they are not.
    """
    start = 0
    if begun:
        start = length - len(begun)
        begun += values[:start]
        if len(begun) < length:
            return begun
        packets.append(begun)
    elif len(values) == length:
        packets.append(values)
        return []
    end = len(values) - (len(values) - start) % length
    packets += [values[place : place + length] for place in range(start, end, length)]
    return values[end:]


def items_of(parcel: ParcelResults) -> tuple[list[Any], dict[int, BaseException]]:
    """The results of a parcel of a job without reducer, in order, and what failed.

    Results that cannot be loaded here have failed, with what their neighbours in one payload made of it.

    Returns:
        One value for each task, None where it failed; and the failures by place in that list.
    """
    if parcel.lost is not None:
        return [None] * parcel.tasks, dict.fromkeys(range(parcel.tasks), parcel.lost)
    failures: dict[int, BaseException] = {}
    first = parcel.first
    try:
        values = _values(parcel, failures)
    except (SerializationError, VersionMismatch, KeptLost) as error:
        if len(parcel.segments) == 1:
            saved = _saved(parcel.segments[0], first, first + parcel.tasks, parcel.refused)
            return saved or ([None] * parcel.tasks, dict.fromkeys(range(parcel.tasks), error))
        return _items_by_segment(parcel)
    if not failures:
        return values, failures
    failures.update(parcel.refused or {})
    return values, {
        index - first: failures[index] for index in sorted(failures) if first <= index < first + parcel.tasks
    }


def _items_by_segment(parcel: ParcelResults) -> tuple[list[Any], dict[int, BaseException]]:
    values: list[Any] = []
    failures: dict[int, BaseException] = {}
    for segment in sorted(parcel.segments, key=_first):
        start = max(segment[0], parcel.first)
        end = min(segment[0] + segment[1], parcel.first + parcel.tasks)
        place = ParcelResults(start, end - start, parcel.packet_tasks, 0, False, [segment])
        place.refused = parcel.refused
        some, failed = items_of(place)
        failures.update({len(values) + offset: error for offset, error in failed.items()})
        values += some
    return values, failures


def _saved(
    segment: Segment, start: int, end: int, refused: Mapping[int, BaseException] | None
) -> tuple[list[Any], dict[int, BaseException]] | None:
    """What can be loaded of a segment that cannot be loaded whole, and what is wrong with the rest."""
    from ..salvage import Broken, salvage

    first, tasks, status, _, payload = segment
    failures: dict[int, BaseException] = {}
    if status == 1:
        payload, failed = deserialize(payload, "failed items")
        failures = {index: load_failure(blob) for index, blob in failed}
    values = salvage(payload, "result", first)
    if values is None or len(values) != tasks:
        return None
    for place, value in enumerate(values):
        if isinstance(value, Broken):
            values[place], failures[first + place] = None, value.error
    failures.update(refused or {})
    return values[start - first : end - first], {
        index - start: error for index, error in failures.items() if start <= index < end
    }


def _bounds(parcel: ParcelResults) -> Iterator[tuple[int, int, int]]:
    """(counter, start, end) of each packet; start and end count from the parcel's first task."""
    if parcel.lists or not parcel.packet_tasks:
        yield (parcel.packet_number if parcel.lists else parcel.first), 0, parcel.tasks
        return
    for start in range(0, parcel.tasks, parcel.packet_tasks):
        yield parcel.first + start, start, min(start + parcel.packet_tasks, parcel.tasks)


def _lost_packets(parcel: ParcelResults, on_error: OnError) -> Iterator[Packet]:
    lost = parcel.lost
    assert lost is not None
    for counter, start, end in _bounds(parcel):
        if on_error == "return":
            yield Packet(counter, [lost] * (end - start), [lost], end - start)
        else:
            yield Packet(counter, [], [lost], end - start, dropped=True)


def _plain_packets(parcel: ParcelResults, on_error: OnError) -> Iterator[Packet]:
    failures: dict[int, BaseException] = {}
    values = _values(parcel, failures)
    for counter, start, end in _bounds(parcel):
        whole = start == 0 and end == len(values)
        result = values if whole else values[start:end]
        if not failures:
            yield Packet(counter, result, [], end - start)
            continue
        low = parcel.first + start
        failed = [index for index in range(low, low + end - start) if index in failures]
        if failed:
            if on_error == "return":
                for index in failed:
                    result[index - low] = failures[index]
            else:
                gone = {index - low for index in failed}
                result = [value for place, value in enumerate(result) if place not in gone]
        yield Packet(counter, result, [failures[index] for index in failed], end - start)


def _reduced_packets(parcel: ParcelResults, on_error: OnError) -> Iterator[Packet]:
    """Whole-packet segments hold reduced values; anything smaller belongs to a packet that failed."""
    segments = sorted(parcel.segments, key=_first)
    failures: dict[int, BaseException] = {}
    reduced: dict[int, Any] = {}
    for segment in segments:
        offset = segment[0] - parcel.first
        starts = _whole_packets(parcel, offset, segment[1])
        if segment[2] == 2:
            failures[segment[0]] = load_failure(segment[4])
            for start in starts[1:]:
                failures[parcel.first + start] = failures[segment[0]]
        else:
            reduced.update(zip(starts, _load(segment, failures), strict=False))
    if parcel.refused:
        failures.update({index: parcel.refused[index] for index in parcel.refused if index in failures})
    for counter, start, end in _bounds(parcel):
        low, high = parcel.first + start, parcel.first + max(end, start + 1)
        errors = [failures[index] for index in sorted(failures) if low <= index < high]
        value = reduced.get(start)
        if not errors:
            yield Packet(counter, value, [], end - start)
        elif on_error == "raise" or value is None:
            returned = errors[0] if on_error == "return" else None
            yield Packet(counter, returned, errors, end - start, dropped=on_error != "return")
        else:
            yield Packet(counter, value, errors, end - start)


def _whole_packets(parcel: ParcelResults, offset: int, tasks: int) -> list[int]:
    """Starts of the packets that a segment covers, when it covers whole ones."""
    if parcel.lists or not parcel.packet_tasks:
        return [0] if tasks == parcel.tasks else []
    length = parcel.packet_tasks
    end = offset + tasks
    if offset % length or (end % length and end != parcel.tasks):
        return []
    return list(range(offset, end, length))


def _values(parcel: ParcelResults, failures: dict[int, BaseException]) -> list[Any]:
    """One value for each task (or packet, if these were reduced); failures are added."""
    values: list[Any] | None = None
    for loaded in _loaded(parcel, failures):
        if values is None:
            values = loaded  # which spares a copy; there is often no other
        else:
            values += loaded
    return [] if values is None else values


def _loaded(parcel: ParcelResults, failures: dict[int, BaseException]) -> Iterator[list[Any]]:
    """The same by segment, in order."""
    for segment in sorted(parcel.segments, key=_first):
        loaded = _load(segment, failures)
        # Of a segment that begins before this part of its parcel, or ends after it, the rest is another's.
        if segment[0] < parcel.first or segment[0] + segment[1] > parcel.first + parcel.tasks:
            start = max(parcel.first - segment[0], 0)
            loaded = loaded[start : parcel.first + parcel.tasks - segment[0]]
        yield loaded


def _first(segment: Segment) -> int:
    return segment[0]


def _load(segment: Segment, failures: dict[int, BaseException]) -> list[Any]:
    first, tasks, status, _, payload = segment
    if status == 1:
        payload, failed = deserialize(payload, "failed items")
        for index, blob in failed:
            failures[index] = load_failure(blob)
    if status < 2:
        return cast(list[Any], deserialize(payload, numbered("result", first, tasks)))
    error = load_failure(payload)
    for index in range(first, first + max(tasks, 1)):
        failures[index] = error
    return [None] * tasks
