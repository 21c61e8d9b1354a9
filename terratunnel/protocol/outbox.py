"""What goes out on a link: control frames, and DATA as scheduling, credit and pace allow. Used by the multiplexer.

Control frames go first and need no credit. It writes messages, counts what is in flight, and never waits.
"""

from typing import Final

from terratunnel.protocol.checksums import ChunkWriter
from terratunnel.protocol.frames import (
    FLAG_END,
    HEADER,
    HEADER_BYTES,
    TYPE_CHECKSUM,
    TYPE_DATA,
    TYPE_END,
    frame,
)
from terratunnel.protocol.pacing import Pacer
from terratunnel.protocol.scheduler import SLICE_CONTENDED_BYTES, SMALL_EXCHANGE_BYTES, Scheduler
from terratunnel.protocol.settings import DEFAULTS, Setting
from terratunnel.protocol.streams import IN_DATA_END, IN_END, Stream, next_state

# A message is what one system call and one turn of the peer's loop carry; larger ones only delay small exchanges.
MESSAGE_BYTES: Final = 131_072
# A stream asks its source to pause above the first and to go on below the second.
PENDING_HIGH_BYTES: Final = 131_072
PENDING_LOW_BYTES: Final = 32_768
# Link credit returns in steps of this size, which is how well the sender knows what is in flight.
LINK_GRANT_BYTES: Final = 131_072


