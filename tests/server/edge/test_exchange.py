"""One exchange: what an agent may answer, what the visitor then sees, and what waits for a free stream."""

from typing import cast

import pytest

from terratunnel.forwarding.failures import STATUS_OF_RESET
from terratunnel.protocol.errors import ResetCode
from terratunnel.protocol.frames import Flag
from terratunnel.protocol.settings import Settings
from terratunnel.server.config import EdgeLimits
from terratunnel.server.edge.exchange import MAX_INTERIM_BYTES
from terratunnel.testing.clock import Clock, clocked, settled, turns
from tests.server.lab import OK, RawAgent, Visitor, answer, begin, running

ONE_STREAM = Settings(max_streams=1)


# ---------------------------------------------------------------------- framing


async def test_a_length_from_the_service_stays_a_length() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get()
        answer(await agent.request(), b"four", b"X-A", b"1", b"x-a", b"2")
        response = await visitor.response()
        assert response.fields == [(b"Content-Length", b"4"), (b"X-A", b"1"), (b"x-a", b"2")]
        assert response.body == b"four"


async def test_a_body_of_unknown_length_is_chunked() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get()
        request = await agent.request()
        begin(request)
        assert request.stream is not None
        request.stream.send_data(b"one")
        request.stream.send_end([b"X-Sum", b"3"])
        assert (await visitor.head()).value(b"Transfer-Encoding") == b"chunked"
        assert await visitor.reader.readuntil(b"\r\n\r\n") == b"3\r\none\r\n0\r\nX-Sum: 3\r\n\r\n"


async def test_an_answer_without_a_body_says_so() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get()
        request = await agent.request()
        assert request.stream is not None
        request.stream.send_headers(OK, end=True)
        assert (await visitor.response()).value(b"Content-Length") == b"0"


async def test_the_answer_to_a_head_request_keeps_its_length_and_has_no_body() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get(method=b"HEAD")
        visitor.get(b"/second")
        request = await agent.request()
        assert request.stream is not None
        request.stream.send_headers([*OK, b"Content-Length", b"1000"], end=True)
        assert (await visitor.response(b"HEAD")).value(b"Content-Length") == b"1000"
        answer(await agent.request(2), b"second")
        assert (await visitor.response()).body == b"second"


# ---------------------------------------------------------------------- answers that break a rule

LENGTH_5 = [*OK, b"Content-Length", b"5"]


async def asked(agent: RawAgent, visitor: Visitor) -> int:
    """Ask, and return the stream's id."""
    visitor.get()
    return (await agent.heads())[0]


@pytest.mark.parametrize(
    "items",
    [
        [],
        [b"200"],
        [b"200", b"OK", b"X"],
        [b"20", b"OK"],
        [b"+20", b"OK"],
        [b"099", b"OK"],
        [b"200", b"OK\r\nX: y"],
        [b"200", b"OK", b"X", b"a\r\nSet-Cookie: b"],
        [b"200", b"OK", b"X", b"a\nb"],
        [b"200", b"OK", b"X", b"a\0b"],
        [b"200", b"OK", b"X\r\nY", b"a"],
        [b"200", b"OK", b"X y", b"a"],
        [b"200", b"OK", b"X:", b"a"],
        [b"200", b"OK", b"", b"a"],
        [*LENGTH_5, b"Content-Length", b"5"],
        [*LENGTH_5, b"content-length", b"6"],
        [*OK, b"Content-Length", b"5, 5"],
        [*OK, b"Content-Length", b"+5"],
        [*OK, b"Content-Length", b"-1"],
        [*OK, b"Content-Length", b"0x5"],
        [*OK, b"Content-Length", b""],
        [*OK, b"Content-Length", b"9" * 30],
        [*OK, b"Transfer-Encoding", b"chunked"],
        [*OK, b"transfer-encoding", b"identity"],
        [*OK, b"Connection", b"keep-alive"],
        [*OK, b"Keep-Alive", b"timeout=5"],
        [*OK, b"Upgrade", b"h2c"],
        [b"101", b"Switching Protocols", b"Upgrade", b"chat"],
        [b"101", b"Switching Protocols"],
        [b"150", b"Odd"],
        [b"204", b"No Content", b"Content-Length", b"5"],
    ],
)
async def test_a_malformed_head_is_502_and_nothing_of_it_reaches_the_visitor(items: list[bytes]) -> None:
    async with running() as lab:
        agent, visitor = await lab.raw_agent(), await lab.visit()
        stream = await asked(agent, visitor)
        agent.say(agent.head(stream, items), agent.data(stream, b"smuggled"))
        response = await visitor.response()
        assert response.status == 502
        assert response.value(b"Set-Cookie") == b""
        assert b"smuggled" not in response.body
        note = await agent.until_heard("RESET")
        assert note[1] == stream
        await next_is_served(agent, visitor)


