"""Bytes are sacred: the service receives what the visitor sent and the documented fields, the visitor what it answered.

Exact recorded bytes are compared, on both sides of real processes.
"""

import gzip
import hashlib
import hmac
import random

import pytest

from tests.e2e.support.lab import Lab, Tunnel, in_background
from tests.e2e.support.upstream import RawUpstream
from tests.e2e.support.wire import Message, Wire, chunked

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
SIZES = [0, 1, 65_535, 65_536, 1_048_577, 10_485_760]
# "hello" as a stream of brotli: one block that is stored as it is.
BROTLI_HELLO = bytes.fromhex("0b028068656c6c6f03")


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def additions(tunnel: Tunnel, request_id: bytes) -> bytes:
    """What product.md §5 lets us add, for a visitor without proxies."""
    lines = [
        b"X-Forwarded-For: 127.0.0.1",
        b"X-Forwarded-Host: " + tunnel.host,
        b"X-Forwarded-Proto: http",
        b'Forwarded: for=127.0.0.1;host="' + tunnel.host + b'";proto=http',
        b"X-Request-Id: " + request_id,
    ]
    return b"".join(line + b"\r\n" for line in lines)


def forwarded(tunnel: Tunnel, sent: bytes, seen: Message) -> bytes:
    """The bytes that the service must see of a request with a length or without a body."""
    request_id = seen.head.value(b"X-Request-Id")
    assert len(bytes.fromhex(request_id.decode())) == 16
    head, _, body = sent.partition(b"\r\n\r\n")
    return head + b"\r\n" + additions(tunnel, request_id) + b"\r\n" + body


def ask(tunnel: Tunnel, upstream: RawUpstream, sent: bytes) -> Message:
    """Send a request that is answered with nothing; return what the service saw."""
    with tunnel.visit() as visitor:
        visitor.send(sent)
        seen = answer(upstream, OK)
        assert visitor.read_response().raw == OK
    return seen


def answer(upstream: RawUpstream, sent: bytes) -> Message:
    """Read one request at the service and answer it."""
    service = upstream.next()
    request = service.read_request()
    service.send(sent)
    return request


def tell(tunnel: Tunnel, upstream: RawUpstream, sent: bytes, method: bytes = b"GET") -> Message:
    """Let the service answer a request with these bytes; return what the visitor saw. Its connection stays in step."""
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(method=method))
        answer(upstream, sent)
        seen = visitor.read_response(method)
        visitor.send(tunnel.get(b"/next"))
        assert answer(upstream, OK).start_line == b"GET /next HTTP/1.1"
        assert visitor.read_response().raw == OK
    return seen


# ---- requests


@pytest.mark.parametrize(
    "target",
    [
        b"/p%2Fq",
        b"//a//b",
        b"/?flag",
        b"/?a=1+2&a=%20",
        b"/?",
        b"/a/../b/./c",
        b"/%00%zz%",
        b"/?a=b?c=d&&=&e",
        b"/;x,y|{}^`\"<>\\[]'",
        b"/caf\xc3\xa9?\xff\xfe",
        b"/" + b"long/" * 2000,
    ],
)
def test_a_raw_target_arrives_as_it_was_sent(tunnel: Tunnel, upstream: RawUpstream, target: bytes) -> None:
    sent = tunnel.get(target)
    seen = ask(tunnel, upstream, sent)
    assert seen.raw == forwarded(tunnel, sent, seen)


@pytest.mark.parametrize(
    "target", [b"/ws", b"/_health", b"/auth/login", b"/api/auth/me", b"/admin/database", b"/tunnels/new"]
)
def test_a_path_of_the_servers_own_is_the_services_on_a_tunnel(
    tunnel: Tunnel, upstream: RawUpstream, target: bytes
) -> None:
    sent = tunnel.get(target)
    seen = ask(tunnel, upstream, sent)
    assert seen.raw == forwarded(tunnel, sent, seen)


