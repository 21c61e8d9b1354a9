"""Idle agents: many links held open by one process, which answers pings and does nothing else.

Run by `bench.own_rows` with the interpreter of the product, which has `websockets`. Speaks docs/spec/protocol.md:
SETTINGS first, PONG for each PING. Says `ready` when every link is open and ends when stdin closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import sys
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

FRAME: Final = struct.Struct(">IIBBH")
SETTINGS, PING, PONG = 9, 7, 8
AT_ONCE: Final = 50


async def open_link(url: str, gate: asyncio.Semaphore) -> ClientConnection:
    """One link, a few at a time."""
    async with gate:
        link = await connect(url, subprotocols=[Subprotocol("terratunnel.v1")], compression=None, ping_interval=None)
        await link.send(FRAME.pack(0, 0, SETTINGS, 0, 0))
        return link


async def hold(link: ClientConnection) -> None:
    """Answer pings until the link ends."""
    async for message in link:
        if isinstance(message, bytes):
            for payload in pings(message):
                await link.send(FRAME.pack(len(payload), 0, PONG, 0, 0) + payload)
    raise ConnectionError(f"the server closed an idle link: {link.close_code} {link.close_reason}")


def pings(message: bytes) -> list[bytes]:
    """The payloads of the PING frames in one message."""
    found = []
    end = 0
    while end < len(message):
        length, _, kind, _, _ = FRAME.unpack_from(message, end)
        start = end + FRAME.size
        end = start + length
        if kind == PING:
            found.append(message[start:end])
    return found


async def main(url: str, count: int) -> None:
    """Open the links, say so, hold them."""
    gate = asyncio.Semaphore(AT_ONCE)
    links = await asyncio.gather(*(open_link(url, gate) for _ in range(count)))
    async with asyncio.TaskGroup() as group:
        holders = [group.create_task(hold(link)) for link in links]
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for holder in holders:
            holder.cancel()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1], int(sys.argv[2])))
