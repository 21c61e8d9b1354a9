"""Chooses which stream sends next. Used by the multiplexer.

Round-robin in two classes: small exchanges ahead of bulk (spec §5). It knows sizes, never bytes.
"""

from collections import deque
from typing import Final

from terratunnel.protocol.streams import Stream

SMALL_EXCHANGE_BYTES: Final = 65_536
# Under contention a slice is what one other stream waits for; alone, fewer and larger slices save system calls.
SLICE_CONTENDED_BYTES: Final = 65_536
SLICE_ALONE_BYTES: Final = 262_144
# What small exchanges may send before bulk that waits has a turn: it keeps a fifth of the link, whatever else goes on.
SMALL_AHEAD_BYTES: Final = 131_072


class Scheduler:
    """The streams that have bytes to send and credit to send them."""

    __slots__ = ("_ahead", "_bulk", "_small")

    def __init__(self) -> None:
        self._small: deque[Stream] = deque()
        self._bulk: deque[Stream] = deque()
        self._ahead: int = 0

    def add(self, stream: Stream) -> None:
        """Put a stream at the end of its class, or ahead of it in the middle of a turn, unless it is queued already."""
        if stream.queued:
            return
        stream.queued = True
        queue = self._small if stream.sent_bytes < SMALL_EXCHANGE_BYTES else self._bulk
        if stream.turn_left > 0:
            queue.appendleft(stream)
        else:
            queue.append(stream)

    def remove(self, stream: Stream) -> None:
        """Take a stream out that was reset: nothing of it may stay behind while the link has no credit."""
        if not stream.queued:
            return
        stream.queued = False
        if stream.sent_bytes < SMALL_EXCHANGE_BYTES:
            self._small.remove(stream)
        else:
            self._bulk.remove(stream)

    def next_stream(self) -> Stream | None:
        """Take the stream whose turn it is."""
        if self._small and (self._ahead < SMALL_AHEAD_BYTES or not self._bulk):
            stream = self._small.popleft()
        elif self._bulk:
            stream = self._bulk.popleft()
            self._ahead = 0
        else:
            return None
        stream.queued = False
        return stream

    def count(self, size: int) -> None:
        """Count bytes that a small exchange sent while bulk waits."""
        if self._bulk:
            self._ahead += size

    def slice_bytes(self) -> int:
        """Return how much the stream just taken may send in one turn."""
        return SLICE_CONTENDED_BYTES if self._bulk or self._small else SLICE_ALONE_BYTES

    @property
    def has_small(self) -> bool:
        """Whether a small exchange is next."""
        return bool(self._small)

    def __bool__(self) -> bool:
        return bool(self._small) or bool(self._bulk)
