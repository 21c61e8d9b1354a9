"""WebSocket frames (RFC 6455 §5) for binary messages, without I/O. Used by `mux.websocket`.

One own reader and writer for what a link needs: no extensions, binary messages and control frames. Tests compare it
with the frame layer of the `websockets` package, whose C mask it uses.
Rule: however the bytes are cut, the same messages come out, and after the first fault nothing.
"""

import os
from enum import IntEnum
from struct import Struct
from typing import Final

from terratunnel.errors import RemoteProtocolError

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled part
    from websockets.utils import apply_mask

_LENGTH_16: Final = Struct(">H")
_LENGTH_64: Final = Struct(">Q")
_HEAD_16: Final = Struct(">BBH")
_HEAD_64: Final = Struct(">BBQ")
_MASK_POOL_BYTES: Final = 1024
MAX_CONTROL_PAYLOAD: Final = 125
# Frames of one message, and pieces of one frame before they are joined: each object costs more than a byte it holds.
_MAX_FRAGMENTS: Final = 1024
_MAX_PIECES: Final = 1024


class Opcode(IntEnum):
    """RFC 6455 §5.2."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


_CONTINUATION: Final = 0
_BINARY: Final = 2
_FIN: Final = 0x80
_MASKED: Final = 0x80


class WebSocketError(RemoteProtocolError):
    """The peer broke RFC 6455; `code` is the close code to send."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code: int = code
        self.reason: str = reason


class FrameReader:
    """Turns bytes into messages. `masked`: the peer is a client, whose frames must be masked (a server's must not).

    `error` is set once the peer broke a rule; what came before it is still handed on.
    """

    __slots__ = ("_fragments", "_fragments_bytes", "_held", "_held_bytes", "_masked", "_max_bytes", "_wanted", "error")

    def __init__(self, masked: bool, max_message_bytes: int) -> None:
        self.error: WebSocketError | None = None
        self._masked: bool = masked
        self._max_bytes: int = max_message_bytes
        self._held: list[bytes] = []
        self._held_bytes: int = 0
        self._wanted: int = 2
        self._fragments: list[bytes] | None = None
        self._fragments_bytes: int = 0

    def receive_data(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return `(opcode, payload)` of each message that is whole now; then look at `error`."""
        messages: list[tuple[int, bytes]] = []
        if self.error is not None:
            return messages
        if self._held:
            self._hold(data)
            if self._held_bytes < self._wanted:
                return messages
            data = b"".join(self._held)
            self._held = []
        try:
            rest = self._read_frames(data, messages)
        except WebSocketError as error:
            self.error = error
        else:
            if rest < len(data):
                self._held = [data[rest:] if rest else data]
                self._held_bytes = len(data) - rest
        return messages

    def _hold(self, data: bytes) -> None:
        """Keep a piece of a frame. Pieces are joined once, when the frame is whole, unless there are very many."""
        self._held.append(data)
        self._held_bytes += len(data)
        if len(self._held) >= _MAX_PIECES:
            self._held = [b"".join(self._held)]

    def _read_frames(self, data: bytes, messages: list[tuple[int, bytes]]) -> int:
        """Read every whole frame; returns where the rest begins."""
        position = 0
        while True:
            end = self._read_frame(data, position, messages)
            if end == position:
                return position
            position = end

    def _read_frame(self, data: bytes, position: int, messages: list[tuple[int, bytes]]) -> int:
        """Read one frame at `position`; returns its end, or `position` while it is not whole."""
        available = len(data) - position
        if available < 2:
            self._wanted = 2
            return position
        first = data[position]
        second = data[position + 1]
        size = second & 0x7F
        start = position + 2
        if size == 126:
            start += 2
        elif size == 127:
            start += 8
        masked = second & _MASKED != 0
        if masked:
            start += 4
        if available < start - position:
            self._wanted = start - position
            return position
        if size == 126:
            size = int(_LENGTH_16.unpack_from(data, position + 2)[0])
        elif size == 127:
            size = int(_LENGTH_64.unpack_from(data, position + 2)[0])
        self._check(first, size, masked)
        end = start + size
        if len(data) < end:
            self._wanted = end - position
            return position
        payload = data[start:end]
        if masked:
            mask_start = start - 4
            payload = apply_mask(payload, data[mask_start:start])
        self._take(first, payload, messages)
        return end

    def _check(self, first: int, size: int, masked: bool) -> None:
        opcode = first & 0x0F
        if first & 0x70:
            raise WebSocketError(1002, "a frame uses an extension that was not agreed")
        if masked != self._masked:
            raise WebSocketError(1002, "a frame is masked" if masked else "a frame is not masked")
        if opcode >= 8:
            if opcode > 10 or size > MAX_CONTROL_PAYLOAD or not first & _FIN:
                raise WebSocketError(1002, "a control frame is malformed")
        elif opcode > 2:
            raise WebSocketError(1002, f"opcode {opcode} is not known")
        elif opcode == 1:
            raise WebSocketError(1003, "a link carries binary messages only")
        elif (opcode == _CONTINUATION) != (self._fragments is not None):
            raise WebSocketError(1002, "the fragments of a message are out of order")
        elif self._fragments_bytes + size > self._max_bytes:
            raise WebSocketError(1009, f"a message is over {self._max_bytes} bytes")

    def _take(self, first: int, payload: bytes, messages: list[tuple[int, bytes]]) -> None:
        """Take a frame; a fragmented message is put together."""
        opcode = first & 0x0F
        fragments = self._fragments
        if opcode >= 8:
            messages.append((opcode, payload))
            return
        if fragments is None:
            if first & _FIN:
                messages.append((_BINARY, payload))
                return
            self._fragments = fragments = []
        fragments.append(payload)
        self._fragments_bytes += len(payload)
        if first & _FIN:
            messages.append((_BINARY, b"".join(fragments)))
            self._fragments = None
            self._fragments_bytes = 0
        elif len(fragments) >= _MAX_FRAGMENTS:
            raise WebSocketError(1009, "a message has too many fragments")


class FrameWriter:
    """Writes frames. `masked`: this side is the client. Masks come from the system's generator, a KiB at a time."""

    __slots__ = ("_masked", "_pool", "_used")

    def __init__(self, masked: bool) -> None:
        self._masked: bool = masked
        self._pool: bytes = b""
        self._used: int = _MASK_POOL_BYTES

    def write(self, opcode: int, parts: list[bytes | memoryview]) -> list[bytes | memoryview]:
        """Return the parts of one frame whose payload is the given parts, joined."""
        size = 0
        for part in parts:
            size += len(part)
        bit = _MASKED if self._masked else 0
        if size < 126:
            head = bytes((_FIN | opcode, bit | size))
        elif size < 65_536:
            head = _HEAD_16.pack(_FIN | opcode, bit | 126, size)
        else:
            head = _HEAD_64.pack(_FIN | opcode, bit | 127, size)
        if not self._masked:
            parts.insert(0, head)
            return parts
        mask = self._next_mask()
        return [head + mask, apply_mask(b"".join(parts), mask)]

    def _next_mask(self) -> bytes:
        if self._used >= _MASK_POOL_BYTES:
            self._pool = os.urandom(_MASK_POOL_BYTES)
            self._used = 0
        start = self._used
        end = start + 4
        self._used = end
        return self._pool[start:end]