async def next_is_served(agent: RawAgent, visitor: Visitor) -> None:
    """The connection and the link live on."""
    visitor.get(b"/next")
    stream = (await agent.heads(2))[1]
    agent.say(agent.head(stream, LENGTH_5), agent.data(stream, b"next!", end=True))
    assert (await visitor.response()).body == b"next!"


@pytest.mark.parametrize("body", [b"", b"1234", b"123456"])
async def test_a_body_that_is_not_as_long_as_its_head_says_never_comes_to_a_clean_end(body: bytes) -> None:
    async with running() as lab:
        agent, visitor = await lab.raw_agent(), await lab.visit()
        stream = await asked(agent, visitor)
        agent.say(agent.head(stream, LENGTH_5))
        assert (await visitor.head()).status == 200
        agent.say(agent.data(stream, body, end=True))
        assert await visitor.is_cut()


async def test_a_declared_length_with_an_end_at_once_is_502_so_that_no_other_answer_fills_it() -> None:
    async with running() as lab:
        agent, visitor = await lab.raw_agent(), await lab.visit()
        stream = await asked(agent, visitor)
        agent.say(agent.head(stream, LENGTH_5, Flag.END))
        assert (await visitor.response()).status == 502
        await next_is_served(agent, visitor)


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", b"200"), (b"GET", b"204"), (b"GET", b"304")])
async def test_a_body_where_none_is_allowed_is_refused(method: bytes, status: bytes) -> None:
    async with running() as lab:
        agent, visitor = await lab.raw_agent(), await lab.visit()
        visitor.get(method=method)
        (stream,) = await agent.heads()
        agent.say(agent.head(stream, [status, b"X"]), agent.data(stream, b"HTTP/1.1 200 OK\r\n\r\n", end=True))
        response = await visitor.response(method)
        assert response.status == 502
        assert not response.body or method == b"GET"


@pytest.mark.parametrize("trailers", [[b"Content-Length", b"5"], [b"X", b"a\r\nb"], [b"X"], [b"Host", b"a"]])
async def test_malformed_trailers_cut_the_answer(trailers: list[bytes]) -> None:
    async with running() as lab:
        agent, visitor = await lab.raw_agent(), await lab.visit()
        stream = await asked(agent, visitor)
        agent.say(agent.head(stream, OK), agent.data(stream, b"body"))
        assert (await visitor.head()).status == 200
        agent.say(agent.end(stream, trailers))
        assert await visitor.is_cut()


@pytest.mark.parametrize("items", [[b"200", b"OK"], [b"101", b"Switch", b"Upgrade", b"x"], [b"100", b"A\r\nB"]])
async def test_a_malformed_interim_head_is_502(items: list[bytes]) -> None:
    async with running() as lab:
        agent, visitor = await lab.raw_agent(), await lab.visit()
        stream = await asked(agent, visitor)
        agent.say(agent.head(stream, items, Flag.INTERIM))
        assert (await visitor.response()).status == 502


