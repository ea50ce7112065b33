"""What a controller answers when workers, far away, ask for modules and blobs.

Modules are the user's own, and blobs those that this process has made, or was given as a worker; never
files or other memory.
"""

from __future__ import annotations

from .. import blobs
from ..errors import BroadcastLost
from ..lineReceiver import messages as wire
from ..lineReceiver.achilles_controller import Controller
from ..sealed import Sealed
from ..workers.module_source import find_source

__all__ = ["serve"]


def serve(controller: Controller, fetch: wire.Fetch | wire.FetchBlob) -> None:
    """Answer a question on the connection that it came on."""
    if isinstance(fetch, wire.Fetch):
        _serve_module(controller, fetch)
    else:
        question = fetch
        blobs.hand_out(fetch.sha256, fetch.total, lambda found: _serve_blob(controller, question, found))


def _serve_module(controller: Controller, fetch: wire.Fetch) -> None:
    module = find_source(fetch.module)
    answer = wire.Fetched(
        fetch.job,
        fetch.request,
        module.found,
        module.is_package,
        module.origin or "",
        module.sha256,
        module.reason,
        module.is_extension,
    )
    controller.send(answer, [module.source])


def _serve_blob(controller: Controller, fetch: wire.FetchBlob, found: blobs.Blob | None) -> None:
    answer = wire.Blob(job=fetch.job, request=fetch.request, found=False, reason=blobs.GONE)
    payload = None if found is None else found.payload
    try:
        content = found.view() if found is not None else None
    except BroadcastLost:
        content = None
    if found is None or payload is None or content is None:
        controller.send(answer)
        return
    answer.total, answer.start = found.size_bytes, fetch.start
    if fetch.total != found.size_bytes or fetch.start >= found.size_bytes:
        answer.reason = "its size is another one than was said"
        controller.send(answer)
        return
    answer.found, answer.reason = True, ""
    if fetch.descriptor and fetch.start == 0 and isinstance(payload, Sealed) and controller.takes_descriptors:
        answer.descriptor = True
        controller.send(answer, beside=payload.descriptor)
    else:
        controller.send(answer, [content[fetch.start : fetch.start + fetch.most]])
