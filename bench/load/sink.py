"""Upload sink: an HTTP server that reads a declared body, discards it and answers with its length.

Started by `bench.lab` as the upstream of uploads. It answers only after the last byte, which plain nginx does not.
"""

from __future__ import annotations

import select
import socket
import sys

from bench.load.sockets import CHUNK_BYTES, DISCARD, declared_length, split_head


class Exchange:
    """One connection: head, body, answer, and again."""

    __slots__ = ("_head", "_left", "_size", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._head = b""
        self._size = 0
        self._left = 0

    def receive(self, scratch: bytearray) -> bool:
        """Read once; False when the peer is gone."""
        if self._left:
            count = self.sock.recv_into(scratch, min(self._left, CHUNK_BYTES), DISCARD)
            self._took(count)
            return count > 0
        data = self.sock.recv(CHUNK_BYTES)
        self._head += data
        split = split_head(self._head)
        if split is not None:
            self._begin(*split)
        return bool(data)

    def _begin(self, head: bytes, count: int) -> None:
        length = declared_length(head)
        self._head = b""
        if length is None and b"\r\ntransfer-encoding:" in head.lower():
            self.sock.sendall(b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        self._size = self._left = length or 0
        self._took(count)

    def _took(self, count: int) -> None:
        self._left -= count
        if not self._left:
            body = b"%d" % self._size
            self.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def serve(listener: socket.socket) -> None:
    """Serve until killed."""
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    exchanges: dict[int, Exchange] = {}
    scratch = bytearray(CHUNK_BYTES)
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                exchanges[sock.fileno()] = Exchange(sock)
                poll.register(sock.fileno(), select.EPOLLIN)
            elif not _alive(exchanges[fd], scratch):
                poll.unregister(fd)
                exchanges.pop(fd).sock.close()


def _alive(exchange: Exchange, scratch: bytearray) -> bool:
    try:
        return exchange.receive(scratch)
    except ConnectionError:
        return False


if __name__ == "__main__":
    serve(socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128))