def test_the_host_arrives_as_it_was_written(tunnel: Tunnel, upstream: RawUpstream) -> None:
    name, _, port = tunnel.host.partition(b":")
    for host in (name, name.upper() + b":" + port, name.title() + b":1", name + b".", name + b":80"):
        seen = ask(tunnel, upstream, tunnel.get().replace(tunnel.host, host))
        assert seen.head.value(b"Host") == seen.head.value(b"X-Forwarded-Host") == host


@pytest.mark.parametrize("rest", [b"/p%2Fq?flag", b"", b"?", b"?x=1", b"//"])
def test_a_target_in_absolute_form_arrives_as_it_was_sent(tunnel: Tunnel, upstream: RawUpstream, rest: bytes) -> None:
    sent = tunnel.get(b"http://" + tunnel.host + rest)
    seen = ask(tunnel, upstream, sent)
    assert seen.raw == forwarded(tunnel, sent, seen)


def test_a_target_that_is_only_an_asterisk_arrives(tunnel: Tunnel, upstream: RawUpstream) -> None:
    sent = tunnel.get(b"*", method=b"OPTIONS")
    seen = ask(tunnel, upstream, sent)
    assert seen.raw == forwarded(tunnel, sent, seen)


def test_fields_arrive_in_order_with_case_and_repeats(tunnel: Tunnel, upstream: RawUpstream) -> None:
    fields = (
        b"User-Agent: x",
        b"x-Odd-CASE: 1",
        b"Cookie: a=1",
        b"ACCEPT: */*",
        b"X-odd-case: 2",
        b"Cookie: b=2",
        b"x-odd-CASE: 1",
        b"Accept-Encoding: zstd;q=0, identity",
        b"!#$%&'*+-.^_`|~9: token",
        b"Authorization: Bearer secret",
        b"X-Empty: ",
        b"Via: 1.1 somewhere",
    )
    sent = tunnel.get(b"/", *fields)
    seen = ask(tunnel, upstream, sent)
    assert seen.raw == forwarded(tunnel, sent, seen)


def test_values_that_are_odd_and_legal_arrive(tunnel: Tunnel, upstream: RawUpstream) -> None:
    every_byte = bytes(byte for byte in range(0x21, 0x100) if byte != 0x7F)
    sent = tunnel.get(b"/", b"X-Bytes: " + every_byte, b"X-Tab: a\tb  c", b'X-Quoted: "a\\"b" , ;c', b"X-Colon: :a:b:")
    seen = ask(tunnel, upstream, sent)
    assert seen.raw == forwarded(tunnel, sent, seen)


def test_space_around_a_value_is_no_part_of_it(tunnel: Tunnel, upstream: RawUpstream) -> None:
    seen = ask(tunnel, upstream, tunnel.get(b"/", b"X-A:1", b"X-B: \t 2 \t"))
    assert seen.fields[1:3] == [(b"X-A", b"1"), (b"X-B", b"2")]


@pytest.mark.parametrize(
    "method", [b"PROPFIND", b"M-SEARCH", b"get", b"BREW", b"!#$%&'*+-.^_`|~9", b"OPTIONS", b"TRACE"]
)
def test_a_method_nobody_has_heard_of_arrives(tunnel: Tunnel, upstream: RawUpstream, method: bytes) -> None:
    sent = tunnel.get(b"/", b"Content-Length: 3", method=method) + b"abc"
    seen = ask(tunnel, upstream, sent)
    assert seen.raw == forwarded(tunnel, sent, seen)


def test_a_get_with_a_body_arrives(tunnel: Tunnel, upstream: RawUpstream) -> None:
    sent = tunnel.get(b"/", b"Content-Length: 5") + b"\x00\r\n\r\n"
    seen = ask(tunnel, upstream, sent)
    assert seen.raw == forwarded(tunnel, sent, seen)


