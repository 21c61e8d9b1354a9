"""One visitor's connection: order, pace, limits, and an end to every wait."""

import asyncio
import socket

import pytest

from terratunnel.http1.parser import HeadLimits
from terratunnel.server.config import EdgeLimits
from terratunnel.server.edge.connection import MAX_PIPELINED_BYTES, WRITE_HIGH_BYTES
from terratunnel.testing.clock import Clock, clocked, settled, turns
from tests.server.lab import HOST, Lab, answer, begin, running

BLANK = b"\r\n\r\n"


def a_get(target: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join([b"GET %b HTTP/1.1" % target, b"Host: " + HOST, *fields]) + BLANK


async def gone(lab: Lab) -> None:
    """Wait until the edge has no connection left."""
    while lab.connections:
        await turns()


# ---------------------------------------------------------------------- order


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.send(a_get(b"/1"), a_get(b"/2"), a_get(b"/3"))
        for number in (1, 2, 3):
            request = await agent.request(number)
            assert len(agent.owner.streams) == number
            answer(request, b"answer %d" % number)
        assert [(await visitor.response()).body for _ in range(3)] == [b"answer 1", b"answer 2", b"answer 3"]


async def test_a_malformed_second_request_does_not_disturb_the_first() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.send(a_get(b"/1"), b"GET /2 HTTP/1.1\r\nHost: a\r\nHost: b", BLANK, a_get(b"/3"))
        answer(await agent.request(), b"first")
        assert (await visitor.response()).body == b"first"
        assert (await visitor.response()).status == 400
        assert await visitor.rest() == b""
        assert len(agent.owner.streams) == 1


async def test_a_request_in_pieces_is_one_request() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        for byte in b"POST /p HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 3" + BLANK + b"abc":
            visitor.send(bytes([byte]))
            await turns(2)
        request = await agent.request()
        await request.finish()
        assert request.body == b"abc"
        answer(request)
        assert (await visitor.response()).status == 200


async def test_requests_sent_far_ahead_wait_in_the_kernel() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        ahead = 20_000
        visitor.send(a_get(b"/0"))
        request = await agent.request()
        visitor.send(a_get(b"/%d" % ahead) * ahead)
        await settled()
        (connection,) = lab.server._edge.connections
        assert connection._parser.buffered < MAX_PIPELINED_BYTES + 300_000
        answer(request, b"0")
        assert (await visitor.response()).body == b"0"
        for number in range(2, 40):
            answer(await agent.request(number), b"%d" % number)
            assert (await visitor.response()).body == b"%d" % number


async def test_bytes_behind_an_upgrade_request_wait_in_the_kernel_until_the_answer() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.send(a_get(b"/", b"Connection: Upgrade", b"Upgrade: chat"))
        request = await agent.request()
        early = bytes(range(256)) * 8_192
        visitor.send(early)
        await settled()
        (connection,) = lab.server._edge.connections
        assert connection._parser.buffered < MAX_PIPELINED_BYTES + 300_000
        begin(request, b"Upgrade", b"chat", status=b"101")
        assert (await visitor.head()).status == 101
        await request.until(lambda: len(request.body) == len(early))
        assert request.body == early
        sock = connection._transport.get_extra_info("socket")  # type: ignore[union-attr]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1  # type: ignore[union-attr]


async def test_a_visitor_who_asks_and_never_reads_gets_no_more_answers() -> None:
    async with running() as lab:
        visitor = await lab.visit_slowly()
        asked = 20_000
        visitor.send(b"GET /_health HTTP/1.1\r\nHost: localhost" + BLANK)
        visitor.send((b"GET /_health HTTP/1.1\r\nHost: localhost" + BLANK) * asked)
        await settled()
        (connection,) = lab.server._edge.connections
        assert connection.writing_paused
        assert connection._unwritten < WRITE_HIGH_BYTES + 100_000
        assert connection._parser.buffered < MAX_PIPELINED_BYTES + 300_000
        assert len(lab.access_log) < asked
        visitor.resume()
        for _ in range(asked):
            assert (await visitor.response()).status == 200


# ---------------------------------------------------------------------- heads on time


@clocked
async def test_half_a_head_is_answered_408_and_closed_on_time(clock: Clock) -> None:
    async with running(clock=clock) as lab:
        visitor = await lab.visit()
        visitor.send(b"GET / HTTP/1.1\r\nHost: app.loc")
        await clock.advance(9.0)
        assert lab.connections == 1
        await clock.advance(1.5)
        response = await visitor.response()
        assert response.status == 408
        assert response.value(b"Connection") == b"close"
        assert await visitor.rest() == b""


@clocked
async def test_a_head_that_drips_is_not_given_more_time(clock: Clock) -> None:
    async with running(clock=clock) as lab:
        visitor = await lab.visit()
        visitor.send(b"GET / HTTP/1.1\r\nHost: app.localhost\r\nX: ")
        for _ in range(10):
            await clock.advance(1.0)
            visitor.send(b"x")
            await turns(5)
        await clock.advance(1.0)
        assert (await visitor.response()).status == 408


@clocked
async def test_a_connection_that_says_nothing_is_closed(clock: Clock) -> None:
    async with running(clock=clock) as lab:
        visitor = await lab.visit()
        await settled()
        await clock.advance(10.5)
        assert await visitor.rest() == b""


@clocked
async def test_an_idle_connection_is_kept_for_its_time_and_closed(clock: Clock) -> None:
    async with running(clock=clock) as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        for number in (1, 2):
            visitor.send(a_get(b"/"))
            answer(await agent.request(number))
            assert (await visitor.response()).status == 200
            await clock.advance(74.0)
            assert lab.connections == 1
        await clock.advance(2.0)
        assert await visitor.rest() == b""


# ---------------------------------------------------------------------- bodies on time


@clocked
async def test_a_body_that_stops_is_answered_408_and_its_stream_ends(clock: Clock) -> None:
    async with running(clock=clock) as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get(b"/", b"Content-Length: 9000", method=b"POST")
        visitor.send(b"x" * 2_999)
        request = await agent.request()
        await clock.advance(29.0)
        assert "reset" not in request.names()
        await clock.advance(2.0)
        response = await visitor.response()
        assert response.status == 408
        assert b"100 bytes per second" in response.body
        await request.until_heard("reset")
        assert await visitor.rest() == b""


@clocked
async def test_a_body_that_is_slow_but_fast_enough_goes_on(clock: Clock) -> None:
    async with running(clock=clock) as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get(b"/", b"Content-Length: 9000", method=b"POST")
        request = await agent.request()
        for _ in range(90):
            visitor.send(b"x" * 100)
            await turns(5)
            await clock.advance(1.0)
        await request.finish()
        assert request.ended
        answer(request)
        assert (await visitor.response()).status == 200


@clocked
async def test_a_visitor_who_awaits_a_100_owes_no_body_yet(clock: Clock) -> None:
    async with running(clock=clock) as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get(b"/", b"Content-Length: 4000", b"Expect: 100-continue", method=b"POST")
        request = await agent.request()
        await clock.advance(55.0)
        assert request.stream is not None
        request.stream.send_headers([b"100", b"Continue"], interim=True)
        assert (await visitor.head()).status == 100
        visitor.send(b"x" * 4_000)
        await request.finish()
        answer(request)
        assert (await visitor.response()).status == 200


@clocked
async def test_a_body_that_was_invited_is_on_time_too(clock: Clock) -> None:
    async with running(clock=clock) as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get(b"/", b"Content-Length: 4000", b"Expect: 100-continue", method=b"POST")
        request = await agent.request()
        assert request.stream is not None
        request.stream.send_headers([b"100", b"Continue"], interim=True)
        assert (await visitor.head()).status == 100
        await clock.advance(31.0)
        assert (await visitor.response()).status == 408


@clocked
async def test_a_body_may_rest_while_the_response_comes(clock: Clock) -> None:
    async with running(clock=clock) as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get(b"/", b"Transfer-Encoding: chunked", method=b"POST")
        request = await agent.request()
        begin(request)
        assert (await visitor.head()).status == 200
        await clock.advance(300.0)
        assert "reset" not in request.names()
        visitor.send(b"5\r\nhello\r\n0\r\n\r\n")
        await request.finish()
        assert request.body == b"hello"


@clocked
async def test_a_visitor_who_was_answered_and_never_ends_its_body_is_closed(clock: Clock) -> None:
    async with running(clock=clock) as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get(b"/", b"Content-Length: 9000", method=b"POST")
        request = await agent.request()
        answer(request, b"early")
        assert (await visitor.response()).body == b"early"
        await clock.advance(31.0)
        await request.until_heard("reset")
        assert await visitor.rest() == b""
        await clock.advance(3.0)
        assert lab.connections == 0
        assert agent.connection.open_streams == 0


# ---------------------------------------------------------------------- reading visitors


@clocked
async def test_a_visitor_who_stops_reading_is_cut(clock: Clock) -> None:
    async with running(clock=clock) as lab:
        agent, visitor = await lab.agent(), await lab.visit_slowly()
        visitor.send(a_get(b"/"))
        request = await agent.request()
        begin(request)
        assert request.stream is not None
        request.stream.send_data(b"x" * 9_000_000)
        await settled()
        await clock.advance(59.0)
        assert lab.connections == 1
        await clock.advance(2.0)
        await request.until_heard("reset")
        assert lab.connections == 0
        visitor.resume()
        assert await visitor.is_cut()


@clocked
async def test_a_small_answer_that_is_never_read_does_not_keep_the_connection(clock: Clock) -> None:
    async with running(clock=clock) as lab:
        visitor = await lab.visit_slowly()
        await settled()
        (connection,) = lab.server._edge.connections
        while not connection._unwritten:
            visitor.send(b"GET /_health HTTP/1.1\r\nHost: localhost" + BLANK)
            await turns(3)
        visitor.send(b"GET /_health HTTP/1.1\r\nHost: localhost\r\nConnection: close" + BLANK)
        await clock.advance(59.0)
        assert lab.connections == 1
        await clock.advance(2.0)
        assert lab.connections == 0


@clocked
async def test_a_slow_visitor_who_goes_on_reading_is_never_cut(clock: Clock) -> None:
    async with running(EdgeLimits(max_response_bytes=0), clock=clock) as lab:
        agent, visitor = await lab.agent(), await lab.visit_slowly()
        visitor.send(a_get(b"/"))
        request = await agent.request()
        begin(request)
        assert request.stream is not None
        request.stream.send_data(b"x" * 20_000_000)
        await settled()
        visitor.resume()
        assert (await visitor.head()).status == 200
        for _ in range(10):
            await visitor.reader.readexactly(150_000)
            await settled()
            await clock.advance(40.0)
        assert "reset" not in request.names()
        assert lab.connections == 1


@clocked
async def test_a_slow_visitor_gets_a_final_answer_whole(clock: Clock) -> None:
    """The connection closes after it, and not before it was read."""
    async with running(clock=clock) as lab:
        agent, visitor = await lab.agent(), await lab.visit_slowly()
        visitor.get(b"/", b"Content-Length: 9", b"Expect: 100-continue", method=b"POST")
        request = await agent.request()
        answer(request, b"y" * 150_000)
        await settled()
        await clock.advance(20.0)
        visitor.resume()
        assert len((await visitor.response()).body) == 150_000
        assert await visitor.rest() == b""


# ---------------------------------------------------------------------- visitors who leave


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_visitor_who_leaves_ends_its_stream(how: str) -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.send(a_get(b"/slow"))
        request = await agent.request()
        visitor.leave() if how == "close" else visitor.reset()
        note = await request.until_heard("reset")
        assert note[2] == "the visitor left"
        await gone(lab)
        assert lab.access_log[-1] == "GET /slow -> 499"


async def test_a_visitor_who_leaves_in_its_body_ends_its_stream() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get(b"/", b"Content-Length: 10", method=b"POST")
        visitor.send(b"12345")
        request = await agent.request()
        visitor.leave()
        await request.until_heard("reset")
        assert not request.ended


async def test_who_half_closes_in_the_middle_of_a_response_does_not_take_the_rest_for_its_end() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.send(b"GET / HTTP/1.0\r\nHost: ", HOST, BLANK)
        request = await agent.request()
        begin(request)
        assert request.stream is not None
        request.stream.send_data(b"half")
        assert (await visitor.head()).value(b"Connection") == b"close"
        assert await visitor.reader.readexactly(4) == b"half"
        visitor.writer.write_eof()
        assert await visitor.is_cut()


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_visitor_who_leaves_while_nothing_is_read_from_it_is_noticed(how: str) -> None:
    @clocked
    async def run(clock: Clock) -> None:
        async with running(clock=clock) as lab:
            agent, visitor = await lab.agent(hold=True), await lab.visit()
            visitor.get(b"/", b"Transfer-Encoding: chunked", method=b"POST")
            request = await agent.request()
            begin(request)
            assert (await visitor.head()).status == 200
            # More than the stream takes, and little enough for the kernel to take the rest.
            visitor.send(b"70000\r\n", b"x" * 0x70000, b"\r\n")
            await settled()
            (connection,) = lab.server._edge.connections
            assert connection._reading_paused
            await clock.advance(200.0)
            assert lab.connections == 1
            visitor.leave() if how == "close" else visitor.reset()
            await settled()
            await clock.advance(1.0)
            assert lab.connections == 0
            await request.until_heard("reset")

    run()


async def test_who_half_closes_an_upgraded_connection_has_not_left() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(hold=True), await lab.visit()
        visitor.send(a_get(b"/", b"Connection: Upgrade", b"Upgrade: chat"))
        request = await agent.request()
        begin(request, b"Upgrade", b"chat", status=b"101")
        assert (await visitor.head()).status == 101
        visitor.send(b"x" * 0x100000)
        await settled()
        visitor.writer.write_eof()
        await settled()
        (connection,) = lab.server._edge.connections
        assert connection._reading_paused
        connection.check_time(connection.heard_at)
        request.release()
        await request.until(lambda: request.ended)
        assert len(request.body) == 0x100000


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501),
        (b"GET /" + b"x" * 17_000, 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 17_000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431),
    ],
)
async def test_what_cannot_be_read_is_refused_and_the_connection_closed(request_: bytes, status: int) -> None:
    async with running() as lab:
        visitor = await lab.visit()
        visitor.send(request_)
        response = await visitor.response()
        assert response.status == status
        assert response.value(b"Connection") == b"close"
        assert await visitor.rest() == b""
        assert lab.access_log == [f"- - -> {status}"]


