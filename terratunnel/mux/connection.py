"""A mux connection: one multiplexer on one link. Used by the server's acceptor, the client and the pages' own agent.

It moves messages, tells the time and hands events to the streams' handlers, all in callbacks of one event loop. A fault
in a handler ends its stream alone; when the link goes, every stream hears of it, and nothing is opened or sent after.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

from terratunnel.errors import LocalProtocolError
from terratunnel.logs import escape
from terratunnel.mux.link import Link
from terratunnel.mux.stream import Stream, StreamHandler
from terratunnel.protocol.errors import GoAwayCode, LinkError, ResetCode
from terratunnel.protocol.events import (
    DataReceived,
    EndReceived,
    Event,
    GoAwayReceived,
    HeadersReceived,
    StreamReset,
)
from terratunnel.protocol.multiplexer import Multiplexer
from terratunnel.protocol.settings import Settings
from terratunnel.protocol.streams import Stream as StreamState

log = logging.getLogger(__name__)

# WebSocket close codes (RFC 6455 §7.4.1).
CLOSE_NORMAL = 1000
CLOSE_PROTOCOL_ERROR = 1002

_FAULTS = (GoAwayCode.PROTOCOL_ERROR, GoAwayCode.FLOW_CONTROL_ERROR, GoAwayCode.BUDGET_EXCEEDED)
_OWN_FAULT = "a fault in Terratunnel; see its log"


class ConnectionOwner(Protocol):
    """Who holds a mux connection."""

    def link_opened(self, connection: "MuxConnection") -> None:
        """Streams may be opened."""

    def stream_opened(self, stream: Stream) -> StreamHandler:
        """The peer opened a stream; return who handles it. Its head follows: the first moment to reset it."""

    def goaway_received(self, code: GoAwayCode, reason: str) -> None:
        """The peer takes no more streams."""

    def capacity_available(self, connection: "MuxConnection") -> None:
        """A stream may be opened where `can_open` said no before."""

    def link_closed(self, connection: "MuxConnection", code: GoAwayCode | None, reason: str) -> None:
        """The link is gone. `code` is set when this side or the peer said GOAWAY before."""


class MuxConnection:
    """One side of a link. `opener`: this side opens the streams (the server)."""

    def __init__(
        self,
        link: Link,
        owner: ConnectionOwner,
        opener: bool,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.link: Link = link
        self.owner: ConnectionOwner = owner
        self.closed: bool = False
        self.multiplexer: Multiplexer = Multiplexer(opener, settings, clock())
        self._clock: Callable[[], float] = clock
        self._loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._flush_scheduled: bool = False
        self._sending_paused: bool = False
        self._was_full: bool = False
        self._closing: bool = False
        self._after_message: list[Callable[[], None]] = []
        self._goaway: GoAwayCode | None = None
        self._goaway_reason: str = ""
        self._timer: asyncio.TimerHandle = self._loop.call_later(self._until_deadline(), self._on_timer)
        self.schedule_flush()

    def __repr__(self) -> str:
        return f"<MuxConnection {self.multiplexer!r} closed={self.closed}>"

    @property
    def can_open(self) -> bool:
        """Whether `open_stream` would be allowed now; when not, `capacity_available` may tell later."""
        if not self.closed and self.multiplexer.can_open:
            return True
        self._was_full = True
        return False

    @property
    def open_streams(self) -> int:
        """How many streams are under way."""
        return self.multiplexer.open_streams

    @property
    def round_trip_s(self) -> float:
        """The shortest round trip seen, 0 before the first."""
        return self.multiplexer.round_trip_s

    def open_stream(self, handler: StreamHandler) -> Stream:
        """Open a stream; send its head next. Raises LocalProtocolError unless `can_open`."""
        if self.closed:
            raise LocalProtocolError("no stream can be opened on a closed link")
        return Stream(self, self.multiplexer.open_stream(self._clock()), handler)

    def consume(self, state: StreamState, size: int) -> None:
        """Give credit back for a stream (called by `Stream.consumed`)."""
        multiplexer = self.multiplexer
        multiplexer.consume(state, size, self._clock())
        if multiplexer.has_output:
            self.schedule_flush()

    def close(self, code: GoAwayCode, reason: str) -> None:
        """Take no more streams, let those under way end, then close the link."""
        if self.closed or self._closing:
            return
        self._closing = True
        self._remember_goaway(code, reason)
        self.multiplexer.go_away(code, reason)
        self.schedule_flush()

    def close_now(self, code: GoAwayCode, reason: str) -> None:
        """Say why and close the link; streams under way are lost."""
        if self.closed:
            return
        self._remember_goaway(code, reason)
        if not self.multiplexer.goaway_sent:
            self.multiplexer.go_away(code, reason)
        self._send_messages()
        self.link.close(CLOSE_PROTOCOL_ERROR if code in _FAULTS else CLOSE_NORMAL, reason)
        self.link_lost(reason)

    # ------------------------------------------------------------------ called by the link

    def message_received(self, message: bytes) -> None:
        """Read a message and hand its events on."""
        if self.closed:
            return
        try:
            events = self.multiplexer.receive_message(message, self._clock())
        except LinkError as error:
            log.warning("link_broken code=%s reason=%s", error.code.name, error.reason)
            for event in self.multiplexer.undelivered:
                self._dispatch(event)
            self._end_message()
            self.close_now(error.code, error.reason)
            return
        for event in events:
            self._dispatch(event)
        if self._after_message:
            self._end_message()
        if self._was_full and self.can_open:
            self._tell_capacity()
        if self._closing or self.multiplexer.has_output:
            self.schedule_flush()

    def link_lost(self, reason: str) -> None:
        """End every stream and tell the owner."""
        if self.closed:
            return
        self.closed = True
        self._timer.cancel()
        for state in self.multiplexer.streams():
            self._reset(state.owner, ResetCode.UPSTREAM_UNREACHABLE, f"the link was lost: {reason}")
        try:
            self.owner.link_closed(self, self._goaway, self._goaway_reason or reason)
        except Exception:
            log.exception("owner_failed at=link_closed")

    def after_message(self, callback: Callable[[], None]) -> None:
        """Call back once every event of this message is handed on (for handlers, while one is)."""
        self._after_message.append(callback)

    def pause_sending(self) -> None:
        """The link is full: what is queued waits in the streams."""
        self._sending_paused = True

    def resume_sending(self) -> None:
        """The link has drained."""
        self._sending_paused = False
        self.schedule_flush()

    # ------------------------------------------------------------------ sending

    def schedule_flush(self) -> None:
        """Send what is queued at the end of this turn of the loop."""
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self.closed:
            return
        self._send_messages()
        if self.multiplexer.writable:
            self._wake_sources()
        if self._was_full and self.can_open:
            self._tell_capacity()
        if self.multiplexer.exhausted:
            self.close(GoAwayCode.DRAINING, "the link has used up its stream numbers; open another")
        if self._closing and self.multiplexer.open_streams == 0 and not self.multiplexer.has_output:
            self.link.close(CLOSE_NORMAL, self._goaway_reason)

    def _send_messages(self) -> None:
        while not self._sending_paused:
            parts = self.multiplexer.next_message()
            if not parts:
                break
            self.link.send_message(parts)

    def _wake_sources(self) -> None:
        """Tell the sources that paused; a fault of one must not leave the others asleep."""
        ready = list(self.multiplexer.writable)
        self.multiplexer.writable.clear()
        for state in ready:
            handler = _handler_of(state.owner)
            try:
                if handler is not None:
                    handler.room_available()
            except Exception:
                log.exception("handler_failed at=room_available")
                self._abandon(state)

    def _end_message(self) -> None:
        callbacks, self._after_message = self._after_message, []
        for callback in callbacks:
            try:
                callback()
            except Exception:
                log.exception("handler_failed at=after_message")

    def _tell_capacity(self) -> None:
        self._was_full = False
        try:
            self.owner.capacity_available(self)
        except Exception:
            log.exception("owner_failed at=capacity_available")

    # ------------------------------------------------------------------ events

    def _dispatch(self, event: Event) -> None:
        """Hand one event to the handler of its stream; a fault of ours there ends that stream alone."""
        try:
            if isinstance(event, DataReceived):
                self._data_received(event)
            elif isinstance(event, HeadersReceived):
                self._headers_received(event)
            elif isinstance(event, EndReceived):
                self._end_received(event)
            elif isinstance(event, StreamReset):
                self._reset(event.stream.owner, event.code, event.reason)
            else:
                self._link_event(event)
        except Exception:
            log.exception("handler_failed at=%s", type(event).__name__)
            if isinstance(event, (DataReceived, HeadersReceived, EndReceived)):
                self._abandon(event.stream)

    def _link_event(self, event: Event) -> None:
        if isinstance(event, GoAwayReceived):
            self._remember_goaway(event.code, event.reason)
            self.owner.goaway_received(event.code, event.reason)
        else:  # LinkOpened: there is no other
            self.owner.link_opened(self)

    def _data_received(self, event: DataReceived) -> None:
        reader = event.stream.reader
        if reader is not None and log.isEnabledFor(logging.DEBUG):
            log.debug("body_progress stream=%d chunks=%d bytes=%d", event.stream.id, reader.index, reader.received)
        handler = _handler_of(event.stream.owner)
        if handler is not None:
            handler.data_received(event.data, event.end)
        else:
            self.consume(event.stream, len(event.data))

    def _headers_received(self, event: HeadersReceived) -> None:
        if event.opened:
            if self.closed:
                return  # by the handler of an earlier event in this message: nobody would end this stream
            stream = Stream(self, event.stream, None)
            stream.handler = self.owner.stream_opened(stream)
        handler = _handler_of(event.stream.owner)
        if handler is not None:
            handler.headers_received(event.items, event.end, event.interim)

    def _end_received(self, event: EndReceived) -> None:
        handler = _handler_of(event.stream.owner)
        if handler is not None:
            handler.end_received(event.trailers)

    def _reset(self, owner: object, code: ResetCode, reason: str) -> None:
        if code is ResetCode.CHECKSUM_MISMATCH:
            log.warning("checksum_mismatch reason=%s", escape(reason))
        if isinstance(owner, Stream) and owner.handler is not None:
            handler = owner.handler
            owner.handler = None
            try:
                handler.reset_received(code, reason)
            except Exception:
                log.exception("handler_failed at=reset_received")

    def _abandon(self, state: StreamState) -> None:
        """End the stream whose handler failed."""
        self.multiplexer.reset_stream(state, ResetCode.INTERNAL, _OWN_FAULT)
        self._reset(state.owner, ResetCode.INTERNAL, _OWN_FAULT)
        self.schedule_flush()

    def _remember_goaway(self, code: GoAwayCode, reason: str) -> None:
        if self._goaway is None:
            self._goaway = code
            self._goaway_reason = reason

    def _until_deadline(self) -> float:
        return max(self.multiplexer.next_deadline() - self._clock(), 0.01)

    def _on_timer(self) -> None:
        try:
            self.multiplexer.handle_timer(self._clock())
        except LinkError as error:
            self.close_now(error.code, error.reason)
            return
        self.schedule_flush()
        self._timer = self._loop.call_later(self._until_deadline(), self._on_timer)


def _handler_of(owner: object) -> StreamHandler | None:
    return owner.handler if isinstance(owner, Stream) else None
