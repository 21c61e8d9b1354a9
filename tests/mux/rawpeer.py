"""A WebSocketLink with bare bytes at its other end. Used by the tests of the link and of the connection.

Rule: the peer is the `websockets` package's frame layer over a real socket, so nothing of ours agrees with itself.
"""

import asyncio
from typing import cast

from websockets.frames import Frame, Opcode

from terratunnel.mux.websocket import Transport, WebSocketLink
from terratunnel.testing.streams import ReceiverRecorder


class RawPeer:
    """The other end: `masked` frames come from a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, masked: bool) -> None:
        self.reader = reader
        self.writer = writer
        self._masked = masked

    def send(self, opcode: int, payload: bytes) -> None:
        self.writer.write(Frame(Opcode(opcode), payload).serialize(mask=self._masked))

    async def frame(self) -> tuple[int, bytes]:
        """Read one frame of the link."""
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        assert bool(second & 0x80) is not self._masked
        if size > 125:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
        mask = b"" if self._masked else await self.reader.readexactly(4)
        payload = await self.reader.readexactly(size)
        if mask:
            payload = bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))
        return first & 0x0F, payload

    async def ended(self) -> bool:
        """Whether the link sends nothing more and closes."""
        return await self.reader.read() == b""


async def linked(client: bool = False) -> tuple[WebSocketLink, ReceiverRecorder, RawPeer]:
    """Return a link that was not started, its receiver and its peer."""
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[RawPeer] = loop.create_future()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set_result(RawPeer(reader, writer, masked=not client))

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    transport, _ = await loop.create_connection(asyncio.Protocol, *listener.sockets[0].getsockname()[:2])
    transport.pause_reading()
    link = WebSocketLink(cast(Transport, transport), client)
    transport.set_protocol(cast(asyncio.BaseProtocol, link))
    peer = await accepted
    listener.close()
    return link, ReceiverRecorder(), peer
