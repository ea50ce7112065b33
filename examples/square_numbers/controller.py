"""Several jobs one after the other, the later ones on results of the first: python controller.py [PORT]

Each call is a job of its own, with a connection of its own. The nodes keep their workers, so the
next job starts at once.
"""

import sys

from achilles.lineReceiver.achilles_main import imap, imap_unordered, map

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 9999
SERVER = {"host": "127.0.0.1", "port": PORT, "username": "foo", "secret_key": "bar"}


def square(number):
    return number**2


def halve(number):
    return number / 2


def numbers():
    """A generator function: called here, and drawn only as fast as the nodes keep up."""
    yield from range(1, 1001)


if __name__ == "__main__":
    # Job 1: a list. Results come in packets, so they are flattened for the next job.
    packets = map(square, list(range(1, 11)), **SERVER)
    squares = [number for packet in packets for number in packet]
    print(f"map: {squares}")

    # Job 2: on the results of job 1, with a callback that runs on the nodes.
    halves = []
    for packet in imap(square, squares, callback=halve, **SERVER):
        halves += packet["RESULT"]
    print(f"imap: {halves}")

    # Job 3: a generator function; the reducer adds up each packet on the node that ran it.
    total = 0
    for packet in imap_unordered(square, numbers, reducer=sum, chunksize=25, **SERVER):
        total += packet["RESULT"]
    print(f"imap_unordered: {total}")

    # Job 4: lists as arguments; each list is one packet, and ARGS_COUNTER counts packets.
    for packet in imap(square, [[1, 2, 3], [4, 5], [6]], **SERVER):
        print(f"imap of lists: {packet}")
