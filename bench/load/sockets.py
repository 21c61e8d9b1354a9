"""What the load programs share: opening connections, reading an HTTP head, keeping to the clock.

Used by every program in `bench.load`. Times are `time.monotonic()`, which all processes of a machine share.
"""

from __future__ import annotations

import argparse
import re
import socket
import time
from typing import Final

CHUNK_BYTES: Final = 256 * 1024
# Linux drops received bytes without copying them when a TCP read says MSG_TRUNC: a reader that costs next to nothing.
DISCARD: Final = getattr(socket, "MSG_TRUNC", 0)
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser that knows whom to call; each program adds its own options."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", required=True, help="the Host field")
    parser.add_argument("--path", default="/")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--start", type=float, required=True, help="monotonic time of the first request")
    parser.add_argument("--until", type=float, required=True, help="monotonic time of the end")
    return parser


def connect(port: int, receive_buffer: int = 0) -> socket.socket:
    """A connected socket to the loopback port; a receive buffer must be set before the handshake to count."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(10)
    sock.connect(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def get_request(host: str, path: str) -> bytes:
    """One GET with nothing but what HTTP/1.1 asks for."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def declared_length(head: bytes) -> int | None:
    """The Content-Length of a head, if it has one."""
    match = _LENGTH.search(head)
    return int(match.group(1)) if match else None


def body_length(head: bytes) -> int:
    """The declared body length of a 200 response; anything else is an error of the subject."""
    if not head.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(f"answered {head[:60]!r}")
    length = declared_length(head)
    if length is None:
        raise ConnectionError(f"no Content-Length in {head[:400]!r}")
    return length


def split_head(data: bytes) -> tuple[bytes, int] | None:
    """The head and the number of bytes behind it, or None while the head is incomplete."""
    head, blank, body = data.partition(b"\r\n\r\n")
    return (head + b"\r\n", len(body)) if blank else None


def wait_until(moment: float) -> None:
    """Sleep until a monotonic time."""
    left = moment - time.monotonic()
    if left > 0:
        time.sleep(left)
