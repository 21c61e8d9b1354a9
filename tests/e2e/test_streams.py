"""Everything streams both ways as it arrives: events, early answers, invitations, other protocols, gigabytes.

Most tests are in step: the next byte is sent only after the one before was seen at the other end.
"""

import hashlib
from collections.abc import Iterator
from functools import partial

import pytest

from tests.e2e.support.lab import Lab, Tunnel, in_background
from tests.e2e.support.upstream import RawUpstream
from tests.e2e.support.wire import Wire, chunked, cut_of

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
EVENT_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
UPGRADE = (b"Connection: Upgrade", b"Upgrade: squeak/2")
SWITCH = b"HTTP/1.1 101 Now we squeak\r\nUpgrade: squeak/2\r\nX-Mine: 1\r\n"

GIB = 1 << 30
BLOCK_BYTES = 1 << 20
MAY_GROW_KIB = 48 * 1024
UNLIMITED = {"TERRATUNNEL_MAX_REQUEST_SIZE": "0", "TERRATUNNEL_MAX_RESPONSE_SIZE": "0"}


def begin(upstream: RawUpstream, answer: bytes = b"") -> Wire:
    """The service's end of a request whose head was read; its answer begins with these bytes."""
    service = upstream.next()
    service.read_head()
    service.send(answer)
    return service


# ---- event streams


