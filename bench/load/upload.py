"""Bulk sender: one connection that posts a body of zeros again and again.

Run by `bench.loads.upload`. Only uploads that were answered count, so bytes in kernel buffers are never counted.
"""

from __future__ import annotations

import json
import socket
import time

from bench.load.sockets import CHUNK_BYTES, arguments, body_length, connect, split_head, wait_until


def upload(sock: socket.socket, head: bytes, size: int, block: bytes) -> None:
    """One POST of `size` bytes and its answer, which must name that size."""
    sock.sendall(head)
    left = size
    while left:
        left -= sock.send(block if left >= len(block) else block[:left])
    answer = _receive_answer(sock)
    if int(answer) != size:
        raise ConnectionError(f"the sink received {answer!r} of {size} bytes")


def _receive_answer(sock: socket.socket) -> bytes:
    data = b""
    while True:
        more = sock.recv(16 * 1024)
        if not more:
            raise ConnectionError("upload cut before its answer")
        data += more
        split = split_head(data)
        if split is not None and split[1] >= body_length(split[0]):
            return data.rpartition(b"\r\n\r\n")[2]


def main() -> None:
    """Upload from --start; the last upload begun before --until is finished and counted."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--size", type=int, required=True)
    options = parser.parse_args()
    sock = connect(options.port)
    request = f"POST {options.path} HTTP/1.1\r\nHost: {options.host}\r\nContent-Length: {options.size}\r\n\r\n"
    block = bytes(CHUNK_BYTES)
    wait_until(options.start)
    completed = 0
    while time.monotonic() < options.until:
        upload(sock, request.encode(), options.size, block)
        completed += 1
    seconds = time.monotonic() - options.start
    print(json.dumps({"bytes": [completed * options.size], "seconds": seconds, "completed": completed}))


if __name__ == "__main__":
    main()
