"""One reading of HTTP: what could be read in two ways is refused, from visitors, from services and from agents.

`security.md` S1 and S3, each clause through real processes. Nothing of a refused request reaches the service, and no
byte of one response ever stands in another.
"""

from collections.abc import Iterator

import pytest

from terratunnel.protocol.frames import Flag, FrameType
from tests.e2e.support.agent import RawAgent, data, end, head, reset
from tests.e2e.support.lab import Lab, Tunnel, connect, port_of
from tests.e2e.support.upstream import RawUpstream
from tests.e2e.support.wire import CutShort, Message, Wire, cut_of

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: {host}\r\n"
GET = b"GET / HTTP/1.1\r\nHost: {host}\r\n"

# What a visitor sends -> why it is refused. "{host}" stands for the tunnel's name.
REFUSED_REQUESTS = {
    "Content-Length and Transfer-Encoding": POST
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "Transfer-Encoding and Content-Length": POST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 99\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "Transfer-Encoding: identity": POST + b"Transfer-Encoding: identity\r\n\r\n" + SMUGGLED,
    "Transfer-Encoding: gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "Transfer-Encoding: chunked, chunked": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked;q=1": POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding with a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "Transfer-Encoding twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding twice, one odd": POST + b"Transfer-Encoding: chunked\r\nTransfer-encoding: x\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding empty": POST + b"Transfer-Encoding:\r\n\r\n",
    "Transfer-Encoding in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Content-Length twice": POST + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody" + SMUGGLED,
    "Content-Length twice, different": POST + b"Content-Length: 0\r\nContent-Length: 39\r\n\r\n" + SMUGGLED,
    "Content-Length as a list": POST + b"Content-Length: 4, 4\r\n\r\nbody",
    "Content-Length with a sign": POST + b"Content-Length: +4\r\n\r\nbody",
    "Content-Length below zero": POST + b"Content-Length: -1\r\n\r\n",
    "Content-Length in hex": POST + b"Content-Length: 0x4\r\n\r\nbody",
    "Content-Length with a space inside": POST + b"Content-Length: 4 4\r\n\r\nbody",
    "Content-Length empty": POST + b"Content-Length:\r\n\r\n",
    "Content-Length beyond any number": POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n",
    "Content-Length with an underscore": POST + b"Content-Length: 1_0\r\n\r\n0123456789",
    "Content-Length in other digits": POST + "Content-Length: ٤\r\n\r\nbody".encode(),
    "obs-fold": GET + b"X: a\r\n b\r\n\r\n",
    "obs-fold in Transfer-Encoding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "obs-fold as the first line": b"GET / HTTP/1.1\r\n Host: {host}\r\n\r\n",
    "bare LF behind a field": GET + b"X: a\nY: b\r\n\r\n",
    "bare LF behind the request line": b"GET / HTTP/1.1\nHost: {host}\r\n\r\n",
    "bare LF as the end": b"GET / HTTP/1.1\r\nHost: {host}\n\n",
    "bare CR in a value": GET + b"X: a\rY: b\r\n\r\n",
    "bare CR behind the request line": b"GET / HTTP/1.1\rHost: {host}\r\n\r\n",
    "space before the colon": POST + b"Content-Length : 4\r\n\r\nbody",
    "tab before the colon": GET + b"X\t: a\r\n\r\n",
    "space before the name": GET + b" X: a\r\n\r\n",
    "no colon": GET + b"X\r\n\r\n",
    "empty name": GET + b": a\r\n\r\n",
    "name that is no token": GET + b"X(y): a\r\n\r\n",
    "name with a byte above 0x7F": GET + b"X\xe9: a\r\n\r\n",
    "NUL in a name": GET + b"X\0: a\r\n\r\n",
    "NUL in a value": GET + b"X: a\0b\r\n\r\n",
    "control character in a value": GET + b"X: a\x1bb\r\n\r\n",
    "DEL in a value": GET + b"X: a\x7fb\r\n\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "tab in the target": b"GET /a\tb HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "fragment in the target": b"GET /a#b HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "method that is no token": b"G(T / HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "empty method": b" / HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "tab for a space": b"GET\t/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "no Host in HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "two Hosts": GET + b"Host: {host}\r\n\r\n",
    "two Hosts, different": GET + b"host: evil.example\r\n\r\n",
    "empty Host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "Host with a path": b"GET / HTTP/1.1\r\nHost: {host}/../x?y\r\n\r\n",
    "Host with a user": b"GET / HTTP/1.1\r\nHost: a@{host}\r\n\r\n",
    "Host as a list": b"GET / HTTP/1.1\r\nHost: {host}, evil.example\r\n\r\n",
    "Host with a port that is none": b"GET / HTTP/1.1\r\nHost: a:80a\r\n\r\n",
    "Host with a space": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "absolute target of another host": b"GET http://evil.example/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "absolute target with a user": b"GET http://a@{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "absolute target of another scheme": b"GET ftp://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "target of no form": b"GET a HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "asterisk for a GET": b"GET * HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "lower-case version": b"GET / http/1.1\r\nHost: {host}\r\n\r\n",
    "version of three numbers": b"GET / HTTP/1.1.1\r\nHost: {host}\r\n\r\n",
}
OTHER_VERSIONS = [b"HTTP/2.0", b"HTTP/1.2", b"HTTP/0.9", b"HTTP/3.0", b"HTTP/9.9"]

CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
# What a visitor sends as a chunked body -> why it is refused.
REFUSED_BODIES = {
    "size that is no number": b"x\r\n",
    "size with a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "size with a space": b"5 \r\nhello\r\n0\r\n\r\n",
    "size with a space before it": b" 5\r\nhello\r\n0\r\n\r\n",
    "size that is empty": b"\r\nhello\r\n0\r\n\r\n",
    "size that overflows": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "size with an underscore": b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "extension": b"5;a=b\r\nhello\r\n0\r\n\r\n",
    "extension with a bare LF": b"5;\nxx\r\nhello\r\n0\r\n\r\n",
    "size ended by LF": b"5\nhello\r\n0\r\n\r\n",
    "chunk ended by LF": b"5\r\nhello\n0\r\n\r\n",
    "chunk longer than its size": b"4\r\nhello\r\n0\r\n\r\n",
    "chunk without an end": b"5\r\nhello0\r\n\r\n",
    "malformed trailer": b"0\r\nX : a\r\n\r\n",
    "trailer with a control character": b"0\r\nX: a\0\r\n\r\n",
    "obs-fold in trailers": b"0\r\nX: a\r\n b\r\n\r\n",
    "bare LF in trailers": b"0\r\nX: a\nY: b\r\n\r\n",
}

# What a service answers -> why it is refused.
REFUSED_RESPONSES = {
    "Content-Length and Transfer-Encoding": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Content-Length twice": b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "Content-Length twice, different": b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "Content-Length as a list": b"Content-Length: 5, 5\r\n\r\nhello",
    "Content-Length with a sign": b"Content-Length: +5\r\n\r\nhello",
    "Transfer-Encoding: gzip, chunked": b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: identity": b"Transfer-Encoding: identity\r\n\r\nhello",
    "Transfer-Encoding twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "obs-fold": b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "bare LF": b"X: a\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
    "bare CR": b"X: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
    "NUL": b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "space before the colon": b"Content-Length : 0\r\n\r\n",
    "name that is no token": b"X(y): a\r\nContent-Length: 0\r\n\r\n",
}
REFUSED_STATUS_LINES = [
    b"HTTP/1.1 20 OK",
    b"HTTP/1.1 2000 OK",
    b"HTTP/1.1 099 OK",
    b"HTTP/1.1 +20 OK",
    b"HTTP/1.1 200 O\0K",
    b"HTTP/1.1 200 O\rK",
    b"HTTP/1.1",
    b"HTTP/2.0 200 OK",
    b"HTTP/1.2 200 OK",
    b"ICY 200 OK",
    b"hello",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat",
]


def of(tunnel: Tunnel, raw: bytes) -> bytes:
    return raw.replace(b"{host}", tunnel.host)


def get_ok(visitor: Wire, tunnel: Tunnel, upstream: RawUpstream, target: bytes = b"/proof") -> None:
    """What comes next is served, and is the next that the service sees."""
    visitor.send(tunnel.get(target))
    service = upstream.next()
    assert service.read_request().head.target == target
    service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproof")
    assert visitor.read_response().body == b"proof"


def read_whole(wire: Wire) -> bytes:
    """Read a chunked body with its trailers."""
    chunks = b"".join(wire.iter_chunks())
    while (line := wire.read_until(b"\r\n")) != b"\r\n":
        chunks += line
    return chunks


# ---------------------------------------------------------------------- visitors


@pytest.mark.parametrize("why", REFUSED_REQUESTS)
def test_a_request_that_can_be_read_in_two_ways_is_400_and_closed(
    tunnel: Tunnel, upstream: RawUpstream, why: str
) -> None:
    with tunnel.visit() as visitor:
        visitor.send(of(tunnel, REFUSED_REQUESTS[why]))
        response = visitor.read_response()
        assert response.status == 400
        assert response.head.value(b"Connection") == b"close"
        assert visitor.read_to_end() == b""
    with tunnel.visit() as visitor:
        get_ok(visitor, tunnel, upstream)
    assert upstream.is_idle()


@pytest.mark.parametrize("version", OTHER_VERSIONS)
def test_a_version_other_than_1_0_and_1_1_is_505_and_closed(
    tunnel: Tunnel, upstream: RawUpstream, version: bytes
) -> None:
    with tunnel.visit() as visitor:
        visitor.send(b"GET / ", version, b"\r\nHost: ", tunnel.host, b"\r\n\r\n")
        assert visitor.read_response().status == 505
        assert visitor.read_to_end() == b""
    assert upstream.is_idle()


@pytest.mark.parametrize("why", REFUSED_BODIES)
def test_a_chunked_body_that_is_malformed_is_400_and_never_ends_for_the_service(
    tunnel: Tunnel, upstream: RawUpstream, why: str
) -> None:
    with tunnel.visit() as visitor:
        visitor.send(of(tunnel, CHUNKED))
        service = upstream.next()
        service.read_head()
        visitor.send(b"3\r\nabc\r\n", REFUSED_BODIES[why], of(tunnel, SMUGGLED))
        response = visitor.read_response()
        assert response.status == 400
        assert visitor.read_to_end() == b""
        cut = cut_of(lambda: read_whole(service))
        assert b"smuggled" not in cut.got
    with tunnel.visit() as visitor:
        get_ok(visitor, tunnel, upstream)


def test_fields_that_frame_or_route_do_not_pass_in_trailers(tunnel: Tunnel, upstream: RawUpstream) -> None:
    trailers = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: evil\r\nConnection: close\r\nX-Sum: 1\r\n"
    with tunnel.visit() as visitor:
        visitor.send(of(tunnel, CHUNKED), b"3\r\nabc\r\n0\r\n", trailers, b"\r\n")
        service = upstream.next()
        request = service.read_request()
        assert request.body == b"abc"
        assert request.trailers == [(b"X-Sum", b"1")]
        service.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", trailers, b"\r\n")
        response = visitor.read_response()
        assert response.trailers == [(b"X-Sum", b"1")]


def test_fields_of_one_hop_and_those_that_connection_names_do_not_pass(tunnel: Tunnel, upstream: RawUpstream) -> None:
    hop = b"Connection: close, X-Secret\r\nX-Secret: a\r\nKeep-Alive: 5\r\nProxy-Connection: close\r\nTE: trailers\r\n"
    with tunnel.visit() as visitor:
        visitor.send(of(tunnel, GET), hop, b"X-Kept: b\r\nUpgrade: h2c\r\n\r\n")
        service = upstream.next()
        names = [name.lower() for name, _ in service.read_request().fields]
        assert b"x-kept" in names
        gone = {b"connection", b"x-secret", b"keep-alive", b"proxy-connection", b"te", b"upgrade"}
        assert gone.isdisjoint(names)
        service.send(b"HTTP/1.1 200 OK\r\n", hop, b"Upgrade: h2c\r\nX-Kept: b\r\nContent-Length: 0\r\n\r\n")
        fields = visitor.read_response().fields
        assert fields == [(b"X-Kept", b"b"), (b"Content-Length", b"0"), (b"Connection", b"close")]


def test_what_is_forwarded_is_framed_afresh_and_once(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with tunnel.visit() as visitor:
        visitor.send(of(tunnel, POST), b"content-length:\t 0004 \r\n\r\nbody")
        service = upstream.next()
        request = service.read_request()
        assert request.head.values(b"Content-Length") in ([b"4"], [b"0004"])
        assert request.head.values(b"Transfer-Encoding") == []
        assert request.body == b"body"
        service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert visitor.read_response().status == 200


def test_pipelined_requests_are_answered_in_their_order(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with tunnel.visit() as visitor:
        visitor.send(*(tunnel.get(b"/%d" % number) for number in (1, 2, 3)))
        for number in (1, 2, 3):
            service = upstream.next()
            assert service.read_request().head.target == b"/%d" % number
            assert upstream.is_idle()
            service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
        assert [visitor.read_response().body for _ in range(3)] == [b"1", b"2", b"3"]


def test_a_bad_second_request_does_not_disturb_the_first(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with tunnel.visit() as visitor:
        bad = of(tunnel, REFUSED_REQUESTS["Content-Length and Transfer-Encoding"])
        visitor.send(tunnel.post(b"first"), bad, tunnel.get(b"/third"))
        service = upstream.next()
        assert service.read_request().body == b"first"
        service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
        assert visitor.read_response().body == b"first"
        assert visitor.read_response().status == 400
        assert visitor.read_to_end() == b""
    assert upstream.is_idle()


# ---------------------------------------------------------------------- services


def refused_by_the_client(tunnel: Tunnel, upstream: RawUpstream, raw: bytes) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/bad"))
        service = upstream.next()
        service.read_request()
        service.send(raw, b"HTTP/1.1 200 OK\r\nX-Smuggled: 1\r\nContent-Length: 5\r\n\r\nextra")
        response = visitor.read_response()
        assert response.status == 502
        assert response.head.values(b"Set-Cookie") == []
        assert b"extra" not in response.raw
        cut_of(lambda: service.read(1))
        get_ok(visitor, tunnel, upstream)


@pytest.mark.parametrize("why", REFUSED_RESPONSES)
def test_a_response_that_can_be_read_in_two_ways_is_502_and_its_connection_dropped(
    tunnel: Tunnel, upstream: RawUpstream, why: str
) -> None:
    refused_by_the_client(tunnel, upstream, b"HTTP/1.1 200 OK\r\n" + REFUSED_RESPONSES[why])


@pytest.mark.parametrize("line", REFUSED_STATUS_LINES)
def test_a_status_line_that_is_none_is_502(tunnel: Tunnel, upstream: RawUpstream, line: bytes) -> None:
    refused_by_the_client(tunnel, upstream, line + b"\r\nX: y\r\n\r\n")


@pytest.mark.parametrize("why", REFUSED_BODIES)
def test_a_chunked_response_that_is_malformed_is_cut(tunnel: Tunnel, upstream: RawUpstream, why: str) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/bad"))
        service = upstream.next()
        service.read_request()
        service.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        assert visitor.read_head().status == 200
        assert visitor.read_until(b"\r\nabc\r\n") == b"3\r\nabc\r\n"
        service.send(REFUSED_BODIES[why])
        cut_of(lambda: read_whole(visitor))
        cut_of(lambda: service.read(1))
    with tunnel.visit() as visitor:
        get_ok(visitor, tunnel, upstream)


@pytest.mark.parametrize("raw", [b"Content-Length: 5\r\n\r\nhel", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel"])
def test_a_response_that_stops_short_is_cut(tunnel: Tunnel, upstream: RawUpstream, raw: bytes) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/bad"))
        service = upstream.next()
        service.read_request()
        service.send(b"HTTP/1.1 200 OK\r\n", raw)
        head = visitor.read_head()
        service.close()
        cut_of(lambda: visitor.read(5) if head.values(b"Content-Length") else list(visitor.iter_chunks()))


@pytest.mark.parametrize("tail", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nextra", b"x"])
def test_what_a_service_sends_behind_its_answer_is_nobodys(tunnel: Tunnel, upstream: RawUpstream, tail: bytes) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/long"))
        service = upstream.next()
        service.read_request()
        service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole", tail)
        assert visitor.read_response().body == b"whole"
        cut_of(lambda: service.read(1))
        get_ok(visitor, tunnel, upstream)


def test_a_body_behind_a_head_response_is_nobodys(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(method=b"HEAD"))
        service = upstream.next()
        service.read_request()
        service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
        assert visitor.read_response(b"HEAD").status == 200
        get_ok(visitor, tunnel, upstream)


# ---------------------------------------------------------------------- agents


@pytest.fixture(scope="module")
def server_port(module_lab: Lab) -> int:
    """A server that knows one key."""
    env = {"TERRATUNNEL_STATIC_KEYS": "the-key=evil,other-key=good", "REQUIRE_AUTH_FOR_TUNNELS": "true"}
    return port_of(module_lab.server(env=env))


@pytest.fixture
def agent(server_port: int) -> Iterator[RawAgent]:
    """An agent with the name `evil`."""
    with RawAgent(server_port, "the-key") as agent:
        yield agent


OK = [b"200", b"OK"]
FIVE = [*OK, b"Content-Length", b"5"]
# The block of a response -> why it is refused.
REFUSED_BLOCKS: dict[str, list[bytes]] = {
    "nothing": [],
    "no reason": [b"200"],
    "name without a value": [*OK, b"X"],
    "status of two digits": [b"20", b"OK"],
    "status with a line of its own": [b"200", b"OK\r\nSet-Cookie: a"],
    "CR LF in a value": [*OK, b"X", b"a\r\nSet-Cookie: b"],
    "a whole response in a value": [*FIVE, b"X", b"a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nextra"],
    "LF in a value": [*OK, b"X", b"a\nSet-Cookie: b"],
    "CR in a value": [*OK, b"X", b"a\rb"],
    "NUL in a value": [*OK, b"X", b"a\0b"],
    "CR LF in a name": [*OK, b"X: a\r\nY", b"b"],
    "colon in a name": [*OK, b"X:", b"a"],
    "space in a name": [*OK, b"Content-Length ", b"5"],
    "empty name": [*OK, b"", b"a"],
    "Content-Length twice": [*FIVE, b"Content-Length", b"5"],
    "Content-Length twice, different": [*FIVE, b"content-length", b"50"],
    "Content-Length as a list": [*OK, b"Content-Length", b"5, 5"],
    "Content-Length with a sign": [*OK, b"Content-Length", b"+5"],
    "Transfer-Encoding": [*OK, b"Transfer-Encoding", b"chunked"],
    "Transfer-Encoding and Content-Length": [*FIVE, b"transfer-encoding", b"chunked"],
    "Connection": [*OK, b"Connection", b"close"],
    "Upgrade": [*OK, b"Upgrade", b"h2c"],
    "a switch nobody asked for": [b"101", b"Switching Protocols", b"Upgrade", b"chat"],
    "a length where none may be": [b"204", b"No Content", b"Content-Length", b"5"],
}


def ask(visitor: Wire, agent: RawAgent, target: bytes = b"/", method: bytes = b"GET") -> int:
    """Ask the evil tunnel; returns the stream."""
    visitor.send(method, b" ", target, b" HTTP/1.1\r\nHost: evil.localhost\r\n\r\n")
    stream, items = agent.next_request()
    assert items[:2] == [method, target]
    return stream


def check_next(visitor: Wire, agent: RawAgent) -> Message:
    """The next answer on the same connection is the one that was meant for it."""
    stream = ask(visitor, agent, b"/next")
    agent.respond(stream, b"next!")
    response = visitor.read_response()
    assert response.body == b"next!"
    return response


@pytest.mark.parametrize("why", REFUSED_BLOCKS)
def test_a_malformed_block_of_an_agent_is_502_and_no_byte_of_it_passes(
    server_port: int, agent: RawAgent, why: str
) -> None:
    with connect(server_port) as visitor:
        stream = ask(visitor, agent)
        agent.say(head(stream, REFUSED_BLOCKS[why]), data(stream, b"extra"))
        response = visitor.read_response()
        assert response.status == 502
        assert response.head.values(b"Set-Cookie") == []
        assert b"extra" not in response.raw
        assert agent.next(FrameType.RESET)[1] == stream
        check_next(visitor, agent)


@pytest.mark.parametrize("body", [b"", b"1234", b"123456", b"12345HTTP/1.1 200 OK\r\n\r\n"])
def test_a_body_of_the_wrong_length_is_never_a_clean_end_nor_the_start_of_another(
    server_port: int, agent: RawAgent, body: bytes
) -> None:
    with connect(server_port) as visitor:
        stream = ask(visitor, agent)
        agent.say(head(stream, FIVE))
        assert visitor.read_head().status == 200
        agent.say(data(stream, body, end=True))
        assert len(cut_of(lambda: visitor.read(6)).got) <= 5


def test_an_end_with_the_head_does_not_stand_for_a_body_that_was_promised(server_port: int, agent: RawAgent) -> None:
    with connect(server_port) as visitor:
        stream = ask(visitor, agent)
        agent.say(head(stream, FIVE, Flag.END))
        assert visitor.read_response().status == 502
        check_next(visitor, agent)


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", b"200"), (b"GET", b"204"), (b"GET", b"304")])
def test_a_body_where_none_may_be_is_not_read_as_the_next_answer(
    server_port: int, agent: RawAgent, method: bytes, status: bytes
) -> None:
    smuggled = b"HTTP/1.1 200 OK\r\nX-Smuggled: 1\r\nContent-Length: 0\r\n\r\n"
    with connect(server_port) as visitor:
        stream = ask(visitor, agent, method=method)
        agent.say(head(stream, [status, b"X"]))
        assert visitor.read_response(method).status == int(status)
        visitor.send(b"GET /next HTTP/1.1\r\nHost: evil.localhost\r\n\r\n")
        agent.say(data(stream, smuggled, end=True))
        assert b"Smuggled" not in cut_of(visitor.read_response).got


@pytest.mark.parametrize(
    "after", [head(1, FIVE), data(1, b"more"), end(1), end(1, [b"X", b"y"]), reset(1, 4, b"late")], ids=range(5)
)
def test_frames_after_the_end_of_an_answer_never_reach_a_visitor(
    server_port: int, agent: RawAgent, after: bytes
) -> None:
    with connect(server_port) as visitor:
        stream = ask(visitor, agent)
        assert stream == 1
        agent.respond(stream, b"whole")
        assert visitor.read_response().body == b"whole"
        agent.say(after)
        check_next(visitor, agent)


@pytest.mark.parametrize("trailers", [[b"Content-Length", b"5"], [b"X", b"a\r\n\r\nHTTP/1.1 200 OK"], [b"X"]])
def test_malformed_trailers_of_an_agent_cut_the_answer(
    server_port: int, agent: RawAgent, trailers: list[bytes]
) -> None:
    with connect(server_port) as visitor:
        stream = ask(visitor, agent)
        agent.say(head(stream, OK), data(stream, b"hello"))
        assert visitor.read_head().status == 200
        agent.say(end(stream, trailers))
        cut = cut_of(lambda: read_whole(visitor))
        assert b"\r\n0\r\n" not in cut.got


def test_an_answer_to_a_stream_of_another_link_ends_the_evil_link_alone(server_port: int, agent: RawAgent) -> None:
    with RawAgent(server_port, "other-key") as good, connect(server_port) as visitor:
        visitor.send(b"GET / HTTP/1.1\r\nHost: good.localhost\r\n\r\n")
        stream, _ = good.next_request()
        agent.say(head(stream, FIVE), data(stream, b"evil!", end=True))
        cut_of(lambda: agent.next(FrameType.HEADERS))
        good.respond(stream, b"good!")
        assert visitor.read_response().body == b"good!"


def test_a_second_head_ends_the_link_and_the_visitor_sees_a_cut(server_port: int, agent: RawAgent) -> None:
    with connect(server_port) as visitor:
        stream = ask(visitor, agent)
        agent.say(head(stream, OK), data(stream, b"hello"))
        assert visitor.read_head().status == 200
        agent.say(head(stream, FIVE))
        cut_of(lambda: list(visitor.iter_chunks()))
        with pytest.raises(CutShort):
            agent.next(FrameType.HEADERS)
