"""Joined links: two mux connections that talk to each other, in memory or over loopback. Used by tests of both ends.

Rule: the server's end opens the streams, as in life; each end has an owner that writes down what it hears.
"""

import asyncio
import time
from collections.abc import Callable
from typing import cast

from terratunnel.mux.connection import MuxConnection
from terratunnel.mux.memory import MemoryLink
from terratunnel.mux.stream import Stream, StreamHandler
from terratunnel.mux.websocket import Transport, WebSocketLink
from terratunnel.protocol.settings import Settings
from terratunnel.testing.streams import OwnerRecorder, StreamRecorder

Opens = Callable[[Stream], StreamHandler]


class JoinedLinks:
    """The two ends of one link. `server` opens streams, `agent` takes them."""

    def __init__(
        self, server: MuxConnection, agent: MuxConnection, server_owner: OwnerRecorder, agent_owner: OwnerRecorder
    ) -> None:
        self.server = server
        self.agent = agent
        self.server_owner = server_owner
        self.agent_owner = agent_owner

    async def opened(self) -> "JoinedLinks":
        """Wait until streams can be opened."""
        await self.server_owner.until_heard("opened")
        await self.agent_owner.until_heard("opened")
        return self

    def open(self, items: list[bytes], end: bool = True, checked: bool = False, hold: bool = False) -> StreamRecorder:
        """Open a stream at the server and send its head; returns the handler, with its `stream`."""
        recorder = StreamRecorder(hold)
        recorder.stream = self.server.open_stream(recorder)
        recorder.stream.send_headers(items, end=end, checked=checked)
        return recorder


def join_in_memory(
    opens: Opens | None = None,
    settings: Settings | None = None,
    agent_settings: Settings | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> JoinedLinks:
    """Join two connections by a link in memory. `opens` names the agent's handler of each stream."""
    server_owner, agent_owner = OwnerRecorder(), OwnerRecorder(opens)
    server_link, agent_link = MemoryLink.pair()
    server = MuxConnection(server_link, server_owner, True, settings or Settings(), clock)
    agent = MuxConnection(agent_link, agent_owner, False, agent_settings or settings or Settings(), clock)
    server_link.attach(server)
    agent_link.attach(agent)
    return JoinedLinks(server, agent, server_owner, agent_owner)


async def join_over_sockets(
    opens: Opens | None = None,
    settings: Settings | None = None,
    agent_settings: Settings | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> JoinedLinks:
    """Join two connections by WebSockets over loopback, their handshake left out."""
    server_transport, agent_transport = await connected_transports()
    server_link = WebSocketLink(cast(Transport, server_transport), client=False)
    agent_link = WebSocketLink(cast(Transport, agent_transport), client=True)
    server_transport.set_protocol(cast(asyncio.BaseProtocol, server_link))
    agent_transport.set_protocol(cast(asyncio.BaseProtocol, agent_link))
    server_owner, agent_owner = OwnerRecorder(), OwnerRecorder(opens)
    server = MuxConnection(server_link, server_owner, True, settings or Settings(), clock)
    agent = MuxConnection(agent_link, agent_owner, False, agent_settings or settings or Settings(), clock)
    server_link.start(server, b"")
    agent_link.start(agent, b"")
    return JoinedLinks(server, agent, server_owner, agent_owner)


async def connected_transports() -> tuple[asyncio.Transport, asyncio.Transport]:
    """Return the accepting and the calling end of one TCP connection over loopback; both read nothing yet."""
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[asyncio.Transport] = loop.create_future()
    listener = await loop.create_server(lambda: _Handing(accepted), "127.0.0.1", 0)
    made: asyncio.Future[asyncio.Transport] = loop.create_future()
    try:
        await loop.create_connection(lambda: _Handing(made), *listener.sockets[0].getsockname()[:2])
        transports = await accepted, await made
    finally:
        listener.close()
    for transport in transports:  # not in `connection_made`, after which uvloop begins to read whatever was said there
        transport.pause_reading()
    return transports


class _Handing(asyncio.Protocol):
    """Hands a new connection to whoever waits for it."""

    def __init__(self, made: "asyncio.Future[asyncio.Transport]") -> None:
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand the transport out."""
        self._made.set_result(cast(asyncio.Transport, transport))