def test_fields_of_one_hop_and_what_they_nominate_stop_at_the_edge(tunnel: Tunnel, upstream: RawUpstream) -> None:
    hop = (b"Connection: keep-alive, X-Mine", b"X-Mine: 1", b"Keep-Alive: timeout=5", b"TE: trailers", b"Upgrade: x")
    sent = tunnel.get(b"/", b"X-Before: 1", *hop, b"X-After: 2")
    seen = ask(tunnel, upstream, sent)
    assert seen.raw == forwarded(tunnel, tunnel.get(b"/", b"X-Before: 1", b"X-After: 2"), seen)


def test_a_sane_request_id_of_the_visitor_stays_where_it_stands(tunnel: Tunnel, upstream: RawUpstream) -> None:
    seen = ask(tunnel, upstream, tunnel.get(b"/", b"A: 1", b"x-request-ID: mine-42", b"B: 2"))
    assert seen.fields[1:4] == [(b"A", b"1"), (b"x-request-ID", b"mine-42"), (b"B", b"2")]
    assert len(seen.head.values(b"X-Request-Id")) == 1


def test_what_the_visitors_proxies_said_comes_first(tunnel: Tunnel, upstream: RawUpstream) -> None:
    theirs = (b"X-Forwarded-For: 203.0.113.9", b"Forwarded: for=203.0.113.9", b"X-Forwarded-Host: evil")
    head = ask(tunnel, upstream, tunnel.get(b"/", *theirs)).head
    assert head.value(b"X-Forwarded-For") == b"203.0.113.9, 127.0.0.1"
    assert head.value(b"Forwarded").startswith(b"for=203.0.113.9, for=127.0.0.1;")
    assert head.value(b"X-Forwarded-Host") == tunnel.host


def test_the_request_id_is_the_one_of_the_clients_event(tunnel: Tunnel, upstream: RawUpstream) -> None:
    seen = ask(tunnel, upstream, tunnel.get(b"/which"))
    event = tunnel.client.wait("request", target="/which")
    assert event["request_id"] == seen.head.value(b"X-Request-Id").decode()
    assert (event["method"], event["status"]) == ("GET", 200)


