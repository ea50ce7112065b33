"""The one error that is also one of `multiprocessing.pool`."""

from __future__ import annotations

from multiprocessing.pool import MaybeEncodingError  # type: ignore[attr-defined]
from typing import Any

from ..errors import SerializationError

__all__ = ["ResultEncodingError"]


class ResultEncodingError(SerializationError, MaybeEncodingError):  # type: ignore[misc]
    """A result cannot be sent back from the worker.

    Fields: ``subject`` and ``path`` as of `SerializationError`; ``exc`` and ``value`` as of the standard
    library's error, as text.
    """

    def __init__(self, message: str, **fields: Any) -> None:
        # The standard library's takes two arguments, and turns them into text.
        Exception.__init__(self, message)
        self.fields = fields

    def __str__(self) -> str:
        return str(self.args[0])

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"

    @classmethod
    def of(cls, error: SerializationError) -> ResultEncodingError:
        """The same error, for a pool's caller."""
        text = str(error)
        made = cls(text, subject=error.subject, path=error.path, exc=text, value=error.subject)
        made.__cause__ = error.__cause__
        return made
