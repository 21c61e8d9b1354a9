"""The real link: one WebSocket (RFC 6455) with the subprotocol `terratunnel.v1`. Used by the acceptor and the client.

After the handshake (`mux.handshake`) a WebSocketLink gets the transport and moves messages between it and its receiver.
Rule: what the peer makes us answer is bounded; the receiver hears of the end once, and nothing after it.
"""

import asyncio
from typing import Final, Protocol

from terratunnel.mux.link import WRITE_HIGH_BYTES, WRITE_LOW_BYTES, LinkReceiver
from terratunnel.mux.sockets import keep_kernel_queue_short
from terratunnel.mux.wsframes import FrameReader, FrameWriter
from terratunnel.protocol.frames import MAX_MESSAGE_BYTES

_BINARY: Final = 2
_CLOSE: Final = 8
_PING: Final = 9
_PONG: Final = 10
# How long a closed link waits for the peer's own Close before it is dropped. What was queued before ours may need a
# while on a narrow path, so the wait begins again while something moves (a peer gives credit, or a ping every 5 s), up
# to the 30 s of a drain.
CLOSE_TIMEOUT_S: Final = 5.0
MAX_CLOSE_WAITS: Final = 6


class Transport(Protocol):
    """What the link uses of an asyncio transport."""

    def write(self, data: bytes) -> None: ...
    def writelines(self, parts: list[bytes | memoryview]) -> None: ...
    def is_closing(self) -> bool: ...
    def resume_reading(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def get_extra_info(self, name: str, default: object = None) -> object: ...
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def get_write_buffer_size(self) -> int: ...


class WebSocketLink:
    """One end of the WebSocket. It is the asyncio protocol of its transport once `start` was called."""

    def __init__(self, transport: Transport, client: bool) -> None:
        self._transport: Transport = transport
        self._reader: FrameReader = FrameReader(not client, MAX_MESSAGE_BYTES)
        self._writer: FrameWriter = FrameWriter(client)
        self._receiver: LinkReceiver | None = None
        self._close_sent: bool = False
        self._writing_paused: bool = False
        self._ping: bytes | None = None
        self._lost: str | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._close_waits: int = 0
        self._unsent: int = 0
        self._heard: bool = False

    def start(self, receiver: LinkReceiver, buffered: bytes) -> None:
        """Begin: `buffered` are the bytes that came behind the handshake."""
        self._receiver = receiver
        if self._lost is not None:
            # It went while nobody was there to hear: the receiver hears it once its owner has put it in its place.
            asyncio.get_running_loop().call_soon(self._lose, self._lost)
            return
        keep_kernel_queue_short(self._transport)
        self._transport.set_write_buffer_limits(WRITE_HIGH_BYTES, WRITE_LOW_BYTES)
        if buffered:
            self.data_received(buffered)
        if not self._transport.is_closing():
            self._transport.resume_reading()

    # ------------------------------------------------------------------ Link

    def send_message(self, parts: list[bytes | memoryview]) -> None:
        """Send one message with a single gathered write."""
        if not self._close_sent and not self._transport.is_closing():
            self._transport.writelines(self._writer.write(_BINARY, parts))

    def close(self, code: int, reason: str) -> None:
        """Send Close; the transport is closed when the peer answers, or when it no longer moves."""
        if self._close_sent or self._transport.is_closing():
            return
        payload = code.to_bytes(2, "big") + reason.encode("utf-8", "replace")[:120].decode("utf-8", "ignore").encode()
        self._transport.writelines(self._writer.write(_CLOSE, [payload]))
        self._close_sent = True
        self._await_close()

    def abort(self) -> None:
        """Drop the connection."""
        self._transport.abort()

    # ------------------------------------------------------------------ asyncio protocol

    def connection_made(self, transport: object) -> None:
        """Nothing: the transport was connected before the handshake."""

    def get_buffer(self, size_hint: int) -> memoryview:
        """Read straight into the frame reader's buffer: uvloop knows a BufferedProtocol by its methods."""
        return self._reader.buffer()

    def buffer_updated(self, size: int) -> None:
        """Read frames and hand messages on."""
        self._messages_received(self._reader.received(size))

    def data_received(self, data: bytes) -> None:
        """Take bytes that came with the handshake, or from a loop that does not read into our buffer."""
        self._messages_received(self._reader.receive_data(data))

    def eof_received(self) -> bool:
        """The peer will send nothing more: a link has no half-closed state."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the receiver."""
        self._lost = str(exc) if exc else "the connection was closed"
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._lose(self._lost)

    def pause_writing(self) -> None:
        """The transport's buffer is above its high-water mark."""
        self._writing_paused = True
        if self._receiver is not None:
            self._receiver.pause_sending()

    def resume_writing(self) -> None:
        """The transport's buffer has drained."""
        self._writing_paused = False
        if self._ping is not None:
            self._answer_ping()
        if self._receiver is not None:
            self._receiver.resume_sending()

    # ------------------------------------------------------------------ private

    def _await_close(self) -> None:
        self._close_waits += 1
        self._unsent = self._transport.get_write_buffer_size()
        self._heard = False
        self._close_timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._check_close)

    def _check_close(self) -> None:
        """Wait on for a peer that reads or speaks; drop one that does neither, or for too long."""
        moves = self._heard or self._transport.get_write_buffer_size() < self._unsent
        if moves and self._close_waits < MAX_CLOSE_WAITS:
            self._await_close()
        else:
            self._transport.abort()

    def _messages_received(self, messages: list[tuple[int, bytes]]) -> None:
        self._heard = True
        for opcode, payload in messages:
            if opcode == _BINARY:
                if self._receiver is not None:
                    self._receiver.message_received(payload)
            elif opcode == _PING:
                self._ping = payload
            elif opcode == _CLOSE:
                self._close_received(payload)
        if self._ping is not None and not self._writing_paused:
            self._answer_ping()
        error = self._reader.error
        if error is not None:
            self.close(error.code, error.reason)
            self._lose(error.reason)

    def _answer_ping(self) -> None:
        """Answer the latest Ping alone, and when there is room (RFC 6455 §5.5.3): many of them cost no memory."""
        payload, self._ping = self._ping or b"", None
        if not self._close_sent and not self._transport.is_closing():
            self._transport.writelines(self._writer.write(_PONG, [payload]))

    def _close_received(self, payload: bytes) -> None:
        reason = payload[2:].decode("utf-8", "replace")
        self.close(1000, "")
        self._transport.close()
        self._lose(reason or "the peer closed the link")

    def _lose(self, reason: str) -> None:
        receiver = self._receiver
        self._receiver = None
        if receiver is not None:
            receiver.link_lost(reason)