def test_pipelined_requests_arrive_one_by_one_and_are_answered_in_order(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.post(b"one", b"/1"), tunnel.get(b"/2"), tunnel.post(b"three", b"/3"))
        for number, body in enumerate([b"one", b"", b"three"], 1):
            request = answer(upstream, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
            assert (request.head.target, request.body) == (b"/%d" % number, body)
        assert [visitor.read_response().body for _ in range(3)] == [b"1", b"2", b"3"]


# ---- request bodies


@pytest.mark.parametrize("size", SIZES)
def test_a_body_with_a_length_arrives(tunnel: Tunnel, upstream: RawUpstream, size: int) -> None:
    sent = tunnel.post(noise(size), b"/up", b"Content-Type: application/octet-stream")
    with tunnel.visit() as visitor:
        sending = in_background(visitor.send, sent)
        seen = answer(upstream, OK)
        assert visitor.read_response().raw == OK
        sending.result(5)
    assert seen.raw == forwarded(tunnel, sent, seen)


@pytest.mark.parametrize("size", SIZES)
def test_a_body_without_a_length_arrives(tunnel: Tunnel, upstream: RawUpstream, size: int) -> None:
    body = noise(size)
    pieces = [body[start : start + 300_000] for start in range(0, size, 300_000)]
    with tunnel.visit() as visitor:
        sent = tunnel.get(b"/up", CHUNKED, b"X-After: 1", method=b"POST") + chunked(*pieces)
        sending = in_background(visitor.send, sent)
        seen = answer(upstream, OK)
        assert visitor.read_response().raw == OK
        sending.result(5)
    request_id = seen.head.value(b"X-Request-Id")
    head = tunnel.get(b"/up", b"X-After: 1", method=b"POST")[:-2]
    assert seen.head.raw == head + additions(tunnel, request_id) + CHUNKED + b"\r\n\r\n"
    assert (seen.body, seen.trailers) == (body, [])


def test_trailers_of_a_request_arrive(tunnel: Tunnel, upstream: RawUpstream) -> None:
    head = tunnel.get(b"/", b"Trailer: X-Sum, x-odd", CHUNKED, method=b"POST")
    body = chunked(b"abc", b"def", trailers=b"X-Sum: 1\r\nx-odd: \xe9\r\nX-Sum: 2\r\n")
    seen = ask(tunnel, upstream, head + body)
    assert (seen.body, seen.trailers) == (b"abcdef", [(b"X-Sum", b"1"), (b"x-odd", b"\xe9"), (b"X-Sum", b"2")])
    assert seen.head.value(b"Trailer") == b"X-Sum, x-odd"


def test_a_chunk_arrives_in_whatever_way_it_is_written(tunnel: Tunnel, upstream: RawUpstream) -> None:
    head = tunnel.get(b"/", CHUNKED, method=b"POST")
    with tunnel.visit() as visitor:
        visitor.send(head[:-1])
        for byte in head[-1:] + b"00003\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n":
            visitor.send(bytes([byte]))
        assert answer(upstream, OK).body == b"abc0123456789"
        assert visitor.read_response().raw == OK


@pytest.mark.parametrize("encoding", [b"gzip", b"br"])
def test_an_encoded_body_arrives_untouched_and_its_signature_verifies(
    tunnel: Tunnel, upstream: RawUpstream, encoding: bytes
) -> None:
    body = gzip.compress(b'{"a": "\xc3\xa9"}\r\n', mtime=0) if encoding == b"gzip" else BROTLI_HELLO
    signature = hmac.new(b"secret", body, hashlib.sha256).hexdigest().encode()
    fields = (b"Content-Encoding: " + encoding, b"X-Hub-Signature-256: sha256=" + signature)
    for sent in (
        tunnel.post(body, b"/hook", *fields),
        tunnel.get(b"/hook", *fields, CHUNKED, method=b"POST") + chunked(body),
    ):
        seen = ask(tunnel, upstream, sent)
        expected = hmac.new(b"secret", seen.body, hashlib.sha256).hexdigest().encode()
        assert hmac.compare_digest(seen.head.value(b"X-Hub-Signature-256"), b"sha256=" + expected)
        assert (seen.body, seen.head.value(b"Content-Encoding")) == (body, encoding)


# ---- responses


@pytest.mark.parametrize(
    "line",
    [
        b"200 OK",
        b"200 ",
        b"404 Nope, \xe9t\xc3\xa9!",
        b"299 Odd  spaces ",
        b"418 I'm a teapot",
        b"500 x",
        b"599 y",
        b"999 Beyond",
    ],
)
def test_status_and_reason_come_back(tunnel: Tunnel, upstream: RawUpstream, line: bytes) -> None:
    sent = b"HTTP/1.1 " + line + b"\r\nContent-Length: 2\r\n\r\nhi"
    assert tell(tunnel, upstream, sent).raw == sent


def test_fields_come_back_in_order_with_case_and_repeats(tunnel: Tunnel, upstream: RawUpstream) -> None:
    fields = [
        b"set-cookie: a=1; Path=/",
        b"Server: x",
        b"Set-Cookie: b=2, c=3",
        b"SET-COOKIE: a=1; Path=/",
        b"Date: never",
        b"X-Bytes: \x80\xff\tz",
        b"X-Empty: ",
        b"Vary: a",
        b"Content-Length: 2",
        b"Vary: b",
        b"X-Request-Id: theirs",
        b"X-Forwarded-For: theirs",
        b"Content-Type: text/plain;charset=x",
    ]
    sent = b"\r\n".join([b"HTTP/1.1 200 OK", *fields, b"", b"hi"])
    assert tell(tunnel, upstream, sent).raw == sent


def test_fields_of_one_hop_of_the_service_stop_at_the_client(tunnel: Tunnel, upstream: RawUpstream) -> None:
    sent = (
        b"HTTP/1.1 200 OK\r\nA: 1\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\n"
        b"Proxy-Connection: x\r\nUpgrade: h2c\r\nB: 2\r\nContent-Length: 2\r\n\r\nhi"
    )
    assert tell(tunnel, upstream, sent).raw == b"HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\nContent-Length: 2\r\n\r\nhi"


@pytest.mark.parametrize(
    ("method", "head"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nETag: x\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        (b"GET", b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n"),
        (b"DELETE", b"HTTP/1.1 204 \r\n\r\n"),
        (b"GET", b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 12345\r\n\r\n'),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    ],
)
def test_a_response_without_a_body_comes_back(
    tunnel: Tunnel, upstream: RawUpstream, method: bytes, head: bytes
) -> None:
    assert tell(tunnel, upstream, head, method).raw == head


def test_interim_responses_come_back_before_the_final_one(tunnel: Tunnel, upstream: RawUpstream) -> None:
    interim = [
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nlink: </b.css>\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n",
        b"HTTP/1.1 199 Miscellaneous \xe9\r\nX: y\r\n\r\n",
    ]
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get())
        service = upstream.next()
        service.read_request()
        for head in interim:
            service.send(head)
            assert visitor.read_head().raw == head
        service.send(final)
        assert visitor.read_response().raw == final


def test_interim_responses_in_one_packet_with_the_final_one_come_back(tunnel: Tunnel, upstream: RawUpstream) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get())
        answer(upstream, interim + interim + final)
        assert visitor.read(2 * len(interim) + len(final)) == interim + interim + final


# ---- response bodies


@pytest.mark.parametrize("size", SIZES)
def test_a_body_with_a_length_comes_back(tunnel: Tunnel, upstream: RawUpstream, size: int) -> None:
    sent = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX: y\r\n\r\n" % size + noise(size)
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get())
        answering = in_background(answer, upstream, sent)
        assert visitor.read_response().raw == sent
        answering.result(5)


@pytest.mark.parametrize("size", SIZES)
def test_a_body_without_a_length_comes_back(tunnel: Tunnel, upstream: RawUpstream, size: int) -> None:
    body = noise(size)
    pieces = [body[start : start + 300_000] for start in range(0, size, 300_000)]
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n"
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get())
        answering = in_background(answer, upstream, head + chunked(*pieces))
        seen = visitor.read_response()
        answering.result(5)
    assert seen.head.raw == b"HTTP/1.1 200 OK\r\nX: y\r\n" + CHUNKED + b"\r\n\r\n"
    assert (seen.body, seen.trailers) == (body, [])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_body_that_ends_with_the_services_connection_comes_back(
    tunnel: Tunnel, upstream: RawUpstream, size: int, version: bytes
) -> None:
    body = noise(size)

    def answer_and_close() -> None:
        service = upstream.next()
        service.read_request()
        service.send(b"HTTP/%b 200 OK\r\nX: y\r\n\r\n" % version, body)
        service.half_close()

    with tunnel.visit() as visitor:
        visitor.send(tunnel.get())
        answering = in_background(answer_and_close)
        seen = visitor.read_response()
        answering.result(5)
    assert seen.head.raw == b"HTTP/1.1 200 OK\r\nX: y\r\n" + CHUNKED + b"\r\n\r\n"
    assert (seen.body, seen.trailers) == (body, [])


