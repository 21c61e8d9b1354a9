"""A connection to the service: TCP, TLS (verified) or a unix socket. Made by the pool, used by one exchange at a time.

What comes back is parsed strictly (`http1`). A connection that misbehaves is dropped, and one in doubt not used again.
"""

import socket
from typing import TYPE_CHECKING, Final, Protocol, cast

from terratunnel.errors import RemoteProtocolError
from terratunnel.http1.parser import ResponseHead, ResponseParser, Trailers
from terratunnel.mux.sockets import TCP_ESTABLISHED, UNKNOWN_STATE, reset_on_close, tcp_state

if TYPE_CHECKING:
    from terratunnel.forwarding.pool import UpstreamPool

# Above it the source (the stream) gets no more credit; as for the link, short queues keep the road responsive.
WRITE_HIGH_BYTES: Final = 262_144
WRITE_LOW_BYTES: Final = 65_536
_REST_BYTES: Final = 65_536
# How long a connection that is closing may take to get rid of its last bytes.
LINGER_S: Final = 30.0

_CUT_SHORT: Final = "The local service closed the connection before its response was complete."


class UpstreamHandler(Protocol):
    """Who hears from an upstream connection while it serves an exchange."""

    def response_head(self, head: ResponseHead) -> None:
        """A head: interim, final, or the switch to another protocol."""

    def response_data(self, data: bytes) -> None:
        """Bytes of the body, or of the other protocol."""

    def response_end(self, trailers: Trailers | None) -> None:
        """The response is complete; the connection is the pool's again, or gone."""

    def upstream_failed(self, sentence: str) -> None:
        """The connection broke, or broke the rules, before the response was complete."""

    def upstream_room(self) -> None:
        """The connection's write buffer has drained."""


class Transport(Protocol):
    """What an upstream connection uses of an asyncio transport."""

    def write(self, data: bytes | memoryview) -> None: ...
    def writelines(self, parts: list[bytes | memoryview]) -> None: ...
    def write_eof(self) -> None: ...
    def can_write_eof(self) -> bool: ...
    def is_closing(self) -> bool: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def get_extra_info(self, name: str, default: object = None) -> object: ...
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


