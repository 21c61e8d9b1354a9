"""A whole server in this process, with visitors and agents on real sockets. Used by the tests of `terratunnel.server`.

Rule: a visitor sees bytes as they come and never takes a cut for an end; time passes only where a test lets it.
"""

import asyncio
import io
import socket
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

from terratunnel.mux.connection import MuxConnection
from terratunnel.mux.handshake import OpenedLink, ServerAddress, field, open_link
from terratunnel.mux.stream import Stream
from terratunnel.protocol.frames import U32, Flag, FrameType, frame, split_frames
from terratunnel.protocol.headers import encode_block
from terratunnel.protocol.settings import Settings
from terratunnel.server.app import Server
from terratunnel.server.config import EdgeLimits, ServerConfig
from terratunnel.testing.clock import Clock, turns
from terratunnel.testing.streams import Notes, OwnerRecorder, StreamRecorder

KEYS = {"key-of-app": "app", "key-of-other": "other"}
HOST = b"app.localhost"
OK = [b"200", b"OK"]
Fields = list[tuple[bytes, bytes]]


class Response:
    """A response as a visitor saw it."""

    def __init__(self, head: bytes, body: bytes) -> None:
        first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        self.status = int(first.split(b" ")[1])
        self.fields: Fields = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
        self.body = body

    def value(self, name: bytes) -> bytes:
        """The one field of a name; nothing when it is absent."""
        found = [value for each, value in self.fields if each.lower() == name.lower()]
        assert len(found) <= 1
        return found[0] if found else b""


class Visitor:
    """A raw connection to the edge."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.transport = cast(asyncio.Transport, writer.transport)

    def resume(self) -> None:
        """Begin to read."""
        self.transport.resume_reading()

    def send(self, *parts: bytes) -> None:
        """Send bytes."""
        self.writer.write(b"".join(parts))

    def get(self, target: bytes = b"/", *fields: bytes, method: bytes = b"GET", host: bytes = HOST) -> None:
        """Send a request without a body."""
        lines = [b"%b %b HTTP/1.1" % (method, target), b"Host: " + host, *fields]
        self.send(b"\r\n".join([*lines, b"", b""]))

    def post(self, body: bytes, *fields: bytes, host: bytes = HOST) -> None:
        """Send a request with a length."""
        self.get(b"/", b"Content-Length: %d" % len(body), *fields, method=b"POST", host=host)
        self.send(body)

    async def head(self) -> Response:
        """Read one head."""
        return Response(await self.reader.readuntil(b"\r\n\r\n"), b"")

    async def response(self, method: bytes = b"GET") -> Response:
        """Read one final response; raises IncompleteReadError or ConnectionResetError when it is cut."""
        response = await self.head()
        if response.status < 200 or response.status in (204, 304) or method == b"HEAD":
            return response
        if response.value(b"Transfer-Encoding"):
            response.body = await self._chunks()
        elif response.value(b"Content-Length"):
            response.body = await self.reader.readexactly(int(response.value(b"Content-Length")))
        else:
            response.body = await self.reader.read()
        return response

    async def rest(self) -> bytes:
        """Everything up to the server's FIN; raises ConnectionResetError for a RST."""
        return await self.reader.read()

    async def is_cut(self) -> bool:
        """Whether what follows ends in a RST, which is no clean end."""
        try:
            await self.reader.read()
        except ConnectionResetError:
            return True
        return False

    def leave(self) -> None:
        """Close."""
        self.writer.close()

    def reset(self) -> None:
        """Break off."""
        self.transport.abort()

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        assert await self.reader.readexactly(2) == b"\r\n"
        return body


class Agent:
    """A well-behaved agent that a test answers for: each request is a StreamRecorder."""

    def __init__(self, opened: OpenedLink, settings: Settings, hold: bool) -> None:
        self.owner = OwnerRecorder(self._open)
        self._hold = hold
        self.url = field(opened.fields, b"terratunnel-url").decode()
        self.token = field(opened.fields, b"terratunnel-token").decode()
        self.connection = MuxConnection(opened.link, self.owner, False, settings)
        opened.link.start(self.connection, opened.buffered)
        self.link = opened.link

    def _open(self, stream: Stream) -> StreamRecorder:
        recorder = StreamRecorder(self._hold)
        recorder.stream = stream
        self.owner.streams.append(recorder)
        return recorder

    async def request(self, number: int = 1) -> StreamRecorder:
        """The `number`-th request, once its head is there."""
        await self.owner.until(lambda: len(self.owner.streams) >= number)
        recorder = self.owner.streams[number - 1]
        await recorder.until_heard("headers")
        return recorder


def answer(recorder: StreamRecorder, body: bytes = b"", *fields: bytes, status: bytes = b"200") -> None:
    """Answer a request in full."""
    assert recorder.stream is not None
    items = [status, b"OK", b"Content-Length", b"%d" % len(body), *fields]
    recorder.stream.send_headers(items, end=not body)
    if body:
        recorder.stream.send_data(body, end=True)


def begin(recorder: StreamRecorder, *fields: bytes, status: bytes = b"200") -> None:
    """Begin an answer of unknown length."""
    assert recorder.stream is not None
    recorder.stream.send_headers([status, b"OK", *fields])


