"""A local service that follows a script: raw bytes over a real socket. Used by tests of the forwarder and of the whole.

Rule: the script alone decides what is sent, read, closed or broken; what fails in it fails the test.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self

# A small buffer here, so that a script that does not read is noticed soon.
READ_LIMIT_BYTES = 16_384


class Caller:
    """One connection as the script sees it. `number` counts connections from 1."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self._reader = reader
        self._writer = writer

    async def head(self) -> bytes:
        """Read up to the end of a head."""
        return await self._reader.readuntil(b"\r\n\r\n")

    async def heads(self) -> AsyncIterator[bytes]:
        """Yield one head after the other until the other side closes between two."""
        while True:
            try:
                yield await self.head()
            except asyncio.IncompleteReadError as error:
                assert error.partial == b""
                return

    async def read(self, size: int) -> bytes:
        """Read exactly so many bytes."""
        return await self._reader.readexactly(size)

    async def read_some(self) -> bytes:
        """Read what has come; nothing at the end."""
        return await self._reader.read(65_536)

    async def read_to_end(self) -> bytes:
        """Read until the other side has closed."""
        return await self._reader.read()

    async def gone(self) -> None:
        """Wait until the other side has closed or broken off, whatever it sends until then."""
        try:
            while await self.read_some():
                pass
        except ConnectionError:
            return

    async def chunked(self) -> tuple[bytes, bytes]:
        """Read a chunked body: the bytes of its chunks, and the trailer lines."""
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += await self.read(size)
            assert await self.read(2) == b"\r\n"
        lines = b""
        while (line := await self._reader.readuntil(b"\r\n")) != b"\r\n":
            lines += line
        return body, lines

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self._writer.write(data)

    async def sent(self) -> None:
        """Wait until what was sent has left for the kernel, or most of it."""
        await self._writer.drain()

    def half_close(self) -> None:
        """Send FIN and go on reading."""
        self._writer.write_eof()

    def close(self) -> None:
        """Close after what was sent."""
        self._writer.close()

    def reset(self) -> None:
        """Break the connection off: RST."""
        if not self._writer.is_closing():
            sock: socket.socket = self._writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.transport.abort()


Script = Callable[[Caller], Awaitable[None]]


class ScriptedService:
    """Listens on a port of its own (or a unix socket at `path`) and plays the script to each connection."""

    def __init__(
        self,
        script: Script,
        path: str | None = None,
        context: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.connections = 0
        self.host = host
        self.port = 0
        self._script = script
        self._path = path
        self._context = context
        self._server: asyncio.Server | None = None
        self._plays: list[asyncio.Task[None]] = []
        self._callers: list[Caller] = []

    @property
    def url(self) -> str:
        """The endpoint to forward to."""
        if self._path is not None:
            return f"unix:{self._path}"
        return f"{'https' if self._context else 'http'}://{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        if self._path is not None:
            self._server = await asyncio.start_unix_server(self._accept, self._path, limit=READ_LIMIT_BYTES)
            return self
        self._server = await asyncio.start_server(self._accept, self.host, 0, limit=READ_LIMIT_BYTES, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for play in self._plays:
            play.cancel()
        played = await asyncio.gather(*self._plays, return_exceptions=True)
        for caller in self._callers:
            caller.close()
        for fault in played:
            if error is None and fault is not None and not isinstance(fault, asyncio.CancelledError):
                raise fault

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        caller = Caller(self.connections, reader, writer)
        self._callers.append(caller)
        self._plays.append(asyncio.ensure_future(self._play(caller)))

    async def _play(self, caller: Caller) -> None:
        try:
            await self._script(caller)
        finally:
            caller.close()
