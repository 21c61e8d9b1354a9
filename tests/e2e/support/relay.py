"""A relay between a client and its server that can flip a byte of a body on the link. Used to try the checksums.

It understands WebSocket and frames just enough to hit the bytes of a DATA frame and nothing else.
"""

import socket
from threading import Event, Lock, Thread
from typing import Final

from terratunnel.protocol.frames import HEADER, FrameType
from tests.e2e.support.lab import connect
from tests.e2e.support.wire import CutShort, Wire

UP: Final = "up"  # client to server: responses
DOWN: Final = "down"  # server to client: requests
_BINARY: Final = 2
_FLIP: Final = 0x10


class FlippingRelay:
    """Listens for clients of the server on `port`. It passes everything on until `flip` is called."""

    def __init__(self, port: int) -> None:
        self.links = 0
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = Lock()
        self._skip: dict[str, int] = {}
        self._flipped: dict[str, Event] = {}
        self._wires: list[Wire] = []
        Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "FlippingRelay":
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()
        for wire in self._wires:
            wire.close()

    def flip(self, direction: str, skip: int = 0) -> Event:
        """Flip one bit in the next DATA frame of a direction, `skip` of them left alone; the event says it was done."""
        with self._lock:
            self._skip[direction] = skip
            self._flipped[direction] = Event()
            return self._flipped[direction]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:  # closed
                return
            client, server = Wire(sock), connect(self._to)
            for wire in (client, server):
                wire.sock.settimeout(None)
                self._wires.append(wire)
            self.links += 1
            Thread(target=self._carry, args=(client, server, UP), daemon=True).start()
            Thread(target=self._carry, args=(server, client, DOWN), daemon=True).start()

    def _carry(self, source: Wire, target: Wire, direction: str) -> None:
        try:
            target.send(source.read_until(b"\r\n\r\n"))
            while True:
                target.send(self._next_frame(source, direction))
        except (CutShort, OSError):
            source.close()
            target.close()

    def _next_frame(self, source: Wire, direction: str) -> bytes:
        """One WebSocket frame as it goes on."""
        head = source.read(2)
        size = head[1] & 0x7F
        if size >= 126:
            extended = source.read(2 if size == 126 else 8)
            size = int.from_bytes(extended, "big")
            head += extended
        mask = source.read(4) if head[1] & 0x80 else b""
        payload = source.read(size)
        if head[0] & 0x0F == _BINARY:
            payload = self._maybe_flip(payload, mask, direction)
        return head + mask + payload

    def _maybe_flip(self, payload: bytes, mask: bytes, direction: str) -> bytes:
        """A mask is a XOR, so a bit that is flipped under it is flipped without it."""
        with self._lock:
            for place in _data_places(_unmasked(payload, mask)):
                skip = self._skip.get(direction)
                if skip == 0:
                    del self._skip[direction]
                    self._flipped[direction].set()
                    return payload[:place] + bytes([payload[place] ^ _FLIP]) + payload[place + 1 :]
                if skip is not None:
                    self._skip[direction] = skip - 1
        return payload


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    if not mask:
        return payload
    size = len(payload)
    stream = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return (int.from_bytes(payload, "big") ^ stream).to_bytes(size, "big")


def _data_places(message: bytes) -> list[int]:
    """Where in a message the middle byte of each DATA frame is."""
    places = []
    position = 0
    while position < len(message):
        length, _, kind, _, _ = HEADER.unpack_from(message, position)
        position += HEADER.size
        if kind == FrameType.DATA and length:
            places.append(position + length // 2)
        position += length
    return places
