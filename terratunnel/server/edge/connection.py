"""One visitor's connection: HTTP/1.1 in, one exchange at a time, answers out. The asyncio protocol of its transport.

Made by the listener. It parses each byte once, keeps the visitor's pace, and ends every wait: heads, bodies, writes
and idleness have limits.
"""

from typing import TYPE_CHECKING, Final, Protocol, cast

from terratunnel.http1.parser import BadMessage, RequestHead, RequestParser
from terratunnel.mux.sockets import TCP_CLOSE, TCP_CLOSE_WAIT, UNKNOWN_STATE, keep_alive, reset_on_close, tcp_state
from terratunnel.server.edge.exchange import Exchange
from terratunnel.server.edge.responses import error_response, whole_response

if TYPE_CHECKING:
    from terratunnel.server.edge.listener import Edge

# Short, so that what a slow visitor has not read waits in its stream's window, where it is counted.
WRITE_HIGH_BYTES: Final = 262_144
WRITE_LOW_BYTES: Final = 65_536
# Requests sent ahead of their turn (pipelining) wait in the parser up to this size, then in the kernel.
MAX_PIPELINED_BYTES: Final = 65_536


class Transport(Protocol):
    """What a visitor's connection uses of an asyncio transport."""

    def write(self, data: bytes | memoryview) -> None: ...
    def writelines(self, parts: list[bytes | memoryview]) -> None: ...
    def write_eof(self) -> None: ...
    def is_closing(self) -> bool: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def get_extra_info(self, name: str, default: object = None) -> object: ...
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def get_write_buffer_size(self) -> int: ...
    def set_protocol(self, protocol: object) -> None: ...


