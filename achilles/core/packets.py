"""How arguments become packets, parcels and units.

A *packet* is what the user sees: ``cpu_count × chunksize`` tasks for the node that runs them, or
exactly one list when the arguments are lists. A *slice* is one worker's share of a packet. For
tasks that prove short it would cost far more to move slices than to run them, so neighbouring
slices are serialized together as one *unit*, and neighbouring packets travel together as one
*parcel*. Packets stay exact for the user, because the controller cuts the results back into them.

Only arithmetic lives here: no arguments, no bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = [
    "LEAST_UNIT_NS",
    "MAX_PACKET_TASKS",
    "MAX_UNITS_PER_PARCEL",
    "UNIT_TARGET_BYTES",
    "UNIT_TARGET_NS",
    "chosen_packet_length",
    "chosen_packets",
    "cut_list",
    "cut_packet",
    "cut_units",
    "packet_length",
    "unit_length",
]

# Work in one unit. Long enough that the ~50 µs of moving a unit vanish, short enough that two
# workers finish together.
UNIT_TARGET_NS = 2_000_000
# The same while much is left to do: a slot's share of that may be so many units. Each costs the processes
# beside the workers a tenth of a millisecond or two, which is taken from the workers' cores.
LONGEST_UNIT_NS = 50_000_000
UNITS_LEFT = 6
# Less work is not cut into units for more than one worker: to send a unit, wake who runs it and hear of it
# costs some tenths of a millisecond.
LEAST_UNIT_NS = 1_000_000
# But no longer than this where results are wanted one by one.
PROMPT_UNIT_NS = 10_000_000
# And as long as this where nobody sees a result before the last.
PATIENT_UNIT_NS = 200_000_000
# A unit above this gains nothing from being larger: copying it costs more than its header.
UNIT_TARGET_BYTES = 256 * 1024
# Work and payload in one packet, for each slot, when the length of packets is left to us: few enough
# packets that one more costs nothing, soon enough the first of them.
PACKET_TARGET_NS = 20_000_000
PACKET_TARGET_BYTES = 1024 * 1024
# Tasks in one unit, and for each slot in one packet, while nobody knows how long they take.
FIRST_UNIT_TASKS = 8192
FIRST_PACKET_TASKS = 1024
# A slot's share of so many tasks is one unit then, and a shorter one is four: to give back what is left of a
# unit if tasks prove long costs as much as is spared if they prove short.
LONG_SHARE_TASKS = 1024
# Keeps a parcel's header line within its 16 KiB.
MAX_UNITS_PER_PARCEL = 512
# No packet is longer, however large a chunksize is: a worker counts a unit's tasks in 31 bits.
MAX_PACKET_TASKS = 2**31 - 1


def packet_length(cpu_count: int, chunksize: int) -> int:
    """Tasks in one packet for a node with so many slots."""
    return min(cpu_count * chunksize, MAX_PACKET_TASKS)


def chosen_packet_length(
    *, cpu_count: int, available_tasks: int, task_ns: float | None, task_bytes: float, sized: bool
) -> int:
    """Tasks in one packet for a node with so many slots, when its length is left to us.

    Args:
        cpu_count: Slots of the node.
        available_tasks: Tasks that may be sent now.
        task_ns: Measured time of one task, or None when nothing came back yet.
        task_bytes: Measured serialized size of one argument and its result; 0: not known.
        sized: See `unit_length`.
    """
    if task_ns is not None:
        wanted = int(PACKET_TARGET_NS / max(task_ns, 1.0))
    else:
        wanted = FIRST_PACKET_TASKS if sized else 1
    if task_bytes >= 1.0:
        wanted = min(wanted, int(PACKET_TARGET_BYTES / task_bytes))
    return min(max(min(wanted * cpu_count, available_tasks), cpu_count), MAX_PACKET_TASKS)


def chosen_packets(
    *,
    cpu_count: int,
    available_tasks: int,
    task_ns: float | None,
    task_bytes: float,
    sized: bool,
    is_rest: bool,
    is_measured: bool,
) -> tuple[int, int]:
    """How many packets to draw, and how many tasks each is to have, when their length is left to us.

    Args:
        cpu_count, available_tasks, task_ns, task_bytes, sized: As of `chosen_packet_length`.
        is_rest: No more than what is available will ever come.
        is_measured: Something came back already.
    """
    packet_tasks = chosen_packet_length(
        cpu_count=cpu_count,
        available_tasks=available_tasks,
        task_ns=task_ns,
        task_bytes=task_bytes,
        sized=sized,
    )
    if sized and not is_measured:
        # Even ones, so that units can be.
        packets = -(-available_tasks // packet_tasks)
        return packets, -(-available_tasks // packets) if is_rest else available_tasks // packets
    # What is left beyond whole packets waits for more, if there is any.
    packets = -(-available_tasks // packet_tasks) if is_rest else max(available_tasks // packet_tasks, 1)
    return packets, packet_tasks


def unit_length(
    *,
    packet_tasks: int,
    chunksize: int,
    cpu_count: int,
    available_tasks: int,
    task_ns: float | None,
    task_bytes: float | None,
    draw_ns: float | None = None,
    sized: bool = False,
    tasks_left: int = 0,
    prompt: bool = False,
    patient: bool = False,
    each_slot: bool = False,
) -> int:
    """How many tasks to serialize as one unit.

    Args:
        packet_tasks: Length of a packet for the node in question.
        chunksize: Length of a slice; a unit is never shorter (but for the end of the input).
        cpu_count: Slots of the node; a parcel should hold two units for each.
        available_tasks: Tasks that may be sent now.
        task_ns: Measured or expected time of one task, or None when nothing is known of it.
        task_bytes: Measured serialized size of one argument, or None.
        draw_ns: Measured time to draw one argument from the caller's iterable, or None.
        sized: The available tasks are there at once, so even before the first result a unit may hold
            many: a worker gives back what it has not begun if they prove long.
        tasks_left: Tasks that were not sent yet, where that is known.
        prompt: Somebody waits for each result.
        patient: Nobody sees a result before the last is there.
        each_slot: There is to be one for each slot, however short tasks are.

    Returns:
        A whole number of packets, or else a whole number of slices below one packet.
    """
    # Above 512 slots not even the slices of one packet can travel singly.
    chunksize *= -(-packet_tasks // (chunksize * MAX_UNITS_PER_PARCEL))
    shares = 2 * cpu_count
    if task_ns is None:
        if not sized:
            return min(chunksize, packet_tasks)
        share = -(-tasks_left // cpu_count)
        wanted = FIRST_UNIT_TASKS
        if share <= available_tasks < LONG_SHARE_TASKS * cpu_count:
            shares *= 2
        elif LONG_SHARE_TASKS <= share <= available_tasks:
            # A slot's even share of all that is left: then none waits for the first results of another.
            wanted, shares = min(wanted, share), 1
    else:
        # An argument that is slow to draw must not keep its finished neighbours waiting.
        slowest_ns = max(task_ns, draw_ns or 0.0, 1.0)
        left_ns = tasks_left * task_ns / (cpu_count * UNITS_LEFT)
        longest_ns = PROMPT_UNIT_NS if prompt else PATIENT_UNIT_NS if patient else LONGEST_UNIT_NS
        wanted = int(min(max(UNIT_TARGET_NS, left_ns), longest_ns) / slowest_ns)
    if task_bytes and task_bytes >= 1.0:
        wanted = min(wanted, int(UNIT_TARGET_BYTES / task_bytes))
    least = 1 if task_ns is None else int(LEAST_UNIT_NS / max(task_ns, 1.0))
    if each_slot:
        least = min(least, -(-available_tasks // cpu_count))
    wanted = min(wanted, max(-(-available_tasks // shares), least))
    if wanted >= packet_tasks:
        return _even(max(round(available_tasks / packet_tasks), 1), wanted // packet_tasks) * packet_tasks
    wanted = min(max(chunksize, wanted - wanted % chunksize), packet_tasks)
    even = _even(packet_tasks, wanted)
    return min(even + -even % chunksize, packet_tasks)


def _even(whole: int, most: int) -> int:
    """How many each of as few even parts has, of at most so many: of long and short ones, taken in turns, one
    worker would get all the long ones."""
    return -(-whole // -(-whole // most))


def cut_units(packets: int, packet_tasks: int, unit_tasks: int) -> Iterator[int]:
    """Lengths of the units of so many full packets.

    ``unit_tasks`` is a result of `unit_length`: at or above a packet's length a unit holds whole
    packets, below it a packet is cut and no unit crosses its end.
    """
    if unit_tasks >= packet_tasks:
        tasks = packets * packet_tasks
        while tasks > 0:
            yield min(unit_tasks, tasks)
            tasks -= unit_tasks
    else:
        for _ in range(packets):
            yield from cut_packet(packet_tasks, unit_tasks)


def cut_packet(packet_tasks: int, unit_tasks: int) -> Iterator[int]:
    """Lengths of the units of one packet; the last may be shorter."""
    while packet_tasks > 0:
        yield min(unit_tasks, packet_tasks)
        packet_tasks -= unit_tasks


def cut_list(tasks: int, cpu_count: int, task_ns: float | None) -> list[int]:
    """Lengths of the units of an argument that is itself a list (one packet).

    Every slot gets an even share, unless the whole list is known to be shorter than one unit. An
    empty list is one empty unit, since a reducer still has to see it.
    """
    if tasks == 0:
        return [0]
    if task_ns is not None and tasks * task_ns <= UNIT_TARGET_NS:
        return [tasks]
    units = min(cpu_count, tasks, MAX_UNITS_PER_PARCEL)
    share, longer = divmod(tasks, units)
    return [share + 1] * longer + [share] * (units - longer)
