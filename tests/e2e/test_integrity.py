"""A flipped byte on the link is caught and named, nobody sees a clean end, and the link lives on.

A relay between the client and the server flips one bit in a DATA frame, in step with the test.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.support.lab import Lab, Tunnel, in_background, port_of
from tests.e2e.support.processes import Program
from tests.e2e.support.relay import DOWN, UP, FlippingRelay
from tests.e2e.support.upstream import RawUpstream
from tests.e2e.support.wire import CutShort, Wire, chunked, cut_of

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
# Above the streaming threshold, so that its chunks carry checksums as well.
LENGTH = 20_000_000
WITH_LENGTH = b"Content-Length: %d" % LENGTH


@pytest.fixture(scope="module")
def server(module_lab: Lab) -> Program:
    return module_lab.server()


@pytest.fixture(scope="module")
def relay(server: Program) -> Iterator[FlippingRelay]:
    with FlippingRelay(port_of(server)) as relay:
        yield relay


@pytest.fixture(scope="module")
def tunnel(module_lab: Lab, server: Program, relay: FlippingRelay, shared_upstream: RawUpstream) -> Tunnel:
    return module_lab.join(server, module_lab.client(relay.port, shared_upstream.url))


@pytest.fixture(autouse=True)
def link_lives_on(tunnel: Tunnel, relay: FlippingRelay, upstream: RawUpstream) -> Iterator[None]:
    """Around each test: a stream of events that nothing interrupts, and another request afterwards, on the one link."""
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/events"))
        service = begin(upstream, b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n\r\n")
        visitor.read_head()
        chunks = visitor.iter_chunks()
        service.send_chunk(b"before")
        assert next(chunks) == b"before"
        yield
        service.send_chunk(b"after")
        assert next(chunks) == b"after"
        service.send(chunked())
        assert list(chunks) == []
    with tunnel.visit() as visitor:
        visitor.send(tunnel.post(b"hello"))
        service = upstream.next()
        assert service.read_request().body == b"hello"
        service.send(OK)
        assert visitor.read_response().raw == OK
    assert relay.links == 1
    assert tunnel.client.named("reconnecting") == []


def begin(upstream: RawUpstream, answer: bytes = b"") -> Wire:
    """The service's end of a request whose head was read; its answer begins with these bytes."""
    service = upstream.next()
    service.read_head()
    service.send(answer)
    return service


def send_piece(wire: Wire, framing: bytes, data: bytes) -> None:
    """Send a piece of a body."""
    if framing == CHUNKED:
        wire.send_chunk(data)
    else:
        wire.send(data)


def piece_reader(wire: Wire, framing: bytes) -> Callable[[int], bytes]:
    """How to read as many bytes of the body."""
    chunks = wire.iter_chunks()
    return lambda size: next(chunks) if framing == CHUNKED else wire.read(size)


def response_or_cut(visitor: Wire) -> tuple[int, bytes]:
    """Status and body; 0 and what had come of a response that was cut."""
    try:
        response = visitor.read_response()
    except CutShort as cut:
        return 0, cut.got
    return response.status, response.body


def is_named(tunnel: Tunnel, target: str, chunk: int) -> None:
    """Both logs and the event of the client name the chunk."""
    words = f"chunk {chunk} (after {6 * chunk} bytes) does not match its SHA-256"
    assert words in tunnel.client.wait("request", target=target)["error"]
    for program in (tunnel.server, tunnel.client):
        assert "checksum_mismatch" in program.wait_log(words)


@pytest.mark.parametrize("framing", [CHUNKED, WITH_LENGTH])
def test_a_flipped_byte_of_a_response_never_reaches_the_visitor(
    tunnel: Tunnel, relay: FlippingRelay, upstream: RawUpstream, framing: bytes
) -> None:
    target = b"/down-" + framing[:1]
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(target))
        service = begin(upstream, b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        visitor.read_head()
        read = piece_reader(visitor, framing)
        for number in range(3):
            send_piece(service, framing, b"piece%d" % number)
            assert read(6) == b"piece%d" % number
        flipped = relay.flip(UP)
        send_piece(service, framing, b"wicked")
        cut = cut_of(lambda: read(6))
        assert flipped.is_set()
        assert (cut.how, cut.got) == ("reset", b"")
        cut_of(lambda: service.read(1))
    is_named(tunnel, target.decode(), 3)


@pytest.mark.parametrize("framing", [CHUNKED, WITH_LENGTH, b"X-Framing: none"])
def test_a_flipped_byte_at_the_very_beginning_is_an_error_or_a_cut(
    tunnel: Tunnel, relay: FlippingRelay, upstream: RawUpstream, framing: bytes
) -> None:
    with tunnel.visit() as visitor:
        flipped = relay.flip(UP)
        visitor.send(tunnel.get())
        body = chunked(b"wicked") if framing == CHUNKED else b"wicked"
        service = begin(upstream, b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + body)
        service.half_close()
        status, seen = response_or_cut(visitor)
        assert flipped.is_set()
        assert b"wicked" not in seen
        assert status == 0 or (status == 502 and b"chunk 0 (after 0 bytes)" in seen)
    # For the client all is said and done: whether the server got it, it does not hear.
    assert "checksum_mismatch" in tunnel.server.wait_log("chunk 0 (after 0 bytes) does not match its SHA-256")


@pytest.mark.parametrize("framing", [CHUNKED, WITH_LENGTH])
def test_a_flipped_byte_of_an_upload_never_reaches_the_service(
    tunnel: Tunnel, relay: FlippingRelay, upstream: RawUpstream, framing: bytes
) -> None:
    target = b"/up-" + framing[:1]
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(target, framing, method=b"POST"))
        service = begin(upstream)
        read = piece_reader(service, framing)
        for number in range(2):
            send_piece(visitor, framing, b"piece%d" % number)
            assert read(6) == b"piece%d" % number
        flipped = relay.flip(DOWN)
        send_piece(visitor, framing, b"wicked")
        response = visitor.read_response()
        assert flipped.is_set()
        assert response.status == 502
        assert b"chunk 2 (after 12 bytes)" in response.body
        assert cut_of(lambda: read(6)).got == b""
    is_named(tunnel, target.decode(), 2)


