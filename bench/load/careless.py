"""A deliberately bad relay: it waits before each small piece and reads ahead without caring who reads behind it.

Started by the self-test in front of two good nginx hops. If this scored well, the benchmark would measure nothing.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

PIECE_BYTES: Final = 16 * 1024
DELAY_S: Final = 0.02
# Enough to break the memory promise with 50 slow readers, not enough to break the machine.
READ_AHEAD_PIECES: Final = 512


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry one direction: a greedy reader and a sluggish writer."""
    queue: asyncio.Queue[bytes] = asyncio.Queue(READ_AHEAD_PIECES)
    async with asyncio.TaskGroup() as group:
        group.create_task(_fill(reader, queue))
        group.create_task(_empty(queue, writer))


async def _fill(reader: asyncio.StreamReader, queue: asyncio.Queue[bytes]) -> None:
    data = b"x"
    while data:
        data = await reader.read(PIECE_BYTES)
        await queue.put(data)


async def _empty(queue: asyncio.Queue[bytes], writer: asyncio.StreamWriter) -> None:
    while data := await queue.get():
        await asyncio.sleep(DELAY_S)
        writer.write(data)
        await writer.drain()
    writer.close()


async def relay(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One visitor: a connection to the target and two pumps."""
    target_reader, target_writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(pump(reader, target_writer))
            group.create_task(pump(target_reader, writer))
    except* ConnectionError:
        pass
    finally:
        target_writer.close()
        writer.close()


async def main(port: int, target_port: int) -> None:
    """Listen until killed."""
    server = await asyncio.start_server(lambda r, w: relay(target_port, r, w), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
