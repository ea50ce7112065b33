"""Classes with named fields that are quick to define."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from achilles.core.record import Record, made_by


class Point(Record):
    """Two numbers, and notes."""

    x: int
    y: int = 2
    notes: list[str] = made_by(default_factory=list)

    @property
    def total(self) -> int:
        return self.x + self.y


class Square(Record):
    side: int
    area: int = 0

    def __post_init__(self) -> None:
        self.area = self.side**2


class Nothing(Record):
    pass


def test_fields_by_place_and_by_name() -> None:
    for point in (Point(1, 3), Point(1, y=3), Point(y=3, x=1)):
        assert (point.x, point.y, point.notes, point.total) == (1, 3, [], 4)
    assert Point(1).y == 2


def test_each_instance_has_its_own_default() -> None:
    one, other = Point(1), Point(1)
    one.notes.append("here")
    assert other.notes == [] and one != other


def test_equal_fields_make_equal_instances_of_one_class() -> None:
    assert Point(1, 2) == Point(1) != Point(2)
    assert Point(4, 16) != Square(4)
    with pytest.raises(TypeError):
        hash(Point(1))


def test_what_is_derived_is_derived_in_the_end() -> None:
    assert Square(3).area == 9
    assert Nothing() == Nothing()


@pytest.mark.parametrize("wrong", [{}, {"x": 1, "z": 2}])
def test_wrong_fields_are_refused(wrong: dict[str, int]) -> None:
    for _ in range(2):  # the first instance, and every other
        with pytest.raises(TypeError):
            Point(**wrong)


def test_nothing_else_can_be_set() -> None:
    with pytest.raises(AttributeError):
        Point(1).z = 3


def test_patterns_text_and_copies() -> None:
    match Point(1, 5):
        case Point(x, y=y):
            assert (x, y) == (1, 5)
    assert repr(Point(1, 5)) == "Point(x=1, y=5, notes=[])"
    assert Point(1, 5).replaced(x=7) == Point(7, 5)


def test_an_instance_made_at_exit_leaves_the_exit_status_alone() -> None:
    program = """
import atexit
from achilles.core.record import Record
class Late(Record):
    x: int
atexit.register(Late, 1)
raise KeyboardInterrupt
"""
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.DEVNULL, timeout=30, check=False)
    assert done.returncode == -signal.SIGINT