class RawAgent(Notes):
    """An agent that says whatever frames a test wants; what it hears are notes `(type, stream id, payload)`."""

    def __init__(self, opened: OpenedLink) -> None:
        super().__init__()
        self.link = opened.link
        opened.link.start(self, opened.buffered)

    def message_received(self, message: bytes) -> None:
        """Note the frames."""
        for kind, _, stream_id, payload in split_frames(message):
            self.note(FrameType(kind).name, stream_id, payload)

    def link_lost(self, reason: str) -> None:
        """Note the end."""
        self.note("lost", reason)

    def pause_sending(self) -> None: ...

    def resume_sending(self) -> None: ...

    def say(self, *frames: bytes) -> None:
        """Send frames as one message."""
        self.link.send_message([b"".join(frames)])

    def settings(self) -> None:
        """Send SETTINGS without values."""
        self.say(frame(FrameType.SETTINGS, 0, 0, b""))

    def head(self, stream_id: int, items: list[bytes], flags: int = 0) -> bytes:
        """A HEADERS frame."""
        return frame(FrameType.HEADERS, flags, stream_id, encode_block(items))

    def data(self, stream_id: int, payload: bytes, end: bool = False) -> bytes:
        """A DATA frame."""
        return frame(FrameType.DATA, Flag.END if end else 0, stream_id, payload)

    def end(self, stream_id: int, trailers: list[bytes] | None = None) -> bytes:
        """An END frame."""
        return frame(FrameType.END, 0, stream_id, encode_block(trailers) if trailers else b"")

    def reset(self, stream_id: int, code: int, reason: bytes = b"") -> bytes:
        """A RESET frame."""
        return frame(FrameType.RESET, 0, stream_id, U32.pack(code) + reason)

    async def heads(self, count: int = 1) -> list[int]:
        """The ids of the streams of so many requests, once they are there."""
        await self.until(lambda: self.names().count("HEADERS") >= count)
        return [int(str(note[1])) for note in self.heard if note[0] == "HEADERS"]


class Lab:
    """A running server."""

    def __init__(self, server: Server, output: io.StringIO) -> None:
        self.server = server
        self.visitors: list[Visitor] = []
        self._output = output

    @property
    def access_log(self) -> list[str]:
        """The lines so far, without their time."""
        self.server._lines.flush()
        return [line.partition("] ")[2].rpartition(" ")[0] for line in self._output.getvalue().splitlines()]

    @property
    def connections(self) -> int:
        """How many visitors' connections the edge has."""
        return len(self.server._edge.connections)

    async def visit(self) -> Visitor:
        """Connect."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port, limit=1 << 20)
        return self._note(Visitor(reader, writer))

    async def visit_slowly(self) -> Visitor:
        """Connect with a small receive buffer; nothing is read before `resume`."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.server.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=1_024)
        visitor = Visitor(reader, writer)
        visitor.transport.pause_reading()
        return self._note(visitor)

    def _note(self, visitor: Visitor) -> Visitor:
        self.visitors.append(visitor)
        return visitor

    async def open(self, key: str = "key-of-app", *fields: bytes) -> OpenedLink:
        """Ask for a link; raises HandshakeRefused."""
        address = ServerAddress("127.0.0.1", self.server.port, tls=False)
        credentials = [b"Authorization", b"Bearer " + key.encode()] if key else []
        return await open_link(address, [*credentials, *fields], None, 5.0)

    async def agent(self, key: str = "key-of-app", settings: Settings | None = None, hold: bool = False) -> Agent:
        """An agent that serves."""
        agent = Agent(await self.open(key), settings or Settings(), hold)
        await agent.owner.until_heard("opened")
        return agent

    async def raw_agent(self, key: str = "key-of-app") -> RawAgent:
        """An agent that has said its SETTINGS."""
        agent = RawAgent(await self.open(key))
        agent.settings()
        return agent


@asynccontextmanager
async def running(
    edge: EdgeLimits | None = None,
    link: Settings | None = None,
    clock: Clock | None = None,
    config: ServerConfig | None = None,
) -> AsyncIterator[Lab]:
    """Run a server on a port of its own."""
    config = config or ServerConfig(
        "127.0.0.1", 0, static_keys=KEYS, edge=edge or EdgeLimits(), link=link or Settings()
    )
    with tempfile.TemporaryDirectory(prefix="terratunnel-") as folder:
        if config.db_path == ServerConfig.db_path:  # nobody looks at the file
            config = replace(config, db_path=f"{folder}/test.db")
        async with _started(config, clock) as lab:
            yield lab


@asynccontextmanager
async def _started(config: ServerConfig, clock: Clock | None) -> AsyncIterator[Lab]:
    output = io.StringIO()
    server = Server(config, output, clock) if clock is not None else Server(config, output)
    await server.start()
    lab = Lab(server, output)
    try:
        yield lab
    finally:
        for visitor in lab.visitors:
            visitor.reset()
        await passing(server.close(), clock)


async def passing(work: Coroutine[None, None, None], clock: Clock | None) -> None:
    """Await something while time passes."""
    task = asyncio.ensure_future(work)
    while clock is not None and not task.done():
        await clock.advance(0.1, 0.1)
        await turns(5)
    await task
