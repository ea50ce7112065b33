"""One object of a ``pydron.conf``, read name by name; what nobody asked for is refused in the end.

Rules
    1. Every error names file, line and column, and what to do. None quotes a value, but for those of ``type``
       and ``scheduler``: any other may be a password, or one in the wrong place.
    2. Secrets are `Secret` from here on, which shows itself to nobody who doesn't ask.
"""

from __future__ import annotations

import difflib
import math
from typing import Any, NamedTuple

from ...errors import ConfigError
from .located_json import Located, place_of

__all__ = ["ConfText", "Entry", "Secret"]

MOST_PORTS = 65535


class Secret:
    """A password or key; shown neither by ``repr`` nor by ``str``."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for who logs in with it."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__


class ConfText(NamedTuple):
    """A file's text and where it came from."""

    path: str
    text: str

    def error(self, offset: int, message: str, key: str) -> ConfigError:
        """What is wrong at an offset of the text. Fields: ``key``, ``source``, ``line``, ``column``."""
        line, column = place_of(self.text, offset)
        return ConfigError(
            f"{self.path}, line {line}, column {column}: {message}.",
            key=key,
            source=self.path,
            line=line,
            column=column,
        )


class Entry:
    """An object of the file.

    Args:
        conf: The file.
        node: The object.
        what: What it is, for errors: ``"a worker of type ssh"``.

    Raises:
        ConfigError: It is no object.
    """

    def __init__(self, conf: ConfText, node: Located, what: str) -> None:
        self._conf = conf
        self._node = node
        self.what = what
        self._known: list[str] = []
        if not isinstance(node.value, dict):
            raise conf.error(
                node.offset, f"{what} is written in braces, {{…}}, not as {_kind(node.value)}", what
            )

    @property
    def line(self) -> int:
        """The line where it begins, from 1."""
        return place_of(self._conf.text, self._node.offset)[0]

    def error(self, name: str, message: str) -> ConfigError:
        """What is wrong with a value, or with the object when it has no such name."""
        _, value = self._node.value.get(name, (None, self._node))
        return self._conf.error(value.offset, message, name)

    def text(self, name: str, default: str | None = None) -> str:
        """A text that is not empty.

        Raises:
            ConfigError: Here and below: it is missing and has no default, or is something else.
        """
        node = self._take(name, required=default is None)
        if node is None:
            assert default is not None
            return default
        return self._checked_text(name, node)

    def secret(self, name: str) -> Secret:
        """A password or key."""
        node = self._take(name, required=True)
        assert node is not None
        return Secret(self._checked_text(name, node))

    def optional_secret(self, name: str) -> Secret | None:
        """A password or key, or None when there is none."""
        node = self._take(name, required=False)
        return None if node is None else Secret(self._checked_text(name, node))

    def secrets(self, name: str) -> tuple[Secret, ...]:
        """A list of keys, of several lines each; empty when it is missing."""
        return tuple(Secret(key) for key in self._texts(name, lines=True))

    def count(self, name: str, default: int | None = None) -> int:
        """A whole number from 1."""
        node = self._take(name, required=default is None)
        if node is None:
            assert default is not None
            return default
        if type(node.value) is not int or node.value < 1:
            raise self._wrong(name, node, "a whole number from 1 on")
        return node.value

    def seconds(self, name: str, default: float) -> float:
        """A duration from 0 s on."""
        node = self._take(name, required=False)
        if node is None:
            return default
        if type(node.value) not in (int, float) or not 0 <= node.value < math.inf:
            raise self._wrong(name, node, "a number of seconds from 0 on")
        return float(node.value)

    def flag(self, name: str, default: bool) -> bool:
        """true or false."""
        node = self._take(name, required=False)
        if node is None:
            return default
        if not isinstance(node.value, bool):
            raise self._wrong(name, node, "true or false")
        return node.value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; empty when it is missing."""
        return self._texts(name, lines=False)

    def elements(self, name: str) -> list[Located]:
        """A list's elements, as they are."""
        node = self._take(name, required=True)
        assert node is not None
        if not isinstance(node.value, list):
            raise self._wrong(name, node, "a list, […]")
        return node.value

    def ports(self, name: str) -> tuple[int, ...]:
        """TCP ports: a range ``"10000-10010"`` with both ends in it, one port, or a list of ports.

        Returns:
            The ports; none when they are missing or 0, which leaves the choice to the system.
        """
        node = self._take(name, required=False)
        if node is None:
            return ()
        found = _ports(node.value)
        if found is None:
            raise self._wrong(name, node, f'a range of ports from 1 to {MOST_PORTS}, such as "10000-10010"')
        return found

    def finish(self) -> None:
        """Refuse what was not asked for.

        Raises:
            ConfigError: There is such a name.
        """
        for name, (key, _) in self._node.value.items():
            if name not in self._known:
                close = difflib.get_close_matches(name, self._known, n=1)
                hint = f"did you mean {close[0]!r}" if close else f"it may have {', '.join(self._known)}"
                message = f"{self.what} has no {name!r}; {hint}"
                raise self._conf.error(key.offset, message, name)

    def _take(self, name: str, *, required: bool) -> Located | None:
        self._known.append(name)
        pair = self._node.value.get(name)
        if pair is not None:
            node: Located = pair[1]
            return node
        if required:
            raise self._conf.error(self._node.offset, f"{self.what} needs {name!r}, which is missing", name)
        return None

    def _texts(self, name: str, *, lines: bool) -> tuple[str, ...]:
        node = self._take(name, required=False)
        if node is None:
            return ()
        if not isinstance(node.value, list):
            raise self._wrong(name, node, 'a list of texts, ["like", "this"]')
        return tuple(self._checked_text(name, element, lines=lines) for element in node.value)

    def _checked_text(self, name: str, node: Located, *, lines: bool = False) -> str:
        if not isinstance(node.value, str) or not node.value:
            raise self._wrong(name, node, "a text that is not empty")
        text = node.value.replace("\r", "").replace("\n", "") if lines else node.value
        if any(character < " " or character == "\x7f" for character in text):
            raise self._conf.error(node.offset, f"{name!r} holds a control character", name)
        return node.value

    def _wrong(self, name: str, node: Located, wanted: str) -> ConfigError:
        message = f"{name!r} must be {wanted}, not {_kind(node.value)}"
        return self._conf.error(node.offset, message, name)


def _ports(value: Any) -> tuple[int, ...] | None:
    """The ports, or None when the value says none."""
    if isinstance(value, list):
        listed = [_port(element.value) for element in value]
        return None if None in listed or not listed else tuple(port for port in listed if port)
    if isinstance(value, str) and "-" in value:
        first, last = (_port(part.strip()) for part in value.split("-", 1))
        if not first or not last or last < first:
            return None
        return tuple(range(first, last + 1))
    port = _port(value)
    if port is None:
        return None
    return (port,) if port else ()


def _port(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 5:
        value = int(value)
    return value if type(value) is int and 0 <= value <= MOST_PORTS else None


def _kind(value: Any) -> str:
    """What sort of value it is, without telling the value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int):
        return "0" if value == 0 else "a negative number" if value < 0 else "a whole number"
    if isinstance(value, float):
        return "a number with a fraction"
    if isinstance(value, str):
        return "a text" if value else "an empty text"
    return "a list" if isinstance(value, list) else "an object"