class Outbox:
    """The sending half of a link.

    `writable` lists streams whose source may go on, `ended` those whose direction has just ended; who reads them
    empties them.
    """

    __slots__ = ("_control", "_scheduler", "_window", "control_bytes", "credit", "ended", "pacer", "writable")

    def __init__(self) -> None:
        self.control_bytes: int = 0
        self.credit: int = DEFAULTS[Setting.INITIAL_LINK_WINDOW]
        self.pacer: Pacer = Pacer(self.credit)
        self.writable: list[Stream] = []
        self.ended: list[Stream] = []
        self._window: int = self.credit
        self._control: list[bytes] = []
        self._scheduler: Scheduler = Scheduler()

    def set_window(self, size: int) -> None:
        """Take the peer's link window; nothing has been sent yet."""
        self._window = self.credit = size
        self.pacer.set_ceiling(size)

    def queue_control(self, data: bytes) -> None:
        """Queue a frame that needs no credit."""
        self._control.append(data)
        self.control_bytes += len(data)

    def schedule(self, stream: Stream) -> None:
        """Queue a stream that has bytes and credit; an end with no bytes before it needs neither and goes at once."""
        if stream.pending_bytes > 0:
            if stream.send_credit > 0:
                self._scheduler.add(stream)
        elif stream.pending_end is not None:
            self.queue_control(self._take_end(stream))

    def remove(self, stream: Stream) -> None:
        """Forget a stream that was reset."""
        self._scheduler.remove(stream)

    def is_competing(self, streams: int) -> bool:
        """Whether bulk is under way beside other streams: then what it may have in flight is bounded by its delay."""
        return streams > 1 and self._in_flight() > LINK_GRANT_BYTES

    def has_output(self, streams: int) -> bool:
        """Whether `next_message` would return something; `streams` are those under way on the link."""
        return bool(self._control) or (bool(self._scheduler) and self._may_send_data(streams))

    def next_message(self, streams: int) -> list[bytes | memoryview]:
        """Return the parts of the next message; empty when there is nothing, or no credit for it."""
        parts: list[bytes | memoryview] = []
        size = self._take_control(parts)
        while size < MESSAGE_BYTES and self._may_send_data(streams):
            stream = self._scheduler.next_stream()
            if stream is None:
                break
            size += self._write_turn(stream, parts)
        return parts

    # ------------------------------------------------------------------ private

    def _take_control(self, parts: list[bytes | memoryview]) -> int:
        """Move waiting control frames into `parts`; returns their size.

        What is left over may hold heads that DATA must not overtake: then this fills the message, and no DATA fits.
        """
        if self.control_bytes <= MESSAGE_BYTES:
            size = self.control_bytes
            parts += self._control
            self._control = []
            self.control_bytes = 0
            return size
        size = 0
        taken = 0
        while size < MESSAGE_BYTES:
            size += len(self._control[taken])
            taken += 1
        parts += self._control[:taken]
        del self._control[:taken]
        self.control_bytes -= size
        return size

    def _write_turn(self, stream: Stream, parts: list[bytes | memoryview]) -> int:
        """Write one turn of a stream: DATA, and CHECKSUM and END where they are due; returns the bytes written."""
        allowance = stream.turn_left if stream.turn_left > 0 else self._scheduler.slice_bytes()
        written = 0
        while allowance > 0 and stream.pending_bytes > 0 and self._has_credit(stream):
            size = min(allowance, stream.pending_bytes, stream.send_credit, self.credit)
            if stream.writer is None:
                written += self._write_data(stream, parts, size)
            else:
                size = min(size, stream.writer.room)
                written += self._write_checked(stream, parts, size, stream.writer)
            allowance -= size
        stream.turn_left = 0
        if stream.pending_bytes == 0:
            if stream.pending_end is not None:
                ending = self._take_end(stream)
                parts.append(ending)
                written += len(ending)
        elif stream.send_credit > 0:
            if allowance > 0:
                stream.turn_left = allowance if allowance < SLICE_CONTENDED_BYTES else SLICE_CONTENDED_BYTES
            self._scheduler.add(stream)
        if stream.wants_room and stream.pending_bytes <= PENDING_LOW_BYTES:
            stream.wants_room = False
            self.writable.append(stream)
        return written

    def _write_checked(self, stream: Stream, parts: list[bytes | memoryview], size: int, writer: ChunkWriter) -> int:
        """Write DATA of a checked body, and its CHECKSUM where the chunk is full, the source pauses or credit ends."""
        written = self._write_data(stream, parts, size)
        if stream.pending_bytes == 0 or writer.room <= 0 or not self._has_credit(stream):
            parts.append(frame(TYPE_CHECKSUM, 0, stream.id, writer.close_chunk()))
            written += HEADER_BYTES + 36
        return written

    def _in_flight(self) -> int:
        return self._window - self.credit

    def _may_send_data(self, streams: int) -> bool:
        """Whether the link takes DATA now.

        Bulk waits for its pace while other streams are open, small exchanges do not.
        """
        if self.credit <= 0:
            return False
        return streams < 2 or self._in_flight() < self.pacer.limit or self._scheduler.has_small

    def _has_credit(self, stream: Stream) -> bool:
        return stream.send_credit > 0 and self.credit > 0

    def _write_data(self, stream: Stream, parts: list[bytes | memoryview], size: int) -> int:
        """Write one DATA frame of `size` bytes; the END flag rides on it when nothing else has to follow."""
        if stream.sent_bytes < SMALL_EXCHANGE_BYTES:
            self._scheduler.count(size)
        stream.pending_bytes -= size
        stream.send_credit -= size
        stream.sent_bytes += size
        self.credit -= size
        writer = stream.writer
        last = stream.pending_bytes == 0 and stream.pending_end == b"" and writer is None
        parts.append(HEADER.pack(size, stream.id, TYPE_DATA, FLAG_END if last else 0, 0))
        self._take_pending(stream, parts, size)
        if last:
            stream.pending_end = None
            self._finish_sending(stream, IN_DATA_END)
        return size + HEADER_BYTES

    def _take_pending(self, stream: Stream, parts: list[bytes | memoryview], size: int) -> None:
        """Move exactly `size` pending bytes into `parts`; a piece that is too large is split without a copy."""
        pending = stream.pending
        writer = stream.writer
        while size > 0:
            piece: bytes | memoryview = pending.popleft()
            if len(piece) > size:
                view = memoryview(piece)
                pending.appendleft(view[size:])
                piece = view[:size]
            if writer is not None:
                writer.add(piece)
            parts.append(piece)
            size -= len(piece)

    def _take_end(self, stream: Stream) -> bytes:
        """Return the END frame that is due, and end the direction."""
        trailers = stream.pending_end or b""
        stream.pending_end = None
        self._finish_sending(stream, IN_END)
        return frame(TYPE_END, 0, stream.id, trailers)

    def _finish_sending(self, stream: Stream, what: int) -> None:
        stream.sending = next_state(stream.sending, what)
        self.ended.append(stream)
