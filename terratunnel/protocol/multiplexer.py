"""The multiplexer: many streams on one link, without I/O. Used by `mux.connection`, which moves messages, tells time.

Messages and `now` go in, events come out; `next_message` gives what is to be sent. Contract: `docs/spec/protocol.md`.
An error of the peer is raised as LinkError by `receive_message` and `handle_timer` alone: the caller delivers what is
`undelivered`, sends GOAWAY with `go_away` and closes the link.
"""

from typing import Final

from terratunnel.errors import LocalProtocolError
from terratunnel.protocol.budgets import RateBudget
from terratunnel.protocol.checksums import ChunkReader, ChunkWriter
from terratunnel.protocol.errors import GoAwayCode, LinkError, ResetCode, goaway_code, reset_code
from terratunnel.protocol.events import (
    DataReceived,
    EndReceived,
    Event,
    GoAwayReceived,
    HeadersReceived,
    LinkOpened,
    StreamReset,
)
from terratunnel.protocol.frames import (
    GOAWAY,
    HEADER,
    HEADER_BYTES,
    MAX_MESSAGE_BYTES,
    SETTING,
    U32,
    decode_reason,
    encode_reason,
    frame,
)
from terratunnel.protocol.headers import decode_block, encode_block
from terratunnel.protocol.pacing import PROBE_EVERY_S, Pacer
from terratunnel.protocol.scheduler import SLICE_CONTENDED_BYTES, SMALL_EXCHANGE_BYTES, Scheduler
from terratunnel.protocol.settings import DEFAULTS, Setting, Settings, read_settings
from terratunnel.protocol.streams import DONE, FORBIDDEN, HEAD, RESET, Stream, next_state
from terratunnel.protocol.windows import MAX_WINDOW, GrowthBudget, ReceiveWindow

# Frame types, flags and inputs as plain numbers: the road compares them for every frame (spec §2, streams.Input).
_HEADERS: Final = 1
_DATA: Final = 2
_CHECKSUM: Final = 3
_END: Final = 4
_RESET: Final = 5
_WINDOW: Final = 6
_PING: Final = 7
_PONG: Final = 8
_SETTINGS: Final = 9
_GOAWAY: Final = 10

_FLAG_END: Final = 1
_FLAG_CHECKED: Final = 2
_FLAG_INTERIM: Final = 4

_IN_INTERIM: Final = 0
_IN_HEADERS: Final = 1
_IN_HEADERS_END: Final = 2
_IN_DATA: Final = 3
_IN_DATA_END: Final = 4
_IN_CHECKSUM: Final = 5
_IN_END: Final = 6

# A message is what one system call and one turn of the peer's loop carry; larger ones only delay small exchanges.
MESSAGE_BYTES: Final = 131_072
# A stream asks its source to pause above the first and to go on below the second.
PENDING_HIGH_BYTES: Final = 131_072
PENDING_LOW_BYTES: Final = 32_768
# Control frames that wait while the link does not drain. Above the first no stream is opened, so that visitors who come
# and go leave no heads behind; at the second a peer is cut off that makes us answer and does not read.
CONTROL_HIGH_BYTES: Final = 1_048_576
MAX_CONTROL_BYTES: Final = 4_194_304
# DATA below this is charged to a budget: it costs the receiver as much as a full frame.
SMALL_DATA_BYTES: Final = 1_024
# A peer that announces a tiny window does not make this side sum tiny chunks: the end of credit closes them anyway.
MIN_CHUNK_BYTES: Final = 4_096
# From this size on a view of a message is cheaper than a copy of its DATA.
VIEWED_BYTES: Final = 16_384
# Link credit returns in steps of this size, which is how well the sender knows what is in flight.
LINK_GRANT_BYTES: Final = 131_072
MAX_STREAM_ID: Final = 2**32 - 2


