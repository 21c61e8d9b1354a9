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
    FLAG_CHECKED,
    FLAG_END,
    FLAG_INTERIM,
    GOAWAY,
    HEADER,
    HEADER_BYTES,
    MAX_MESSAGE_BYTES,
    SETTING,
    TYPE_CHECKSUM,
    TYPE_DATA,
    TYPE_END,
    TYPE_GOAWAY,
    TYPE_HEADERS,
    TYPE_PING,
    TYPE_PONG,
    TYPE_RESET,
    TYPE_SETTINGS,
    TYPE_WINDOW,
    U32,
    decode_reason,
    encode_reason,
    frame,
)
from terratunnel.protocol.headers import decode_block, encode_block
from terratunnel.protocol.outbox import LINK_GRANT_BYTES, PENDING_HIGH_BYTES, Outbox
from terratunnel.protocol.pacing import PROBE_EVERY_S
from terratunnel.protocol.settings import DEFAULTS, Setting, Settings, read_settings
from terratunnel.protocol.streams import (
    DONE,
    FORBIDDEN,
    HEAD,
    IN_CHECKSUM,
    IN_DATA,
    IN_DATA_END,
    IN_END,
    IN_HEADERS,
    IN_HEADERS_END,
    IN_INTERIM,
    RESET,
    Stream,
    next_state,
)
from terratunnel.protocol.windows import MAX_WINDOW, GrowthBudget, ReceiveWindow

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
MAX_STREAM_ID: Final = 2**32 - 2