def test_trailers_of_a_response_come_back(tunnel: Tunnel, upstream: RawUpstream) -> None:
    head = b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = chunked(b"abc", trailers=b"X-Sum: 1\r\nserver-timing: a\xe9\r\nX-Sum: 2\r\n")
    seen = tell(tunnel, upstream, head + body)
    assert seen.raw == head + body


def test_trailers_after_an_empty_body_come_back(tunnel: Tunnel, upstream: RawUpstream) -> None:
    sent = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(trailers=b"grpc-status: 0\r\n")
    assert tell(tunnel, upstream, sent).raw == sent


@pytest.mark.parametrize(
    ("encoding", "body"), [(b"gzip", gzip.compress(b"hello", mtime=0)), (b"br", BROTLI_HELLO), (b"gzip", b"no gzip")]
)
def test_an_encoded_response_comes_back_untouched(
    tunnel: Tunnel, upstream: RawUpstream, encoding: bytes, body: bytes
) -> None:
    sent = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (encoding, len(body), body)
    assert tell(tunnel, upstream, sent).raw == sent


# ---- visitors of another time


def visit_with_http10(tunnel: Tunnel, *fields: bytes) -> Wire:
    visitor = tunnel.visit()
    visitor.send(tunnel.get(b"/old?x", *fields).replace(b"HTTP/1.1", b"HTTP/1.0"))
    return visitor


