"""What a setting's value may look like: hosts, ports, names, keys and addresses.

Each check takes the value and where it came from, and returns the value in its final form or
raises ``ConfigError`` with both. A secret key never gets into a message.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from achilles.errors import ConfigError

__all__ = [
    "LOCAL",
    "check_host",
    "check_node_secret_key",
    "check_node_username",
    "check_port",
    "check_secret_key",
    "check_username",
    "format_address",
    "is_loopback",
    "parse_address",
    "read_secret_key_file",
]

LOCAL = "local"
_ADDRESS_FORMS = "local, host, host:port, [v6]:port or achilles://host:port"


def _check_text(key: str, value: Any, source: str) -> str:
    # The value stays out of the message: it may be a secret, or one that landed in the wrong place.
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{key} (from {source}) must be a text that is not empty.", key=key, source=source)
    if any(character < " " or character == "\x7f" for character in value):
        raise ConfigError(f"{key} (from {source}) holds a control character.", key=key, source=source)
    return value


def check_host(value: Any, source: str) -> str:
    """A host name or IP address; brackets around IPv6 are taken off."""
    text = _check_text("HOST", value, source).strip()
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in bare:
        import ipaddress  # only who has an address made of numbers needs it

        try:
            return str(ipaddress.IPv6Address(bare))
        except ValueError:
            pass
    elif bare and not any(character.isspace() or character in "/@[]" for character in bare):
        return bare
    raise ConfigError(
        f"HOST (from {source}) is {text!r}, which is not a host name or IP address. "
        f"A host with its port goes into ADDRESS ({_ADDRESS_FORMS}).",
        key="HOST",
        source=source,
    )


def check_port(value: Any, source: str) -> int:
    """A TCP port as a number or its digits."""
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= 65535:
        return number
    raise ConfigError(
        f"PORT (from {source}) is {value!r}; it must be a whole number from 0 to 65535.",
        key="PORT",
        source=source,
    )


def check_username(value: Any, source: str) -> str:
    """A user's name."""
    return _check_text("USERNAME", value, source)


def check_secret_key(value: Any, source: str) -> str:
    """A secret key."""
    return _check_text("SECRET_KEY", value, source)


def check_node_username(value: Any, source: str) -> str:
    """The name that nodes alone prove themselves under."""
    return _check_text("NODE_USERNAME", value, source)


def check_node_secret_key(value: Any, source: str) -> str:
    """The key that nodes alone prove."""
    return _check_text("NODE_SECRET_KEY", value, source)


def read_secret_key_file(path: str | os.PathLike[str], source: str = "argument") -> str:
    """The secret key kept in a file, without the line's end.

    Raises:
        ConfigError: The file can't be read, is empty, or holds more than one line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(
            f"The secret key file {path} (from {source}) can't be read: {reason}.",
            key="SECRET_KEY_FILE",
            source=source,
        ) from error
    lines = text.splitlines()
    if len(lines) != 1 or not lines[0]:
        raise ConfigError(
            f"The secret key file {path} (from {source}) must hold the key alone, on one line.",
            key="SECRET_KEY_FILE",
            source=source,
        )
    return check_secret_key(lines[0], str(path))


def parse_address(text: str, source: str = "argument") -> tuple[str, int | None] | None:
    """Take an address apart.

    Args:
        text: One of local, host, host:port, [v6]:port, achilles://host:port.
        source: Where the text came from, for the error.

    Returns:
        Host and port (None when not named), or None for ``local``.

    Raises:
        ConfigError: The text has none of these forms.
    """
    rest = _check_text("ADDRESS", text, source).strip()
    if rest.lower() == LOCAL:
        return None
    scheme, separator, after = rest.partition("://")
    if separator:
        rest = after.removesuffix("/") if scheme.lower() == "achilles" else ""
    if rest.startswith("["):
        host, bracket, tail = rest.partition("]")
        host, colon, port = host + bracket, tail[:1], tail[1:]
    elif rest.count(":") > 1:
        host, colon, port = rest, "", ""  # an IPv6 address without brackets leaves no room for a port
    else:
        host, colon, port = rest.partition(":")
    try:
        if colon not in ("", ":"):
            raise ConfigError("text after the bracket")
        return check_host(host, source), (check_port(port, source) if colon else None)
    except ConfigError:
        raise ConfigError(
            # A text with an @ may hold a key, written there as other programs' addresses do.
            f"ADDRESS (from {source}) is {'…' if '@' in text else repr(text)}; write it as {_ADDRESS_FORMS}.",
            key="ADDRESS",
            source=source,
        ) from None


def format_address(host: str, port: int) -> str:
    """``host:port``, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host. Names other than localhost are not looked up."""
    if host.lower().rstrip(".") == "localhost":
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
