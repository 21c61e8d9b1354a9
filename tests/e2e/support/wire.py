"""A socket with an exact reader of HTTP/1.1. Used by raw visitors and raw services.

Rule: it shows the bytes as they came, waits for nothing longer than its timeout, and never takes a cut for an end.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

TIMEOUT_S: Final = 15.0
_READ_BYTES: Final = 262_144
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

Fields = list[tuple[bytes, bytes]]


class CutShort(AssertionError):
    """The connection ended before what was read was whole. `how` is "eof" or "reset"."""

    def __init__(self, how: str, got: bytes) -> None:
        super().__init__(f"{how} after {len(got)} bytes, the last of them {got[-200:]!r}")
        self.how = how
        self.got = got


@dataclass(frozen=True)
class Head:
    """A head: `raw` with its empty line, and what it says."""

    raw: bytes
    start_line: bytes
    fields: Fields

    @property
    def status(self) -> int:
        """The status of a response."""
        return int(self.start_line.split(b" ", 2)[1])

    @property
    def target(self) -> bytes:
        """The target of a request."""
        return self.start_line.split(b" ")[1]

    def values(self, name: bytes) -> list[bytes]:
        """The values of a field, in order."""
        return [value for each, value in self.fields if each.lower() == name.lower()]

    def value(self, name: bytes) -> bytes:
        """The value of a field that is there once."""
        (value,) = self.values(name)
        return value


@dataclass
class Message:
    """A whole message. `raw` is all of it as it came; `chunks` are the chunks of a chunked body."""

    head: Head
    raw: bytes
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    trailers: Fields = field(default_factory=list)

    @property
    def start_line(self) -> bytes:
        """The first line."""
        return self.head.start_line

    @property
    def fields(self) -> Fields:
        """The fields of the head."""
        return self.head.fields

    @property
    def status(self) -> int:
        """The status of a response."""
        return self.head.status


class Wire:
    """One end of a TCP connection."""

    def __init__(self, sock: socket.socket, timeout_s: float = TIMEOUT_S) -> None:
        self.sock = sock
        self.buffer = bytearray()
        sock.settimeout(timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # ------------------------------------------------------------------ writing

    def send(self, *parts: bytes) -> None:
        """Send everything."""
        self.sock.sendall(b"".join(parts))

    def send_chunk(self, data: bytes) -> None:
        """Send one chunk of a chunked body."""
        self.send(b"%x\r\n" % len(data), data, b"\r\n")

    def half_close(self) -> None:
        """Send a FIN; go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.sock.close()

    def close(self) -> None:
        """End with a FIN."""
        self.sock.close()

    # ------------------------------------------------------------------ reading

    def read_some(self) -> bytes:
        """What there is, at least one byte; nothing at the end. Raises CutShort("reset")."""
        if self.buffer:
            data = bytes(self.buffer)
            self.buffer.clear()
            return data
        try:
            return self.sock.recv(_READ_BYTES)
        except ConnectionError:
            raise CutShort("reset", b"") from None

    def read(self, size: int) -> bytes:
        """Exactly so many bytes."""
        while len(self.buffer) < size:
            self._fill()
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def read_until(self, mark: bytes) -> bytes:
        """Everything up to and with the mark."""
        start = 0
        while (found := self.buffer.find(mark, start)) < 0:
            start = max(0, len(self.buffer) - len(mark) + 1)
            self._fill()
        return self.read(found + len(mark))

    def read_to_end(self) -> bytes:
        """Everything until the peer's FIN. Raises CutShort for a RST."""
        parts = []
        try:
            while data := self.read_some():
                parts.append(data)
        except CutShort as cut:
            raise CutShort(cut.how, b"".join(parts)) from None
        return b"".join(parts)

    def read_head(self) -> Head:
        """One head; interim ones count."""
        raw = self.read_until(b"\r\n\r\n")
        start_line, *lines = raw[:-4].split(b"\r\n")
        return Head(raw, start_line, [split_field(line) for line in lines])

    def read_request(self) -> Message:
        """One request."""
        head = self.read_head()
        return self._read_body(head) if is_framed(head) else Message(head, head.raw)

    def read_response(self, method: bytes = b"GET") -> Message:
        """One response to a request with this method. An interim one is a message of its own."""
        head = self.read_head()
        if head.status < 200 or head.status in (204, 304) or method == b"HEAD":
            return Message(head, head.raw)
        return self._read_body(head) if is_framed(head) else self._read_until_close(head)

    def iter_chunks(self) -> Iterator[bytes]:
        """The chunks of a chunked body, one by one, without their framing; ends before the trailers."""
        while size := int(self.read_until(b"\r\n"), 16):
            yield self.read(size)
            assert self.read(2) == b"\r\n"

    def is_open(self) -> bool:
        """Whether the peer has neither closed nor sent anything that was not read."""
        if self.buffer:
            return False
        timeout = self.sock.gettimeout()
        self.sock.setblocking(False)
        try:
            self.sock.recv(1, socket.MSG_PEEK)
            return False
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            self.sock.settimeout(timeout)

    def _fill(self) -> None:
        try:
            data = self.sock.recv(_READ_BYTES)
        except ConnectionError:
            raise CutShort("reset", bytes(self.buffer)) from None
        if not data:
            raise CutShort("eof", bytes(self.buffer))
        self.buffer += data

    def _read_body(self, head: Head) -> Message:
        if not head.values(b"Transfer-Encoding"):
            body = self.read(int(head.value(b"Content-Length")))
            return Message(head, head.raw + body, body)
        raw = bytearray(head.raw)
        chunks = []
        while True:
            line = self.read_until(b"\r\n")
            raw += line
            size = int(line, 16)
            if not size:
                break
            chunk = self.read(size + 2)
            raw += chunk
            assert chunk.endswith(b"\r\n")
            chunks.append(chunk[:-2])
        trailers: Fields = []
        while (line := self.read_until(b"\r\n")) != b"\r\n":
            raw += line
            trailers.append(split_field(line[:-2]))
        return Message(head, bytes(raw) + line, b"".join(chunks), chunks, trailers)

    def _read_until_close(self, head: Head) -> Message:
        body = self.read_to_end()
        return Message(head, head.raw + body, body)


def is_framed(head: Head) -> bool:
    """Whether the head says where its body ends."""
    return bool(head.values(b"Transfer-Encoding") or head.values(b"Content-Length"))


def split_field(line: bytes) -> tuple[bytes, bytes]:
    """Name and value of `name: value`, the one space left out."""
    name, colon, value = line.partition(b":")
    assert colon, line
    return name, value.removeprefix(b" ")


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    """The chunks as a chunked body; `trailers` are whole lines."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + trailers + b"\r\n"


def cut_of(read: Callable[[], object]) -> CutShort:
    """How what is read was cut; it never came to a clean end."""
    try:
        whole = read()
    except CutShort as cut:
        return cut
    raise AssertionError(f"came to a clean end: {whole!r:.200}")