class Multiplexer:
    """One side of a link. `opener` is the side that opens streams: the server.

    `undelivered` are the events of a message that broke a rule, from before it did. `next_id` is for the next stream.
    """

    def __init__(self, opener: bool, settings: Settings, now: float) -> None:
        self.settings: Settings = settings
        self.opened: bool = False
        self.goaway_sent: bool = False
        self.goaway_received: bool = False
        self.undelivered: list[Event] = []
        self.next_id: int = 1 if opener else 2
        self._streams: dict[int, Stream] = {}
        self._last_sent_id: int = 0
        self._peer_parity: int = 0 if opener else 1
        self._last_peer_id: int = 0
        self._peer_stream_window: int = DEFAULTS[Setting.INITIAL_STREAM_WINDOW]
        self._max_open: int = settings.max_streams
        self._outbox: Outbox = Outbox()
        self._growth: GrowthBudget = GrowthBudget(settings.window_growth_budget)
        # It grants often and never grows, so that the sender can tell from its credit what is in flight.
        self._link_window: ReceiveWindow = ReceiveWindow(
            settings.initial_link_window, settings.initial_link_window, GrowthBudget(0), now, LINK_GRANT_BYTES
        )
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
        return f"<Multiplexer streams={len(self._streams)} credit={self._outbox.credit} rtt={round_trip}>"

    # ------------------------------------------------------------------ what the caller asks

    @property
    def round_trip_s(self) -> float:
        """The shortest round trip seen, 0 before the first."""
        return self._outbox.pacer.round_trip_s

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
            and self._outbox.control_bytes <= CONTROL_HIGH_BYTES
            and self.next_id <= MAX_STREAM_ID
        )

    @property
    def exhausted(self) -> bool:
        """Whether the identifiers of this link are used up and it must be replaced."""
        return self.next_id > MAX_STREAM_ID

    @property
    def writable(self) -> list[Stream]:
        """The streams whose source may go on (one may have been reset since); the caller empties the list."""
        return self._outbox.writable

    @property
    def has_output(self) -> bool:
        """Whether `next_message` would return something."""
        return self._outbox.has_output(len(self._streams))

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
        self._advance_sending(stream, IN_INTERIM if interim else (IN_HEADERS_END if end else IN_HEADERS))
        if first:
            self._last_sent_id = stream.id
        flags = (FLAG_END if end else 0) | (FLAG_CHECKED if checked else 0) | (FLAG_INTERIM if interim else 0)
        if checked:
            half = max(self._peer_stream_window // 2, MIN_CHUNK_BYTES)
            stream.writer = ChunkWriter(max(min(self.settings.chunk_size, half), 1))
        self._outbox.queue_control(HEADER.pack(len(block), stream.id, TYPE_HEADERS, flags, 0) + block)
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
        self._outbox.schedule(stream)
        self._forget_ended()

    def send_end(self, stream: Stream, trailers: list[bytes]) -> None:
        """End this direction after what is queued."""
        self._require_body(stream)
        stream.pending_end = self._encode(trailers) if trailers else b""
        self._outbox.schedule(stream)
        self._forget_ended()

    def has_room(self, stream: Stream) -> bool:
        """Whether the source may go on; when not, `writable` names the stream once it may."""
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
            self._outbox.queue_control(frame(TYPE_RESET, 0, stream.id, U32.pack(code) + encode_reason(reason)))
        self._drop(stream)

    def consume(self, stream: Stream, size: int, now: float) -> None:
        """Give credit back for bytes that have been handed on."""
        grant = stream.window.consume(size, now, self.round_trip_s)
        if grant:
            self._outbox.queue_control(frame(TYPE_WINDOW, 0, stream.id, U32.pack(grant)))

    def go_away(self, code: GoAwayCode, reason: str) -> None:
        """Take no more streams; those under way go on."""
        self.goaway_sent = True
        payload = GOAWAY.pack(self._last_peer_id, code) + encode_reason(reason)
        self._outbox.queue_control(frame(TYPE_GOAWAY, 0, 0, payload))

    def next_message(self) -> list[bytes | memoryview]:
        """Return the parts of the next message to send; empty when there is nothing, or no credit for it."""
        parts = self._outbox.next_message(len(self._streams))
        self._forget_ended()
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
        self._probe(now)
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
            stream = self._streams.get(stream_id) if kind == TYPE_DATA and 2 * length > total >= VIEWED_BYTES else None
            if stream is not None:
                # Most of the message: a view of it costs no copy, and keeps little else alive.
                self._receive_data(stream, int(flags), memoryview(message)[start:position], now, events)
            else:
                self._receive_frame(int(kind), int(flags), int(stream_id), message[start:position], now, events)
        if self._outbox.control_bytes > MAX_CONTROL_BYTES:
            raise LinkError(GoAwayCode.BUDGET_EXCEEDED, "control frames: the peer does not read the answers to its own")

    def _receive_frame(
        self, kind: int, flags: int, stream_id: int, payload: bytes, now: float, events: list[Event]
    ) -> None:
        if not self.opened and kind != TYPE_SETTINGS:
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if stream_id == 0 or kind > TYPE_WINDOW or kind == 0:
            self._receive_link_frame(kind, stream_id, payload, now, events)
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            self._receive_without_stream(kind, flags, stream_id, payload, now, events)
        elif kind == TYPE_DATA:
            self._receive_data(stream, flags, payload, now, events)
        elif kind == TYPE_HEADERS:
            self._receive_headers(stream, flags, payload, now, events, False)
        elif kind == TYPE_WINDOW:
            self._controls.spend(now)
            self._receive_credit(stream, payload)
        elif kind == TYPE_CHECKSUM:
            self._receive_checksum(stream, payload, events)
        elif kind == TYPE_END:
            self._receive_end(stream, payload, events)
        else:
            self._receive_reset(stream, payload, now, events)

    def _receive_link_frame(self, kind: int, stream_id: int, payload: bytes, now: float, events: list[Event]) -> None:
        self._controls.spend(now)
        if kind < TYPE_WINDOW and kind != 0:
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, f"a frame of type {kind} needs a stream")
        if kind > TYPE_GOAWAY or kind == 0:
            return
        if stream_id != 0:
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, f"a frame of type {kind} belongs to the link")
        if kind == TYPE_WINDOW:
            self._outbox.credit = self._add_credit(self._outbox.credit, payload)
        elif kind == TYPE_PING:
            self._receive_ping(payload)
        elif kind == TYPE_PONG:
            self._receive_pong(payload, now)
        elif kind == TYPE_SETTINGS:
            self._receive_settings(payload, events)
        else:
            self._receive_goaway(payload, events)

    def _receive_without_stream(
        self, kind: int, flags: int, stream_id: int, payload: bytes, now: float, events: list[Event]
    ) -> None:
        """A frame for a stream that is not under way: it opens one, or crossed with the end of one."""
        if stream_id & 1 == self._peer_parity and stream_id > self._last_peer_id:
            if kind != TYPE_HEADERS or flags & FLAG_INTERIM:
                raise LinkError(GoAwayCode.PROTOCOL_ERROR, f"stream {stream_id} was never opened")
            self._receive_open(flags, stream_id, payload, now, events)
            return
        if stream_id & 1 != self._peer_parity and stream_id >= self.next_id:
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, f"stream {stream_id} was never opened")
        if kind == TYPE_DATA:
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
            self._outbox.queue_control(frame(TYPE_RESET, 0, stream_id, U32.pack(ResetCode.REFUSED) + refusal.encode()))
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
        end = flags & FLAG_END != 0
        interim = flags & FLAG_INTERIM != 0
        checked = flags & FLAG_CHECKED != 0
        if interim:
            self._controls.spend(now)
            if end or checked:
                raise LinkError(GoAwayCode.PROTOCOL_ERROR, f"stream {stream.id}: an interim head with another flag")
        self._advance_receiving(stream, IN_INTERIM if interim else (IN_HEADERS_END if end else IN_HEADERS))
        if checked:
            stream.reader = ChunkReader()
        items = decode_block(payload, self.settings.max_block_bytes, self.settings.max_block_items)
        events.append(HeadersReceived(stream, items, end, interim, opened))
        if end:
            self._finish_receiving(stream)

    def _receive_data(
        self, stream: Stream, flags: int, payload: bytes | memoryview, now: float, events: list[Event]
    ) -> None:
        end = flags & FLAG_END != 0
        size = len(payload)
        self._count_on_link(size, now)
        if not stream.window.receive(size):
            raise LinkError(GoAwayCode.FLOW_CONTROL_ERROR, f"stream {stream.id} has no credit for {size} bytes")
        self._advance_receiving(stream, IN_DATA_END if end else IN_DATA)
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
        self._advance_receiving(stream, IN_CHECKSUM)
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
        self._advance_receiving(stream, IN_END)
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
        self._outbox.schedule(stream)
        self._forget_ended()

    def _receive_ping(self, payload: bytes) -> None:
        if len(payload) != 8:
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, "a PING frame holds 8 bytes")
        self._outbox.queue_control(frame(TYPE_PONG, 0, 0, payload))

    def _receive_pong(self, payload: bytes, now: float) -> None:
        if payload == self._ping_count.to_bytes(8, "big") and not self._ping_answered:
            self._ping_answered = True
            self._outbox.pacer.measured(max(now - self._pinged_at, 1e-6), self._ping_loaded)

    def _receive_settings(self, payload: bytes, events: list[Event]) -> None:
        if self.opened:
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, "a second SETTINGS frame")
        for identifier, value in read_settings(payload):
            if identifier == Setting.INITIAL_STREAM_WINDOW:
                self._peer_stream_window = value
            elif identifier == Setting.INITIAL_LINK_WINDOW:
                self._outbox.set_window(value)
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

    def _encode(self, items: list[bytes]) -> bytes:
        """Return a block the peer will take; one over its budgets would cost the whole link."""
        block = encode_block(items)
        if len(block) > self.settings.max_block_bytes or len(items) > self.settings.max_block_items:
            raise LocalProtocolError(f"a block of {len(items)} strings and {len(block)} bytes is over the budget")
        return block

    def _send_settings(self) -> None:
        payload = b"".join(SETTING.pack(*item) for item in self.settings.announced().items())
        self._outbox.queue_control(frame(TYPE_SETTINGS, 0, 0, payload))

    def _probe(self, now: float) -> None:
        """Measure the round trip while streams compete: the pace of bulk follows it."""
        due = self._ping_answered and now - self._pinged_at >= PROBE_EVERY_S
        if due and self._outbox.is_competing(len(self._streams)):
            self._send_ping(now)

    def _send_ping(self, now: float) -> None:
        self._ping_count += 1
        self._ping_answered = False
        self._ping_loaded = self._outbox.is_competing(len(self._streams))
        self._pinged_at = now
        self._outbox.queue_control(frame(TYPE_PING, 0, 0, self._ping_count.to_bytes(8, "big")))

    # ------------------------------------------------------------------ private: streams

    def _new_stream(self, stream_id: int, now: float) -> Stream:
        settings = self.settings
        window = ReceiveWindow(settings.initial_stream_window, settings.max_stream_window, self._growth, now)
        stream = Stream(stream_id, self._peer_stream_window, window)
        self._streams[stream_id] = stream
        return stream

    def _advance_sending(self, stream: Stream, what: int) -> None:
        state = next_state(stream.sending, what)
        if state == FORBIDDEN:
            raise LocalProtocolError(f"{stream!r} cannot send input {what}")
        stream.sending = state

    def _require_body(self, stream: Stream) -> None:
        if next_state(stream.sending, IN_DATA) == FORBIDDEN or stream.pending_end is not None:
            raise LocalProtocolError(f"{stream!r} sends no body now")

    def _advance_receiving(self, stream: Stream, what: int) -> None:
        state = next_state(stream.receiving, what)
        if state == FORBIDDEN or (what == IN_INTERIM and self._peer_parity == 1):
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
            self._outbox.queue_control(frame(TYPE_WINDOW, 0, 0, U32.pack(grant)))

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

    def _forget_ended(self) -> None:
        """Take note of the directions that what was sent has ended."""
        ended = self._outbox.ended
        if ended:
            self._outbox.ended = []
            for stream in ended:
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
        self._outbox.remove(stream)
        self._streams.pop(stream.id, None)