class VisitorConnection:
    """A connection from the internet."""

    def __init__(self, edge: "Edge") -> None:
        self.edge: Edge = edge
        self.client_ip: bytes = b""
        self.writing_paused: bool = False
        self.body_invited: bool = False
        self.heard_at: float = edge.clock()
        self._parser: RequestParser = RequestParser(edge.limits.head)
        self._transport: Transport | None = None
        self._exchange: Exchange | None = None
        self._lingering: bool = False
        self._detached: bool = False
        self._reading: bool = False
        self._reading_paused: bool = False
        self._head_began_at: float = self.heard_at
        self._served: int = 0
        self._body_window_at: float = self.heard_at
        self._body_window_bytes: int = 0
        self._written: int = 0
        self._taken: int = 0
        self._write_moved_at: float = self.heard_at
        self._closed_at: float = 0.0

    def __repr__(self) -> str:
        return f"<VisitorConnection {self.client_ip.decode()} {self._exchange!r}>"

    @property
    def is_idle(self) -> bool:
        """Whether no request has begun: such a connection can be closed at any time."""
        return self._exchange is None and self._parser.buffered == 0

    # ------------------------------------------------------------------ asyncio protocol

    def connection_made(self, transport: object) -> None:
        """Note who it is."""
        self._transport = cast(Transport, transport)
        self._transport.set_write_buffer_limits(WRITE_HIGH_BYTES, WRITE_LOW_BYTES)
        peer = self._transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.client_ip = str(peer[0]).removeprefix("::ffff:").partition("%")[0].encode("ascii", "replace")
        self.edge.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Parse what the visitor sent and hand it on."""
        self.heard_at = self.edge.clock()
        exchange = self._exchange
        if exchange is not None and exchange.opaque:
            exchange.request_data(data)
            return
        if self._lingering:
            return
        if exchange is None and self._parser.buffered == 0:
            self._head_began_at = self.heard_at
        self._parser.receive_data(data)
        if not self._reading:
            self._read_events()

    def eof_received(self) -> bool:
        """The visitor will send nothing more.

        That is a half-close on an upgraded connection and a farewell elsewhere. Who leaves in the middle of a response
        and still reads must not take our FIN for its end.
        """
        exchange = self._exchange
        if exchange is not None and exchange.opaque:
            exchange.request_end(None)
            return True
        if exchange is not None:
            begun = exchange.status != 0 and not exchange.response_done
            exchange.visitor_left()
            if begun:
                self.cut()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The visitor is gone."""
        self.edge.connections.discard(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.visitor_left()

    def pause_writing(self) -> None:
        """The visitor reads too slowly: its stream gets no more credit."""
        self.writing_paused = True

    def resume_writing(self) -> None:
        """The visitor has caught up."""
        self.writing_paused = False
        if self._exchange is not None:
            self._exchange.visitor_reads()
        elif not self._lingering:
            self._head_began_at = self.edge.clock()
            self.read_on()

    # ------------------------------------------------------------------ for the exchange

    def write(self, parts: list[bytes | memoryview]) -> None:
        """Write parts with one gathered write."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        for part in parts:
            self._written += len(part)
        if len(parts) == 1:
            transport.write(parts[0])
        else:
            transport.writelines(parts)

    def write_eof(self) -> None:
        """Half-close: the upgraded connection has nothing more to say to the visitor."""
        self._closed_at = self.edge.clock()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def pause_reading(self) -> None:
        """Read no more from the visitor."""
        if self._transport is not None and not self._reading_paused and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self._transport is not None and self._reading_paused and not self._transport.is_closing():
            self._reading_paused = False
            self._begin_body_window()
            self._transport.resume_reading()

    def exchange_done(self, exchange: Exchange) -> None:
        """Go on to the next request, or close."""
        self._exchange = None
        self._served += 1
        if exchange.close_after or exchange.opaque or not exchange.request_done:
            self._close_after_response(exchange.request_done)
            return
        self._parser.start_next()
        self.body_invited = False
        self._head_began_at = self.heard_at
        self.read_on()
        if self.edge.draining and self.is_idle:
            self.close_if_idle()

    def read_on(self) -> None:
        """Take up what the visitor sent meanwhile, and what follows."""
        self.resume_reading()
        if not self._reading and self._parser.buffered:
            self._read_events()

    def respond_error(self, status: int, sentence: str, exchange: Exchange, extra: list[bytes]) -> None:
        """Answer a request with an error; the connection lives on when the request was read whole."""
        exchange.close_after = exchange.close_after or not exchange.request_done
        request_id = exchange.request_id
        extra = [b"X-Request-Id", request_id, *extra]
        self.write([error_response(status, sentence, exchange.head, extra, exchange.close_after, request_id)])
        self.exchange_done(exchange)

    def respond(self, exchange: Exchange, status: int, kind: bytes, body: bytes, extra: list[bytes]) -> None:
        """Answer a request with a small response of the server's own."""
        exchange.status = status
        exchange.close_after = exchange.close_after or not exchange.request_done
        self.write([whole_response(status, kind, body, exchange.head, extra, exchange.close_after)])
        exchange.over = True
        self.log_exchange(exchange)
        self.exchange_done(exchange)

    def detach(self) -> tuple[object, bytes]:
        """Give the transport away, with the bytes that were read and not used; nothing is written here any more."""
        transport, exchange = self._transport, self._exchange
        assert transport is not None
        assert exchange is not None
        self._transport = None
        self._exchange = None
        self._detached = True
        exchange.status = 101
        exchange.over = True
        self.log_exchange(exchange)
        self.edge.connections.discard(self)
        return transport, self._parser.take_buffered()

    def hand_on_early_bytes(self, exchange: Exchange) -> None:
        """The connection has become opaque: what came before the 101 belongs to the other protocol."""
        if self._transport is not None:
            keep_alive(self._transport)
        if self._parser.buffered:
            exchange.request_data(self._parser.take_buffered())
        if not exchange.reading_paused:
            self.resume_reading()

    def cut(self) -> None:
        """Drop the connection so that the visitor cannot take it for a clean end."""
        self._exchange = None
        transport = self._transport
        if transport is None:
            return
        reset_on_close(transport)
        transport.abort()

    def log_exchange(self, exchange: Exchange) -> None:
        """Write the access log's line for an exchange."""
        head = exchange.head
        self.edge.access_log.write(head.method, head.target, exchange.status, self.edge.clock() - exchange.started_at)

    # ------------------------------------------------------------------ for the listener

    def close_if_idle(self) -> None:
        """Close a connection that has no request under way."""
        if self._exchange is None and self._transport is not None and not self._lingering:
            self._transport.close()

    def check_time(self, now: float) -> None:
        """End whatever has waited for too long."""
        limits = self.edge.limits
        exchange = self._exchange
        if self._write_stalls(now):
            if exchange is not None:
                exchange.visitor_left()
            self.cut()
        elif self._lingering:
            self._check_linger_time(now)
        elif exchange is None:
            self._check_head_time(now)
        elif self._reading_paused and self._has_left(exchange):
            exchange.visitor_left()
            self.cut()
        elif exchange.opaque:
            if exchange.response_done and now - max(self.heard_at, self._closed_at) >= limits.keep_alive_s:
                exchange.visitor_left()
                self.cut()
        else:
            exchange.check_time(now)
            if not exchange.over and not exchange.request_done and exchange.head.has_body:
                self._check_body_time(exchange, now)

    def _write_stalls(self, now: float) -> bool:
        """Whether the visitor has taken nothing of what waits for too long."""
        unwritten = self._unwritten
        taken = self._written - unwritten
        if unwritten == 0 or taken != self._taken:
            self._taken = taken
            self._write_moved_at = now
            return False
        return now - self._write_moved_at >= self.edge.limits.write_timeout_s

    # ------------------------------------------------------------------ private

    def _has_left(self, exchange: Exchange) -> bool:
        """Whether the visitor has closed while nothing is read from it, which no event tells of. Linux knows."""
        state = tcp_state(self._transport) if self._transport is not None else UNKNOWN_STATE
        return state == TCP_CLOSE or (state == TCP_CLOSE_WAIT and not exchange.opaque)

    @property
    def _unwritten(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def _read_events(self) -> None:
        """Hand on what the parser has; the requests of one read are served in this loop, never by recursion."""
        self._reading = True
        try:
            while not self._detached and not self._lingering:
                exchange = self._exchange
                # A visitor who asks and does not read gets no more answers; a body waits with its exchange.
                if self.writing_paused if exchange is None else exchange.waiting:
                    break
                event = self._parser.next_event()
                if event is None:
                    break
                if isinstance(event, RequestHead):
                    self._begin(event)
                elif exchange is None:
                    continue
                elif isinstance(event, bytes):
                    self._body_window_bytes += len(event)
                    exchange.request_data(event)
                else:
                    exchange.request_end(event)
        except BadMessage as error:
            self._refuse(error)
        finally:
            self._reading = False
        if self._parser.buffered > MAX_PIPELINED_BYTES and not self._lingering:
            self.pause_reading()

    def _begin(self, head: RequestHead) -> None:
        exchange = Exchange(self, head, self.edge.new_request_id(), self.heard_at)
        self._exchange = exchange
        if head.has_body:
            self._begin_body_window()
        self.edge.dispatch(self, exchange)

    def _refuse(self, error: BadMessage) -> None:
        """Answer a malformed request and close; an exchange under way loses its visitor (the body was the bad part)."""
        exchange = self._exchange
        if exchange is not None:
            exchange.fail(error.status, error.reason)
            return
        self.edge.access_log.write(b"-", b"-", error.status, self.edge.clock() - self._head_began_at)
        self.write([error_response(error.status, error.reason, None, [], True)])
        self._close_after_response(False)

    def _close_after_response(self, request_done: bool) -> None:
        """Close; when the visitor may still be sending, read on for a moment so that it gets to see the response."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if request_done and self._parser.buffered == 0:
            transport.close()
            return
        self._lingering = True
        self._closed_at = self.edge.clock()
        transport.write_eof()
        self.resume_reading()

    def _begin_body_window(self) -> None:
        self._body_window_at = self.edge.clock()
        self._body_window_bytes = 0

    def _check_linger_time(self, now: float) -> None:
        if self._unwritten:
            self._closed_at = now
        elif now - self._closed_at >= self.edge.limits.linger_s and self._transport is not None:
            self._transport.abort()

    def _check_head_time(self, now: float) -> None:
        limits = self.edge.limits
        if self.writing_paused:
            return
        if self._parser.buffered:
            if now - self._head_began_at >= limits.head_timeout_s:
                self._refuse(
                    BadMessage(408, f"The head of the request did not arrive within {limits.head_timeout_s:g} s.")
                )
        elif now - self.heard_at >= (limits.keep_alive_s if self._served else limits.head_timeout_s):
            self.close_if_idle()

    def _check_body_time(self, exchange: Exchange, now: float) -> None:
        limits = self.edge.limits
        if self._reading_paused or exchange.body_may_rest:
            self._begin_body_window()
        elif now - self._body_window_at < limits.body_timeout_s:
            return
        elif self._body_window_bytes < limits.min_body_bytes_per_s * limits.body_timeout_s:
            exchange.fail(
                408, f"The body of the request did not arrive at {limits.min_body_bytes_per_s} bytes per second."
            )
        else:
            self._begin_body_window()
