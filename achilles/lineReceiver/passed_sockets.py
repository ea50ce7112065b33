"""Connected sockets that come by descriptor: what one must be before anybody reads from it."""

from __future__ import annotations

import os
import socket

from ..errors import ProtocolError
from ..sealed import Descriptor
from .local_socket import peer_is_us

__all__ = ["socket_of"]


def socket_of(descriptor: Descriptor) -> socket.socket:
    """The socket that a descriptor is, which it owns from here on; it does not block.

    Raises:
        ProtocolError: It is no connected stream socket of this machine, or was made by another user.
    """
    number = descriptor.detach()
    try:
        found = socket.socket(fileno=number)
    except OSError:
        os.close(number)
    else:
        is_stream = found.family == socket.AF_UNIX and found.type == socket.SOCK_STREAM
        if is_stream and peer_is_us(found):
            found.setblocking(False)
            return found
        found.close()
    raise ProtocolError(
        "a descriptor that came for a shortcut is not of a socket between processes of one user"
    )
