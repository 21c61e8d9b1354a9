"""Frames: the 12-byte header and the small fixed payloads. Used by the multiplexer, which writes and reads messages.

Layout (spec §2): length, stream id, type, flags, two reserved bytes; big-endian.
"""

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import Final

from terratunnel.protocol.errors import GoAwayCode, LinkError

HEADER: Final = Struct(">IIBBH")
HEADER_BYTES: Final = 12
U32: Final = Struct(">I")
CHECKSUM: Final = Struct(">I32s")
GOAWAY: Final = Struct(">II")
SETTING: Final = Struct(">HI")

MAX_MESSAGE_BYTES: Final = 1_048_576
MAX_REASON_BYTES: Final = 1_024


class FrameType(IntEnum):
    """What a frame is (spec §2)."""

    HEADERS = 1
    DATA = 2
    CHECKSUM = 3
    END = 4
    RESET = 5
    WINDOW = 6
    PING = 7
    PONG = 8
    SETTINGS = 9
    GOAWAY = 10


class Flag(IntEnum):
    """Bits of the flags byte (spec §2)."""

    END = 1
    CHECKED = 2
    INTERIM = 4


# The same as plain numbers: the road compares them for every frame.
TYPE_HEADERS: Final = 1
TYPE_DATA: Final = 2
TYPE_CHECKSUM: Final = 3
TYPE_END: Final = 4
TYPE_RESET: Final = 5
TYPE_WINDOW: Final = 6
TYPE_PING: Final = 7
TYPE_PONG: Final = 8
TYPE_SETTINGS: Final = 9
TYPE_GOAWAY: Final = 10

FLAG_END: Final = 1
FLAG_CHECKED: Final = 2
FLAG_INTERIM: Final = 4


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """Return one frame."""
    return HEADER.pack(len(payload), stream_id, kind, flags, 0) + payload


def split_frames(message: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield `(type, flags, stream id, payload)` of each frame; raises LinkError at a frame that is cut short.

    For tests and tools; the multiplexer walks the message by itself.
    """
    position = 0
    while position < len(message):
        if position + HEADER_BYTES > len(message):
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, "a message ends inside a frame header")
        length, stream_id, kind, flags, _ = HEADER.unpack_from(message, position)
        start = position + HEADER_BYTES
        position = start + length
        if position > len(message):
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, "a message ends inside a frame")
        yield kind, flags, stream_id, message[start:position]


def encode_reason(reason: str) -> bytes:
    """Return a reason as UTF-8, cut to the allowed length at a character's end."""
    return reason.encode("utf-8", "replace")[:MAX_REASON_BYTES].decode("utf-8", "ignore").encode()


def decode_reason(payload: bytes) -> str:
    """Return a reason from the wire as text; bytes that are not UTF-8 are replaced, an overlong one is cut."""
    return payload[:MAX_REASON_BYTES].decode("utf-8", "replace")
