"""JSON whose values know where in the text they stand.

The standard library's parser tells of a line and a column only while it parses; what is wrong with a value
that parses (a name misspelt, a text where a number belongs) must be told with its place as well. And its
errors carry the whole text, which holds passwords.

Rules
    1. What `json.loads` accepts is accepted, but for what no other JSON reader does either (``NaN``,
       ``Infinity``) and for a name given twice in one object, of which one would be lost.
    2. An error says what to do in the words of somebody who wrote the file by hand, and quotes nothing of it.
    3. Work and depth are bounded by the text's length and by `DEEPEST`.
"""

from __future__ import annotations

import re
from json import JSONDecodeError, JSONDecoder
from typing import Any, NamedTuple

__all__ = ["JsonError", "Located", "parse", "place_of"]

DEEPEST = 50
LONGEST_NUMBER_CHARACTERS = 300

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORD = re.compile(r"[A-Za-z]+")
_STRINGS = JSONDecoder()  # it reads texts, which has its pitfalls (surrogates) and is best left to it
_WORDS = {"true": True, "false": False, "null": None}


class Located(NamedTuple):
    """A value and its offset in the text, in characters.

    ``value`` is a text, number, bool or None; a list of `Located`; or for an object a dictionary from names
    to pairs of `Located`, first the name itself, then its value.
    """

    value: Any
    offset: int


class JsonError(ValueError):
    """The text is not JSON: what is wrong, and at which offset in characters."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


def place_of(text: str, offset: int) -> tuple[int, int]:
    """Line and column of an offset, both counted from 1."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def parse(text: str) -> Located:
    """The value that a text holds.

    Raises:
        JsonError: It holds none, or more than one.
    """
    found, end = _value(text, _skip(text, 0), 0)
    end = _skip(text, end)
    if end != len(text):
        raise JsonError("the file goes on behind its end; remove what stands here", end)
    return found


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None  # it matches nothing, too
    return found.end()


def _value(text: str, at: int, depth: int) -> tuple[Located, int]:
    start = text[at : at + 1]
    if depth > DEEPEST:
        raise JsonError("this is nested too deeply", at)
    if start == "{":
        return _object(text, at, depth)
    if start == "[":
        return _array(text, at, depth)
    if start == '"':
        found, end = _text(text, at)
        return Located(found, at), end
    word = _WORD.match(text, at)
    if word is not None and word.group() in _WORDS:
        return Located(_WORDS[word.group()], at), word.end()
    number = _NUMBER.match(text, at)
    if number is not None:
        return Located(_number(number), at), number.end()
    raise JsonError(_instead_of_value(text, at), at)


def _number(found: re.Match[str]) -> int | float:
    digits = found.group()
    if len(digits) > LONGEST_NUMBER_CHARACTERS:
        raise JsonError("this number has too many digits", found.start())
    return float(digits) if found[1] or found[2] else int(digits)


def _instead_of_value(text: str, at: int) -> str:
    start = text[at : at + 1]
    if not start:
        return "the file ends too early; a bracket or brace isn't closed, or the file is empty"
    if start == "'":
        return 'texts stand in double quotes, "like this"'
    if start in "/#":
        return "JSON has no comments; remove this one"
    if start in ",]}":
        return "a value is missing here"
    return 'this is no JSON value; texts stand in double quotes, "like this"'


def _text(text: str, at: int) -> tuple[str, int]:
    try:
        found, end = _STRINGS.raw_decode(text, at)
    except JSONDecodeError as error:
        message, offset = error.msg, error.pos
    else:
        return str(found), end
    # Outside of the handler, so that the standard library's error, which holds the whole text, isn't kept.
    if "escape" in message:
        raise JsonError(r"a backslash within a text is written twice: C:\\keys\\id_rsa", offset)
    if "control character" in message:
        raise JsonError('a text ends on the line where it began; its closing " is missing', offset)
    raise JsonError('the closing " of this text is missing', at)


def _array(text: str, at: int, depth: int) -> tuple[Located, int]:
    found: list[Located] = []
    end = _skip(text, at + 1)
    if text[end : end + 1] == "]":
        return Located(found, at), end + 1
    while True:
        value, end = _value(text, end, depth + 1)
        found.append(value)
        goes_on, end = _after_element(text, end, "]", "this list")
        if not goes_on:
            return Located(found, at), end


def _object(text: str, at: int, depth: int) -> tuple[Located, int]:
    found: dict[str, tuple[Located, Located]] = {}
    end = _skip(text, at + 1)
    if text[end : end + 1] == "}":
        return Located(found, at), end + 1
    while True:
        if text[end : end + 1] != '"':
            raise JsonError('a name in double quotes is missing here, as in "type": "multicore"', end)
        start = end
        name, end = _text(text, start)
        if name in found:
            raise JsonError("this name is given twice; remove one of them", start)
        end = _skip(text, end)
        if text[end : end + 1] != ":":
            raise JsonError("a colon is missing between this name and its value", end)
        value, end = _value(text, _skip(text, end + 1), depth + 1)
        found[name] = Located(name, start), value
        goes_on, end = _after_element(text, end, "}", "this entry")
        if not goes_on:
            return Located(found, at), end


def _after_element(text: str, end: int, closing: str, what: str) -> tuple[bool, int]:
    """Whether another element follows; and where it begins, or what is behind the closing one."""
    at = _skip(text, end)
    character = text[at : at + 1]
    if character == closing:
        return False, at + 1
    if character != ",":
        if not character:
            raise JsonError(f'the file ends before {what} does; "{closing}" is missing', at)
        raise JsonError(f'"," or "{closing}" is missing here', at)
    following = _skip(text, at + 1)
    if text[following : following + 1] == closing:
        raise JsonError(
            f'remove this comma: in JSON none stands behind the last element, before "{closing}"', at
        )
    return True, following
