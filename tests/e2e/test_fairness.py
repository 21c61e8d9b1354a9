"""One slow or greedy exchange costs nobody else: what is counted here are bytes and memory, not milliseconds."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future
from threading import Event, Lock

import pytest

from tests.e2e.support.lab import Lab, Tunnel, in_background
from tests.e2e.support.narrow import NarrowRelay
from tests.e2e.support.upstream import RawUpstream
from tests.e2e.support.wire import CutShort, Wire

MIB = 1 << 20
NO_LIMITS = ("--max-request-size", "0", "--max-response-size", "0")
STALLED = 50
MEMORY_KIB = 100 * 1024
LINK_BYTES_PER_S = 6 * MIB
# What may pass while a small exchange waits: windows and queues of the link. Behind all that waits it would be more.
OVERTAKEN_BYTES = 2 * MIB


class Service:
    """Answers `/small`, pours out `/endless` and `/bytes/N`, takes in `/sink`, never reads a body at `/deaf`."""

    def __init__(self) -> None:
        self.poured = 0
        self.taken = 0
        self._for_ever = Event()
        self._lock = Lock()

    def __call__(self, wire: Wire) -> None:
        head = wire.read_head()
        if head.target == b"/endless":
            self._pour(wire)
        elif head.target == b"/sink":
            self._take_in(wire, int(head.value(b"Content-Length")))
        elif head.target == b"/deaf":
            wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhm\r\n")
            self._for_ever.wait()
        elif head.target.startswith(b"/bytes/"):
            size = int(head.target.rpartition(b"/")[2])
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, b"x" * size)
        else:
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsmall")

    def _pour(self, wire: Wire) -> None:
        wire.sock.settimeout(None)
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            wire.send_chunk(b"x" * 65_536)
            with self._lock:
                self.poured += 65_536

    def _take_in(self, wire: Wire, size: int) -> None:
        for _ in range(size // 65_536):
            wire.read(65_536)
            with self._lock:
                self.taken += 65_536
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntaken")


@pytest.fixture
def service() -> Service:
    """The service behind the tunnels of a test."""
    return Service()


@pytest.fixture
def upstream(lab: Lab, service: Service) -> RawUpstream:
    """Where it listens."""
    upstream = lab.upstream()
    upstream.serve(service)
    return upstream


@pytest.fixture
def narrow(lab: Lab, upstream: RawUpstream) -> Iterator[Tunnel]:
    """A tunnel whose link is slower than everything else."""
    server = lab.server(*NO_LIMITS)
    with NarrowRelay(int(server.wait("ready")["port"]), LINK_BYTES_PER_S) as relay:
        yield lab.join(server, lab.client(relay.port, upstream.url))


def small(tunnel: Tunnel) -> None:
    """A small exchange on a connection of its own."""
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/small"))
        assert visitor.read_response().body == b"small"


def stalled_reader(tunnel: Tunnel) -> Wire:
    """A visitor who asks for an endless download and reads its head alone."""
    visitor = tunnel.visit()
    visitor.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    visitor.send(tunnel.get(b"/endless"))
    assert visitor.read_head().status == 200
    return visitor


class Reader:
    """A visitor who reads as fast as it can, in a thread; `got` counts."""

    def __init__(self, tunnel: Tunnel, target: bytes) -> None:
        self.got = 0
        self._wire = tunnel.visit()
        self._wire.send(tunnel.get(target))
        assert self._wire.read_head().status == 200
        self.done: Future[None] = in_background(self._read)

    def stop(self) -> None:
        """Leave."""
        self._wire.sock.shutdown(socket.SHUT_RDWR)
        self.done.result(10)
        self._wire.close()

    def _read(self) -> None:
        try:
            while data := self._wire.read_some():
                self.got += len(data)
        except CutShort:
            pass


def until(condition: Iterator[bool], what: str) -> None:
    """Look again and again, for a while."""
    for holds in condition:
        if holds:
            return
        time.sleep(0.05)
    raise AssertionError(what)


def stands_still(service: Service) -> Iterator[bool]:
    """Whether nothing more was poured for half a second; at most ten."""
    before, since = -1, time.monotonic()
    for _ in range(200):
        if service.poured != before:
            before, since = service.poured, time.monotonic()
        yield time.monotonic() - since > 0.5


def grown(amount: int, reader: Reader) -> Iterator[bool]:
    """Whether a reader has got so much more."""
    start = reader.got
    for _ in range(200):
        yield reader.got - start >= amount


# ---------------------------------------------------------------------- stalled readers


def test_fifty_stalled_readers_cost_bounded_memory_and_nobody_else_anything(
    lab: Lab, upstream: RawUpstream, service: Service
) -> None:
    tunnel = lab.tunnel(upstream.url, server_options=NO_LIMITS)
    small(tunnel)
    idle = {program.label: program.rss_kib for program in (tunnel.server, tunnel.client)}
    readers = [stalled_reader(tunnel) for _ in range(STALLED)]
    until(stands_still(service), "the service is never stalled: somebody buffers without end")
    for _ in range(50):
        small(tunnel)
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/bytes/%d" % (20 * MIB)))
        assert len(visitor.read_response().body) == 20 * MIB
    for program in (tunnel.server, tunnel.client):
        assert program.rss_kib - idle[program.label] <= MEMORY_KIB, program.label
    for reader in readers:
        reader.close()
    small(tunnel)


def test_a_service_that_does_not_read_an_upload_stalls_that_upload_alone(
    lab: Lab, upstream: RawUpstream, service: Service
) -> None:
    tunnel = lab.tunnel(upstream.url, server_options=NO_LIMITS)
    small(tunnel)
    idle_kib = tunnel.server.rss_kib
    deaf = [in_background(pour_up, tunnel, b"/deaf") for _ in range(8)]
    size = 20 * MIB
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/sink", b"Content-Length: %d" % size, method=b"POST"))
        for _ in range(size // MIB):
            visitor.send(b"x" * MIB)
            small(tunnel)
        assert visitor.read_response().body == b"taken"
    assert tunnel.server.rss_kib - idle_kib <= MEMORY_KIB
    tunnel.client.kill()
    for upload in deaf:
        assert upload.result(15) < 64 * MIB


def pour_up(tunnel: Tunnel, target: bytes) -> int:
    """Send a body without end; how much of it went before the connection broke."""
    sent = 0
    with tunnel.visit(60) as visitor:
        visitor.send(tunnel.get(target, b"Transfer-Encoding: chunked", method=b"POST"))
        try:
            while True:
                visitor.send_chunk(b"x" * 65_536)
                sent += 65_536
        except OSError:
            return sent


# ---------------------------------------------------------------------- one link


def test_a_small_exchange_overtakes_downloads_on_the_same_link(narrow: Tunnel) -> None:
    readers = [Reader(narrow, b"/endless") for _ in range(4)]
    until(grown(MIB, readers[0]), "the downloads do not begin")
    for _ in range(10):
        before = sum(reader.got for reader in readers)
        small(narrow)
        assert sum(reader.got for reader in readers) - before <= OVERTAKEN_BYTES
    for reader in readers:
        reader.stop()


def test_a_small_exchange_overtakes_an_upload_on_the_same_link(narrow: Tunnel, service: Service) -> None:
    size = 24 * MIB
    uploading = in_background(upload, narrow, size)
    for _ in range(200):
        if service.taken > MIB:
            break
        time.sleep(0.05)
    for _ in range(10):
        before = service.taken
        small(narrow)
        assert service.taken - before <= OVERTAKEN_BYTES
    assert uploading.result(30) == b"taken"


def upload(tunnel: Tunnel, size: int) -> bytes:
    """Send a body; the answer."""
    with tunnel.visit(30) as visitor:
        visitor.send(tunnel.get(b"/sink", b"Content-Length: %d" % size, method=b"POST"), b"x" * size)
        return visitor.read_response().body


def test_downloads_on_the_same_link_share_it(narrow: Tunnel) -> None:
    readers = [Reader(narrow, b"/endless") for _ in range(4)]
    for reader in readers:
        until(grown(MIB, reader), "a download starves")
    before = [reader.got for reader in readers]
    until(grown(4 * MIB, readers[0]), "a download starves")
    shares = [reader.got - start for reader, start in zip(readers, before, strict=True)]
    assert min(shares) >= 0.5 * max(shares)
    for reader in readers:
        reader.stop()
