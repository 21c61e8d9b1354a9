"""What tests of the client stand on: a server, local services and visitors on loopback, and a display that records.

Used by tests/client and tests/cli. Rule: nothing of ours is replaced but the clock and the display.
"""

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from terratunnel.client.app import Client, Outcome
from terratunnel.client.config import ClientConfig
from terratunnel.client.console import Exchange, Online
from terratunnel.server.app import Server
from terratunnel.server.config import ServerConfig

LIMIT_S = 20.0
HOST = "127.0.0.1"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Screen:
    """A display whose events can be waited for: `(name, value)` in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self._seen = 0
        self._more = asyncio.Event()

    async def wait_for(self, name: str) -> Any:
        """Return the value of the next event of this name, passing over others."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                while self._seen < len(self.events):
                    event, value = self.events[self._seen]
                    self._seen += 1
                    if event == name:
                        return value
                self._more.clear()
                await self._more.wait()

    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    def exchange_finished(self, exchange: Exchange) -> None:
        self._add("exchange", (exchange.method, exchange.target, exchange.status, exchange.error))

    def connecting(self, server_url: str) -> None:
        self._add("connecting", server_url)

    def online(self, tunnel: Online) -> None:
        self._add("online", tunnel)

    def reconnecting(self, in_s: float, reason: str) -> None:
        self._add("reconnecting", (in_s, reason))

    def refused(self, reason: str) -> None:
        self._add("refused", reason)

    def closed(self, reason: str, failed: bool) -> None:
        self._add("closed", (reason, failed))

    def notice(self, sentence: str) -> None:
        self._add("notice", sentence)

    def close(self) -> None:
        self._add("close", None)

    def _add(self, name: str, value: object) -> None:
        self.events.append((name, value))
        self._more.set()


@asynccontextmanager
async def serving(folder: Path, port: int = 0, **changes: Any) -> AsyncIterator[Server]:
    """A server of one's own, for anyone unless told otherwise."""
    options: dict[str, Any] = {"require_auth": False, "static_keys": {"sesame": "my-app"}} | changes
    server = Server(ServerConfig(host=HOST, port=port, db_path=str(folder / "test.db"), **options), io.StringIO())
    await server.start()
    try:
        yield server
    finally:
        await server.close()


@asynccontextmanager
async def listening(handler: Handler, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Something else that listens; returns its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except OSError:
            pass
        finally:
            tasks.discard(task)
            writer.close()

    listener = await asyncio.start_server(connected, HOST, port, ssl=tls)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65_536):
        sink.write(data)
        await sink.drain()
    sink.close()


def relay_to(port: int) -> Handler:
    """A proxy in front of a server."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, into = await asyncio.open_connection(HOST, port)
        await asyncio.gather(copy(reader, into), copy(behind, writer))

    return relay


async def answer_ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK)


@asynccontextmanager
async def running(
    config: ClientConfig, **options: Any
) -> "AsyncIterator[tuple[Client, Screen, asyncio.Task[Outcome]]]":
    """A client at work; it is ended at the end."""
    screen = Screen()
    client = Client(config, screen, **({"random_number": lambda: 0.0} | options))
    task = asyncio.create_task(client.run())
    try:
        yield client, screen, task
    finally:
        client.stop()
        client.stop()
        async with asyncio.timeout(LIMIT_S):
            await asyncio.gather(task, return_exceptions=True)


async def ended(task: "asyncio.Task[Outcome]") -> Outcome:
    async with asyncio.timeout(LIMIT_S):
        return await task


async def ask(port: int, host: str, target: str = "/", fields: str = "", method: str = "GET") -> tuple[int, bytes]:
    """One request on a connection of its own; returns status and body, or raises when there is no answer."""
    head, body = await ask_raw(port, host, target, fields, method)
    return int(head.split(b" ", 2)[1]), body


async def ask_raw(port: int, host: str, target: str, fields: str = "", method: str = "GET") -> tuple[bytes, bytes]:
    """The same, with the whole head."""
    async with asyncio.timeout(LIMIT_S):
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            writer.write(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n".encode())
            return await reader.readuntil(b"\r\n\r\n"), await reader.read()
        finally:
            writer.close()


def config_for(server_port: int, local_port: int, **changes: Any) -> ClientConfig:
    return ClientConfig(f"ws://{HOST}:{server_port}", f"http://{HOST}:{local_port}", **changes)
