"""Slow readers: visitors who download a file at a fixed small rate through a small receive buffer.

Run by `bench.loads.slow`. Each reads a little at every tick, in its own phase; a starved one falls behind.
"""

from __future__ import annotations

import json
import socket
from typing import Final

from bench.load.sockets import DISCARD, arguments, connect, get_request, wait_until

TICK_S: Final = 0.05
RECEIVE_BUFFER_BYTES: Final = 16 * 1024


def main() -> None:
    """Read at --rate bytes a second on each connection from --start to --until."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--rate", type=float, required=True)
    options = parser.parse_args()
    request = get_request(options.host, options.path)
    sockets = [connect(options.port, RECEIVE_BUFFER_BYTES) for _ in range(options.connections)]
    wait_until(options.start)
    for sock in sockets:
        sock.sendall(request)
        sock.setblocking(False)
    counts = read_slowly(sockets, options.rate, options.start, options.until)
    print(json.dumps({"bytes": counts, "seconds": options.until - options.start}))


def read_slowly(sockets: list[socket.socket], rate: float, start: float, until: float) -> list[int]:
    """Visit the sockets in turn, evenly over each tick; returns the bytes each one got."""
    counts = [0] * len(sockets)
    step = TICK_S / len(sockets)
    turn = 0
    while (due := start + turn * step) < until:
        wait_until(due)
        index = turn % len(sockets)
        owed = int((due - start + TICK_S) * rate) - counts[index]
        counts[index] += _take(sockets[index], owed)
        turn += 1
    return counts


def _take(sock: socket.socket, owed: int) -> int:
    if owed <= 0:
        return 0
    try:
        count = len(sock.recv(owed)) if not DISCARD else sock.recv_into(bytearray(owed), owed, DISCARD)
    except BlockingIOError:
        return 0
    if not count:
        raise ConnectionError("slow download cut by the subject")
    return count


if __name__ == "__main__":
    main()
