"""``achilles demo``: count the words of the Python standard library, and check the count.

::

    source_files()  ->  text of a file  ->  count_words  ->  merge      ->  the sum of the packets'
    (generator, drawn lazily here)          (on a node)      (per packet)   counts, here

The generator yields texts and not paths, so the count is the same wherever the nodes are: a
machine with another standard library counts these files, not its own.
"""

from __future__ import annotations

import re
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from achilles.cli.exits import EXIT_CODES, WORK_FAILED

__all__ = ["count_in_one_process", "count_words", "demo", "merge", "source_files"]

CHUNKSIZE = 32  # files per worker and packet: enough for the merging on the nodes to pay
TOP_WORDS = 10

_word = re.compile(r"[^\W\d_]+")


def source_files() -> Iterator[str]:
    """The text of every Python file of the running Python's standard library, in order of path."""
    root = Path(sysconfig.get_paths()["stdlib"])
    installed = {"site-packages", "dist-packages"}  # other people's, below the same directory
    for path in sorted(root.rglob("*.py")):
        if not installed.intersection(path.relative_to(root).parts) and path.is_file():
            yield path.read_text(encoding="utf-8", errors="replace")


def count_words(text: str) -> Counter[str]:
    """How often each word occurs in one text, upper and lower case apart."""
    return Counter(_word.findall(text))


def merge(counts: list[Counter[str]]) -> Counter[str]:
    """The reducer: the counts of one packet as one count."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total


def count_in_one_process() -> Counter[str]:
    """The same work without achilles, to compare with."""
    total: Counter[str] = Counter()
    for text in source_files():
        total.update(_word.findall(text))
    return total


@click.command(epilog=EXIT_CODES)
@click.option(
    "--address",
    default="local",
    show_default=True,
    metavar="ADDRESS",
    help="local, or HOST[:PORT] of a server.",
)
def demo(address: str) -> None:
    """Count the words of the Python standard library, in parallel, and check the count.

    The same work is then done by a plain Counter in one process; exit code 1 when they differ.

    \b
    Examples:
      achilles demo
      achilles demo --address 10.0.0.5:9999
    """
    from achilles import imap_unordered

    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    click.echo(f"Counting the words of Python {python}'s standard library (address: {address}) ...")
    # Read once before, so that neither count pays for what the disk is slow to give.
    sizes = [len(text) for text in source_files()]
    click.echo(f"{len(sizes):,} files, {sum(sizes) / 1e6:.1f} million characters")
    started_s = time.perf_counter()
    total: Counter[str] = Counter()
    for packet in imap_unordered(
        count_words, source_files, reducer=merge, chunksize=CHUNKSIZE, address=address
    ):
        total.update(packet["RESULT"])
    took_s = time.perf_counter() - started_s

    started_s = time.perf_counter()
    plain = count_in_one_process()
    plain_took_s = time.perf_counter() - started_s

    click.echo(f"\n{'word':<12} {'count':>9}")
    for word, count in total.most_common(TOP_WORDS):
        click.echo(f"{word:<12} {count:>9,}")
    click.echo(f"\n{total.total():,} words, {len(total):,} different")
    click.echo(f"achilles     {took_s:7.2f} s")
    click.echo(f"one process  {plain_took_s:7.2f} s  ({plain_took_s / took_s:.2f} x)")
    same = total == plain
    click.echo(f"equal        {'yes' if same else 'NO'}")
    if not same:
        click.get_current_context().exit(WORK_FAILED)
