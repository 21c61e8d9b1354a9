"""WebSocket frames (RFC 6455 §5) for binary messages, without I/O. Used by `mux.websocket`.

One own reader and writer for what a link needs: no extensions, binary messages and control frames. Tests compare it
with the frame layer of the `websockets` package, whose C mask it uses.
Rule: however the bytes are cut, the same messages come out, and after the first fault nothing.
"""

import os
import threading
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
# Below this a part is cheaper to join than to write by itself.
_LARGE_PART_BYTES: Final = 4_096
# What one read may bring: a few messages of bulk; more only empties the processor's caches.
READ_BYTES: Final = 524_288
_SMALL_READ_BYTES: Final = 65_536
# What a peer must have sent of a frame before there is a large buffer for it: a head alone promises, and costs nothing.
_EARNED_BYTES: Final = 16_384
_MAX_SPARE: Final = 8
# Frames of one message: each object costs more than a byte it holds.
_MAX_FRAGMENTS: Final = 1024


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


class _Buffers:
    """The buffer of every reader of one thread that holds no half frame, and a few that readers have given back."""

    __slots__ = ("shared", "spare")

    def __init__(self) -> None:
        self.shared: bytearray = bytearray(READ_BYTES)
        self.spare: list[bytearray] = []

    def take(self, wanted: int, rest: int) -> bytearray:
        """Return a buffer for a frame of `wanted` bytes, `rest` of which are here; it may be too small for all."""
        if wanted <= _SMALL_READ_BYTES or rest < _EARNED_BYTES:
            return bytearray(_SMALL_READ_BYTES)
        if wanted > READ_BYTES:
            return bytearray(wanted)
        return self.spare.pop() if self.spare else bytearray(READ_BYTES)

    def give_back(self, buffer: bytearray) -> None:
        """Keep a buffer that is no longer needed for the next reader, within a bound."""
        if len(buffer) == READ_BYTES and len(self.spare) < _MAX_SPARE:
            self.spare.append(buffer)


_threads: Final = threading.local()


def _buffers() -> _Buffers:
    """Return those of this thread: a loop in another one may read at the same time."""
    found: _Buffers | None = getattr(_threads, "buffers", None)
    if found is None:
        found = _threads.buffers = _Buffers()
    return found


class FrameReader:
    """Turns bytes into messages. `masked`: the peer is a client, whose frames must be masked (a server's must not).

    Bytes are read straight into `buffer()` and each payload is copied once, out of it. The readers of a thread
    that hold no half frame share one buffer, so an idle link holds none. `error` is set once the peer broke a rule;
    what came before it is still handed on.
    """

    __slots__ = (
        "_buffers",
        "_fragments",
        "_fragments_bytes",
        "_held",
        "_held_bytes",
        "_masked",
        "_max_bytes",
        "_wanted",
        "error",
    )

    def __init__(self, masked: bool, max_message_bytes: int) -> None:
        self.error: WebSocketError | None = None
        self._masked: bool = masked
        self._max_bytes: int = max_message_bytes
        self._buffers: _Buffers = _buffers()
        self._held: bytearray | None = None
        self._held_bytes: int = 0
        self._wanted: int = 2
        self._fragments: list[bytes] | None = None
        self._fragments_bytes: int = 0

    def buffer(self) -> memoryview:
        """Return where the next bytes are to be written; say how many with `received` before anyone else is asked."""
        held = self._held
        return memoryview(self._buffers.shared if held is None else held)[self._held_bytes :]

    def receive_data(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take bytes that were read elsewhere; see `received`."""
        messages: list[tuple[int, bytes]] = []
        position = 0
        while position < len(data):
            view = self.buffer()
            size = min(len(view), len(data) - position)
            view[:size] = data[position : position + size]
            view.release()
            position += size
            messages += self.received(size)
        return messages

    def received(self, size: int) -> list[tuple[int, bytes]]:
        """Return `(opcode, payload)` of each message that is whole after `size` more bytes; then look at `error`."""
        messages: list[tuple[int, bytes]] = []
        total = self._held_bytes + size
        self._held_bytes = total
        if self.error is not None or total < self._wanted:
            held = self._held
            if held is None or total == len(held):
                self._keep_rest(self._buffers.shared if held is None else held, 0, total)
            return messages
        source = self._buffers.shared if self._held is None else self._held
        try:
            end = self._read_frames(source, total, messages)
        except WebSocketError as error:
            self.error = error
            end = total
        self._keep_rest(source, end, total)
        return messages

    def _keep_rest(self, source: bytearray, start: int, total: int) -> None:
        """Keep the beginning of a frame that is not whole in a buffer of this reader."""
        rest = 0 if self.error is not None else total - start
        self._held_bytes = rest
        held = self._held
        if rest == 0:
            self._wanted = 2
            self._held = None
        elif held is None or len(held) < self._wanted:
            self._held = self._buffers.take(self._wanted, rest)
        elif start == 0:
            return
        if self._held is not None:
            _move(source, start, self._held, rest)
        if held is not None and held is not self._held:
            self._buffers.give_back(held)

    def _read_frames(self, data: bytearray, total: int, messages: list[tuple[int, bytes]]) -> int:
        """Read every whole frame; returns where the rest begins."""
        position = 0
        while True:
            end = self._read_frame(data, position, total, messages)
            if end == position:
                return position
            position = end

    def _read_frame(self, data: bytearray, position: int, total: int, messages: list[tuple[int, bytes]]) -> int:
        """Read one frame at `position`; returns its end, or `position` while it is not whole."""
        available = total - position
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
        if total < end:
            self._wanted = end - position
            return position
        view = memoryview(data)
        piece = view[start:end]
        if masked:
            mask_start = start - 4
            payload = apply_mask(piece, bytes(data[mask_start:start]))
        else:
            payload = bytes(piece)
        piece.release()
        view.release()
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
        return [head + mask, *_masked_parts(parts, mask)]

    def _next_mask(self) -> bytes:
        if self._used >= _MASK_POOL_BYTES:
            self._pool = os.urandom(_MASK_POOL_BYTES)
            self._used = 0
        start = self._used
        end = start + 4
        self._used = end
        return self._pool[start:end]


def _move(source: bytearray, start: int, target: bytearray, size: int) -> None:
    """Copy `size` bytes to the beginning of `target`, which may be the source."""
    view = memoryview(source)
    into = memoryview(target)
    into[:size] = view[start : start + size]
    into.release()
    view.release()


def _masked_parts(parts: list[bytes | memoryview], mask: bytes) -> list[bytes | memoryview]:
    """Mask parts as if they were joined (RFC 6455 §5.3).

    Small ones are joined, large ones copied once, by their masking.
    """
    masked: list[bytes | memoryview] = []
    small: list[bytes | memoryview] = []
    small_bytes = 0
    for part in parts:
        size = len(part)
        if size < _LARGE_PART_BYTES:
            small.append(part)
            small_bytes += size
            continue
        if small:
            masked.append(apply_mask(b"".join(small), mask))
            mask = _rotated(mask, small_bytes)
            small = []
            small_bytes = 0
        masked.append(apply_mask(part, mask))
        mask = _rotated(mask, size)
    if small:
        masked.append(apply_mask(b"".join(small), mask))
    return masked


def _rotated(mask: bytes, size: int) -> bytes:
    """Return the mask for what follows `size` masked bytes."""
    shift = size & 3
    return mask[shift:] + mask[:shift] if shift else mask
