"""One exchange with the service: the handler of a stream on one side, of an upstream connection on the other.

Made by the forwarder. Every failure becomes a RESET with a code and one sentence; nothing is sent twice, and bytes that
cannot be handed on yet give no credit.
"""

import asyncio
from typing import TYPE_CHECKING

from terratunnel.forwarding.failures import CLIENT_CLOSED_REQUEST, STATUS_OF_RESET
from terratunnel.forwarding.upstream import UpstreamConnection
from terratunnel.http1 import forwarding, writer
from terratunnel.http1.parser import BadMessage, ResponseHead, Trailers
from terratunnel.mux.stream import Stream
from terratunnel.protocol.errors import ResetCode

if TYPE_CHECKING:
    from terratunnel.forwarding.forwarder import Forwarder


class Exchange:
    """One request on its way to the service and its response on the way back."""

    def __init__(self, forwarder: "Forwarder", stream: Stream, now: float) -> None:
        self.items: list[bytes] = []
        self.status: int = 0
        self.error: str = ""
        self.started_at: float = now
        self.connecting: asyncio.Task[None] | None = None
        self._forwarder: Forwarder = forwarder
        self._stream: Stream = stream
        self._upstream: UpstreamConnection | None = None
        self._waiting: list[bytes | memoryview] = []
        self._owed: int = 0
        self._progress_at: float = now
        self._chunked: bool = False
        self._body_left: int = -1
        self._body_begun: bool = False
        self._upgrade: bool = False
        self._upgraded: bool = False
        self._request_done: bool = False
        self._response_done: bool = False
        self._reading_paused: bool = False
        self._over: bool = False

    @property
    def method(self) -> bytes:
        """The request's method, once its head is there."""
        return self.items[0] if self.items else b""

    @property
    def target(self) -> bytes:
        """The request's raw target."""
        return self.items[1] if self.items else b""

    @property
    def duration_s(self) -> float:
        """Seconds since the stream was opened."""
        return self._forwarder.clock() - self.started_at

    # ------------------------------------------------------------------ from the link: StreamHandler

    def headers_received(self, items: list[bytes], end: bool, interim: bool) -> None:
        """Check the request's head and take or open a connection."""
        try:
            meta = forwarding.check_request_items(items)
        except BadMessage as error:
            self.fail(ResetCode.STREAM_PROTOCOL_ERROR, f"The request is malformed: {error}")
            return
        self.items = items
        self._request_done = end
        self._upgrade = meta.upgrade is not None
        self._body_left = -1 if meta.content_length is None else meta.content_length
        if self._body_left > 0 and (end or self._upgrade):
            self._misfit()
            return
        if self._upgrade:
            self._body_left = 0  # until the 101, after which there is no body and no end to its length
        self._chunked = not end and meta.content_length is None and not self._upgrade
        framing = writer.CHUNKED if self._chunked else writer.UPGRADE if self._upgrade else writer.NO_FRAMING
        head = writer.request_head(items, framing)
        connection = self._forwarder.pool.take_idle()
        if connection is None:
            self._waiting.append(head)
            self._forwarder.connect_for(self)
        elif end:
            self._begin(connection)
            connection.write(head)
        else:
            # The first bytes of the body are in the same message more often than not: one write for both.
            self._waiting.append(head)
            self._begin(connection)
            self._stream.after_message(self._flush_waiting)

    def data_received(self, data: bytes | memoryview, end: bool) -> None:
        """Send bytes of the request on."""
        self._body_begun = True
        if self._body_left >= 0:
            self._body_left -= len(data)
            if self._body_left < 0 or (end and self._body_left > 0):
                self._misfit()
                return
        parts = writer.chunk_parts(data) if self._chunked else [data]
        if end and self._chunked:
            parts.append(writer.LAST_CHUNK)
        self._send(parts, len(data))
        if end:
            self._end_request()

    def end_received(self, trailers: list[bytes]) -> None:
        """End the request; an upgraded connection is half-closed."""
        if self._body_left > 0:
            self._misfit()
            return
        if self._chunked:
            try:
                forwarding.check_trailer_items(trailers)
            except BadMessage as error:
                self.fail(ResetCode.STREAM_PROTOCOL_ERROR, f"The request's trailers are malformed: {error}")
                return
            self._send([writer.last_chunk(trailers)], 0)
        self._end_request()

    def reset_received(self, code: ResetCode, reason: str) -> None:
        """The visitor is gone or the link is: the service hears it at once."""
        if not self._over:
            self.error = reason or code.name
            if not self.status:
                self.status = CLIENT_CLOSED_REQUEST if code is ResetCode.CANCELLED else STATUS_OF_RESET[code]
            self._finish()

    def room_available(self) -> None:
        """The stream has room again: read on."""
        if self._reading_paused and self._upstream is not None:
            self._reading_paused = False
            self._upstream.resume_reading()

    # ------------------------------------------------------------------ from the service: UpstreamHandler

    def response_head(self, head: ResponseHead) -> None:
        """Send a head of the service on."""
        self._progress_at = self._forwarder.clock()
        items = forwarding.response_items(head)
        if head.status == 101:
            if not self._upgrade:
                self._break("The local service switched protocols without being asked.")
                return
            self._switch()
        elif head.status < 200:
            self._stream.send_headers(items, interim=True)
            return
        self.status = head.status
        body = head.has_body or self._upgraded
        self._stream.send_headers(items, end=not body, checked=body and self._is_checked(head))

    def response_data(self, data: bytes) -> None:
        """Send bytes of the body on; pause the service when the stream has no room."""
        self._stream.send_data(data)
        if not self._stream.has_room() and self._upstream is not None:
            self._reading_paused = True
            self._upstream.pause_reading()

    def response_end(self, trailers: Trailers | None) -> None:
        """The response is complete. The rest of the request still goes to a service that goes on reading."""
        self._response_done = True
        self._stream.send_end(forwarding.trailer_items(trailers) if trailers is not None else [])
        if self._request_done:
            self._over_and_out()
        elif self._upgrade and not self._upgraded:
            self._upstream = None  # the service declined, so the connection is the pool's again

    def upstream_failed(self, sentence: str) -> None:
        """The service broke off."""
        if self._response_done:
            self._upstream = None
            self._discard_request()
        else:
            self._break(sentence)

    def upstream_room(self) -> None:
        """The service reads again: give the stream the credit it is owed."""
        self._progress_at = self._forwarder.clock()
        self._repay()

    # ------------------------------------------------------------------ from the forwarder

    def connected(self, connection: UpstreamConnection) -> None:
        """A connection is there: send what has waited for it."""
        self.connecting = None
        if self._over:
            connection.drop()
            return
        self._begin(connection)
        self._flush_waiting()

    def check_time(self, now: float) -> None:
        """End an exchange whose service has shown no sign of life for too long before its response."""
        limit = self._forwarder.pool.timeouts.first_byte_s
        if self._response_done and self._upstream is None:
            self._discard_request()
        elif self._upstream is not None and not self.status and now - self._progress_at >= limit and self._in_debt():
            self.fail(ResetCode.UPSTREAM_TIMEOUT, f"The local service sent no response within {limit:g} s.")

    def fail(self, code: ResetCode, sentence: str) -> None:
        """End the exchange with a reason for the visitor."""
        if not self._over:
            self.error = sentence
            self.status = self.status or STATUS_OF_RESET[code]
            self._stream.reset(code, sentence)
            self._finish()

    def cancel(self) -> None:
        """End the exchange: the client stops."""
        self.fail(ResetCode.UPSTREAM_UNREACHABLE, "The client is stopping.")

    # ------------------------------------------------------------------ private

    def _in_debt(self) -> bool:
        """Whether the next move is the service's, and not the visitor's."""
        assert self._upstream is not None
        if self._request_done or self._upgrade or self._upstream.writing_paused:
            return True
        return not self._body_begun and any(name.lower() == b"expect" for name in self.items[2::2])

    def _is_checked(self, head: ResponseHead) -> bool:
        length = head.content_length
        return self._upgraded or length is None or length > self._forwarder.threshold

    def _begin(self, connection: UpstreamConnection) -> None:
        self._upstream = connection
        self._progress_at = self._forwarder.clock()
        connection.begin(self, self.items[0])
        if self._request_done or self._upgrade:
            connection.request_ended()

    def _switch(self) -> None:
        """The service agreed to another protocol: from here on, bytes."""
        self._upgraded = True
        self._body_left = -1
        if self._request_done and self._upstream is not None:
            self._upstream.write_eof()

    def _send(self, parts: list[bytes | memoryview], size: int) -> None:
        """Send parts of the request and settle the credit for `size` bytes of body."""
        self._owed += size
        upstream = self._upstream
        if upstream is None:
            # While it is being opened, what waits is bounded: it gives no credit back, so the window stays shut.
            self._waiting += parts
            if self._response_done:
                self._discard_request()
            return
        if self._waiting:
            parts = self._waiting + parts
            self._waiting = []
        self._progress_at = self._forwarder.clock()
        if len(parts) == 1:
            upstream.write(parts[0])
        else:
            upstream.writelines(parts)
        if not upstream.writing_paused:
            self._repay()

    def _flush_waiting(self) -> None:
        if self._waiting and self._upstream is not None:
            self._send([], 0)

    def _repay(self) -> None:
        owed = self._owed
        if owed:
            self._owed = 0
            self._stream.consumed(owed)

    def _end_request(self) -> None:
        if self._over:  # its last bytes found that nobody wants them
            return
        self._request_done = True
        if self._upstream is not None:
            self._flush_waiting()
            if self._upgraded:
                self._upstream.write_eof()
            elif not self._upgrade:
                self._upstream.request_ended()
        if self._response_done:
            self._over_and_out()

    def _discard_request(self) -> None:
        """The service is gone: once the response is out, say that the rest of the request is not wanted."""
        self._waiting = []
        self._repay()
        if self._stream.sent:
            self._stream.reset(ResetCode.STOPPED)
            self._over_and_out()

    def _misfit(self) -> None:
        self.fail(ResetCode.STREAM_PROTOCOL_ERROR, "The request's body is not as long as its head says.")

    def _break(self, sentence: str) -> None:
        self.fail(ResetCode.UPSTREAM_BROKEN, sentence)

    def _over_and_out(self) -> None:
        """Both directions ended well."""
        if self._upgraded and self._upstream is not None:
            self._upstream.close()
        self._upstream = None
        self._finish()

    def _finish(self) -> None:
        self._over = True
        if self.connecting is not None:
            self.connecting.cancel()
            self.connecting = None
        if self._upstream is not None:
            self._upstream.drop()
            self._upstream = None
        self._waiting = []
        self._forwarder.finished(self)
