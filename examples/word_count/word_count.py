"""Count the words of every source file in this Python's standard library.

    python word_count.py                              on this machine's cores
    python word_count.py --host 10.0.0.5 --port 9999  on a server's nodes

::

    source_texts()   ->  text of a file  ->  count_words  ->  add_up       ->  sum of the packets'
    (drawn lazily here)                      (on a node)      (per packet)     counts, here

The generator function yields texts and not paths, so nodes need no files, and the count is the same
wherever they run. It is drawn only as far as there is room, so memory stays bounded however much
text there is. The result is checked against a plain Counter in one process.
"""

import argparse
import itertools
import re
import sysconfig
import time
from collections import Counter
from functools import partial
from pathlib import Path

from achilles import imap_unordered

WORD = re.compile(r"[^\W\d_]+")


def source_texts(limit=None):
    """The text of each Python file of the standard library, at most ``limit`` of them."""
    root = Path(sysconfig.get_paths()["stdlib"])
    paths = (path for path in sorted(root.rglob("*.py")) if "-packages" not in str(path))
    for path in itertools.islice(paths, limit):
        yield path.read_text(encoding="utf-8", errors="replace")


def count_words(text):
    """Runs on a node, once for each text."""
    return Counter(WORD.findall(text))


def add_up(counts):
    """Runs on a node, once for each packet: one Counter travels back instead of many."""
    total = Counter()
    for count in counts:
        total.update(count)
    return total


def main():
    parser = argparse.ArgumentParser(description="Count the words of the standard library.")
    parser.add_argument("--host", help="a server's host; without one, this machine's cores do the work")
    parser.add_argument("--port", type=int, help="the server's port")
    parser.add_argument("--files", type=int, metavar="N", help="count the first N files only")
    options = parser.parse_args()
    texts = partial(source_texts, options.files)

    started_s = time.perf_counter()
    total = Counter()
    for packet in imap_unordered(
        count_words, texts, reducer=add_up, chunksize=32, host=options.host, port=options.port
    ):
        total.update(packet["RESULT"])
    print(f"achilles:    {time.perf_counter() - started_s:.2f} s")

    started_s = time.perf_counter()
    plain = Counter()
    for text in texts():
        plain.update(WORD.findall(text))
    print(f"one process: {time.perf_counter() - started_s:.2f} s")

    for word, count in total.most_common(5):
        print(f"{word:<12} {count:>9,}")
    print(f"{total.total():,} words, {len(total):,} different")
    if total != plain:
        raise SystemExit("the two counts differ")
    print("equal to a plain Counter")


if __name__ == "__main__":
    main()
