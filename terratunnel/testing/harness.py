"""A whole tunnel in one process: a server, a client and visitors, over real sockets on ports of their own.

Used by tests of the whole road, and open to yours. Rule: what runs is what the commands run; only the display is a
recorder.
"""

import asyncio
import io
import tempfile
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from terratunnel.client.app import Client, Outcome
from terratunnel.client.config import ClientConfig
from terratunnel.client.console import Exchange, Online
from terratunnel.server.app import Server
from terratunnel.server.config import EdgeLimits, ServerConfig
from terratunnel.testing.services import Caller
from terratunnel.testing.streams import Notes

LOOPBACK = "127.0.0.1"
KEY, NAME = "the-key-of-the-harness", "my-app"


class DisplayRecorder(Notes):
    """A client's display that writes down what it is told."""

    def exchange_finished(self, exchange: Exchange) -> None:
        """Note `("exchange", method, target, status, error)`."""
        self.note("exchange", exchange.method, exchange.target, exchange.status, exchange.error)

    def connecting(self, server_url: str) -> None:
        """Note `("connecting", url)`."""
        self.note("connecting", server_url)

    def online(self, tunnel: Online) -> None:
        """Note `("online", url)`."""
        self.note("online", tunnel.url)

    def reconnecting(self, in_s: float, reason: str) -> None:
        """Note `("reconnecting", reason)`."""
        self.note("reconnecting", reason)

    def refused(self, reason: str) -> None:
        """Note `("refused", reason)`."""
        self.note("refused", reason)

    def closed(self, reason: str, failed: bool) -> None:
        """Note `("closed", reason)`."""
        self.note("closed", reason)

    def notice(self, sentence: str) -> None:
        """Note `("notice", sentence)`."""
        self.note("notice", sentence)

    def close(self) -> None:
        """Nothing is left to write."""


class Tunnel:
    """`async with Tunnel(endpoint) as tunnel`: visitors of `tunnel.url` reach the endpoint until the block ends.

    Its name is `my-app.localhost`; a visitor says that as its Host and connects to 127.0.0.1 at `tunnel.port`.
    """

    server: Server
    client: Client
    log: io.StringIO

    def __init__(self, local_endpoint: str, limits: EdgeLimits | None = None, drain_s: float = 5.0) -> None:
        self.display = DisplayRecorder()
        self._endpoint = local_endpoint
        self._limits = limits or EdgeLimits()
        self._drain_s = drain_s
        self._stack = AsyncExitStack()
        self._running: asyncio.Task[Outcome] | None = None

    @property
    def port(self) -> int:
        """Where the server listens."""
        return self.server.port

    @property
    def host(self) -> bytes:
        """What a visitor's Host field says."""
        return f"{NAME}.localhost:{self.port}".encode()

    @property
    def url(self) -> str:
        """The public URL."""
        return f"http://{self.host.decode()}"

    async def __aenter__(self) -> Self:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="terratunnel-test-"))
        config = ServerConfig(
            host=LOOPBACK, port=0, db_path=f"{folder}/test.db", static_keys={KEY: NAME}, edge=self._limits
        )
        self.log = io.StringIO()
        self.server = Server(config, self.log)
        await self.server.start()
        self._stack.push_async_callback(self.server.close)
        self._stack.push_async_callback(self.stop_client)
        await self.start_client()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def start_client(self) -> None:
        """Start a client, and wait until it is online."""
        config = ClientConfig(f"ws://{LOOPBACK}:{self.port}", self._endpoint, KEY, drain_s=self._drain_s)
        self.client = Client(config, self.display)
        before = self.display.names().count("online")
        self._running = asyncio.get_running_loop().create_task(self.client.run())
        await self.display.until(lambda: self.display.names().count("online") > before)

    async def stop_client(self) -> None:
        """End the client as Ctrl-C does: what is under way is finished."""
        if self._running is not None:
            running, self._running = self._running, None
            self.client.stop()
            await running

    async def visitor(self) -> Caller:
        """Return a raw connection to the public port, which is closed with the tunnel."""
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        self._stack.callback(writer.close)
        return Caller(1, reader, writer)

    async def get(self, target: bytes = b"/") -> bytes:
        """Ask for a target on a connection of its own; returns everything that comes back."""
        visitor = await self.visitor()
        visitor.send(b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (target, self.host))
        return await visitor.read_to_end()
