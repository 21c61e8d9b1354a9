"""An agent that speaks frames by hand, as a malicious one would. Used to try what the server takes from a link.

Rule: it answers nothing by itself; what is said and when is the test's choice.
"""

from base64 import b64encode

from terratunnel.mux.wsframes import FrameReader, FrameWriter, Opcode
from terratunnel.protocol.frames import MAX_MESSAGE_BYTES, U32, Flag, FrameType, frame, split_frames
from terratunnel.protocol.headers import decode_block, encode_block
from tests.e2e.support.lab import connect
from tests.e2e.support.wire import CutShort

Frame = tuple[FrameType, int, bytes]


class RawAgent:
    """Connected with a key, its SETTINGS sent."""

    def __init__(self, port: int, key: str) -> None:
        self.wire = connect(port)
        self.wire.send(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + b64encode(bytes(16)) + b"\r\n",
            b"Sec-WebSocket-Protocol: terratunnel.v1\r\nAuthorization: Bearer " + key.encode() + b"\r\n\r\n",
        )
        head = self.wire.read_head()
        assert head.status == 101, head.raw
        self.url = head.value(b"Terratunnel-Url")
        self._writer = FrameWriter(masked=True)
        self._reader = FrameReader(False, MAX_MESSAGE_BYTES)
        self._frames: list[Frame] = []
        self.say(frame(FrameType.SETTINGS, 0, 0, b""))

    def __enter__(self) -> "RawAgent":
        return self

    def __exit__(self, *exc: object) -> None:
        self.wire.close()

    # ------------------------------------------------------------------ saying

    def say(self, *frames: bytes) -> None:
        """Send frames as one message."""
        self.wire.send(*map(bytes, self._writer.write(Opcode.BINARY, list(frames))))

    def respond(self, stream_id: int, body: bytes) -> None:
        """Answer as one should."""
        self.say(head(stream_id, [b"200", b"OK", b"Content-Length", b"%d" % len(body)]), data(stream_id, body, True))

    # ------------------------------------------------------------------ hearing

    def next(self, *kinds: FrameType) -> Frame:
        """The next frame of one of the kinds; others before it are passed over. Raises CutShort at the link's end."""
        while True:
            while self._frames:
                found = self._frames.pop(0)
                if found[0] in kinds:
                    return found
            self._read()

    def next_request(self) -> tuple[int, list[bytes]]:
        """The stream and the block of the next request."""
        _, stream_id, payload = self.next(FrameType.HEADERS)
        return stream_id, decode_block(payload, 65_536, 1_024)

    def _read(self) -> None:
        data = self.wire.read_some()
        if not data:
            raise CutShort("eof", b"")
        for opcode, payload in self._reader.receive_data(data):
            if opcode == Opcode.BINARY:
                self._frames += [(FrameType(kind), number, body) for kind, _, number, body in split_frames(payload)]
            elif opcode == Opcode.CLOSE:
                raise CutShort("eof", payload)


def head(stream_id: int, items: list[bytes], flags: int = 0) -> bytes:
    """A HEADERS frame."""
    return frame(FrameType.HEADERS, flags, stream_id, encode_block(items))


def data(stream_id: int, payload: bytes, end: bool = False) -> bytes:
    """A DATA frame."""
    return frame(FrameType.DATA, Flag.END if end else 0, stream_id, payload)


def end(stream_id: int, trailers: list[bytes] | None = None) -> bytes:
    """An END frame."""
    return frame(FrameType.END, 0, stream_id, encode_block(trailers) if trailers else b"")


def reset(stream_id: int, code: int, reason: bytes = b"") -> bytes:
    """A RESET frame."""
    return frame(FrameType.RESET, 0, stream_id, U32.pack(code) + reason)