async def test_a_malformed_body_is_refused_before_the_answer() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get(b"/", b"Transfer-Encoding: chunked", method=b"POST")
        visitor.send(b"5\r\nhello\r\nnot a size\r\n")
        response = await visitor.response()
        assert response.status == 400
        assert await visitor.rest() == b""
        request = await agent.request()
        await request.until_heard("reset")
        assert not request.ended


async def test_a_malformed_body_cuts_an_answer_that_has_begun() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get(b"/", b"Transfer-Encoding: chunked", method=b"POST")
        request = await agent.request()
        begin(request)
        assert (await visitor.head()).status == 200
        visitor.send(b"not a size\r\n")
        assert await visitor.is_cut()


async def test_the_limits_of_heads_come_from_the_configuration() -> None:
    async with running(EdgeLimits(head=HeadLimits(300, 3))) as lab:
        for request in (a_get(b"/", b"A: 1", b"B: 2", b"C: 3"), a_get(b"/", b"A: " + b"x" * 300)):
            visitor = await lab.visit()
            visitor.send(request)
            assert (await visitor.response()).status == 431


async def test_a_refused_visitor_who_goes_on_sending_still_sees_the_answer() -> None:
    async with running(EdgeLimits(max_request_bytes=10)) as lab:
        await lab.agent()
        visitor = await lab.visit()
        visitor.get(b"/", b"Content-Length: 3000000", method=b"POST")
        visitor.send(b"x" * 3_000_000)
        response = await visitor.response()
        assert response.status == 413
        await asyncio.wait_for(visitor.writer.drain(), 5)
        assert await visitor.rest() == b""


# ---------------------------------------------------------------------- old visitors


async def test_an_old_visitor_without_keep_alive_is_closed_after_its_answer() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.send(b"GET / HTTP/1.0\r\nHost: app.localhost" + BLANK)
        request = await agent.request()
        begin(request)
        assert request.stream is not None
        request.stream.send_data(b"until the end", end=True)
        assert (await visitor.rest()).endswith(b"\r\nConnection: close\r\n\r\nuntil the end")


async def test_an_old_visitor_with_keep_alive_is_told_that_it_is_kept() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        for number in (1, 2):
            visitor.send(b"GET / HTTP/1.0\r\nHost: app.localhost\r\nConnection: keep-alive" + BLANK)
            answer(await agent.request(number), b"x")
            assert (await visitor.response()).value(b"Connection") == b"keep-alive"