class Multiplexer:
    """One side of a link. `opener` is the side that opens streams: the server.

    `writable` lists streams whose source may go on (one may have been reset since); the caller empties it.
    `undelivered` are the events of a message that broke a rule, from before it did. `next_id` is for the next stream.
    """

    def __init__(self, opener: bool, settings: Settings, now: float) -> None:
        self.settings: Settings = settings
        self.opened: bool = False
        self.goaway_sent: bool = False
        self.goaway_received: bool = False
        self.writable: list[Stream] = []
        self.undelivered: list[Event] = []
        self.next_id: int = 1 if opener else 2
        self._streams: dict[int, Stream] = {}
        self._last_sent_id: int = 0
        self._peer_parity: int = 0 if opener else 1
        self._last_peer_id: int = 0
        self._peer_stream_window: int = DEFAULTS[Setting.INITIAL_STREAM_WINDOW]
        self._max_open: int = settings.max_streams
        self._peer_link_window: int = DEFAULTS[Setting.INITIAL_LINK_WINDOW]
        self._link_credit: int = self._peer_link_window
        self._pacer: Pacer = Pacer(self._peer_link_window)
        self._growth: GrowthBudget = GrowthBudget(settings.window_growth_budget)
        # It grants often and never grows, so that the sender can tell from its credit what is in flight.
        self._link_window: ReceiveWindow = ReceiveWindow(
            settings.initial_link_window, settings.initial_link_window, GrowthBudget(0), now, LINK_GRANT_BYTES
        )
        self._scheduler: Scheduler = Scheduler()
        self._control: list[bytes] = []
        self._control_bytes: int = 0
        self._opens: RateBudget = RateBudget("streams opened", settings.max_opens_per_s, now)
        self._resets: RateBudget = RateBudget("resets", settings.max_resets_per_s, now)
        self._controls: RateBudget = RateBudget("control frames", settings.max_control_per_s, now)
        self._small_data: RateBudget = RateBudget("small frames", settings.max_small_data_per_s, now)
        self.heard_at: float = now
        self._pinged_at: float = now
        self._ping_count: int = 0
        self._ping_loaded: bool = False
        self._ping_answered: bool = False
        self._send_settings()
        self._send_ping(now)

    def __repr__(self) -> str:
        round_trip = f"{self.round_trip_s * 1000:.1f}ms"
        return f"<Multiplexer streams={len(self._streams)} credit={self._link_credit} rtt={round_trip}>"

    # ------------------------------------------------------------------ what the caller asks

    @property
    def round_trip_s(self) -> float:
        """The shortest round trip seen, 0 before the first."""
        return self._pacer.round_trip_s

    @property
    def open_streams(self) -> int:
        """How many streams are under way."""
        return len(self._streams)

    @property
    def can_open(self) -> bool:
        """Whether `open_stream` would be allowed now."""
        return (
            self.opened
            and self._peer_parity == 0  # an agent opens none
            and not self.goaway_received
            and not self.goaway_sent
            and len(self._streams) < self._max_open
            and self._control_bytes <= CONTROL_HIGH_BYTES
            and self.next_id <= MAX_STREAM_ID
        )

    @property
    def exhausted(self) -> bool:
        """Whether the identifiers of this link are used up and it must be replaced."""
        return self.next_id > MAX_STREAM_ID

    @property
    def has_output(self) -> bool:
        """Whether `next_message` would return something."""
        return bool(self._control) or (bool(self._scheduler) and self._may_send_data())

    def streams(self) -> list[Stream]:
        """Return the streams under way."""
        return list(self._streams.values())

    # ------------------------------------------------------------------ sending

    def open_stream(self, now: float) -> Stream:
        """Open a stream; its head goes before that of a later one. Raises LocalProtocolError unless `can_open`."""
        if not self.can_open:
            raise LocalProtocolError("no stream can be opened on this link now")
        stream = self._new_stream(self.next_id, now)
        self.next_id += 2
        return stream

    def send_headers(
        self, stream: Stream, items: list[bytes], end: bool = False, checked: bool = False, interim: bool = False
    ) -> None:
        """Send a head. `checked`: the body travels in verified chunks; `end`: there is no body.

        Raises LocalProtocolError, and sends nothing, for a head over the budgets of the spec or one not allowed here.
        """
        block = self._encode(items)
        if interim and (end or checked or self._peer_parity == 0):
            raise LocalProtocolError(f"{stream!r} sends an interim head that cannot be one")
        first = stream.sending == HEAD and stream.id & 1 != self._peer_parity
        if first and stream.id <= self._last_sent_id:
            raise LocalProtocolError(f"{stream!r} was overtaken by stream {self._last_sent_id}")
        self._advance_sending(stream, _IN_INTERIM if interim else (_IN_HEADERS_END if end else _IN_HEADERS))
        if first:
            self._last_sent_id = stream.id
        flags = (_FLAG_END if end else 0) | (_FLAG_CHECKED if checked else 0) | (_FLAG_INTERIM if interim else 0)
        if checked:
            half = max(self._peer_stream_window // 2, MIN_CHUNK_BYTES)
            stream.writer = ChunkWriter(max(min(self.settings.chunk_size, half), 1))
        self._queue_control(HEADER.pack(len(block), stream.id, _HEADERS, flags, 0) + block)
        if end:
            self._forget_if_finished(stream)

    def send_data(self, stream: Stream, data: bytes | memoryview, end: bool = False) -> None:
        """Queue bytes of a body; ask `has_room` before reading more from the source."""
        self._require_body(stream)
        if data:
            stream.pending.append(data)
            stream.pending_bytes += len(data)
        if end:
            stream.pending_end = b""
        self._schedule(stream)

    def send_end(self, stream: Stream, trailers: list[bytes]) -> None:
        """End this direction after what is queued."""
        self._require_body(stream)
        stream.pending_end = self._encode(trailers) if trailers else b""
        self._schedule(stream)

    def has_room(self, stream: Stream) -> bool:
        """Whether the source may go on; when not, the stream is listed in `writable` once it may."""
        if stream.pending_bytes <= PENDING_HIGH_BYTES:
            return True
        stream.wants_room = True
        return False

    def reset_stream(self, stream: Stream, code: ResetCode, reason: str = "") -> None:
        """End a stream now, in both directions; what was queued is dropped. Does nothing to a finished stream.

        The peer never hears of a stream whose head was not sent.
        """
        if self._streams.get(stream.id) is not stream:
            return
        if stream.sending != HEAD or stream.id & 1 == self._peer_parity:
            self._queue_control(frame(_RESET, 0, stream.id, U32.pack(code) + encode_reason(reason)))
        self._drop(stream)

    def consume(self, stream: Stream, size: int, now: float) -> None:
        """Give credit back for bytes that have been handed on."""
        grant = stream.window.consume(size, now, self.round_trip_s)
        if grant:
            self._queue_control(frame(_WINDOW, 0, stream.id, U32.pack(grant)))

    def go_away(self, code: GoAwayCode, reason: str) -> None:
        """Take no more streams; those under way go on."""
        self.goaway_sent = True
        self._queue_control(frame(_GOAWAY, 0, 0, GOAWAY.pack(self._last_peer_id, code) + encode_reason(reason)))

    def next_message(self) -> list[bytes | memoryview]:
        """Return the parts of the next message to send; empty when there is nothing, or no credit for it."""
        parts: list[bytes | memoryview] = []
        size = self._take_control(parts)
        while size < MESSAGE_BYTES and self._may_send_data():
            stream = self._scheduler.next_stream()
            if stream is None:
                break
            size += self._write_turn(stream, parts)
        return parts

    # ------------------------------------------------------------------ receiving

    def receive_message(self, message: bytes, now: float) -> list[Event]:
        """Read one message; raises LinkError when the peer broke a rule, after what it says in `undelivered`."""
        events: list[Event] = []
        self.heard_at = now
        try:
            self._receive_frames(message, now, events)
        except LinkError:
            self.undelivered = events
            raise
        if self._is_competing() and self._ping_answered and now - self._pinged_at >= PROBE_EVERY_S:
            self._send_ping(now)
        return events

    def next_deadline(self) -> float:
        """Return when `handle_timer` is to be called, on the clock that `now` comes from."""
        return min(self._pinged_at + self.settings.ping_after_s, self.heard_at + self.settings.dead_after_s)

    def handle_timer(self, now: float) -> None:
        """Send PING when it is time; raises LinkError when the peer has been silent for too long."""
        # The sums of `next_deadline`, so that what is due by the one is due by the other, rounding and all.
        if now >= self.heard_at + self.settings.dead_after_s:
            raise LinkError(GoAwayCode.DEAD, f"nothing heard for {self.settings.dead_after_s:g} s")
        if now >= self._pinged_at + self.settings.ping_after_s:
            self._send_ping(now)

    # ------------------------------------------------------------------ private: frames in

    def _receive_frames(self, message: bytes, now: float, events: list[Event]) -> None:
        total = len(message)
        if total > MAX_MESSAGE_BYTES or total == 0:
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, f"a message of {total} bytes, not 1 to {MAX_MESSAGE_BYTES}")
        position = 0
        while position < total:
            start = position + HEADER_BYTES
            if start > total:
                raise LinkError(GoAwayCode.PROTOCOL_ERROR, "a message ends inside a frame header")
            length, stream_id, kind, flags, _ = HEADER.unpack_from(message, position)
            position = start + int(length)
            if position > total:
                raise LinkError(GoAwayCode.PROTOCOL_ERROR, "a message ends inside a frame")
            stream = self._streams.get(stream_id) if kind == _DATA and 2 * length > total >= VIEWED_BYTES else None
            if stream is not None:
                # Most of the message: a view of it costs no copy, and keeps little else alive.
                self._receive_data(stream, int(flags), memoryview(message)[start:position], now, events)
            else:
                self._receive_frame(int(kind), int(flags), int(stream_id), message[start:position], now, events)
        if self._control_bytes > MAX_CONTROL_BYTES:
            raise LinkError(GoAwayCode.BUDGET_EXCEEDED, "control frames: the peer does not read the answers to its own")

    def _receive_frame(
        self, kind: int, flags: int, stream_id: int, payload: bytes, now: float, events: list[Event]
    ) -> None:
        if not self.opened and kind != _SETTINGS:
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if stream_id == 0 or kind > _WINDOW or kind == 0:
            self._receive_link_frame(kind, stream_id, payload, now, events)
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            self._receive_without_stream(kind, flags, stream_id, payload, now, events)
        elif kind == _DATA:
            self._receive_data(stream, flags, payload, now, events)
        elif kind == _HEADERS:
            self._receive_headers(stream, flags, payload, now, events, False)
        elif kind == _WINDOW:
            self._controls.spend(now)
            self._receive_credit(stream, payload)
        elif kind == _CHECKSUM:
            self._receive_checksum(stream, payload, events)
        elif kind == _END:
            self._receive_end(stream, payload, events)
        else:
            self._receive_reset(stream, payload, now, events)

    def _receive_link_frame(self, kind: int, stream_id: int, payload: bytes, now: float, events: list[Event]) -> None:
        self._controls.spend(now)
        if kind < _WINDOW and kind != 0:
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, f"a frame of type {kind} needs a stream")
        if kind > _GOAWAY or kind == 0:
            return
        if stream_id != 0:
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, f"a frame of type {kind} belongs to the link")
        if kind == _WINDOW:
            self._link_credit = self._add_credit(self._link_credit, payload)
        elif kind == _PING:
            self._receive_ping(payload)
        elif kind == _PONG:
            self._receive_pong(payload, now)
        elif kind == _SETTINGS:
            self._receive_settings(payload, events)
        else:
            self._receive_goaway(payload, events)

    def _receive_without_stream(
        self, kind: int, flags: int, stream_id: int, payload: bytes, now: float, events: list[Event]
    ) -> None:
        """A frame for a stream that is not under way: it opens one, or crossed with the end of one."""
        if stream_id & 1 == self._peer_parity and stream_id > self._last_peer_id:
            if kind != _HEADERS or flags & _FLAG_INTERIM:
                raise LinkError(GoAwayCode.PROTOCOL_ERROR, f"stream {stream_id} was never opened")
            self._receive_open(flags, stream_id, payload, now, events)
            return
        if stream_id & 1 != self._peer_parity and stream_id >= self.next_id:
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, f"stream {stream_id} was never opened")
        if kind == _DATA:
            self._count_on_link(len(payload), now)
        else:
            self._controls.spend(now)

    def _receive_open(self, flags: int, stream_id: int, payload: bytes, now: float, events: list[Event]) -> None:
        if self._peer_parity == 0:
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, "an agent opens no streams")
        self._opens.spend(now)
        self._last_peer_id = stream_id
        refusal = self._refusal(now)
        if refusal:
            self._queue_control(frame(_RESET, 0, stream_id, U32.pack(ResetCode.REFUSED) + refusal.encode()))
            return
        self._receive_headers(self._new_stream(stream_id, now), flags, payload, now, events, True)

    def _refusal(self, now: float) -> str:
        """Why a stream is not taken now; empty when it is."""
        if self.goaway_sent:
            return "draining"
        if len(self._streams) >= self.settings.max_streams:
            return f"more than {self.settings.max_streams} streams"
        if not self._resets.has_token(now):
            return f"resets: more than {self.settings.max_resets_per_s:g} per second"
        return ""

    def _receive_headers(
        self, stream: Stream, flags: int, payload: bytes, now: float, events: list[Event], opened: bool
    ) -> None:
        end = flags & _FLAG_END != 0
        interim = flags & _FLAG_INTERIM != 0
        checked = flags & _FLAG_CHECKED != 0
        if interim:
            self._controls.spend(now)
            if end or checked:
                raise LinkError(GoAwayCode.PROTOCOL_ERROR, f"stream {stream.id}: an interim head with another flag")
        self._advance_receiving(stream, _IN_INTERIM if interim else (_IN_HEADERS_END if end else _IN_HEADERS))
        if checked:
            stream.reader = ChunkReader()
        items = decode_block(payload, self.settings.max_block_bytes, self.settings.max_block_items)
        events.append(HeadersReceived(stream, items, end, interim, opened))
        if end:
            self._finish_receiving(stream)

    def _receive_data(
        self, stream: Stream, flags: int, payload: bytes | memoryview, now: float, events: list[Event]
    ) -> None:
        end = flags & _FLAG_END != 0
        size = len(payload)
        self._count_on_link(size, now)
        if not stream.window.receive(size):
            raise LinkError(GoAwayCode.FLOW_CONTROL_ERROR, f"stream {stream.id} has no credit for {size} bytes")
        self._advance_receiving(stream, _IN_DATA_END if end else _IN_DATA)
        reader = stream.reader
        if reader is not None:
            if end:
                raise LinkError(GoAwayCode.PROTOCOL_ERROR, f"stream {stream.id}: DATA ends a checked body")
            if size:
                reader.add(payload)
        elif size:
            events.append(DataReceived(stream, payload, end))
        elif end:
            events.append(EndReceived(stream, []))
        if end:
            self._finish_receiving(stream)

    def _receive_checksum(self, stream: Stream, payload: bytes, events: list[Event]) -> None:
        self._advance_receiving(stream, _IN_CHECKSUM)
        reader = stream.reader
        if reader is None:
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, f"stream {stream.id}: CHECKSUM in an unchecked body")
        chunk = reader.verify(payload)
        if chunk is None:
            reason = f"chunk {reader.index} (after {reader.received} bytes) does not match its SHA-256"
            self.reset_stream(stream, ResetCode.CHECKSUM_MISMATCH, reason)
            events.append(StreamReset(stream, ResetCode.CHECKSUM_MISMATCH, reason))
            return
        for data in chunk:
            events.append(DataReceived(stream, data, False))

    def _receive_end(self, stream: Stream, payload: bytes, events: list[Event]) -> None:
        self._advance_receiving(stream, _IN_END)
        if stream.reader is not None and stream.reader.holds_data:
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, f"stream {stream.id}: END before the last CHECKSUM")
        trailers = decode_block(payload, self.settings.max_block_bytes, self.settings.max_block_items)
        events.append(EndReceived(stream, trailers))
        self._finish_receiving(stream)

    def _receive_reset(self, stream: Stream, payload: bytes, now: float, events: list[Event]) -> None:
        if len(payload) < 4:
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, "a RESET frame without a code")
        # Held against whoever opens streams (`_refusal`): a service that is down may answer every request with one.
        self._resets.take(now)
        self._drop(stream)
        (number,) = U32.unpack_from(payload)
        events.append(StreamReset(stream, reset_code(int(number)), decode_reason(payload[4:])))

    def _receive_credit(self, stream: Stream, payload: bytes) -> None:
        stream.send_credit = self._add_credit(stream.send_credit, payload)
        self._schedule(stream)

    def _receive_ping(self, payload: bytes) -> None:
        if len(payload) != 8:
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, "a PING frame holds 8 bytes")
        self._queue_control(frame(_PONG, 0, 0, payload))

    def _receive_pong(self, payload: bytes, now: float) -> None:
        if payload == self._ping_count.to_bytes(8, "big") and not self._ping_answered:
            self._ping_answered = True
            self._pacer.measured(max(now - self._pinged_at, 1e-6), self._ping_loaded)

    def _receive_settings(self, payload: bytes, events: list[Event]) -> None:
        if self.opened:
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, "a second SETTINGS frame")
        for identifier, value in read_settings(payload):
            if identifier == Setting.INITIAL_STREAM_WINDOW:
                self._peer_stream_window = value
            elif identifier == Setting.INITIAL_LINK_WINDOW:
                self._peer_link_window = self._link_credit = value
                self._pacer.set_ceiling(value)
            elif identifier == Setting.MAX_STREAMS:
                # Each stream may pin a window here as well, so the peer's word alone does not decide.
                self._max_open = min(value, self.settings.max_streams)
        self.opened = True
        events.append(LinkOpened())

    def _receive_goaway(self, payload: bytes, events: list[Event]) -> None:
        if len(payload) < GOAWAY.size:
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, "a GOAWAY frame that is cut short")
        size = GOAWAY.size
        last_id, code = GOAWAY.unpack_from(payload)
        self.goaway_received = True
        reason = decode_reason(payload[size:])
        events.append(GoAwayReceived(goaway_code(int(code)), reason))
        for stream in self.streams():
            if stream.id & 1 != self._peer_parity and stream.id > int(last_id):
                self._drop(stream)
                events.append(StreamReset(stream, ResetCode.REFUSED, reason))

    # ------------------------------------------------------------------ private: frames out

    def _take_control(self, parts: list[bytes | memoryview]) -> int:
        """Move waiting control frames into `parts`; returns their size.

        What is left over may hold heads that DATA must not overtake: then this fills the message, and no DATA fits.
        """
        if self._control_bytes <= MESSAGE_BYTES:
            size = self._control_bytes
            parts += self._control
            self._control = []
            self._control_bytes = 0
            return size
        size = 0
        taken = 0
        while size < MESSAGE_BYTES:
            size += len(self._control[taken])
            taken += 1
        parts += self._control[:taken]
        del self._control[:taken]
        self._control_bytes -= size
        return size

    def _write_turn(self, stream: Stream, parts: list[bytes | memoryview]) -> int:
        """Write one turn of a stream: DATA, and CHECKSUM and END where they are due; returns the bytes written."""
        allowance = stream.turn_left if stream.turn_left > 0 else self._scheduler.slice_bytes()
        written = 0
        while allowance > 0 and stream.pending_bytes > 0 and self._has_credit(stream):
            size = min(allowance, stream.pending_bytes, stream.send_credit, self._link_credit)
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
            parts.append(frame(_CHECKSUM, 0, stream.id, writer.close_chunk()))
            written += HEADER_BYTES + 36
        return written

    def _in_flight(self) -> int:
        return self._peer_link_window - self._link_credit

    def _is_competing(self) -> bool:
        """Whether bulk is under way beside other streams: then what it may have in flight is bounded by its delay."""
        return len(self._streams) > 1 and self._in_flight() > LINK_GRANT_BYTES

    def _may_send_data(self) -> bool:
        """Whether the link takes DATA now.

        Bulk waits for its pace while other streams are open, small exchanges do not.
        """
        if self._link_credit <= 0:
            return False
        return len(self._streams) < 2 or self._in_flight() < self._pacer.limit or self._scheduler.has_small

    def _has_credit(self, stream: Stream) -> bool:
        return stream.send_credit > 0 and self._link_credit > 0

    def _write_data(self, stream: Stream, parts: list[bytes | memoryview], size: int) -> int:
        """Write one DATA frame of `size` bytes; the END flag rides on it when nothing else has to follow."""
        if stream.sent_bytes < SMALL_EXCHANGE_BYTES:
            self._scheduler.count(size)
        stream.pending_bytes -= size
        stream.send_credit -= size
        stream.sent_bytes += size
        self._link_credit -= size
        writer = stream.writer
        last = stream.pending_bytes == 0 and stream.pending_end == b"" and writer is None
        parts.append(HEADER.pack(size, stream.id, _DATA, _FLAG_END if last else 0, 0))
        self._take_pending(stream, parts, size)
        if last:
            stream.pending_end = None
            self._finish_sending(stream, _IN_DATA_END)
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
        self._finish_sending(stream, _IN_END)
        return frame(_END, 0, stream.id, trailers)

    def _finish_sending(self, stream: Stream, what: int) -> None:
        stream.sending = next_state(stream.sending, what)
        self._forget_if_finished(stream)

    def _queue_control(self, data: bytes) -> None:
        self._control.append(data)
        self._control_bytes += len(data)

    def _encode(self, items: list[bytes]) -> bytes:
        """Return a block the peer will take; one over its budgets would cost the whole link."""
        block = encode_block(items)
        if len(block) > self.settings.max_block_bytes or len(items) > self.settings.max_block_items:
            raise LocalProtocolError(f"a block of {len(items)} strings and {len(block)} bytes is over the budget")
        return block

    def _send_settings(self) -> None:
        announced = self.settings.announced()
        self._queue_control(frame(_SETTINGS, 0, 0, b"".join(SETTING.pack(*item) for item in announced.items())))

    def _send_ping(self, now: float) -> None:
        self._ping_count += 1
        self._ping_answered = False
        self._ping_loaded = self._is_competing()
        self._pinged_at = now
        self._queue_control(frame(_PING, 0, 0, self._ping_count.to_bytes(8, "big")))

    # ------------------------------------------------------------------ private: streams

    def _new_stream(self, stream_id: int, now: float) -> Stream:
        settings = self.settings
        window = ReceiveWindow(settings.initial_stream_window, settings.max_stream_window, self._growth, now)
        stream = Stream(stream_id, self._peer_stream_window, window)
        self._streams[stream_id] = stream
        return stream

    def _schedule(self, stream: Stream) -> None:
        """Queue a stream that has bytes and credit; an end with no bytes before it needs neither and goes at once."""
        if stream.pending_bytes > 0:
            if stream.send_credit > 0:
                self._scheduler.add(stream)
        elif stream.pending_end is not None:
            self._queue_control(self._take_end(stream))

    def _advance_sending(self, stream: Stream, what: int) -> None:
        state = next_state(stream.sending, what)
        if state == FORBIDDEN:
            raise LocalProtocolError(f"{stream!r} cannot send input {what}")
        stream.sending = state

    def _require_body(self, stream: Stream) -> None:
        if next_state(stream.sending, _IN_DATA) == FORBIDDEN or stream.pending_end is not None:
            raise LocalProtocolError(f"{stream!r} sends no body now")

    def _advance_receiving(self, stream: Stream, what: int) -> None:
        state = next_state(stream.receiving, what)
        if state == FORBIDDEN or (what == _IN_INTERIM and self._peer_parity == 1):
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, f"stream {stream.id}: a frame that is not allowed there")
        stream.receiving = state

    def _count_on_link(self, size: int, now: float) -> None:
        """Count DATA against the link window and give its credit back at once (spec §5)."""
        if size == 0:
            self._controls.spend(now)
        elif size < SMALL_DATA_BYTES:
            self._small_data.spend(now)
        if not self._link_window.receive(size):
            raise LinkError(GoAwayCode.FLOW_CONTROL_ERROR, f"the link has no credit for {size} bytes")
        grant = self._link_window.consume(size, now, self.round_trip_s)
        if grant:
            self._queue_control(frame(_WINDOW, 0, 0, U32.pack(grant)))

    def _add_credit(self, credit: int, payload: bytes) -> int:
        if len(payload) != 4:
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, "a WINDOW frame holds 4 bytes")
        (increment,) = U32.unpack(payload)
        total = credit + int(increment)
        if total > MAX_WINDOW:
            raise LinkError(GoAwayCode.FLOW_CONTROL_ERROR, f"a window over {MAX_WINDOW} bytes")
        return total

    def _finish_receiving(self, stream: Stream) -> None:
        stream.window.close()
        self._forget_if_finished(stream)

    def _forget_if_finished(self, stream: Stream) -> None:
        if stream.receiving == DONE and stream.sending == DONE:
            self._streams.pop(stream.id, None)

    def _drop(self, stream: Stream) -> None:
        """Forget a stream that was reset, with everything it had queued or held."""
        stream.sending = RESET
        stream.receiving = RESET
        stream.pending.clear()
        stream.pending_bytes = 0
        stream.pending_end = None
        stream.wants_room = False
        stream.writer = None
        stream.reader = None
        stream.window.close()
        self._scheduler.remove(stream)
        self._streams.pop(stream.id, None)
