"""One exchange at the edge: a visitor's request on its way to a stream, and the answer on its way back.

Made by a VisitorConnection for each request. What comes from the agent is checked as strictly as what comes from the
internet.
"""

from typing import TYPE_CHECKING, Final

from terratunnel.forwarding.failures import CLIENT_CLOSED_REQUEST, STATUS_OF_RESET
from terratunnel.http1 import cookies, forwarding, writer
from terratunnel.http1.parser import BadMessage, RequestHead, Trailers
from terratunnel.mux.stream import Stream
from terratunnel.protocol.errors import ResetCode
from terratunnel.server.edge.responses import keep_alive_framing
from terratunnel.server.routes import Route

if TYPE_CHECKING:
    from terratunnel.server.edge.connection import VisitorConnection

RETRY_AFTER: Final[list[bytes]] = [b"Retry-After", b"2"]
# Interim heads have no flow control of their own: together they may be as long as one head (spec §8, block size).
MAX_INTERIM_BYTES: Final = 65_536

# How the body of the response is framed towards the visitor.
_NO_BODY: Final = 0
_LENGTH: Final = 1
_CHUNKED: Final = 2
_UNTIL_CLOSE: Final = 3
_OPAQUE: Final = 4


class Exchange:
    """The handler of one stream, and the source of its request."""

    __slots__ = (
        "_body_bytes",
        "_body_left",
        "_connection",
        "_framing",
        "_held_head",
        "_interim_bytes",
        "_limit",
        "_owed",
        "_response_bytes",
        "_route",
        "_stream",
        "close_after",
        "head",
        "opaque",
        "over",
        "reading_paused",
        "request_done",
        "request_id",
        "response_done",
        "started_at",
        "status",
        "waiting",
    )

    def __init__(self, connection: "VisitorConnection", head: RequestHead, request_id: bytes, now: float) -> None:
        self.head: RequestHead = head
        self.request_id: bytes = request_id
        self.started_at: float = now
        self.status: int = 0
        self.request_done: bool = not head.has_body and head.upgrade is None
        self.response_done: bool = False
        self.opaque: bool = False
        self.over: bool = False
        self.close_after: bool = not head.keep_alive
        self.waiting: bool = False  # for a free stream
        self.reading_paused: bool = False
        self._connection: VisitorConnection = connection
        self._route: Route | None = None
        self._stream: Stream | None = None
        self._held_head: bytes = b""
        self._interim_bytes: int = 0
        self._framing: int = _NO_BODY
        self._body_bytes: int = 0
        self._body_left: int = -1
        self._response_bytes: int = 0
        self._limit: int = 0
        self._owed: int = 0

    def __repr__(self) -> str:
        return f"<Exchange {self.head!r} status={self.status} over={self.over}>"

    # ------------------------------------------------------------------ from the visitor

    def start(self, route: Route) -> None:
        """Send the request to a route, or wait for a free stream on it."""
        limits = self._connection.edge.limits
        length = self.head.content_length
        if limits.max_request_bytes and length is not None and length > limits.max_request_bytes:
            self.fail(413, f"The request body of {length} bytes is over the limit of {limits.max_request_bytes} bytes.")
            return
        self._route = route
        if route.connection.can_open and not route.waiting:
            self._open(route)
        elif route.connection.closed:
            self.route_lost()
        else:
            self.waiting = True
            self._pause_visitor()
            route.waiting.append(self)

    def capacity_available(self) -> None:
        """A stream is free: take it, and read on in the request."""
        if not self.over and self._route is not None:
            self.waiting = False
            self._open(self._route)
            self.room_available()
            self._connection.read_on()

    def route_lost(self) -> None:
        """The client left while the exchange waited for a stream; nothing has been sent."""
        self.waiting = False
        self.fail(502, "The tunnel's client has just disconnected; try again in a moment.", RETRY_AFTER)

    def request_data(self, data: bytes) -> None:
        """Send bytes of the request's body, or of the upgraded connection, to the stream."""
        stream = self._stream
        if stream is None:
            return
        self._body_bytes += len(data)
        limit = self._connection.edge.limits.max_request_bytes
        if limit and self._body_bytes > limit and not self.opaque:
            stream.reset(ResetCode.TOO_LARGE, "the request body is over the limit")
            self.fail(413, f"The request body is over the limit of {limit} bytes.")
            return
        if self._route is not None:
            self._route.bytes_in += len(data)
        stream.send_data(data)
        if not stream.has_room():
            self._pause_visitor()

    def request_end(self, trailers: Trailers | None) -> None:
        """The request is complete."""
        self.request_done = True
        if self._stream is not None:
            self._stream.send_end(forwarding.trailer_items(trailers) if trailers is not None else [])
        self._end_if_done()

    def visitor_left(self) -> None:
        """The visitor is gone: nobody waits for the answer."""
        if not self.over:
            if self.status == 0:
                self.status = CLIENT_CLOSED_REQUEST
            self._release(ResetCode.CANCELLED, "the visitor left")

    def visitor_reads(self) -> None:
        """The visitor has caught up: give the stream the credit it is owed."""
        if self._owed and self._stream is not None:
            owed, self._owed = self._owed, 0
            self._stream.consumed(owed)

    def check_time(self, now: float) -> None:
        """End an exchange that has waited for too long before its response."""
        limits = self._connection.edge.limits
        if self.status or self.over:
            return
        if self._stream is None:
            if now - self.started_at >= limits.queue_timeout_s:
                self.fail(503, "The server is busy: the request waited for too long.", RETRY_AFTER)
        elif now - max(self.started_at, self._connection.heard_at) < limits.response_timeout_s:
            return
        elif self.request_done or self.head.upgrade is not None or self._awaits_invitation:
            self.fail(504, f"The tunnel's client gave no response within {limits.response_timeout_s:g} s.")

    @property
    def body_may_rest(self) -> bool:
        """Whether the visitor may leave its body for later: while it awaits a 100, or while the response comes."""
        return self._awaits_invitation or (self.status != 0 and not self.response_done)

    def fail(self, status: int, sentence: str, extra: list[bytes] | None = None) -> None:
        """Answer with an error while that is still possible.

        Otherwise cut the connection, which is never a clean end; but a response that is complete stays one, whatever
        becomes of the rest of its request.
        """
        if self.over:
            return
        if self.response_done and not self.opaque:
            self._end_early(ResetCode.CANCELLED, sentence)
            return
        begun = self.status != 0 and not self._held_head
        if not begun:
            self.status = status
        self._held_head = b""
        self._release(ResetCode.CANCELLED, sentence)
        if begun:
            self._connection.cut()
        else:
            self._connection.respond_error(status, sentence, self, extra or [])

    # ------------------------------------------------------------------ from the link: StreamHandler

    def headers_received(self, items: list[bytes], end: bool, interim: bool) -> None:
        """Check the response's head and choose its framing."""
        try:
            meta = forwarding.check_response_items(items, self.head.method)
        except BadMessage as error:
            self._refuse(f"The client sent a malformed response: {error}")
            return
        if interim:
            self._interim(meta.status, items)
            return
        if meta.status < 200 and (meta.status != 101 or self.head.upgrade is None):
            self._refuse("The client sent a final response with an interim status.")
            return
        limit = self._response_limit()
        length = meta.content_length
        if limit and length is not None and length > limit and meta.has_body:
            self.fail(413, f"The response body of {length} bytes is over the limit of {limit} bytes.")
            return
        self.status = meta.status
        self._limit = limit
        self._held_head = writer.response_head(self._without_tossed(items), self._choose_framing(meta, end))
        if self.opaque:
            self._connection.hand_on_early_bytes(self)
        if not end:
            if self._stream is not None:
                self._stream.after_message(self._flush_head)
        elif self._fits(0, True):
            self._end_response([])

    def data_received(self, data: bytes | memoryview, end: bool) -> None:
        """Write bytes of the response."""
        size = len(data)
        if not self._fits(size, end):
            return
        connection = self._connection
        parts: list[bytes | memoryview] = []
        if self._held_head:
            parts.append(self._held_head)
            self._held_head = b""
        if self._framing == _CHUNKED:
            parts += writer.chunk_parts(data)
            if end:
                parts.append(writer.LAST_CHUNK)
        else:
            parts.append(data)
        connection.write(parts)
        self._owed += size
        if self._route is not None:
            self._route.bytes_out += size
        if not connection.writing_paused:
            self.visitor_reads()
        if end:
            self._finish_response()

    def end_received(self, trailers: list[bytes]) -> None:
        """The response is complete."""
        try:
            forwarding.check_trailer_items(trailers)
        except BadMessage as error:
            self._refuse(f"The client sent malformed trailers: {error}")
            return
        if self._fits(0, True):
            self._end_response(trailers)

    def reset_received(self, code: ResetCode, reason: str) -> None:
        """The stream ended early."""
        self._stream = None
        if self.over:
            return
        if code is ResetCode.STOPPED and self.response_done:
            self._end_early(ResetCode.STOPPED, "")
            return
        sentence = reason or f"The exchange was ended by the client ({code.name})."
        self.fail(STATUS_OF_RESET[code], sentence, RETRY_AFTER if code is ResetCode.REFUSED else None)

    def room_available(self) -> None:
        """The stream has room: read on from the visitor."""
        if self.reading_paused:
            self.reading_paused = False
            self._connection.resume_reading()

    # ------------------------------------------------------------------ private

    def _open(self, route: Route) -> None:
        edge = self._connection.edge
        head = self.head
        items = forwarding.request_items(head, self._connection.client_ip, edge.proto, self.request_id)
        if not route.is_own:
            items = cookies.without_ours(items)
        self.request_id = head.section.request_id or self.request_id
        stream = route.connection.open_stream(self)
        route.requests += 1
        self._stream = stream
        length = head.content_length
        checked = head.has_body and (length is None or length > edge.limits.streaming_threshold)
        stream.send_headers(items, end=self.request_done, checked=checked or head.upgrade is not None)

    def _response_limit(self) -> int:
        """The limit is for tunnels: of the server's own pages, a backup is as long as its database."""
        if self._route is not None and not self._route.name:
            return 0
        return self._connection.edge.limits.max_response_bytes

    def _interim(self, status: int, items: list[bytes]) -> None:
        """Pass a 1xx on; HTTP/1.0 knows none (RFC 9110 §15.2)."""
        head = writer.response_head(self._without_tossed(items), writer.NO_FRAMING)
        self._interim_bytes += len(head)
        if status >= 200 or status == 101 or self.status:
            self._refuse("The client sent a malformed interim response.")
        elif self._interim_bytes > MAX_INTERIM_BYTES:
            self._refuse("The client sent too many interim responses.")
        elif self.head.minor_version == 1:
            if status == 100:
                self._connection.body_invited = True
            self._connection.write([head])

    def _without_tossed(self, items: list[bytes]) -> list[bytes]:
        """Take out cookies that a tunnel may not set (security.md A1)."""
        if self._route is None or self._route.is_own:
            return items
        return cookies.without_apex(items, self._connection.edge.apex)

    def _choose_framing(self, meta: forwarding.ResponseMeta, end: bool) -> bytes:
        """Return the framing lines, and remember how the body is written."""
        if meta.status == 101:
            self._framing = _OPAQUE
            self.opaque = True
            return writer.UPGRADE
        if self.head.upgrade is not None and self._stream is not None:
            # The service declined to upgrade: the request ends here, and what follows is another request.
            self.request_done = True
            self._stream.send_end([])
        if self.head.expect_continue and not self.request_done and not self._connection.body_invited:
            self.close_after = True
        if self._connection.edge.draining:
            self.close_after = True
        connection_line = writer.CLOSE if self.close_after else keep_alive_framing(self.head)
        if not meta.has_body:
            return connection_line
        if meta.content_length is not None:
            self._framing = _LENGTH
            self._body_left = meta.content_length
            return connection_line
        if end:
            return writer.NO_BODY + connection_line
        if self.head.minor_version == 1:
            self._framing = _CHUNKED
            return writer.CHUNKED + connection_line
        self._framing = _UNTIL_CLOSE
        self.close_after = True
        return writer.CLOSE

    def _fits(self, size: int, end: bool) -> bool:
        """Whether the next `size` bytes, and an end after them, agree with the head and the limits."""
        if self._framing == _LENGTH:
            self._body_left -= size
            if self._body_left < 0 or (end and self._body_left > 0):
                self._refuse("The client sent a body that is not as long as its Content-Length.")
                return False
        elif self._framing == _NO_BODY and size:
            self._refuse("The client sent a body where none is allowed.")
            return False
        self._response_bytes += size
        if self._limit and self._response_bytes > self._limit and not self.opaque:
            if self._stream is not None:
                self._stream.reset(ResetCode.TOO_LARGE, "the response body is over the limit")
            self.fail(413, f"The response body is over the limit of {self._limit} bytes.")
            return False
        return True

    def _end_response(self, trailers: list[bytes]) -> None:
        parts: list[bytes | memoryview] = []
        if self._held_head:
            parts.append(self._held_head)
            self._held_head = b""
        if self._framing == _CHUNKED:
            parts.append(writer.last_chunk(trailers))
        if parts:
            self._connection.write(parts)
        self._finish_response()

    def _finish_response(self) -> None:
        self.response_done = True
        if self.opaque:
            self._connection.write_eof()
        elif self.close_after and not self.request_done and self.head.expect_continue:
            # The visitor was never invited to send its body and need not: waiting for it could last for ever.
            self._end_early(ResetCode.CANCELLED, "the response is complete")
            return
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self.response_done and self.request_done and not self.over:
            self._release(ResetCode.STOPPED, "")
            self._connection.exchange_done(self)

    def _end_early(self, code: ResetCode, reason: str) -> None:
        """The response is complete and the rest of the request is not wanted: the connection ends with it."""
        self.close_after = True
        self._release(code, reason)
        self._connection.exchange_done(self)

    @property
    def _awaits_invitation(self) -> bool:
        return self.head.expect_continue and self._body_bytes == 0 and not self._connection.body_invited

    def _flush_head(self) -> None:
        if self._held_head and not self.over:
            head, self._held_head = self._held_head, b""
            self._connection.write([head])

    def _refuse(self, sentence: str) -> None:
        """The agent broke a rule in this stream."""
        if self._stream is not None:
            self._stream.reset(ResetCode.STREAM_PROTOCOL_ERROR, sentence)
        self.fail(502, sentence)

    def _pause_visitor(self) -> None:
        if not self.reading_paused:
            self.reading_paused = True
            self._connection.pause_reading()

    def _release(self, code: ResetCode, reason: str) -> None:
        """The exchange is over: let go of the stream, the route and the visitor's reading."""
        self.over = True
        if self.waiting and self._route is not None:
            self._route.waiting.remove(self)
            self.waiting = False
        stream, self._stream = self._stream, None
        if stream is not None and not (self.request_done and self.response_done):
            stream.reset(code, reason)
        self.room_available()
        self._connection.log_exchange(self)