async def test_interim_heads_are_bounded() -> None:
    async with running() as lab:
        agent, visitor = await lab.raw_agent(), await lab.visit_slowly()
        stream = await asked(agent, visitor)
        interim = agent.head(stream, [b"103", b"Early Hints", b"Link", b"x" * 500], Flag.INTERIM)
        for _ in range(2 * MAX_INTERIM_BYTES // 500):
            agent.say(interim)
        await agent.until_heard("RESET")
        visitor.resume()
        hints = 0
        while (response := await visitor.response()).status == 103:
            hints += 1
        assert response.status == 502
        assert 0 < hints < MAX_INTERIM_BYTES / 500


async def test_interim_heads_are_not_for_visitors_of_1_0() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.send(b"GET / HTTP/1.0\r\nHost: app.localhost\r\n\r\n")
        request = await agent.request()
        assert request.stream is not None
        request.stream.send_headers([b"103", b"Early Hints"], interim=True)
        answer(request, b"x")
        assert (await visitor.response()).status == 200


async def test_frames_after_the_end_end_the_link_and_not_the_answer() -> None:
    async with running() as lab:
        agent, visitor = await lab.raw_agent(), await lab.visit()
        visitor.get(b"/", b"Content-Length: 5", method=b"POST")  # its body is owed, so the stream is still open
        (stream,) = await agent.heads()
        agent.say(agent.head(stream, LENGTH_5), agent.data(stream, b"whole", end=True))
        assert (await visitor.response()).body == b"whole"
        agent.say(agent.head(stream, OK), agent.data(stream, b"more"))
        await agent.until_heard("GOAWAY")
        assert await visitor.rest() == b""


# ---------------------------------------------------------------------- resets


@pytest.mark.parametrize("code", list(ResetCode))
async def test_a_reset_before_the_answer_has_its_status_and_its_reason(code: ResetCode) -> None:
    async with running() as lab:
        agent, visitor = await lab.raw_agent(), await lab.visit()
        stream = await asked(agent, visitor)
        agent.say(agent.reset(stream, code, b"Because <it> is so."))
        response = await visitor.response()
        assert response.status == STATUS_OF_RESET[code]
        assert b"Because <it> is so." in response.body


async def test_a_reset_within_the_answer_cuts_it() -> None:
    async with running() as lab:
        agent, visitor = await lab.raw_agent(), await lab.visit()
        stream = await asked(agent, visitor)
        agent.say(agent.head(stream, OK), agent.data(stream, b"begun"))
        assert (await visitor.head()).status == 200
        agent.say(agent.reset(stream, ResetCode.UPSTREAM_BROKEN))
        assert await visitor.is_cut()


async def test_stopped_after_the_answer_ends_the_upload_in_good_order() -> None:
    async with running() as lab:
        agent, visitor = await lab.raw_agent(), await lab.visit()
        visitor.get(b"/", b"Content-Length: 100000", method=b"POST")
        (stream,) = await agent.heads()
        agent.say(agent.head(stream, LENGTH_5), agent.data(stream, b"early", end=True))
        assert (await visitor.response()).body == b"early"
        agent.say(agent.reset(stream, ResetCode.STOPPED))
        assert await visitor.rest() == b""


# ---------------------------------------------------------------------- sizes

SMALL = EdgeLimits(max_request_bytes=1_000, max_response_bytes=1_000)


async def test_a_declared_request_over_the_limit_is_413_and_the_agent_never_hears_of_it() -> None:
    async with running(SMALL) as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get(b"/", b"Content-Length: 1001", method=b"POST")
        response = await visitor.response()
        assert response.status == 413
        assert b"1001 bytes" in response.body
        assert agent.owner.streams == []


async def test_a_declared_answer_over_the_limit_is_413() -> None:
    async with running(SMALL) as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get()
        answer(await agent.request(), b"x" * 1_001)
        assert (await visitor.response()).status == 413


async def test_the_server_s_own_pages_are_held_to_no_limit_for_tunnels() -> None:
    """A backup of the database is as long as it is."""
    async with running(SMALL) as lab:
        visitor = await lab.visit()
        visitor.get(b"/", host=b"localhost")
        response = await visitor.response()
        assert (response.status, len(response.body) > 1_000) == (200, True)


@pytest.mark.parametrize("size", [999, 1_000])
async def test_up_to_the_limit_everything_passes(size: int) -> None:
    async with running(SMALL) as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.post(b"x" * size)
        request = await agent.request()
        await request.finish()
        assert len(request.body) == size
        answer(request, b"y" * size)
        assert len((await visitor.response()).body) == size


async def test_a_head_request_is_not_held_to_the_size_of_a_body_it_does_not_get() -> None:
    async with running(SMALL) as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get(method=b"HEAD")
        request = await agent.request()
        assert request.stream is not None
        request.stream.send_headers([*OK, b"Content-Length", b"5000"], end=True)
        assert (await visitor.response(b"HEAD")).status == 200


async def test_an_undeclared_request_over_the_limit_is_413_and_closed_and_never_ends_for_the_agent() -> None:
    async with running(SMALL) as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get(b"/", b"Transfer-Encoding: chunked", method=b"POST")
        request = await agent.request()
        visitor.send(b"3e8\r\n", b"x" * 1_000, b"\r\n", b"1\r\nx\r\n0\r\n\r\n")
        assert (await visitor.response()).status == 413
        assert await visitor.rest() == b""
        note = await request.until_heard("reset")
        assert note[1] is ResetCode.TOO_LARGE
        assert not request.ended


async def test_an_undeclared_answer_over_the_limit_is_cut() -> None:
    async with running(SMALL) as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get()
        request = await agent.request()
        begin(request)
        assert request.stream is not None
        assert (await visitor.head()).status == 200
        request.stream.send_data(b"x" * 600)
        await turns(10)
        request.stream.send_data(b"x" * 401)
        assert await visitor.is_cut()
        note = await request.until_heard("reset")
        assert note[1] is ResetCode.TOO_LARGE


async def test_an_upgraded_connection_has_no_limit_of_size() -> None:
    async with running(SMALL) as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get(b"/", b"Connection: Upgrade", b"Upgrade: chat")
        request = await agent.request()
        begin(request, b"Upgrade", b"chat", status=b"101")
        assert (await visitor.head()).status == 101
        visitor.send(b"x" * 5_000)
        await request.until(lambda: len(request.body) == 5_000)
        assert request.stream is not None
        request.stream.send_data(b"y" * 5_000)
        assert await visitor.reader.readexactly(5_000) == b"y" * 5_000


# ---------------------------------------------------------------------- upgrades


async def test_an_upgraded_connection_ends_when_both_sides_have_ended() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get(b"/", b"Connection: Upgrade", b"Upgrade: chat")
        request = await agent.request()
        begin(request, b"Upgrade", b"chat", status=b"101")
        assert (await visitor.head()).status == 101
        visitor.writer.write_eof()
        await request.until_heard("end")
        assert request.stream is not None
        request.stream.send_data(b"last words", end=True)
        assert await visitor.rest() == b"last words"
        assert agent.connection.open_streams == 0


@clocked
async def test_an_upgraded_connection_that_the_visitor_never_ends_is_cut_in_the_end(clock: Clock) -> None:
    async with running(clock=clock) as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get(b"/", b"Connection: Upgrade", b"Upgrade: chat")
        request = await agent.request()
        begin(request, b"Upgrade", b"chat", status=b"101")
        assert (await visitor.head()).status == 101
        await clock.advance(200.0)
        assert lab.connections == 1  # two who have nothing to say to each other may stay
        assert request.stream is not None
        request.stream.send_end([])
        assert await visitor.rest() == b""
        await clock.advance(74.0)
        assert lab.connections == 1
        await clock.advance(2.0)
        await request.until_heard("reset")
        assert lab.connections == 0


async def test_a_declined_upgrade_is_an_ordinary_answer_and_the_connection_lives_on() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get(b"/", b"Connection: Upgrade", b"Upgrade: chat")
        visitor.get(b"/next")
        answer(await agent.request(), b"no")
        assert (await visitor.response()).body == b"no"
        answer(await agent.request(2), b"next")
        assert (await visitor.response()).body == b"next"


# ---------------------------------------------------------------------- waiting


async def test_a_request_that_waits_for_a_stream_loses_nothing_of_its_body() -> None:
    async with running(link=ONE_STREAM) as lab:
        agent, one, two = await lab.agent(), await lab.visit(), await lab.visit()
        one.get(b"/one")
        first = await agent.request()
        body = bytes(range(256)) * 1_000
        two.post(body)
        await settled()
        assert len(agent.owner.streams) == 1
        answer(first, b"one")
        assert (await one.response()).body == b"one"
        second = await agent.request(2)
        await second.finish()
        assert second.body == body
        answer(second, b"two")
        assert (await two.response()).body == b"two"


async def test_those_who_wait_are_served_in_their_order() -> None:
    async with running(link=ONE_STREAM) as lab:
        agent = await lab.agent()
        visitors = [await lab.visit() for _ in range(5)]
        for number, visitor in enumerate(visitors):
            visitor.get(b"/%d" % number)
            await settled()
        for number, visitor in enumerate(visitors):
            request = await agent.request(number + 1)
            assert request.heard[0][1][1] == b"/%d" % number  # type: ignore[index] # ("headers", items)
            answer(request, b"%d" % number)
            assert (await visitor.response()).body == b"%d" % number


@clocked
async def test_who_waits_for_too_long_is_told_503(clock: Clock) -> None:
    async with running(link=ONE_STREAM, clock=clock) as lab:
        agent, one, two = await lab.agent(), await lab.visit(), await lab.visit()
        one.get()
        await agent.request()
        two.post(b"x" * 10)
        await settled()
        await clock.advance(10.5)
        response = await two.response()
        assert response.status == 503
        assert response.value(b"Retry-After") == b"2"
        assert len(agent.owner.streams) == 1


async def test_who_leaves_while_it_waits_is_forgotten() -> None:
    async with running(link=ONE_STREAM) as lab:
        agent, one = await lab.agent(), await lab.visit()
        one.get()
        first = await agent.request()
        leaving = [await lab.visit() for _ in range(3)]
        for visitor in leaving:
            visitor.get()
        await settled()
        route = lab.server.routes.find("app.localhost")
        assert route is not None
        assert len(route.waiting) == 3
        for visitor in leaving:
            visitor.reset()
        answer(first)
        assert (await one.response()).status == 200
        await settled()
        assert len(route.waiting) == 0
        one.get(b"/again")
        await agent.request(len(agent.owner.streams))
        assert lab.server.routes.find("app.localhost") is route


async def test_who_waits_when_the_agent_leaves_is_told_502_at_once() -> None:
    async with running(link=ONE_STREAM) as lab:
        agent, one, two = await lab.agent(), await lab.visit(), await lab.visit()
        one.get()
        await agent.request()
        two.get()
        await settled()
        agent.link.abort()
        for visitor in (one, two):
            assert (await visitor.response()).status == 502


# ---------------------------------------------------------------------- time


@clocked
async def test_an_agent_that_never_answers_costs_504_after_its_time(clock: Clock) -> None:
    async with running(EdgeLimits(response_timeout_s=40.0), clock=clock) as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get()
        request = await agent.request()
        await clock.advance(39.0)
        assert "reset" not in request.names()
        await clock.advance(1.5)
        assert (await visitor.response()).status == 504
        await request.until_heard("reset")


@pytest.mark.parametrize(
    "fields", [(b"Connection: Upgrade", b"Upgrade: chat"), (b"Content-Length: 5", b"Expect: 100-continue")]
)
def test_that_holds_for_who_waits_for_a_switch_or_an_invitation(fields: tuple[bytes, bytes]) -> None:
    @clocked
    async def run(clock: Clock) -> None:
        async with running(EdgeLimits(response_timeout_s=40.0), clock=clock) as lab:
            agent, visitor = await lab.agent(), await lab.visit()
            visitor.get(b"/", *fields)
            await agent.request()
            await clock.advance(41.0)
            assert (await visitor.response()).status == 504

    run()


# ---------------------------------------------------------------------- credit


async def test_a_visitor_who_does_not_read_gives_no_credit_to_the_agent() -> None:
    async with running(EdgeLimits(max_response_bytes=0)) as lab:
        agent, visitor = await lab.agent(), await lab.visit_slowly()
        visitor.get()
        request = await agent.request()
        begin(request)
        assert request.stream is not None
        request.stream.send_data(b"x" * 50_000_000)
        await settled()
        (connection,) = lab.server._edge.connections
        held = connection._unwritten
        assert 0 < held < 6_000_000
        await settled()
        assert connection._unwritten <= held
        visitor.resume()
        assert (await visitor.head()).status == 200


async def test_a_visitor_is_not_read_from_while_the_agent_takes_nothing() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(hold=True), await lab.visit()
        visitor.get(b"/", b"Content-Length: 40000000", method=b"POST")
        visitor.send(b"x" * 40_000_000)
        await settled()
        (connection,) = lab.server._edge.connections
        assert connection._reading_paused
        assert visitor.transport.get_write_buffer_size() > 10_000_000
        assert agent.connection.open_streams == 1


# ---------------------------------------------------------------------- cookies (security.md A1)


async def test_our_cookies_do_not_reach_a_tunnel_and_its_own_do() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get(b"/", b"Cookie: a=1; __Host-terratunnel_session=secret; b=2", b"cookie: terratunnel_oauth=secret")
        items = cast(list[bytes], (await (await agent.request()).until_heard("headers"))[1])
        assert b"secret" not in b"".join(items)
        assert items[items.index(b"Cookie") + 1] == b"a=1; b=2"
        assert b"cookie" not in items


async def test_a_tunnel_sets_no_cookie_for_the_servers_own_pages() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get()
        tossed = b"terratunnel_session=x; Domain=localhost"
        own = b"a=1; Domain=app.localhost"
        answer(await agent.request(), b"", b"Set-Cookie", tossed, b"Set-Cookie", own, b"set-cookie", tossed)
        assert (await visitor.response()).fields == [(b"Content-Length", b"0"), (b"Set-Cookie", own)]


async def test_the_servers_own_pages_get_their_cookies() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        route = lab.server.routes.find("app.localhost")
        assert route is not None
        route.is_own = True
        visitor.get(b"/", b"Cookie: terratunnel_session=secret")
        request = await agent.request()
        assert b"terratunnel_session=secret" in cast(list[bytes], (await request.until_heard("headers"))[1])
        answer(request, b"", b"Set-Cookie", b"a=1; Domain=localhost")
        assert (await visitor.response()).value(b"Set-Cookie") == b"a=1; Domain=localhost"


# ---------------------------------------------------------------------- what is counted


async def test_requests_and_bytes_are_counted_for_each_route() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        for number in (1, 2):
            visitor.post(b"12345")
            answer(await agent.request(number), b"1234567")
            await visitor.response()
        route = lab.server.routes.find("app.localhost")
        assert route is not None
        assert (route.requests, route.bytes_in, route.bytes_out) == (2, 10, 14)
