"""The mark that `functional` leaves."""

from __future__ import annotations

import functools
import gc
import operator
from typing import Any

import numpy as np
import pytest

import achilles
from achilles.scheduling.functional import _marked, functional, is_functional


def test_a_marked_function_is_the_function_it_was() -> None:
    def double(x: int) -> int:
        return 2 * x

    assert functional(double) is double
    assert double(4) == 8
    assert is_functional(double)


@pytest.mark.parametrize("function", [operator.mul, np.fft.fft, np.add, int.bit_length, complex])
def test_functions_of_others_are_marked_by_identity(function: Any) -> None:
    before = dict(_marked)
    try:
        assert functional(function) is function
        assert is_functional(function)
        assert not is_functional(len)
    finally:
        _marked.clear()
        _marked.update(before)


def test_methods_are_functional_through_their_function() -> None:
    class Camera:
        @achilles.functional
        def expose(self) -> int:
            return 1

        @achilles.functional
        @staticmethod
        def off() -> int:
            return 0

        @classmethod
        @achilles.functional
        def make(cls) -> Camera:
            return cls()

        def shake(self) -> None: ...

    assert is_functional(Camera().expose) and is_functional(Camera.expose)
    assert is_functional(Camera.off) and is_functional(Camera.make)
    assert not is_functional(Camera().shake)


def test_a_wrapper_is_not_marked_because_its_function_is() -> None:
    @functional
    def double(x: int) -> int:
        return 2 * x

    @functools.wraps(double)
    def logged(x: int) -> int:
        return double(x)

    assert not is_functional(logged)


def test_a_mark_goes_with_its_function() -> None:
    def once() -> None: ...

    functional(once)
    number = id(once)
    assert number in _marked
    del once
    gc.collect()
    assert number not in _marked


def _generator() -> Any:
    yield 1


async def _coroutine() -> None: ...


@pytest.mark.parametrize("function", [_generator, _coroutine])
def test_what_only_makes_an_object_is_refused(function: Any) -> None:
    with pytest.raises(TypeError, match="generator or coroutine function"):
        functional(function)


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="can't be called"):
        functional(3)