def test_an_upload_that_is_wrong_after_an_early_answer_is_cut(
    tunnel: Tunnel, relay: FlippingRelay, upstream: RawUpstream
) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/early", CHUNKED, method=b"POST"))
        service = begin(upstream, b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n\r\n")
        visitor.read_head()
        flipped = relay.flip(DOWN)
        visitor.send_chunk(b"wicked")
        assert cut_of(lambda: next(service.iter_chunks())).got == b""
        assert cut_of(lambda: next(visitor.iter_chunks())).how == "reset"
        assert flipped.is_set()
    is_named(tunnel, "/early", 0)


@pytest.mark.parametrize("direction", [UP, DOWN])
def test_a_flipped_byte_in_a_pipe_is_a_clean_end_for_nobody(
    tunnel: Tunnel, relay: FlippingRelay, upstream: RawUpstream, direction: str
) -> None:
    target = b"/pipe-" + direction.encode()
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(target, b"Connection: Upgrade", b"Upgrade: squeak"))
        service = begin(upstream, b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: squeak\r\n\r\n")
        visitor.read_head()
        sender, receiver = (service, visitor) if direction == UP else (visitor, service)
        sender.send(b"proper")
        assert receiver.read(6) == b"proper"
        flipped = relay.flip(direction)
        sender.send(b"wicked")
        assert cut_of(lambda: receiver.read(1)).how == "reset"
        assert cut_of(lambda: sender.read(1)).how == "reset"
        assert flipped.is_set()
    is_named(tunnel, target.decode(), 1)


@pytest.mark.parametrize("skip", [7, 50])
def test_a_flipped_byte_in_the_midst_of_much_is_caught(
    tunnel: Tunnel, relay: FlippingRelay, upstream: RawUpstream, skip: int
) -> None:
    block = bytes(range(256)) * 256
    whole = block * 600
    with tunnel.visit() as visitor:
        flipped = relay.flip(UP, skip)
        visitor.send(tunnel.get(b"/much"))
        service = begin(upstream, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(whole))
        sending = in_background(service.send, whole)
        cut = cut_of(visitor.read_response)
        assert flipped.is_set()
        assert cut.how == "reset"
        assert whole.startswith(cut.got)
        sending.exception(10)
        cut_of(lambda: service.read(1))


def test_without_a_flipped_byte_much_arrives_through_the_relay(
    tunnel: Tunnel, relay: FlippingRelay, upstream: RawUpstream
) -> None:
    body = bytes(range(256)) * 50_000
    with tunnel.visit() as visitor:
        sending = in_background(visitor.send, tunnel.post(body))
        service = upstream.next()
        assert service.read_request().body == body
        sending.result(5)
        answering = in_background(service.send, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body)
        assert visitor.read_response().body == body
        answering.result(5)


def test_the_relay_does_flip_bytes_where_no_checksum_travels(
    tunnel: Tunnel, relay: FlippingRelay, upstream: RawUpstream
) -> None:
    """The negative control: a small body of a known length has none (product.md §5)."""
    with tunnel.visit() as visitor:
        down, up = relay.flip(DOWN), relay.flip(UP)
        visitor.send(tunnel.post(b"proper"))
        service = upstream.next()
        assert service.read_request().body == b"pro\x60er"
        service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nproper")
        assert visitor.read_response().body == b"pro\x60er"
        assert down.is_set()
        assert up.is_set()


def test_threshold_and_size_of_chunks_are_the_ones_that_were_asked_for(lab: Lab) -> None:
    upstream = lab.upstream()
    env = {"STREAMING_THRESHOLD": "9999", "DEFAULT_CHUNK_SIZE": "2048"}
    server = lab.server(env=env)
    with FlippingRelay(port_of(server)) as relay:
        tunnel = lab.join(server, lab.client(relay.port, upstream.url, env=env))
        with tunnel.visit() as visitor:
            visitor.send(tunnel.get())
            service = begin(upstream)
            relay.flip(UP, skip=2)
            service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", bytes(10_000))
            assert cut_of(visitor.read_response).how == "reset"
        assert "checksum_mismatch" in server.wait_log("chunk 2 (after 4096 bytes)")
        with tunnel.visit() as visitor:
            relay.flip(DOWN, skip=3)
            visitor.send(tunnel.post(bytes(10_000)))
            assert b"chunk 3 (after 6144 bytes)" in visitor.read_response().body
