"""The connections to one endpoint, kept alive and used again: the one used last first. Used by the forwarder.

Rule: a connection in doubt is not used again, and none stays idle past its time.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast

from terratunnel.forwarding.endpoint import Endpoint
from terratunnel.forwarding.upstream import UpstreamConnection
from terratunnel.http1.parser import HeadLimits

# A connection that has rested for longer is looked at before it is used: that is a system call.
FRESH_S: Final = 0.01
# "localhost" is tried on both families without asking a resolver: dev servers listen on either one alone.
_LOCALHOST: Final = ("127.0.0.1", "::1")


@dataclass(frozen=True)
class UpstreamTimeouts:
    """Seconds. Defaults as in nginx and HAProxy, but for the first byte: a slow handler is normal in development."""

    connect_s: float = 10.0
    first_byte_s: float = 60.0
    idle_s: float = 90.0


@dataclass
class UpstreamPool:
    """The connections to one endpoint. `context` verifies the service's certificate where the endpoint is https."""

    endpoint: Endpoint
    clock: Callable[[], float]
    timeouts: UpstreamTimeouts = field(default_factory=UpstreamTimeouts)
    context: ssl.SSLContext | None = None
    limits: HeadLimits = field(default_factory=HeadLimits)
    max_idle: int = 128

    def __post_init__(self) -> None:
        self._idle: list[UpstreamConnection] = []
        self._all: set[UpstreamConnection] = set()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._all)

    @property
    def idle(self) -> int:
        """How many of them serve nobody at the moment."""
        return len(self._idle)

    def take_idle(self) -> UpstreamConnection | None:
        """Return the connection used last, if one is there."""
        now = self.clock()
        while self._idle:
            connection = self._idle.pop()
            rested = now - connection.idle_since > FRESH_S
            if connection.usable and connection.deadline > now and not (rested and connection.left_by_service()):
                return connection
            connection.close()
        return None

    async def connect(self) -> UpstreamConnection:
        """Open a connection. Raises OSError (also ssl.SSLError) or TimeoutError; may be cancelled."""
        async with asyncio.timeout(self.timeouts.connect_s):
            connection = await self._connect()
        if connection.lost:
            raise ConnectionResetError("the connection was closed at once")
        self._all.add(connection)
        return connection

    def release(self, connection: UpstreamConnection, keep_alive_s: float) -> None:
        """Keep a connection for the next exchange; a second less than the service announced, so as not to race it."""
        limit = min(self.timeouts.idle_s, keep_alive_s - 1.0) if keep_alive_s else self.timeouts.idle_s
        if limit <= 0 or len(self._idle) >= self.max_idle:
            connection.close()
            return
        connection.idle_since = self.clock()
        connection.deadline = connection.idle_since + limit
        self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection is gone."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def sweep(self, now: float) -> None:
        """Close connections that were idle for too long; drop those that cannot get rid of their last bytes."""
        expired = [connection for connection in self._idle if connection.deadline <= now]
        for connection in expired:
            self._idle.remove(connection)
            connection.close()
        for connection in [one for one in self._all if one.closing and one.deadline <= now]:
            connection.drop()

    def close(self) -> None:
        """Close every connection."""
        for connection in list(self._all):
            connection.drop()

    async def _connect(self) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        endpoint = self.endpoint
        made = UpstreamConnection(self)
        factory = cast(Callable[[], asyncio.BaseProtocol], lambda: made)
        context = self._context() if endpoint.tls else None
        server_name = endpoint.host if endpoint.tls else None
        if endpoint.path is not None:
            await loop.create_unix_connection(factory, endpoint.path, ssl=context, server_hostname=server_name)
            return made
        refusal: OSError | None = None
        for host in _LOCALHOST if endpoint.host == "localhost" else (endpoint.host,):
            try:
                await loop.create_connection(factory, host, endpoint.port, ssl=context, server_hostname=server_name)
                return made
            except OSError as error:
                # The first address says best what is wrong: the second family may not exist on this machine.
                refusal = refusal or error
                if not isinstance(refusal, ConnectionRefusedError):
                    break
        assert refusal is not None
        raise refusal

    def _context(self) -> ssl.SSLContext:
        if self.context is None:
            self.context = ssl.create_default_context()
        return self.context
