"""Every limit is kept, over real sockets: each status where it belongs, one sentence each, and no wait without end."""

import json
import resource
import socket
import time
from collections.abc import Iterator

import pytest

from tests.e2e.support.lab import Lab, Tunnel, connect, in_background
from tests.e2e.support.upstream import RawUpstream
from tests.e2e.support.wire import CutShort, Message, Wire, cut_of

MAX_BYTES = 100_000
HEAD_S = 2.0
SERVER = (
    *("--max-request-size", str(MAX_BYTES), "--max-response-size", str(MAX_BYTES)),
    *("--head-timeout", str(HEAD_S), "--body-timeout", "1", "--write-timeout", "1.5", "--queue-timeout", "1"),
)
CLIENT = ("--first-byte-timeout", "1.2")
HALF_HEADS = 1_000


@pytest.fixture(scope="module")
def tunnel(module_lab: Lab, shared_upstream: RawUpstream) -> Tunnel:
    """A tunnel whose limits come soon."""
    return module_lab.tunnel(shared_upstream.url, *CLIENT, server_options=SERVER)


@pytest.fixture
def open_files() -> Iterator[None]:
    """Enough descriptors for a thousand connections here and in the processes that are started."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8_192, hard) if hard != resource.RLIM_INFINITY else 8_192, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def is_served(tunnel: Tunnel, upstream: RawUpstream) -> bool:
    """Whether another visitor is served now."""
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/other"))
        service = upstream.next()
        service.read_request()
        service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return visitor.read_response().body == b"ok"


def check_error(message: Message, status: int, *, close: bool) -> None:
    """One sentence as JSON, and what the connection does next."""
    assert message.status == status
    said = json.loads(message.body)
    assert said["status"] == status
    assert said["message"].endswith(".")
    assert "\n" not in said["message"]
    assert message.head.values(b"Connection") == ([b"close"] if close else [])
    assert message.head.value(b"Cache-Control") == b"no-store"


# ---------------------------------------------------------------------- sizes


def test_a_declared_request_over_the_limit_is_413_and_the_service_never_sees_it(
    tunnel: Tunnel, upstream: RawUpstream
) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/", b"Content-Length: %d" % (MAX_BYTES + 1), method=b"POST"))
        check_error(visitor.read_response(), 413, close=True)
        assert visitor.read_to_end() == b""
    assert upstream.is_idle(0.1)


def test_a_declared_request_at_the_limit_passes(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.post(b"x" * MAX_BYTES))
        service = upstream.next()
        assert len(service.read_request().body) == MAX_BYTES
        service.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert visitor.read_response().status == 204


def test_an_undeclared_request_over_the_limit_never_ends_for_the_service(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/", b"Transfer-Encoding: chunked", method=b"POST"))
        service = upstream.next()
        service.read_head()
        visitor.send_chunk(b"x" * MAX_BYTES)
        visitor.send_chunk(b"x")
        visitor.send(b"0\r\n\r\n")
        check_error(visitor.read_response(), 413, close=True)
        assert visitor.read_to_end() == b""
        cut_of(lambda: list(service.iter_chunks()))


def test_an_undeclared_request_over_the_limit_cuts_an_answer_that_has_begun(
    tunnel: Tunnel, upstream: RawUpstream
) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/", b"Transfer-Encoding: chunked", method=b"POST"))
        service = upstream.next()
        service.read_head()
        service.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert visitor.read_head().status == 200
        visitor.send_chunk(b"x" * (MAX_BYTES + 1))
        cut_of(lambda: list(visitor.iter_chunks()))


def test_a_declared_response_over_the_limit_is_413(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get())
        service = upstream.next()
        service.read_request()
        service.send(b"HTTP/1.1 200 OK\r\nX-Secret: 1\r\nContent-Length: %d\r\n\r\n" % (MAX_BYTES + 1))
        response = visitor.read_response()
        check_error(response, 413, close=False)
        assert response.head.values(b"X-Secret") == []
        cut_of(lambda: service.read(1))


@pytest.mark.parametrize("framing", [b"Transfer-Encoding: chunked\r\n", b""])
def test_an_undeclared_response_over_the_limit_is_cut(tunnel: Tunnel, upstream: RawUpstream, framing: bytes) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get())
        service = upstream.next()
        service.read_request()
        service.send(b"HTTP/1.1 200 OK\r\n", framing, b"\r\n")
        assert visitor.read_head().status == 200
        for _ in range(2):
            size = MAX_BYTES // 2 + 1
            service.send(b"%x\r\n" % size if framing else b"", b"x" * size, b"\r\n" if framing else b"")
        cut_of(lambda: list(visitor.iter_chunks()))
        cut_of(lambda: service.read(1))


def test_a_response_at_the_limit_passes(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get())
        service = upstream.next()
        service.read_request()
        service.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MAX_BYTES, b"x" * MAX_BYTES)
        assert len(visitor.read_response().body) == MAX_BYTES


# ---------------------------------------------------------------------- heads


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 100 + b"\r\n", 431),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ],
)
def test_a_head_that_cannot_be_served_is_refused(
    tunnel: Tunnel, upstream: RawUpstream, raw: bytes, status: int
) -> None:
    with tunnel.visit() as visitor:
        visitor.send(raw)
        check_error(visitor.read_response(), status, close=True)
        assert visitor.read_to_end() == b""
    assert upstream.is_idle()


def test_half_a_head_is_408_after_its_time(tunnel: Tunnel) -> None:
    with tunnel.visit() as visitor:
        visitor.send(b"GET / HTTP/1.1\r\nHost: ")
        began = time.monotonic()
        check_error(visitor.read_response(), 408, close=True)
        assert time.monotonic() - began >= HEAD_S - 0.1
        assert visitor.read_to_end() == b""


def test_a_thousand_half_heads_are_all_closed_on_time_while_others_are_served(
    open_files: None, lab: Lab, upstream: RawUpstream
) -> None:
    tunnel = lab.tunnel(upstream.url, server_options=("--head-timeout", str(HEAD_S)))
    began = time.monotonic()
    half = [connect(tunnel.port) for _ in range(HALF_HEADS)]
    for number, visitor in enumerate(half):
        visitor.send(b"GET /%d HTTP/1.1\r\nHost: " % number)
    all_sent = time.monotonic()
    served = 0
    ends = in_background(lambda: [read_end(visitor) for visitor in half])
    while not ends.done():
        assert is_served(tunnel, upstream)
        served += 1
    assert served >= 5
    statuses = ends.result()
    # The first was opened at `began`, and none may be kept longer than the limit, a sweep and a margin for the machine.
    assert time.monotonic() - all_sent < HEAD_S + 5.0
    assert time.monotonic() - began >= HEAD_S
    assert set(statuses) <= {408, 0}
    assert statuses.count(408) > HALF_HEADS * 0.9


def read_end(visitor: Wire) -> int:
    """The status of the last answer on a connection that ends; 0 for none."""
    with visitor:
        try:
            status = visitor.read_response().status
            visitor.read_to_end()
        except CutShort:
            return 0
        return status


# ---------------------------------------------------------------------- bodies and readers


def test_a_body_that_stops_is_408_and_the_service_sees_the_cut(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/", b"Content-Length: 1000", method=b"POST"), b"ten bytes.")
        service = upstream.next()
        service.read_head()
        assert service.read(10) == b"ten bytes."
        check_error(visitor.read_response(), 408, close=True)
        cut_of(lambda: service.read(1))


def pour(service: Wire) -> None:
    """Send chunks for ever."""
    while True:
        service.send_chunk(b"x" * 65_536)


def test_a_visitor_who_stops_reading_is_cut_and_the_service_is_told(lab: Lab, upstream: RawUpstream) -> None:
    options = ("--write-timeout", "1.5", "--max-response-size", "0")
    tunnel = lab.tunnel(upstream.url, server_options=options)
    with tunnel.visit() as visitor:
        visitor.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        visitor.send(tunnel.get(b"/endless"))
        service = upstream.next()
        service.read_request()
        service.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            pour(service)
        assert visitor.read_head().status == 200
        cut_of(lambda: list(visitor.iter_chunks()))
    assert is_served(tunnel, upstream)


# ---------------------------------------------------------------------- statuses of the road


def test_an_unknown_name_is_404(tunnel: Tunnel) -> None:
    with tunnel.visit() as visitor:
        visitor.send(b"GET / HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n")
        check_error(visitor.read_response(), 404, close=False)


def test_a_service_that_hangs_is_504_and_the_tunnel_lives_on(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/slow"))
        service = upstream.next()
        service.read_request()
        check_error(visitor.read_response(), 504, close=False)
        cut_of(lambda: service.read(1))
    assert is_served(tunnel, upstream)


def test_a_tunnel_that_is_full_is_503(lab: Lab, upstream: RawUpstream) -> None:
    tunnel = lab.tunnel(upstream.url, server_options=("--queue-timeout", "0.6"))
    full = [tunnel.visit() for _ in range(256)]
    for visitor in full:
        visitor.send(tunnel.get(b"/held"))
    for _ in full:
        upstream.next().read_request()
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/one-too-many"))
        response = visitor.read_response()
        check_error(response, 503, close=False)
        assert response.head.value(b"Retry-After") == b"2"
    for visitor in full:
        visitor.close()
    assert is_served(tunnel, upstream)


@pytest.mark.parametrize(
    ("host", "status"), [(b"nobody.localhost", 404), (b"", 504)], ids=["unknown name", "service hangs"]
)
def test_a_browser_gets_a_page_and_a_head_request_no_body(
    tunnel: Tunnel, upstream: RawUpstream, host: bytes, status: int
) -> None:
    lines = b"Host: %b\r\nAccept: text/html,*/*;q=0.8\r\n\r\n" % (host or tunnel.host)
    with tunnel.visit() as visitor:
        visitor.send(b"GET / HTTP/1.1\r\n", lines)
        page = visitor.read_response()
        assert page.status == status
        assert page.head.value(b"Content-Type") == b"text/html; charset=utf-8"
        assert page.body.startswith(b"<!doctype html>")
        assert b"<script" not in page.body
        visitor.send(b"HEAD / HTTP/1.1\r\n", lines)
        bare = visitor.read_response(b"HEAD")
        assert bare.status == status
        assert bare.head.value(b"Content-Length") == page.head.value(b"Content-Length")
        assert visitor.is_open()
    upstream.close_connections()
