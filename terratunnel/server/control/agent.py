"""The agent in the server's own process: forwards the bare domain to the pages on a private socket. Built by
`server.app`.

The pages are reached as any tunnel is, over a link in memory; so they get the edge's checks and limits for nothing.
"""

import asyncio
import contextlib
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from terratunnel.forwarding.endpoint import Endpoint
from terratunnel.forwarding.forwarder import Forwarder
from terratunnel.forwarding.pool import UpstreamPool, UpstreamTimeouts
from terratunnel.mux.connection import MuxConnection
from terratunnel.mux.memory import MemoryLink
from terratunnel.mux.stream import Stream, StreamHandler
from terratunnel.protocol.errors import GoAwayCode
from terratunnel.protocol.settings import Settings


class PagesServer(uvicorn.Server):
    """uvicorn in our loop: it takes no signal, the process that runs it does."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


class PagesAgent:
    """Runs the pages and their agent; `link` is the end that the server's route uses."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        # Left to the server: one road, so no second word on limits, logs, dates or server names.
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", server_header=False)
        self._settings = settings
        self._server = PagesServer(config)
        self._folder = tempfile.TemporaryDirectory(prefix="terratunnel-")
        self._task: asyncio.Task[None] | None = None
        self._forwarder: Forwarder | None = None
        self._connection: MuxConnection | None = None

    async def start(self) -> MemoryLink:
        """Start serving; returns the link to the pages."""
        sock, endpoint = self._private_socket()
        self._task = asyncio.get_running_loop().create_task(self._server.serve(sockets=[sock]))
        pool = UpstreamPool(endpoint, time.monotonic, UpstreamTimeouts(idle_s=4.0))  # uvicorn closes after 5 s
        self._forwarder = Forwarder(pool)
        ours, theirs = MemoryLink.pair()
        self._connection = MuxConnection(theirs, self, False, self._settings)
        theirs.attach(self._connection)
        return ours

    async def close(self) -> None:
        """Stop serving."""
        if self._connection is not None:
            self._connection.close_now(GoAwayCode.NORMAL, "the server stops")
        if self._forwarder is not None:
            self._forwarder.close()
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._folder.cleanup()

    # ------------------------------------------------------------------ ConnectionOwner

    def link_opened(self, connection: MuxConnection) -> None:
        """Nothing to do: this side opens no streams."""

    def stream_opened(self, stream: Stream) -> StreamHandler:
        """Forward a stream to the pages."""
        assert self._forwarder is not None
        return self._forwarder.stream_opened(stream)

    def goaway_received(self, code: GoAwayCode, reason: str) -> None:
        """The server drains; it closes this agent by itself."""

    def capacity_available(self, connection: MuxConnection) -> None:
        """Nothing waits on this side."""

    def link_closed(self, connection: MuxConnection, code: GoAwayCode | None, reason: str) -> None:
        """The server closes this agent by itself."""

    # ------------------------------------------------------------------ private

    def _private_socket(self) -> tuple[socket.socket, Endpoint]:
        """Return a listening socket nobody else can reach.

        In a folder of ours, or on loopback where there is no AF_UNIX.
        """
        if not hasattr(socket, "AF_UNIX"):
            sock = socket.create_server(("127.0.0.1", 0))
            return sock, Endpoint("127.0.0.1", sock.getsockname()[1], text="the server's pages")
        path = str(Path(self._folder.name) / "pages.sock")
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(path)
        sock.listen(128)
        return sock, Endpoint("localhost", 0, path=path, text="the server's pages")
