"""Bulk readers: connections that ask for a file again and again and never pause.

Run by `bench.loads.download`. Counts the body bytes of each connection between two moments; discards them.
"""

from __future__ import annotations

import json
import select
import socket
import time

from bench.load.sockets import (
    CHUNK_BYTES,
    DISCARD,
    arguments,
    body_length,
    connect,
    get_request,
    split_head,
    wait_until,
)


class Reader:
    """One kept-alive connection that reads whole responses, one after the other."""

    __slots__ = ("_head", "_remaining", "_request", "_scratch", "completed", "sock")

    def __init__(self, port: int, request: bytes, scratch: bytearray) -> None:
        self.sock: socket.socket = connect(port)
        self._request = request
        self._scratch = scratch
        self._remaining = 0
        self._head = b""
        self.completed = 0

    def ask(self) -> None:
        """Send the next request."""
        self.sock.sendall(self._request)

    def receive(self) -> int:
        """Read once; returns how many body bytes that brought."""
        if not self._remaining:
            return self._receive_head()
        count = self.sock.recv_into(self._scratch, min(self._remaining, CHUNK_BYTES), DISCARD)
        if not count:
            raise ConnectionError(f"download cut {self._remaining} bytes before its end")
        return self._took(count)

    def _receive_head(self) -> int:
        data = self.sock.recv(16 * 1024)
        if not data:
            raise ConnectionError("connection closed before the response")
        self._head += data
        split = split_head(self._head)
        if split is None:
            return 0
        head, count = split
        self._head = b""
        self._remaining = body_length(head)
        return self._took(count)

    def _took(self, count: int) -> int:
        self._remaining -= count
        if not self._remaining:
            self.completed += 1
            self.ask()
        return count


def main() -> None:
    """Read from --start, count from --count-from, end at --until."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--count-from", type=float, required=True)
    options = parser.parse_args()
    scratch = bytearray(CHUNK_BYTES)
    request = get_request(options.host, options.path)
    readers = [Reader(options.port, request, scratch) for _ in range(options.connections)]
    wait_until(options.start)
    counts = read_all(readers, options.count_from, options.until)
    seconds = options.until - options.count_from
    print(json.dumps({"bytes": counts, "seconds": seconds, "completed": sum(r.completed for r in readers)}))


def read_all(readers: list[Reader], count_from: float, until: float) -> list[int]:
    """Keep every reader busy to the end; returns the bytes of each within the counted time."""
    poll = select.epoll()
    counts = {reader.sock.fileno(): 0 for reader in readers}
    by_fd = {reader.sock.fileno(): reader for reader in readers}
    for fd, reader in by_fd.items():
        poll.register(fd, select.EPOLLIN)
        reader.ask()
    now = time.monotonic()
    while now < until:
        for fd, _ in poll.poll(max(0.0, until - now)):
            count = by_fd[fd].receive()
            if now >= count_from:
                counts[fd] += count
        now = time.monotonic()
    return list(counts.values())


if __name__ == "__main__":
    main()
