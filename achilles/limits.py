"""What holds for all parties, and may be known to those that never unpickle."""

from __future__ import annotations

__all__ = ["MAX_PAYLOAD_BYTES", "PIECE_BYTES"]

MAX_PAYLOAD_BYTES = 4 * 1024**3
"""What one frame may carry at most: the arguments of one packet, or the results of one slice."""

PIECE_BYTES = 1024 * 1024
"""Most bytes of a blob that travel in one frame."""