def test_an_event_in_a_chunk_arrives_before_the_next_is_sent(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/events"))
        service = begin(upstream, EVENT_STREAM + CHUNKED + b"\r\n\r\n")
        assert visitor.read_head().status == 200
        chunks = visitor.iter_chunks()
        for number in range(50):
            event = b"data: %d\n\n" % number
            service.send_chunk(event)
            assert next(chunks) == event
        service.send(chunked())
        assert list(chunks) == []


def test_an_event_without_framing_arrives_before_the_next_is_sent(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/events"))
        service = begin(upstream, EVENT_STREAM + b"\r\n")
        assert visitor.read_head().status == 200
        chunks = visitor.iter_chunks()
        for number in range(20):
            service.send(b"%d" % (number % 10))
            assert next(chunks) == b"%d" % (number % 10)
        service.half_close()
        assert list(chunks) == []


def test_a_visitor_with_http_10_gets_each_event_before_the_next_is_sent(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/events").replace(b"HTTP/1.1", b"HTTP/1.0"))
        service = begin(upstream, EVENT_STREAM + CHUNKED + b"\r\n\r\n")
        assert visitor.read_head().status == 200
        for number in range(20):
            service.send_chunk(b"data: %d\n\n" % number)
            assert visitor.read_until(b"\n\n") == b"data: %d\n\n" % number
        service.send(chunked())
        assert visitor.read_to_end() == b""


def test_a_byte_of_a_body_with_a_length_arrives_before_the_next_is_sent(tunnel: Tunnel, upstream: RawUpstream) -> None:
    """A declared body over the streaming threshold travels in checked chunks, which must not hold it back."""
    for length in (20, 20_000_000):
        with tunnel.visit() as visitor:
            visitor.send(tunnel.get())
            service = begin(upstream, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
            assert visitor.read_head().status == 200
            for number in range(20):
                service.send(bytes([number]))
                assert visitor.read(1) == bytes([number])


def test_a_byte_of_an_upload_arrives_before_the_next_is_sent(tunnel: Tunnel, upstream: RawUpstream) -> None:
    for framing in (b"Content-Length: 20", b"Content-Length: 20000000", CHUNKED):
        with tunnel.visit() as visitor:
            visitor.send(tunnel.get(b"/up", framing, method=b"POST"))
            service = begin(upstream)
            chunks = service.iter_chunks()
            for number in range(20):
                if framing == CHUNKED:
                    visitor.send_chunk(bytes([number]))
                    assert next(chunks) == bytes([number])
                else:
                    visitor.send(bytes([number]))
                    assert service.read(1) == bytes([number])


def test_request_and_response_stream_at_the_same_time(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/chat", CHUNKED, method=b"POST"))
        service = begin(upstream, b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n\r\n")
        assert visitor.read_head().status == 200
        answers, questions = visitor.iter_chunks(), service.iter_chunks()
        for number in range(20):
            visitor.send_chunk(b"question %d" % number)
            assert next(questions) == b"question %d" % number
            service.send_chunk(b"answer %d" % number)
            assert next(answers) == b"answer %d" % number
        visitor.send(chunked())
        assert list(questions) == []
        service.send_chunk(b"the last word")
        service.send(chunked())
        assert list(answers) == [b"the last word"]


def test_a_head_arrives_before_its_body_is_there(tunnel: Tunnel, upstream: RawUpstream) -> None:
    for framing in (b"Content-Length: 3\r\n", CHUNKED + b"\r\n", b""):
        with tunnel.visit() as visitor:
            visitor.send(tunnel.get())
            begin(upstream, b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n")
            assert visitor.read_head().status == 200


# ---- Expect: 100-continue


def test_the_invitation_to_send_a_body_is_the_services(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/up", b"Expect: 100-continue", b"Content-Length: 5", method=b"POST"))
        service = upstream.next()
        assert service.read_head().value(b"Expect") == b"100-continue"
        assert visitor.is_open()
        service.send(b"HTTP/1.1 100 Go on\r\nX: y\r\n\r\n")
        assert visitor.read_head().raw == b"HTTP/1.1 100 Go on\r\nX: y\r\n\r\n"
        visitor.send(b"hello")
        assert service.read(5) == b"hello"
        service.send(OK)
        assert visitor.read_response().raw == OK
        visitor.send(tunnel.get())
        begin(upstream, OK)
        assert visitor.read_response().raw == OK


def test_a_service_that_refuses_a_body_gets_none(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/up", b"Expect: 100-continue", CHUNKED, method=b"POST"))
        service = begin(upstream, b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
        assert visitor.read_response().status == 401
        assert visitor.read_to_end() == b""
        cut_of(lambda: service.read(1))


def test_a_visitor_who_waits_for_no_invitation_is_heard(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.post(b"hello", b"/up", b"Expect: 100-continue"))
        service = begin(upstream)
        assert service.read(5) == b"hello"
        service.send(OK)
        assert visitor.read_response().raw == OK


# ---- answers that come early


def test_an_answer_before_the_end_of_the_upload_arrives_and_the_upload_goes_on(
    tunnel: Tunnel, upstream: RawUpstream
) -> None:
    answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok"
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/up", b"Content-Length: 10", method=b"POST"), b"01234")
        service = begin(upstream, answer)
        assert visitor.read_response().raw == answer
        assert service.read(5) == b"01234"
        visitor.send(b"56789")
        assert service.read(5) == b"56789"
        visitor.send(tunnel.get())
        begin(upstream, OK)
        assert visitor.read_response().raw == OK


def test_an_answer_overtakes_a_large_upload_that_is_read_later(tunnel: Tunnel, upstream: RawUpstream) -> None:
    answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok"
    body = bytes(range(256)) * 100_000
    with tunnel.visit() as visitor:
        sending = in_background(visitor.send, tunnel.post(body))
        service = begin(upstream, answer)
        assert visitor.read_response().raw == answer
        assert not sending.done()
        assert service.read(len(body)) == body
        sending.result(5)
        visitor.send(tunnel.get())
        begin(upstream, OK)
        assert visitor.read_response().raw == OK


def test_an_answer_to_a_large_upload_that_nobody_reads_arrives(tunnel: Tunnel, upstream: RawUpstream) -> None:
    answer = b"HTTP/1.1 403 No\r\nContent-Length: 6\r\nConnection: close\r\n\r\ngo now"
    with tunnel.visit() as visitor:
        sending = in_background(
            visitor.send, tunnel.get(b"/up", b"Content-Length: 40000000", method=b"POST"), bytes(20_000_000)
        )
        service = begin(upstream, answer)
        service.half_close()
        response = visitor.read_response()
        assert (response.status, response.body) == (403, b"go now")
        service.close()
        visitor.close()
        assert sending.exception(10) is None or isinstance(sending.exception(), OSError)


# ---- what is cut short


@pytest.mark.parametrize("framing", [b"Content-Length: 10\r\n", CHUNKED + b"\r\n"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_response_that_the_service_cuts_is_cut_for_the_visitor(
    tunnel: Tunnel, upstream: RawUpstream, framing: bytes, version: bytes
) -> None:
    for end in (Wire.close, Wire.reset):
        with tunnel.visit() as visitor:
            visitor.send(tunnel.get().replace(b"HTTP/1.1", b"HTTP/" + version))
            service = begin(upstream, b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n")
            visitor.read_head()
            service.send(b"5\r\nhello\r\n" if CHUNKED in framing else b"hello")
            visitor.read_until(b"hello")
            end(service)
            assert cut_of(visitor.read_to_end).how == "reset"


def test_an_upload_that_the_visitor_cuts_is_cut_for_the_service(tunnel: Tunnel, upstream: RawUpstream) -> None:
    for end in (Wire.close, Wire.reset, Wire.half_close):
        for framing, piece in ((b"Content-Length: 10", b"hello"), (CHUNKED, b"5\r\nhello\r\n")):
            with tunnel.visit() as visitor:
                visitor.send(tunnel.get(b"/up", framing, method=b"POST"), piece)
                service = begin(upstream)
                assert service.read(len(piece)) == piece
                end(visitor)
                assert cut_of(partial(service.read, 1)).got == b""


def test_a_pipe_that_breaks_at_one_end_breaks_at_the_other(tunnel: Tunnel, upstream: RawUpstream) -> None:
    visitor, service = upgrade(tunnel, upstream)
    with visitor, service:
        service.reset()
        assert cut_of(visitor.read_to_end).how == "reset"
    visitor, service = upgrade(tunnel, upstream)
    with visitor, service:
        visitor.reset()
        assert cut_of(service.read_to_end).how == "reset"


# ---- other protocols


def upgrade(tunnel: Tunnel, upstream: RawUpstream) -> tuple[Wire, Wire]:
    """Both ends of a connection that squeaks."""
    visitor = tunnel.visit()
    visitor.send(tunnel.get(b"/squeak?x", *UPGRADE))
    service = upstream.next()
    request = service.read_head()
    assert request.start_line == b"GET /squeak?x HTTP/1.1"
    assert (request.value(b"Upgrade"), request.value(b"Connection")) == (b"squeak/2", b"Upgrade")
    service.send(SWITCH, b"Connection: upgrade\r\n\r\n")
    assert visitor.read_head().raw == SWITCH + b"Connection: Upgrade\r\n\r\n"
    return visitor, service


def test_any_upgrade_makes_a_pipe(tunnel: Tunnel, upstream: RawUpstream) -> None:
    visitor, service = upgrade(tunnel, upstream)
    with visitor, service:
        for number in range(20):
            visitor.send(b"\x00\xff%d\r\n\r\n" % number)
            assert service.read_until(b"\r\n\r\n") == b"\x00\xff%d\r\n\r\n" % number
            service.send(b"HTTP/1.1 400 %d\r\n\r\n" % number)
            assert visitor.read_until(b"\r\n\r\n") == b"HTTP/1.1 400 %d\r\n\r\n" % number


def test_a_pipe_carries_much_both_ways_at_once(tunnel: Tunnel, upstream: RawUpstream) -> None:
    visitor, service = upgrade(tunnel, upstream)
    with visitor, service:
        up, down = bytes(range(256)) * 20_000, bytes(range(255, -1, -1)) * 20_000
        sending = [in_background(visitor.send, up), in_background(service.send, down)]
        reading = in_background(service.read, len(up))
        assert visitor.read(len(down)) == down
        assert reading.result(10) == up
        for each in sending:
            each.result(5)


def test_bytes_in_one_packet_with_the_heads_belong_to_the_pipe(tunnel: Tunnel, upstream: RawUpstream) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/", *UPGRADE), b"early from the visitor")
        service = begin(upstream, SWITCH + b"Connection: Upgrade\r\n\r\nearly from the service")
        visitor.read_head()
        assert visitor.read(22) == b"early from the service"
        assert service.read(22) == b"early from the visitor"


def test_a_visitor_who_is_done_still_hears_the_service(tunnel: Tunnel, upstream: RawUpstream) -> None:
    visitor, service = upgrade(tunnel, upstream)
    with visitor, service:
        visitor.send(b"the last question")
        visitor.half_close()
        assert service.read_to_end() == b"the last question"
        for number in range(10):
            service.send(b"%d" % number)
            assert visitor.read(1) == b"%d" % number
        service.half_close()
        assert visitor.read_to_end() == b""


def test_a_service_that_is_done_still_hears_the_visitor(tunnel: Tunnel, upstream: RawUpstream) -> None:
    visitor, service = upgrade(tunnel, upstream)
    with visitor, service:
        service.send(b"the last answer")
        service.half_close()
        assert visitor.read_to_end() == b"the last answer"
        for number in range(10):
            visitor.send(b"%d" % number)
            assert service.read(1) == b"%d" % number
        visitor.half_close()
        assert service.read_to_end() == b""


def test_a_declined_upgrade_is_an_ordinary_exchange(tunnel: Tunnel, upstream: RawUpstream) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/", *UPGRADE), tunnel.get(b"/next"))
        begin(upstream, answer)
        assert visitor.read_response().raw == answer
        service = upstream.next()
        assert service.read_head().target == b"/next"
        service.send(OK)
        assert visitor.read_response().raw == OK


# ---- gigabytes


@pytest.fixture(scope="module")
def wide(module_lab: Lab, shared_upstream: RawUpstream) -> Tunnel:
    """A tunnel without limits of size."""
    return module_lab.tunnel(shared_upstream.url, env=UNLIMITED)


@pytest.fixture
def bounded(wide: Tunnel, upstream: RawUpstream) -> Iterator[Tunnel]:
    """The same; what a test does with it may not make a process grow."""
    with wide.visit() as visitor:
        visitor.send(wide.get())
        begin(upstream, OK)
        visitor.read_response()
    programs = (wide.server, wide.client)
    before = [program.rss_kib for program in programs]
    for program in programs:
        program.reset_peak()
    yield wide
    grown = {program.label: program.peak_kib - kib for program, kib in zip(programs, before, strict=True)}
    assert all(kib <= MAY_GROW_KIB for kib in grown.values()), grown


def send_gigabyte(wire: Wire) -> str:
    """Send 1 GiB of blocks that all differ; return its SHA-256."""
    digest = hashlib.sha256()
    rest = hashlib.shake_256(b"terratunnel").digest(BLOCK_BYTES - 8)
    for number in range(GIB // BLOCK_BYTES):
        block = number.to_bytes(8, "big") + rest
        wire.sock.sendall(block)
        digest.update(block)
    return digest.hexdigest()


def hash_gigabyte(wire: Wire) -> str:
    digest = hashlib.sha256()
    left = GIB
    while left:
        data = wire.read_some()
        assert data, f"{left} bytes are missing"
        digest.update(data)
        left -= len(data)
    assert left == 0
    return digest.hexdigest()


def test_a_gigabyte_goes_up_whole_and_in_bounded_memory(bounded: Tunnel, upstream: RawUpstream) -> None:
    with bounded.visit() as visitor:
        visitor.send(bounded.get(b"/up", b"Content-Length: %d" % GIB, method=b"PUT"))
        sending = in_background(send_gigabyte, visitor)
        service = begin(upstream)
        received = hash_gigabyte(service)
        assert received == sending.result(5)
        service.send(OK)
        assert visitor.read_response().raw == OK


def test_a_gigabyte_comes_down_whole_and_in_bounded_memory(bounded: Tunnel, upstream: RawUpstream) -> None:
    with bounded.visit() as visitor:
        visitor.send(bounded.get(b"/down"))
        service = begin(upstream, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIB)
        sending = in_background(send_gigabyte, service)
        assert visitor.read_head().status == 200
        received = hash_gigabyte(visitor)
        assert received == sending.result(5)
        visitor.send(bounded.get())
        begin(upstream, OK)
        assert visitor.read_response().raw == OK
