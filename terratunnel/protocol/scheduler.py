"""Chooses which stream sends next. Used by the multiplexer.

Round-robin in two classes: small exchanges ahead of bulk (spec §5). It knows sizes, never bytes.
"""

from collections import deque
from typing import Final

from terratunnel.protocol.streams import Stream

SMALL_EXCHANGE_BYTES: Final = 65_536
# Under contention a slice is what one other stream waits for; alone, fewer and larger slices save system calls.
SLICE_CONTENDED_BYTES: Final = 32_768
SLICE_ALONE_BYTES: Final = 131_072


class Scheduler:
    """The streams that have something to send and credit to send it."""

    __slots__ = ("_bulk", "_small")

    def __init__(self) -> None:
        self._small: deque[Stream] = deque()
        self._bulk: deque[Stream] = deque()

    def add(self, stream: Stream) -> None:
        """Put a stream at the end of its class, unless it is queued already."""
        if stream.queued:
            return
        stream.queued = True
        if stream.sent_bytes < SMALL_EXCHANGE_BYTES:
            self._small.append(stream)
        else:
            self._bulk.append(stream)

    def next_stream(self) -> Stream | None:
        """Take the stream whose turn it is."""
        if self._small:
            stream = self._small.popleft()
        elif self._bulk:
            stream = self._bulk.popleft()
        else:
            return None
        stream.queued = False
        return stream

    def put_back(self, stream: Stream) -> None:
        """Give a stream its turn back: the link had no credit for it."""
        stream.queued = True
        if stream.sent_bytes < SMALL_EXCHANGE_BYTES:
            self._small.appendleft(stream)
        else:
            self._bulk.appendleft(stream)

    def slice_bytes(self) -> int:
        """Return how much the stream just taken may send in one turn."""
        return SLICE_CONTENDED_BYTES if self._bulk or self._small else SLICE_ALONE_BYTES

    def __bool__(self) -> bool:
        return bool(self._small) or bool(self._bulk)
