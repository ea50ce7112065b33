"""What a node answers when others ask for pieces of the values that it keeps."""

from __future__ import annotations

from ..sealed import Sealed
from ..workers.kept_store import GONE, KeptStore
from . import messages as wire
from .protocol import AchillesProtocol

__all__ = ["serve_kept"]


def serve_kept(connection: AchillesProtocol, kept: KeptStore, fetch: wire.FetchKept) -> None:
    """Answer a question on the connection that it came on.

    Args:
        connection: To the server, which says in whose name the question is.
        kept: What is here.
        fetch: The question.
    """
    answer = wire.KeptPiece(job=fetch.job, request=fetch.request, found=False, reason=GONE)
    payload = kept.find(fetch.session, fetch.name)
    if payload is None:
        connection.send(answer)
        return
    answer.total, answer.start = len(payload), fetch.start
    if fetch.total != len(payload) or fetch.start >= len(payload):
        answer.reason = "its size is another one than was said"
        connection.send(answer)
        return
    answer.found, answer.reason = True, ""
    if fetch.descriptor and fetch.start == 0 and isinstance(payload, Sealed):
        answer.descriptor = True
        if connection.send_beside(answer, payload):
            return
        answer.descriptor = False
    size_bytes = min(fetch.most, len(payload) - fetch.start)
    if isinstance(payload, Sealed):
        piece = payload.part(fetch.start, size_bytes).read()
    else:
        piece = bytearray(memoryview(payload)[fetch.start : fetch.start + size_bytes])
    connection.send(answer, [piece])