class UpstreamConnection:
    """One connection to the service; the asyncio protocol of its transport."""

    def __init__(self, pool: "UpstreamPool") -> None:
        self.deadline: float = 0.0
        self.idle_since: float = 0.0
        self.closing: bool = False
        self.lost: bool = False
        self.writing_paused: bool = False
        self._pool: UpstreamPool = pool
        self._parser: ResponseParser = ResponseParser(pool.limits)
        self._handler: UpstreamHandler | None = None
        self._transport: Transport | None = None
        self._reading_paused: bool = False
        self._request_ended: bool = False
        self._keep_alive: bool = False
        self._keep_alive_s: float = 0.0

    @property
    def usable(self) -> bool:
        """Whether another request may be sent."""
        return self._transport is not None and not self._transport.is_closing() and not self._parser.unexpected_data

    def left_by_service(self) -> bool:
        """Whether the service has closed an idle connection and the loop has not told yet. Linux knows.

        A process that was asleep finds requests and farewells in its sockets at once, in no particular order.
        """
        transport = self._transport
        return transport is not None and tcp_state(transport) not in (TCP_ESTABLISHED, UNKNOWN_STATE)

    @property
    def in_use(self) -> bool:
        """Whether an exchange is under way."""
        return self._handler is not None

    def begin(self, handler: UpstreamHandler, method: bytes) -> None:
        """Start an exchange."""
        self._handler = handler
        self._request_ended = False
        self._keep_alive = False
        self._parser.expect(method)

    def write(self, data: bytes | memoryview) -> None:
        """Send bytes of the request."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def writelines(self, parts: list[bytes | memoryview]) -> None:
        """Send several pieces with one gathered write."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(parts)

    def request_ended(self) -> None:
        """The request is complete: the connection can be used again after the response."""
        self._request_ended = True
        if self._parser.complete and not self._parser.upgraded:
            self._release()

    def write_eof(self) -> None:
        """Half-close: an upgraded connection has nothing more to say to the service."""
        if self._transport is not None and not self._transport.is_closing() and self._transport.can_write_eof():
            self._transport.write_eof()

    def pause_reading(self) -> None:
        """Read no more: the stream's window is shut."""
        if self._transport is not None and not self._reading_paused and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self._transport is not None and self._reading_paused:
            self._reading_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def close(self) -> None:
        """Leave the exchange and close once everything is written; the handler hears nothing more."""
        self._handler = None
        self.closing = True
        self.deadline = self._pool.clock() + LINGER_S
        if self._transport is not None:
            self._transport.close()

    def drop(self) -> None:
        """Leave the exchange and close at once; the handler hears nothing more."""
        self._handler = None
        if self._transport is not None:
            if self._parser.upgraded:
                # Nothing but the end of the connection ends another protocol: the service must not take it for one.
                reset_on_close(self._transport)
            self._transport.abort()

    # ------------------------------------------------------------------ asyncio protocol

    def connection_made(self, transport: object) -> None:
        """Set the limits of the new connection."""
        self._transport = cast(Transport, transport)
        self._transport.set_write_buffer_limits(WRITE_HIGH_BYTES, WRITE_LOW_BYTES)

    def data_received(self, data: bytes) -> None:
        """Parse what the service sent and hand it on."""
        if self._handler is None:
            self.drop()
            return
        try:
            self._parser.receive_data(data)
            self._read_events()
        except RemoteProtocolError as error:
            self._fail(f"The local service sent a malformed response: {error}")

    def eof_received(self) -> bool:
        """The service will send nothing more; True keeps our own direction open: another protocol may go on in it."""
        if self._handler is None:
            return False
        try:
            self._parser.receive_eof()
        except RemoteProtocolError:
            self._fail(_CUT_SHORT)
            return False
        self._keep_alive = False
        if not self._parser.upgraded:
            self._read_events()
            return False
        self._end(None)
        return self.in_use and self._transport is not None and self._transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; an exchange that was under way has failed."""
        self.lost = True
        self._pool.forget(self)
        if exc is not None and self._handler is not None:
            self._read_rest()
        self._fail(_CUT_SHORT)

    def pause_writing(self) -> None:
        """The service reads too slowly."""
        self.writing_paused = True

    def resume_writing(self) -> None:
        """The service has caught up."""
        self.writing_paused = False
        if self._handler is not None:
            self._handler.upstream_room()

    # ------------------------------------------------------------------ private

    def _read_rest(self) -> None:
        """Read what the service said before it broke off.

        A service that answers early and closes makes our next write fail. That ends the transport, though the answer
        may still lie in the kernel: up to one in six refused uploads lost its 413 before this was here.
        """
        sock = self._transport.get_extra_info("socket") if self._transport is not None else None
        if sock is None or self._pool.endpoint.tls:
            return
        plain = cast("socket.socket", sock)
        try:
            with socket.fromfd(plain.fileno(), plain.family, plain.type) as rest:
                rest.setblocking(False)
                while self._handler is not None and not self._reading_paused and (data := rest.recv(_REST_BYTES)):
                    self.data_received(data)
        except OSError:
            pass  # that was all

    def _read_events(self) -> None:
        parser = self._parser
        while self._handler is not None:
            event = parser.next_event()
            if event is None:
                break
            if isinstance(event, bytes):
                self._handler.response_data(event)
            elif isinstance(event, ResponseHead):
                self._head_received(event)
            else:
                self._end(event)

    def _head_received(self, head: ResponseHead) -> None:
        assert self._handler is not None
        self._keep_alive = head.keep_alive
        self._keep_alive_s = float(head.keep_alive_timeout_s or 0)
        self._handler.response_head(head)
        if head.status >= 200 and not head.has_body:
            self._end(None)

    def _end(self, trailers: Trailers | None) -> None:
        """The response is complete. The rest of a request that is not may still be sent, up to request_ended()."""
        assert self._handler is not None
        # A service that answers before it has read everything may take the rest for the next request.
        self._keep_alive = self._keep_alive and self._request_ended
        self._handler.response_end(trailers)
        if self._request_ended and not self._parser.upgraded:
            self._release()

    def _release(self) -> None:
        self._handler = None
        self.resume_reading()
        if self._keep_alive and self.usable:
            self._pool.release(self, self._keep_alive_s)
        else:
            self.close()

    def _fail(self, sentence: str) -> None:
        handler = self._handler
        self._handler = None
        if self._transport is not None:
            self._transport.abort()
        if handler is not None:
            handler.upstream_failed(sentence)
