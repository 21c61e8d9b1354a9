"""A stream as its user sees it. Used by the edge, the forwarder and the pages' own agent.

Calls go straight to the multiplexer and are flushed once per turn of the loop; whoever sends asks `has_room` before
reading more.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from terratunnel.protocol import streams
from terratunnel.protocol.errors import ResetCode

if TYPE_CHECKING:
    from terratunnel.mux.connection import MuxConnection


class StreamHandler(Protocol):
    """Who hears from a stream."""

    def headers_received(self, items: list[bytes], end: bool, interim: bool) -> None:
        """A head arrived: a request's, a response's, or an interim (1xx) response's."""

    def data_received(self, data: bytes | memoryview, end: bool) -> None:
        """Bytes arrived; call `Stream.consumed` once they are handed on."""

    def end_received(self, trailers: list[bytes]) -> None:
        """This direction ended with these trailer fields (`[name, value, …]`)."""

    def reset_received(self, code: ResetCode, reason: str) -> None:
        """The stream is over before its time; nothing comes after."""

    def room_available(self) -> None:
        """The source that paused when `has_room` said no may go on."""


class Stream:
    """One exchange on a link. After `reset`, or once both directions have ended, calls on it do nothing."""

    __slots__ = ("_connection", "_state", "handler")

    def __init__(self, connection: "MuxConnection", state: streams.Stream, handler: StreamHandler | None) -> None:
        self._connection = connection
        self._state: streams.Stream = state
        self.handler: StreamHandler | None = handler
        state.owner = self

    def __repr__(self) -> str:
        return repr(self._state)

    @property
    def id(self) -> int:
        """The stream's number on its link."""
        return self._state.id

    @property
    def can_send(self) -> bool:
        """Whether this direction is still open."""
        return self._state.sending < streams.DONE and self._state.pending_end is None

    @property
    def sent(self) -> bool:
        """Whether this direction has ended and its last byte was handed to the link."""
        return self._state.sending == streams.DONE

    def send_headers(self, items: list[bytes], end: bool = False, checked: bool = False, interim: bool = False) -> None:
        """Send a head (see `Multiplexer.send_headers`)."""
        if self.can_send:
            self._connection.multiplexer.send_headers(self._state, items, end, checked, interim)
            self._connection.schedule_flush()

    def send_data(self, data: bytes, end: bool = False) -> None:
        """Send bytes of the body."""
        if self.can_send:
            self._connection.multiplexer.send_data(self._state, data, end)
            self._connection.schedule_flush()

    def send_end(self, trailers: list[bytes]) -> None:
        """End this direction."""
        if self.can_send:
            self._connection.multiplexer.send_end(self._state, trailers)
            self._connection.schedule_flush()

    def has_room(self) -> bool:
        """Whether more should be sent now; if not, `room_available` is called when it should."""
        return self._connection.multiplexer.has_room(self._state)

    def consumed(self, size: int) -> None:
        """Give credit back for bytes that were handed on."""
        self._connection.consume(self._state, size)

    def after_message(self, callback: Callable[[], None]) -> None:
        """Call back when the message that brought what is being handled has been handed on whole.

        What came in one message can so be written with one system call, without a turn of the loop in between.
        """
        self._connection.after_message(callback)

    def reset(self, code: ResetCode, reason: str = "") -> None:
        """End the stream in both directions; its handler hears nothing more."""
        self.handler = None
        self._connection.multiplexer.reset_stream(self._state, code, reason)
        self._connection.schedule_flush()
