"""What holds for all parties, and may be known to those that never unpickle."""

from __future__ import annotations

__all__ = [
    "MAX_PATTERNS",
    "MAX_PATTERNS_CHARACTERS",
    "MAX_PATTERN_CHARACTERS",
    "MAX_PAYLOAD_BYTES",
    "MAX_PRIORITY",
    "MAX_SLOTS",
    "PIECE_BYTES",
]

MAX_PAYLOAD_BYTES = 4 * 1024**3
"""What one frame may carry at most: the arguments of one packet, or the results of one slice."""

MAX_SLOTS = 4096
"""Most slots that one node may offer, or a task take; a packet grows with them."""

MAX_PRIORITY = 1000
"""Of a job; the lowest is as far below 0."""

MAX_PATTERNS = 64
"""Of names of nodes, that a job may give."""

MAX_PATTERN_CHARACTERS = 255
"""In one of them; ASCII."""

MAX_PATTERNS_CHARACTERS = 4096
"""In all of a job together, so that they fit into a header."""

PIECE_BYTES = 1024 * 1024
"""Most bytes of a blob that travel in one frame."""
