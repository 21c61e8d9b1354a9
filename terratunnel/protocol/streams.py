"""Streams: the transition table of a direction and the state of one exchange. Used by the multiplexer and scheduler.

The table is that of `docs/spec/protocol.md` §4; a pair that is absent is an error of whoever caused the input.
"""

from collections import deque
from enum import IntEnum
from typing import Final

from terratunnel.protocol.checksums import ChunkReader, ChunkWriter
from terratunnel.protocol.windows import ReceiveWindow


class State(IntEnum):
    """Where one direction of a stream stands."""

    HEAD = 0
    BODY = 1
    DONE = 2
    RESET = 3


class Input(IntEnum):
    """What can happen in one direction."""

    INTERIM = 0
    HEADERS = 1
    HEADERS_END = 2
    DATA = 3
    DATA_END = 4
    CHECKSUM = 5
    END = 6
    RESET = 7


TRANSITIONS: Final[dict[tuple[State, Input], State]] = {
    (State.HEAD, Input.INTERIM): State.HEAD,
    (State.HEAD, Input.HEADERS): State.BODY,
    (State.HEAD, Input.HEADERS_END): State.DONE,
    (State.BODY, Input.DATA): State.BODY,
    (State.BODY, Input.DATA_END): State.DONE,
    (State.BODY, Input.CHECKSUM): State.BODY,
    (State.BODY, Input.END): State.DONE,
    (State.HEAD, Input.RESET): State.RESET,
    (State.BODY, Input.RESET): State.RESET,
    (State.DONE, Input.RESET): State.RESET,
}

# Plain numbers for the road: an index into a list costs a tenth of a tuple of enums into a dict.
HEAD: Final = 0
BODY: Final = 1
DONE: Final = 2
RESET: Final = 3
FORBIDDEN: Final = -1
IN_INTERIM: Final = 0
IN_HEADERS: Final = 1
IN_HEADERS_END: Final = 2
IN_DATA: Final = 3
IN_DATA_END: Final = 4
IN_CHECKSUM: Final = 5
IN_END: Final = 6
_INPUTS: Final = 8
_NEXT: Final[list[int]] = [
    int(TRANSITIONS[state, what]) if (state, what) in TRANSITIONS else FORBIDDEN for state in State for what in Input
]


def next_state(state: int, what: int) -> int:
    """Return the state after `what`, or FORBIDDEN."""
    return _NEXT[state * _INPUTS + what]


class Stream:
    """One exchange on a link. The multiplexer alone changes it; `owner` is for whoever uses the multiplexer.

    `turn_left` is what remains of a turn that the end of the link's credit interrupted.

    `pending` holds body bytes that wait for credit; `pending_end` the trailer block that follows
    them, None while there is no end.
    """

    __slots__ = (
        "id",
        "owner",
        "pending",
        "pending_bytes",
        "pending_end",
        "queued",
        "reader",
        "receiving",
        "send_credit",
        "sending",
        "sent_bytes",
        "turn_left",
        "wants_room",
        "window",
        "writer",
    )

    def __init__(self, stream_id: int, send_credit: int, window: ReceiveWindow) -> None:
        self.id: int = stream_id
        self.owner: object = None
        self.sending: int = HEAD
        self.receiving: int = HEAD
        self.send_credit: int = send_credit
        self.sent_bytes: int = 0
        self.turn_left: int = 0
        self.window: ReceiveWindow = window
        self.pending: deque[bytes | memoryview] = deque()
        self.pending_bytes: int = 0
        self.pending_end: bytes | None = None
        self.queued: bool = False
        self.wants_room: bool = False
        self.writer: ChunkWriter | None = None
        self.reader: ChunkReader | None = None

    def __repr__(self) -> str:
        return (
            f"<Stream {self.id} sending={State(self.sending).name} receiving={State(self.receiving).name} "
            f"pending={self.pending_bytes} credit={self.send_credit}>"
        )
