"""Open-loop sender: requests at fixed arrival times, whatever the subject does.

Run by `bench.loads.paced`. Latency counts from the intended start; an arrival that finds no free connection waits its
turn and that wait counts; what is unanswered at the end counts with the time it has waited so far.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from collections import deque
from typing import Final

from bench.load.sockets import arguments, body_length, connect, get_request, split_head, wait_until

PRIORITY: Final = -15


class Pace:
    """A fixed number of kept-alive connections that serve arrivals in order, one request at a time each."""

    def __init__(self, connections: list[socket.socket], request: bytes) -> None:
        self._request = request
        self._idle = list(connections)
        self._waiting: deque[float] = deque()
        self._intended: dict[socket.socket, float] = {}
        self._received: dict[socket.socket, bytes] = {}
        self.latencies: list[tuple[float, float]] = []
        self.lateness: list[float] = []

    def arrive(self, intended: float, now: float) -> None:
        """One arrival: sent at once when a connection is free."""
        if self._idle:
            self.lateness.append(now - intended)
            self._send(self._idle.pop(), intended)
        else:
            self._waiting.append(intended)

    def receive(self, sock: socket.socket) -> None:
        """Read an answer; when it is whole the connection takes the next waiting arrival."""
        data = sock.recv(16 * 1024)
        if not data:
            raise ConnectionError("connection closed by the subject")
        data = self._received.pop(sock, b"") + data
        split = split_head(data)
        if split is None or split[1] < body_length(split[0]):
            self._received[sock] = data
            return
        intended = self._intended.pop(sock)
        self.latencies.append((intended, time.monotonic() - intended))
        if self._waiting:
            self._send(sock, self._waiting.popleft())
        else:
            self._idle.append(sock)

    def unanswered(self, now: float) -> list[tuple[float, float]]:
        """Everything that was asked and not answered, and how long it has waited."""
        return [(intended, now - intended) for intended in (*self._intended.values(), *self._waiting)]

    def _send(self, sock: socket.socket, intended: float) -> None:
        self._intended[sock] = intended
        sock.send(self._request)


def run(pace: Pace, sockets: list[socket.socket], rate: float, start: float, until: float) -> None:
    """Deliver every arrival of the schedule and every answer until the end."""
    sent = 0
    now = time.monotonic()
    while now < until:
        due = start + sent / rate
        while due <= now:
            pace.arrive(due, now)
            sent += 1
            due = start + sent / rate
        # select, not epoll: its timeout has microseconds.
        readable, _, _ = select.select(sockets, [], [], max(0.0, min(due, until) - now))
        for sock in readable:
            pace.receive(sock)
        now = time.monotonic()


def go_first() -> None:
    """Ask to be scheduled ahead of the bulk load: a visitor elsewhere would not share our cores. Only root may."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)


def percentile(values: list[float], share: float) -> float:
    """The smallest value that `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def main() -> None:
    """Send at --rate from --start to --until and print how long each arrival took."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--rate", type=float, required=True)
    options = parser.parse_args()
    go_first()
    sockets = [connect(options.port) for _ in range(options.connections)]
    pace = Pace(sockets, get_request(options.host, options.path))
    wait_until(options.start)
    run(pace, sockets, options.rate, options.start, options.until)
    print(json.dumps(summary(pace, options.start, options.until)))


def summary(pace: Pace, start: float, until: float) -> dict[str, float]:
    """Served per second, percentiles in ms (of all, and of the later two thirds), and the sender's own lateness."""
    arrivals = pace.latencies + pace.unanswered(time.monotonic())
    every = [latency for _, latency in arrivals]
    settled = [latency for intended, latency in arrivals if intended >= start + (until - start) / 3]
    return {
        "served": len(pace.latencies) / (until - start),
        "p50_ms": percentile(every, 0.50) * 1000,
        "p99_ms": percentile(every, 0.99) * 1000,
        "settled_p99_ms": percentile(settled, 0.99) * 1000,
        "late_p99_ms": percentile(pace.lateness, 0.99) * 1000,
    }


if __name__ == "__main__":
    main()