def test_a_visitor_with_http_10_is_served_and_the_connection_closed(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with visit_with_http10(tunnel) as visitor:
        request = answer(upstream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nhi")
        assert request.start_line == b"GET /old?x HTTP/1.1"
        assert visitor.read_to_end() == (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\nConnection: close\r\n\r\nhi")


def test_a_visitor_with_http_10_that_asks_for_it_keeps_its_connection(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with visit_with_http10(tunnel, b"Connection: keep-alive") as visitor:
        answer(upstream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        first = visitor.read_response()
        assert first.raw == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi"
        visitor.send(tunnel.get())
        answer(upstream, OK)
        assert visitor.read_response().raw == OK


@pytest.mark.parametrize("size", SIZES)
def test_a_visitor_with_http_10_gets_a_body_without_a_length_until_the_end(
    tunnel: Tunnel, upstream: RawUpstream, size: int
) -> None:
    body = noise(size)
    sent = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n" + chunked(*([body] if body else []))
    with visit_with_http10(tunnel, b"Connection: keep-alive") as visitor:
        answering = in_background(answer, upstream, sent)
        assert visitor.read_to_end() == b"HTTP/1.1 200 OK\r\nX: y\r\nConnection: close\r\n\r\n" + body
        answering.result(5)


def test_a_visitor_with_http_10_gets_no_interim_response(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with visit_with_http10(tunnel) as visitor:
        answer(upstream, b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + OK)
        assert visitor.read_to_end() == OK[:-2] + b"Connection: close\r\n\r\n"


def test_a_body_from_a_visitor_with_http_10_arrives(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with visit_with_http10(tunnel, b"Content-Length: 3") as visitor:
        visitor.send(b"abc")
        request = answer(upstream, OK)
        assert request.body == b"abc"
        assert visitor.read_to_end() == OK[:-2] + b"Connection: close\r\n\r\n"


# ---- many at once


def echo(service: Wire) -> None:
    """Answer a request with its own body, framed as it asks for."""
    request = service.read_request()
    framing, body = request.head.value(b"X-Answer"), request.body
    if framing == b"length":
        service.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body)
    elif framing == b"chunked":
        pieces = [body[start : start + 10_007] for start in range(0, len(body), 10_007)]
        service.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunked(*pieces))
    else:
        service.send(b"HTTP/1.1 200 OK\r\n\r\n", body)
        service.close()


def converse(tunnel: Tunnel, number: int) -> int:
    """Send requests of every kind on one connection; return how many came back as they were."""
    rng = random.Random(number)
    equal = 0
    with tunnel.visit() as visitor:
        for _ in range(20):
            body = rng.randbytes(rng.choice([0, 1, 500, 70_000, 300_000]))
            answer_as = b"X-Answer: " + rng.choice([b"length", b"chunked", b"close"])
            if rng.random() < 0.5:
                visitor.send(tunnel.post(body, b"/echo", answer_as))
            else:
                half = len(body) // 2
                pieces = [piece for piece in (body[:half], body[half:]) if piece]
                visitor.send(tunnel.get(b"/echo", answer_as, CHUNKED, method=b"POST"), chunked(*pieces))
            equal += visitor.read_response().body == body
    return equal


def test_many_exchanges_at_once_keep_their_bytes_apart(lab: Lab) -> None:
    upstream = lab.upstream()
    upstream.serve(echo)
    tunnel = lab.tunnel(upstream.url)
    visitors = [in_background(converse, tunnel, number) for number in range(24)]
    assert [visitor.result(40) for visitor in visitors] == [20] * len(visitors)
