"""The edge as a whole: the listening sockets, the visitors' connections and where each request goes.

Built by `server.app` from parts that the edge sees as seams: routes, an acceptor for links, a log. One coarse sweep
ends what waits too long.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from typing import Final, Protocol, cast

from terratunnel.server.config import EdgeLimits
from terratunnel.server.edge.connection import VisitorConnection
from terratunnel.server.edge.exchange import RETRY_AFTER, Exchange
from terratunnel.server.routes import RouteTable

log = logging.getLogger(__name__)

LINK_PATH: Final = b"/ws"
HEALTH_PATH: Final = b"/_health"
_ID_BYTES: Final = 16
_POOL_BYTES: Final = 1_024
SWEEP_EVERY_S: Final = 0.5
# Inherited by every connection. Without it the kernel says that a slow visitor takes bytes only when a third of its
# megabytes is free again, which may be later than the limit for a stalled write; as for links, 128 KiB.
_NOTSENT_LOWAT_BYTES: Final = 131_072


class LinkAcceptor(Protocol):
    """Turns a request for a link into one."""

    def accept(self, connection: VisitorConnection, exchange: Exchange) -> None:
        """Answer the request, now or later; or detach the connection."""


class AccessLog(Protocol):
    """Where a line for each exchange goes."""

    def write(self, method: bytes, target: bytes, status: int, duration_s: float) -> None:
        """Note one exchange; status 0 is one that was cut."""


class Edge:
    """The public listener."""

    def __init__(
        self,
        routes: RouteTable,
        acceptor: LinkAcceptor,
        access_log: AccessLog,
        limits: EdgeLimits,
        proto: bytes,
        clock: Callable[[], float],
    ) -> None:
        self.routes: RouteTable = routes
        self.apex: bytes = routes.domain.encode()
        self.limits: EdgeLimits = limits
        self.proto: bytes = proto
        self.clock: Callable[[], float] = clock
        self.access_log: AccessLog = access_log
        self.connections: set[VisitorConnection] = set()
        self.draining: bool = False
        # Kept: asking asyncio for the running loop is a system call on Python 3.11.
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._acceptor: LinkAcceptor = acceptor
        self._server: asyncio.Server | None = None
        self._sweep_handle: asyncio.TimerHandle | None = None
        self._ids: str = ""
        self._ids_used: int = 2 * _POOL_BYTES

    async def listen(self, host: str, port: int) -> int:
        """Listen; returns the port (chosen by the system when 0 was asked for). Raises OSError."""
        factory = cast("Callable[[], asyncio.BaseProtocol]", lambda: VisitorConnection(self))
        self._server = await self.loop.create_server(factory, host or None, port, backlog=1024)
        for sock in self._server.sockets:
            _keep_kernel_queues_short(sock)
        self._sweep()
        return int(self._server.sockets[0].getsockname()[1])

    def stop_listening(self) -> None:
        """Accept no more connections and close the idle ones; requests under way go on."""
        self.draining = True
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            if connection.is_idle:
                connection.close_if_idle()

    def close(self) -> None:
        """Drop every connection."""
        self.stop_listening()
        if self._sweep_handle is not None:
            self._sweep_handle.cancel()
        for connection in list(self.connections):
            connection.cut()

    def dispatch(self, connection: VisitorConnection, exchange: Exchange) -> None:
        """Send a request where it belongs: the domain itself is the server's, any other name is a tunnel."""
        name = self.routes.name_of(exchange.head.host)
        exchange.close_after = exchange.close_after or self.draining
        if name == self.routes.domain and self._serve_own(connection, exchange):
            return
        if self.draining:
            exchange.fail(503, "The server is restarting; try again in a moment.", RETRY_AFTER)
            return
        route = self.routes.find(name)
        if route is not None:
            exchange.start(route)
        elif self.routes.is_known(name):
            exchange.fail(502, f"No client is connected for {name} at the moment.", RETRY_AFTER)
        else:
            exchange.fail(404, f"There is no tunnel at {name}.")

    def new_request_id(self) -> bytes:
        """Return 32 hex digits from the system's generator, which is asked for a KiB at a time."""
        if self._ids_used >= 2 * _POOL_BYTES:
            self._ids = os.urandom(_POOL_BYTES).hex()
            self._ids_used = 0
        start = self._ids_used
        self._ids_used = start + 2 * _ID_BYTES
        return self._ids[start : self._ids_used].encode()

    def _serve_own(self, connection: VisitorConnection, exchange: Exchange) -> bool:
        """Serve what the server answers without its pages; False for everything else."""
        path = exchange.head.target.partition(b"?")[0]
        if path == LINK_PATH:
            self._acceptor.accept(connection, exchange)
            return True
        if path == HEALTH_PATH and exchange.head.method in (b"GET", b"HEAD"):
            self._health(connection, exchange)
            return True
        return False

    def _health(self, connection: VisitorConnection, exchange: Exchange) -> None:
        status = 503 if self.draining else 200
        word = b"draining" if self.draining else b"healthy"
        body = b'{"status": "%s", "active_connections": %d}\n' % (word, self.routes.agents)
        connection.respond(exchange, status, b"application/json", body, [])

    def _sweep(self) -> None:
        # The next sweep first: whatever goes wrong in this one, no limit may lapse for good.
        self._sweep_handle = self.loop.call_later(SWEEP_EVERY_S, self._sweep)
        now = self.clock()
        for connection in list(self.connections):
            try:
                connection.check_time(now)
            except Exception:
                log.exception("check_time_failed")
                connection.cut()


def _keep_kernel_queues_short(sock: socket.socket) -> None:
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None:
        sock.setsockopt(socket.IPPROTO_TCP, option, _NOTSENT_LOWAT_BYTES)
