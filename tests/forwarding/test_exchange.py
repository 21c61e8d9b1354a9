"""The forwarder against a service that follows a script: what goes in comes out, and what breaks is told."""

import asyncio
from collections.abc import Callable

import pytest

from terratunnel.forwarding.endpoint import parse_endpoint
from terratunnel.forwarding.pool import UpstreamTimeouts
from terratunnel.protocol.errors import ResetCode
from terratunnel.protocol.settings import Settings
from terratunnel.testing.clock import Clock, clocked, settled
from terratunnel.testing.services import Caller, ScriptedService
from tests.certificates import server_context
from tests.forwarding.rig import (
    CUT_SHORT,
    END,
    KIB,
    MIB,
    OK,
    Rig,
    body,
    finish,
    replying,
    serve_forever,
    silent,
    visited,
)

# ---------------------------------------------------------------------- requests


async def test_a_request_without_a_body_arrives_as_it_was_sent() -> None:
    seen: list[bytes] = []

    async def script(caller: Caller) -> None:
        seen.append(await caller.head())
        caller.send(OK)
        await caller.gone()

    async with Rig(script) as rig:
        visit = rig.send(b"BREW", [b"x-ODD", b"1", b"X-Odd", b"\xff"], target=b"//a%2Fb/?q=+&")
        await visit.finish()
    assert seen == [b"BREW //a%2Fb/?q=+& HTTP/1.1\r\nHost: app.test\r\nx-ODD: 1\r\nX-Odd: \xff\r\n\r\n"]
    assert visited(visit) == [[b"200", b"OK", b"Content-Length", b"2"], b"ok", ("end", [])]


@pytest.mark.parametrize("warm", [False, True])
async def test_a_body_of_known_length_arrives_whole(warm: bool) -> None:
    async def script(caller: Caller) -> None:
        if warm:
            await caller.head()
            caller.send(OK)
        head = await caller.head()
        assert b"Transfer-Encoding" not in head
        assert await caller.read(300 * KIB) == b"u" * 300 * KIB
        caller.send(OK)
        await caller.gone()

    async with Rig(script) as rig:
        if warm:
            await rig.get()
        visit = rig.send(b"POST", [b"Content-Length", b"307200"], end=False)
        for _ in range(3):
            body(visit, b"u" * 100 * KIB)
        finish(visit)
        await visit.finish()
        assert visit.body == b"ok"
        assert rig.service.connections == 1


@pytest.mark.parametrize("warm", [False, True])
async def test_a_body_of_unknown_length_goes_in_chunks_with_its_trailers(warm: bool) -> None:
    async def script(caller: Caller) -> None:
        if warm:
            await caller.head()
            caller.send(OK)
        assert b"\r\nTransfer-Encoding: chunked\r\n" in await caller.head()
        assert await caller.chunked() == (b"onetwo", b"X-Sum: 3\r\n")
        caller.send(OK)
        await caller.gone()

    async with Rig(script) as rig:
        if warm:
            await rig.get()
        visit = rig.send(b"POST", end=False, checked=True)
        body(visit, b"one")
        await settled()
        body(visit, b"two")
        finish(visit, [b"X-Sum", b"3"])
        await visit.finish()
        assert visit.body == b"ok"


async def test_an_empty_chunked_body_and_an_end_with_the_last_bytes_are_well_formed() -> None:
    bodies: list[tuple[bytes, bytes]] = []

    async def script(caller: Caller) -> None:
        async for _ in caller.heads():
            bodies.append(await caller.chunked())
            caller.send(OK)

    async with Rig(script) as rig:
        empty = rig.send(b"POST", end=False)
        finish(empty)
        await empty.finish()
        last = rig.send(b"POST", end=False)
        body(last, b"all of it", end=True)
        await last.finish()
    assert bodies == [(b"", b""), (b"all of it", b"")]


async def test_head_and_first_bytes_leave_in_one_write() -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        caller.send(OK)
        assert (await caller.read_some()).endswith(b"\r\n\r\nhello")
        caller.send(OK)
        await caller.gone()

    async with Rig(script) as rig:
        await rig.get()
        visit = rig.send(b"POST", [b"Content-Length", b"5"], end=False)
        body(visit, b"hello", end=True)
        await visit.finish()
        assert visit.ended


@pytest.mark.parametrize(
    ("fields", "sent", "end"),
    [
        ([b"Content-Length", b"5"], b"sixsix", False),
        ([b"Content-Length", b"5"], b"four", True),
        ([b"Content-Length", b"0"], b"x", False),
    ],
)
async def test_a_request_body_that_is_not_as_long_as_it_says_is_refused(
    fields: list[bytes], sent: bytes, end: bool
) -> None:
    async with Rig(silent) as rig:
        visit = rig.send(b"POST", fields, end=False)
        body(visit, sent, end)
        await visit.finish()
        sentence = "The request's body is not as long as its head says."
        assert visited(visit)[-1] == ("reset", ResetCode.STREAM_PROTOCOL_ERROR, sentence)


async def test_a_request_that_ends_too_early_is_refused_however_it_ends() -> None:
    async with Rig(silent) as rig:
        at_once = rig.send(b"POST", [b"Content-Length", b"5"], end=True)
        await at_once.finish()
        later = rig.send(b"POST", [b"Content-Length", b"5"], end=False)
        body(later, b"four")
        finish(later, [b"X-Sum", b"4"])
        await later.finish()
        assert [visit.heard[-1][1] for visit in (at_once, later)] == [ResetCode.STREAM_PROTOCOL_ERROR] * 2
        assert rig.pool.connections == 0


@pytest.mark.parametrize(
    "items",
    [
        [b"GET"],
        [b"GET", b"/"],
        [b"GET", b"/ HTTP/1.1\r\nX: y", b"Host", b"a"],
        [b"GET", b"/", b"Host", b"a", b"X", b"a\r\nY: b"],
        [b"GET", b"/", b"Host", b"a", b"Transfer-Encoding", b"chunked"],
        [b"GET", b"/", b"Host", b"a", b"Content-Length", b"1", b"Content-Length", b"1"],
    ],
)
async def test_a_malformed_request_never_reaches_the_service(items: list[bytes]) -> None:
    async with Rig(silent) as rig:
        visit = rig.links.open(items)
        await visit.finish()
        assert visit.heard[-1][1] is ResetCode.STREAM_PROTOCOL_ERROR
        assert str(visit.heard[-1][2]).startswith("The request is malformed: ")
        assert rig.service.connections == 0
        assert (rig.finished[0].method, rig.finished[0].target) == (b"", b"")


async def test_malformed_trailers_end_the_exchange() -> None:
    async with Rig(silent) as rig:
        visit = rig.send(b"POST", end=False)
        body(visit, b"x")
        finish(visit, [b"Content-Length", b"5"])
        await visit.finish()
        assert visit.heard[-1][1] is ResetCode.STREAM_PROTOCOL_ERROR
        assert str(visit.heard[-1][2]).startswith("The request's trailers are malformed: ")


# ---------------------------------------------------------------------- responses


@pytest.mark.parametrize(
    ("method", "answer", "heard"),
    [
        (
            b"GET",
            b"HTTP/1.1 200 Fine\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nContent-Length: 0\r\n\r\n",
            [[b"200", b"Fine", b"Set-Cookie", b"a=1", b"set-cookie", b"b=2", b"Content-Length", b"0"], b"", END],
        ),
        (b"GET", b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", [[b"204", b"No Content", b"X", b"y"], b"", END]),
        (
            b"GET",
            b"HTTP/1.1 304 Not\r\nContent-Length: 9\r\n\r\n",
            [[b"304", b"Not", b"Content-Length", b"9"], b"", END],
        ),
        (
            b"HEAD",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
            [[b"200", b"OK", b"Content-Length", b"9"], b"", END],
        ),
        (
            b"GET",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
            [[b"200", b"OK", b"Trailer", b"X"], b"abc", ("end", [b"X", b"y"])],
        ),
        (
            b"GET",
            b"HTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + OK,
            [
                ([b"102", b"P"], "interim"),
                ([b"103", b"Early Hints", b"Link", b"<a>"], "interim"),
                [b"200", b"OK", b"Content-Length", b"2"],
                b"ok",
                END,
            ],
        ),
        (
            b"GET",
            b"HTTP/1.1 999 \r\nContent-Length: 2\r\n\r\nhm",
            [[b"999", b"", b"Content-Length", b"2"], b"hm", END],
        ),
    ],
)
async def test_a_response_arrives_as_it_was_sent(method: bytes, answer: bytes, heard: list[object]) -> None:
    async with Rig(replying(answer, OK)) as rig:
        visit = await rig.get(method)
        assert visited(visit) == heard
        assert (await rig.get()).body == b"ok"
        assert rig.service.connections == 1
        assert rig.finished[0].status == int(heard[-3][0])  # type: ignore[index]


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_a_body_that_the_close_ends_comes_to_a_clean_end(version: bytes) -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        caller.send(b"HTTP/%s 200 OK\r\n\r\nsome" % version)
        await caller.sent()
        caller.send(b" more")

    async with Rig(script) as rig:
        visit = await rig.get()
        assert visited(visit) == [[b"200", b"OK"], b"some more", END]
        assert rig.pool.idle == 0


async def test_an_event_is_with_the_visitor_before_the_next_is_sent() -> None:
    release = asyncio.Event()

    async def script(caller: Caller) -> None:
        await caller.head()
        caller.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            caller.send(b"6\r\nevent\n\r\n")
            await release.wait()
            release.clear()
        caller.send(b"0\r\n\r\n")
        await caller.gone()

    async with Rig(script) as rig:
        visit = rig.send()
        for number in range(1, 4):
            await visit.until(lambda number=number: visit.body == b"event\n" * number)  # type: ignore[misc]
            release.set()
        await visit.finish()


@pytest.mark.parametrize(
    ("threshold", "answer", "checked"),
    [
        (1000, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000, False),
        (999, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000, True),
        (1000, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", True),
    ],
)
async def test_a_long_or_unknown_length_travels_checked(threshold: int, answer: bytes, checked: bool) -> None:
    async with Rig(replying(answer), threshold=threshold) as rig:
        visit = rig.send()
        assert visit.stream is not None
        state = visit.stream._state
        await visit.until(lambda: visit.over)
        assert (state.reader is not None) is checked


@pytest.mark.parametrize(
    "answer",
    [
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 40,
    ],
)
async def test_a_malformed_response_is_refused(answer: bytes) -> None:
    async with Rig(replying(answer)) as rig:
        visit = rig.send()
        await visit.until_heard("reset")
        _, code, sentence = visit.heard[-1]
        assert code is ResetCode.UPSTREAM_BROKEN
        assert str(sentence).startswith("The local service sent a malformed response: ")
        await settled()
        assert rig.pool.connections == 0


async def test_a_malformed_body_is_a_cut_after_what_was_good() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\nxyz\r\n"
    async with Rig(replying(answer)) as rig:
        visit = rig.send()
        await visit.until_heard("reset")
        assert not visit.ended
        assert visit.heard[-1][1] is ResetCode.UPSTREAM_BROKEN


# ---------------------------------------------------------------------- connections to the service


async def test_connections_are_used_again() -> None:
    async with Rig(serve_forever) as rig:
        for _ in range(5):
            assert (await rig.get()).body == b"ok"
        assert rig.service.connections == 1
        assert (rig.pool.connections, rig.pool.idle) == (1, 1)


async def test_exchanges_at_once_have_a_connection_each() -> None:
    everybody = asyncio.Event()

    async def script(caller: Caller) -> None:
        async for _ in caller.heads():
            if rig.service.connections == 3:
                everybody.set()
            await everybody.wait()
            caller.send(OK)

    async with Rig(script) as rig:
        visits = [rig.send() for _ in range(3)]
        for visit in visits:
            await visit.finish()
        assert rig.pool.idle == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok",
        OK + b"and more that nobody asked for",
    ],
)
async def test_a_connection_in_doubt_is_not_used_again(answer: bytes) -> None:
    async with Rig(replying(answer)) as rig:
        assert (await rig.get()).body == b"ok"
        assert (await rig.get()).body == b"ok"
        assert rig.service.connections == 2


async def test_an_idle_connection_the_service_closes_is_forgotten() -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        caller.send(OK)

    async with Rig(script) as rig:
        for _ in range(3):
            assert (await rig.get()).body == b"ok"
            await settled()
            assert (rig.pool.connections, rig.pool.idle) == (0, 0)
        assert rig.service.connections == 3


async def test_an_idle_connection_that_speaks_is_dropped() -> None:
    speak = asyncio.Event()

    async def script(caller: Caller) -> None:
        await caller.head()
        caller.send(OK)
        await speak.wait()
        caller.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await caller.gone()

    async with Rig(script) as rig:
        await rig.get()
        speak.set()
        await settled()
        assert rig.pool.connections == 0


async def test_a_connection_whose_reading_was_paused_serves_the_next_exchange() -> None:
    large = b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000
    async with Rig(replying(large, OK), settings=Settings(initial_stream_window=1_000)) as rig:
        slow = rig.send(hold=True)
        while not rig.pool.idle:
            await settled()
        assert len(slow.body) == 1_000  # the rest waits for credit, and the source was told to pause
        assert (await rig.get()).body == b"ok"
        assert rig.service.connections == 1
        slow.release()
        await slow.until(lambda: slow.ended)
        assert slow.body == b"x" * 200_000


@clocked
async def test_the_services_own_keep_alive_time_is_kept(clock: Clock) -> None:
    async def script(caller: Caller) -> None:
        async for _ in caller.heads():
            caller.send(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok")

    async with Rig(script, clock) as rig:
        await rig.get()
        await clock.advance(3.9)
        await rig.get()
        assert rig.service.connections == 1
        await clock.advance(5.1)
        assert rig.pool.connections == 0
        await rig.get()
        assert rig.service.connections == 2


# ---------------------------------------------------------------------- when the service breaks off


Ending = Callable[[Caller], None]


@pytest.mark.parametrize("ending", [Caller.close, Caller.reset])
@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
async def test_a_service_that_breaks_off_never_makes_a_clean_end(begun: bytes, ending: Ending) -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        caller.send(begun)
        await caller.sent()
        await settled()
        ending(caller)

    async with Rig(script) as rig:
        visit = rig.send()
        await visit.until_heard("reset")
        assert not visit.ended
        assert visit.heard[-1] == ("reset", ResetCode.UPSTREAM_BROKEN, CUT_SHORT)
        assert rig.finished[0].error == CUT_SHORT


async def test_a_reset_in_a_body_that_a_close_would_end_is_no_clean_end() -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        caller.send(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
        await caller.sent()
        await settled()
        caller.reset()

    async with Rig(script) as rig:
        visit = rig.send()
        await visit.until_heard("reset")
        assert not visit.ended
        assert visit.heard[-1][1] is ResetCode.UPSTREAM_BROKEN


async def test_a_service_that_is_down_is_said_at_once() -> None:
    async with ScriptedService(silent) as gone:
        pass
    async with Rig(silent, url=gone.url) as rig:
        visit = await rig.get()
        (_, code, sentence) = visit.heard[0]
        assert code is ResetCode.UPSTREAM_UNREACHABLE
        assert str(sentence).startswith(f"The local service at {gone.url} cannot be reached (")
        assert rig.finished[0].error == sentence


async def test_a_body_that_waits_for_a_connection_in_vain_is_dropped() -> None:
    async with ScriptedService(silent) as gone:
        pass
    async with Rig(silent, url=gone.url) as rig:
        visit = rig.send(b"POST", end=False)
        body(visit, b"x" * MIB)
        await visit.until_heard("reset")
        assert visit.heard[-1][1] is ResetCode.UPSTREAM_UNREACHABLE


async def test_a_service_that_hangs_up_on_every_caller_is_told_apart_from_none() -> None:
    async def hang_up(caller: Caller) -> None:
        caller.reset()

    async with Rig(hang_up) as rig:
        for _ in range(20):
            visit = await rig.get()
            assert visit.heard[0][1] in (ResetCode.UPSTREAM_UNREACHABLE, ResetCode.UPSTREAM_BROKEN)


async def test_a_name_no_resolver_takes_ends_the_exchange(caplog: pytest.LogCaptureFixture) -> None:
    async with Rig(silent, url="http://" + "a" * 70 + ".test:80") as rig:
        visit = await rig.get()
        assert visit.heard[0][1] is ResetCode.UPSTREAM_UNREACHABLE


@clocked
async def test_a_service_that_does_not_take_the_connection_is_given_up(clock: Clock) -> None:
    async with Rig(silent, clock, service=ScriptedService(silent)) as rig:
        rig.pool.endpoint = parse_endpoint(rig.service.url.replace("http:", "https:"))
        visit = rig.send()
        await settled()
        await clock.advance(9.9)
        assert visit.heard == []
        await clock.advance(0.2)
        await visit.until_heard("reset")
        sentence = f"The local service at {rig.pool.endpoint} did not accept a connection in time."
        assert visit.heard == [("reset", ResetCode.UPSTREAM_UNREACHABLE, sentence)]


@clocked
async def test_a_service_that_says_nothing_is_timed_out(clock: Clock) -> None:
    async with Rig(silent, clock, UpstreamTimeouts(first_byte_s=30)) as rig:
        visit = rig.send()
        await settled()
        await clock.advance(29)
        assert visit.heard == []
        await clock.advance(2)
        await visit.until_heard("reset")
        sentence = "The local service sent no response within 30 s."
        assert visit.heard == [("reset", ResetCode.UPSTREAM_TIMEOUT, sentence)]


@clocked
async def test_a_sign_of_life_winds_the_clock_anew(clock: Clock) -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        await go.wait()
        caller.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        await caller.gone()

    go = asyncio.Event()
    async with Rig(script, clock, UpstreamTimeouts(first_byte_s=30)) as rig:
        visit = rig.send()
        await settled()
        await clock.advance(25)
        go.set()
        await visit.until_heard("headers")
        await clock.advance(25)
        assert visit.names() == ["headers"]
        await clock.advance(6)
        assert visit.names() == ["headers", "reset"]


@clocked
async def test_a_slow_visitor_is_not_the_services_fault(clock: Clock) -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        assert await caller.read(2) == b"hi"
        caller.send(OK)
        await caller.gone()

    async with Rig(script, clock, UpstreamTimeouts(first_byte_s=30)) as rig:
        visit = rig.send(b"POST", [b"Content-Length", b"2"], end=False)
        await settled()
        await clock.advance(300)
        body(visit, b"hi", end=True)
        await visit.finish()
        assert visit.body == b"ok"


@clocked
async def test_a_service_that_leaves_an_expectation_open_is_timed_out(clock: Clock) -> None:
    fields = [b"Content-Length", b"2", b"Expect", b"100-continue"]
    async with Rig(silent, clock, UpstreamTimeouts(first_byte_s=30)) as rig:
        visit = rig.send(b"POST", fields, end=False)
        impatient = rig.send(b"POST", fields, end=False)
        body(impatient, b"h")
        await settled()
        await clock.advance(31)
        assert visit.names() == ["reset"]
        assert impatient.names() == []


@clocked
async def test_a_response_under_way_may_take_its_time(clock: Clock) -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        caller.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        await go.wait()
        caller.send(b"ok")
        await caller.gone()

    go = asyncio.Event()
    async with Rig(script, clock, UpstreamTimeouts(first_byte_s=30)) as rig:
        visit = rig.send()
        await visit.until_heard("headers")
        await clock.advance(3600)
        go.set()
        await visit.until(lambda: visit.ended)
        assert visit.body == b"ok"


# ---------------------------------------------------------------------- when the visitor leaves


async def test_a_visitor_who_leaves_cancels_the_request_at_once() -> None:
    left = asyncio.Event()

    async def script(caller: Caller) -> None:
        await caller.head()
        await caller.gone()
        left.set()

    async with Rig(script) as rig:
        visit = rig.send()
        while not rig.service.connections:
            await settled()
        assert visit.stream is not None
        visit.stream.reset(ResetCode.CANCELLED, "the visitor left")
        await left.wait()
        assert rig.finished[0].error == "the visitor left"
        await settled()
        assert rig.pool.connections == 0


async def test_a_visitor_who_leaves_in_the_middle_of_a_response_stops_it() -> None:
    async def pour(caller: Caller) -> None:
        await caller.head()
        caller.send(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                caller.send(b"x" * 100_000)
                await caller.sent()
        except ConnectionError:
            return

    async with Rig(pour) as rig:
        visit = rig.send(hold=True)
        await visit.until_heard("data")
        assert visit.stream is not None
        visit.stream.reset(ResetCode.CANCELLED)
        while rig.pool.connections:
            await settled()
        assert rig.finished[0].error == "CANCELLED"


@clocked
async def test_a_visitor_who_leaves_while_the_connection_is_made_leaves_no_connection(clock: Clock) -> None:
    async def script(caller: Caller) -> None:
        await caller.gone()
        gone.set()

    gone = asyncio.Event()
    async with Rig(script, clock) as rig:
        rig.pool.endpoint = parse_endpoint(rig.service.url.replace("http:", "https:"))
        visit = rig.send(b"POST", end=False)
        body(visit, b"x")
        while not rig.service.connections:
            await settled()
        assert visit.stream is not None
        visit.stream.reset(ResetCode.CANCELLED)
        await gone.wait()
        assert (rig.forwarder.under_way, rig.pool.connections) == (0, 0)


async def test_a_lost_link_cancels_every_request() -> None:
    async with Rig(silent) as rig:
        for _ in range(3):
            rig.send()
        while rig.pool.connections < 3:
            await settled()
        rig.links.agent.link.abort()
        await settled()
        assert (rig.forwarder.under_way, rig.pool.connections) == (0, 0)
        assert {exchange.error for exchange in rig.finished} == {"the link was lost: the link was dropped"}


# ---------------------------------------------------------------------- early answers


EARLY = b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nstop"


async def test_a_service_that_answers_early_and_reads_on_gets_the_rest() -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        caller.send(EARLY)
        assert await caller.read(2 * MIB) == b"u" * 2 * MIB
        assert await caller.read_to_end() == b""

    async with Rig(script) as rig:
        visit = rig.send(b"POST", [b"Content-Length", str(2 * MIB).encode()], end=False)
        await visit.until(lambda: visit.ended)
        assert visit.body == b"stop"
        for _ in range(16):
            body(visit, b"u" * 128 * KIB)
            await settled()
        finish(visit)
        while rig.forwarder.under_way:
            await settled()
        await settled()
        assert "reset" not in visit.names()
        assert rig.pool.connections == 0  # a service that answers early may take the rest for a request


@pytest.mark.parametrize("ending", [Caller.close, Caller.reset])
async def test_a_service_that_answers_early_and_closes_stops_the_upload(ending: Ending) -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        caller.send(EARLY)
        await caller.sent()
        await settled()
        ending(caller)

    async with Rig(script) as rig:
        visit = rig.send(b"POST", [b"Content-Length", str(100 * MIB).encode()], end=False)
        await visit.until(lambda: visit.ended)
        await settled()
        body(visit, b"u" * KIB)
        await visit.until_heard("reset")
        assert visited(visit)[1:] == [b"stop", ("end", []), ("reset", ResetCode.STOPPED, "")]
        assert rig.forwarder.under_way == 0
        assert rig.finished[0].error == ""


@pytest.mark.parametrize("attempt", range(5))
async def test_an_early_answer_is_not_lost_in_a_storm_of_upload(attempt: int) -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        await caller.read(64 * KIB + attempt)
        caller.send(EARLY)
        caller.close()

    async with Rig(script) as rig:
        visit = rig.send(b"POST", [b"Content-Length", str(100 * MIB).encode()], end=False)
        while not visit.over:
            if visit.stream is not None and visit.stream.has_room():
                body(visit, b"u" * 32 * KIB)
            await settled()
        assert visited(visit)[1] == b"stop"
        assert visit.ended


@clocked
async def test_the_upload_is_stopped_only_once_a_slow_visitor_has_the_answer(clock: Clock) -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        caller.send(b"HTTP/1.1 413 No\r\nContent-Length: 100000\r\n\r\n" + b"n" * 100_000)
        await caller.sent()

    settings = Settings(initial_stream_window=50_000, max_stream_window=50_000)
    async with Rig(script, clock, settings=settings) as rig:
        visit = rig.send(b"POST", end=False, hold=True)
        await visit.until(lambda: len(visit.body) == 50_000)
        while rig.pool.connections:
            await settled()
        for _ in range(10):
            body(visit, b"m" * 50_000)
            await settled()
        assert visit.stream is not None
        assert visit.stream._state.pending_bytes == 0  # what nobody wants is read and dropped, not kept
        await clock.advance(5)
        assert "reset" not in visit.names()
        visit.release()
        await visit.until(lambda: visit.ended)
        await clock.advance(1.1)
        assert visited(visit)[1:] == [b"n" * 100_000, ("end", []), ("reset", ResetCode.STOPPED, "")]


@clocked
async def test_an_upload_that_ends_just_when_nobody_wants_it_is_one_exchange(clock: Clock) -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        caller.send(b"HTTP/1.1 413 No\r\nContent-Length: 100000\r\n\r\n" + b"n" * 100_000)
        await caller.sent()

    settings = Settings(initial_stream_window=50_000, max_stream_window=50_000)
    async with Rig(script, clock, settings=settings) as rig:
        visit = rig.send(b"POST", end=False, hold=True)
        await visit.until(lambda: len(visit.body) == 50_000)
        while rig.pool.connections:
            await settled()
        visit.release()
        await visit.until(lambda: visit.ended)
        finish(visit)
        await settled()
        assert rig.forwarder.under_way == 0
        assert len(rig.finished) == 1


async def test_a_request_that_ends_behind_an_early_answer_needs_no_reset() -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        caller.send(b"HTTP/1.1 413 No\r\nContent-Length: 100000\r\n\r\n" + b"n" * 100_000)
        await caller.sent()

    settings = Settings(initial_stream_window=50_000, max_stream_window=50_000)
    async with Rig(script, settings=settings) as rig:
        visit = rig.send(b"POST", end=False, hold=True)
        await visit.until(lambda: len(visit.body) == 50_000)
        while rig.pool.connections:
            await settled()
        finish(visit)
        await settled()
        assert rig.forwarder.under_way == 0
        visit.release()
        await visit.until(lambda: visit.ended)
        assert "reset" not in visit.names()


async def test_an_expectation_waits_for_the_service() -> None:
    async def script(caller: Caller) -> None:
        assert b"Expect: 100-continue" in await caller.head()
        caller.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await caller.read(5) == b"hello"
        caller.send(OK)
        await caller.gone()

    async with Rig(script) as rig:
        visit = rig.send(b"PUT", [b"Content-Length", b"5", b"Expect", b"100-continue"], end=False)
        await visit.until_heard("headers")
        assert visit.heard == [("headers", [b"100", b"Continue"], "interim")]
        body(visit, b"hello", end=True)
        await visit.finish()
        assert visit.body == b"ok"
        assert rig.pool.idle == 1


async def test_a_declined_expectation_ends_with_the_visitors_reset() -> None:
    async with Rig(replying(EARLY)) as rig:
        visit = rig.send(b"PUT", [b"Content-Length", b"5", b"Expect", b"100-continue"], end=False)
        await visit.until(lambda: visit.ended)
        assert visit.stream is not None
        visit.stream.reset(ResetCode.CANCELLED)
        await settled()
        assert (rig.forwarder.under_way, rig.pool.connections) == (0, 0)


# ---------------------------------------------------------------------- upgrades


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
ASK = [b"Upgrade", b"echo"]


async def echo(caller: Caller) -> None:
    assert b"\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n" in await caller.head()
    caller.send(SWITCH + b"welcome;")
    while data := await caller.read_some():
        caller.send(data)
        await caller.sent()
    caller.send(b"goodbye")


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("fields", [ASK, [*ASK, b"Content-Length", b"0"]])
async def test_an_upgraded_connection_carries_bytes_both_ways_to_the_last(warm: bool, fields: list[bytes]) -> None:
    async def script(caller: Caller) -> None:
        if warm:
            await caller.head()
            caller.send(OK)
        assert b"\r\nUpgrade: echo\r\n" in await caller.head()
        caller.send(SWITCH + b"welcome;")
        while data := await caller.read_some():
            caller.send(data)
            await caller.sent()
        caller.send(b"goodbye")

    async with Rig(script) as rig:
        if warm:
            await rig.get()
        visit = rig.send(fields=fields, end=False, checked=True)
        await visit.until(lambda: visit.body == b"welcome;")
        assert visit.heard[0] == ("headers", [b"101", b"Switching Protocols", b"Upgrade", b"echo"])
        for _ in range(20):
            body(visit, b"e" * 100 * KIB)
        finish(visit)
        await visit.finish()
        assert visit.body == b"welcome;" + b"e" * 2_000 * KIB + b"goodbye"
        await settled()
        assert (rig.forwarder.under_way, rig.pool.connections) == (0, 0)


async def test_a_service_that_ends_its_half_still_hears_the_other() -> None:
    heard: list[bytes] = []

    async def script(caller: Caller) -> None:
        await caller.head()
        caller.send(SWITCH + b"all I say")
        caller.half_close()
        heard.append(await caller.read_to_end())

    async with Rig(script) as rig:
        visit = rig.send(fields=ASK, end=False)
        await visit.until(lambda: visit.ended)
        assert visit.body == b"all I say"
        body(visit, b"v" * MIB)
        await settled()
        finish(visit)
        while rig.forwarder.under_way:
            await settled()
        while not heard:
            await settled()
    assert heard == [b"v" * MIB]


async def test_a_visitor_who_ends_before_the_switch_is_still_answered() -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        await settled()
        caller.send(SWITCH)
        assert await caller.read_to_end() == b""
        caller.send(b"all the same")

    async with Rig(script) as rig:
        for before_it_is_connected in (True, False):
            visit = rig.send(fields=ASK, end=before_it_is_connected)
            while not before_it_is_connected and rig.service.connections < 2:
                await settled()
            if not before_it_is_connected:
                finish(visit)
            await visit.until(lambda visit=visit: visit.ended)  # type: ignore[misc]
            assert visit.body == b"all the same"


async def test_a_visitor_who_breaks_an_upgraded_connection_breaks_it_for_the_service() -> None:
    broken: list[bool] = []

    async def script(caller: Caller) -> None:
        await caller.head()
        caller.send(SWITCH)
        try:
            broken.append(await caller.read_to_end() != b"")
        except ConnectionResetError:
            broken.append(True)

    async with Rig(script) as rig:
        visit = rig.send(fields=ASK, end=False)
        await visit.until_heard("headers")
        assert visit.stream is not None
        visit.stream.reset(ResetCode.CANCELLED)
        while not broken:
            await settled()
    assert broken == [True]


async def test_an_upgraded_connection_that_breaks_is_a_cut() -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        caller.send(SWITCH + b"so far")
        await caller.sent()
        await settled()
        caller.reset()

    async with Rig(script) as rig:
        visit = rig.send(fields=ASK, end=False)
        await visit.until_heard("reset")
        assert not visit.ended
        assert visit.body == b"so far"


async def test_a_service_that_ended_its_half_and_breaks_stops_the_other() -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        caller.send(SWITCH)
        caller.half_close()
        await settled()
        await go.wait()
        caller.reset()

    go = asyncio.Event()
    async with Rig(script) as rig:
        visit = rig.send(fields=ASK, end=False)
        await visit.until(lambda: visit.ended)
        go.set()
        while "reset" not in visit.names():  # who reads no more is told by a write alone that the other side is gone
            body(visit, b"anybody there?")
            await settled()
        assert visit.heard[-1] == ("reset", ResetCode.STOPPED, "")


async def declined_upgrade(clock: Clock, ends: bool) -> None:
    async def script(caller: Caller) -> None:
        async for _ in caller.heads():
            caller.send(b"HTTP/1.1 426 No\r\nContent-Length: 4\r\n\r\nnope")

    async with Rig(script, clock) as rig:
        visit = rig.send(fields=ASK, end=False)
        await visit.until(lambda: visit.ended)
        assert visit.body == b"nope"
        assert rig.pool.idle == 1
        if ends:
            finish(visit)
            await settled()
        else:
            await clock.advance(1.1)
            assert visit.heard[-1] == ("reset", ResetCode.STOPPED, "")
        assert rig.forwarder.under_way == 0
        await rig.get()
        assert rig.service.connections == 1


@clocked
async def test_a_declined_upgrade_is_an_ordinary_answer(clock: Clock) -> None:
    await declined_upgrade(clock, ends=True)


@clocked
async def test_a_declined_upgrade_is_over_even_if_the_request_never_ends(clock: Clock) -> None:
    await declined_upgrade(clock, ends=False)


async def test_bytes_before_the_switch_are_not_taken_for_a_request() -> None:
    async with Rig(silent) as rig:
        visit = rig.send(fields=ASK, end=False)
        body(visit, b"GET /second HTTP/1.1\r\n\r\n")
        await visit.finish()
        assert visit.heard[-1][1] is ResetCode.STREAM_PROTOCOL_ERROR


async def test_an_upgrade_with_a_body_is_refused() -> None:
    async with Rig(silent) as rig:
        visit = rig.send(fields=[*ASK, b"Content-Length", b"5"], end=False)
        await visit.finish()
        assert visit.heard[-1][1] is ResetCode.STREAM_PROTOCOL_ERROR


async def test_a_switch_nobody_asked_for_is_refused() -> None:
    async with Rig(replying(SWITCH)) as rig:
        visit = rig.send()
        await visit.finish()
        sentence = "The local service switched protocols without being asked."
        assert visit.heard == [("reset", ResetCode.UPSTREAM_BROKEN, sentence)]


@clocked
async def test_a_service_that_leaves_an_upgrade_open_is_timed_out(clock: Clock) -> None:
    async with Rig(silent, clock, UpstreamTimeouts(first_byte_s=30)) as rig:
        visit = rig.send(fields=ASK, end=False)
        await settled()
        await clock.advance(31)
        assert visit.heard[-1][1] is ResetCode.UPSTREAM_TIMEOUT


# ---------------------------------------------------------------------- speed differences


async def test_a_slow_service_keeps_the_credit_and_loses_nothing() -> None:
    go = asyncio.Event()
    read: list[int] = []

    async def script(caller: Caller) -> None:
        await caller.head()
        await go.wait()
        size = 0
        while size < 64 * MIB:
            size += len(await caller.read_some())
        read.append(size)
        caller.send(OK)
        await caller.gone()

    settings = Settings(max_stream_window=256 * KIB)
    async with Rig(script, settings=settings) as rig:
        visit = rig.send(b"POST", [b"Content-Length", str(64 * MIB).encode()], end=False)
        assert visit.stream is not None
        state = visit.stream._state
        piece = b"u" * MIB
        for _ in range(64):
            body(visit, piece)
        finish(visit)
        before = -1
        while state.sent_bytes != before:
            before = state.sent_bytes
            await settled()
        assert state.sent_bytes < 24 * MIB  # the kernel's buffers, and a window
        assert state.send_credit == 0
        go.set()
        await visit.finish()
        assert read == [64 * MIB]


@clocked
async def test_a_service_that_stops_reading_is_timed_out(clock: Clock) -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        await forever.wait()

    forever = asyncio.Event()
    async with Rig(script, clock, UpstreamTimeouts(first_byte_s=30)) as rig:
        visit = rig.send(b"POST", end=False)
        piece = b"u" * MIB
        for _ in range(64):
            body(visit, piece)
        for _ in range(50):
            await settled()
        await clock.advance(31)
        assert visit.heard[-1][1] is ResetCode.UPSTREAM_TIMEOUT


async def test_a_slow_visitor_pauses_the_service_and_loses_nothing() -> None:
    sent: list[int] = []

    async def script(caller: Caller) -> None:
        await caller.head()
        caller.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
        piece = b"d" * 64 * KIB
        for number in range(1024):
            caller.send(piece)
            await caller.sent()
            sent.append(number)
        await caller.gone()

    settings = Settings(max_stream_window=256 * KIB)
    async with Rig(script, settings=settings) as rig:
        visit = rig.send(hold=True)
        before = -1
        while len(sent) != before or not sent:
            before = len(sent)
            await settled()
        assert len(sent) * 64 * KIB < 24 * MIB
        assert len(visit.body) == 256 * KIB
        visit.release()
        await visit.until(lambda: visit.ended)
        assert len(visit.body) == 64 * MIB


async def test_what_waits_for_a_connection_is_bounded_by_the_window() -> None:
    async with Rig(silent, settings=Settings(initial_stream_window=64 * KIB)) as rig:
        rig.pool.endpoint = parse_endpoint(rig.service.url.replace("http:", "https:"))  # it never shakes hands
        visit = rig.send(b"POST", end=False)
        body(visit, b"u" * MIB)
        while not rig.service.connections:
            await settled()
        await settled()
        assert visit.stream is not None
        assert visit.stream._state.sent_bytes == 64 * KIB


# ---------------------------------------------------------------------- kinds of endpoint


async def test_a_unix_socket_is_an_endpoint(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = str(tmp_path_factory.mktemp("s") / "s")
    async with Rig(serve_forever, service=ScriptedService(serve_forever, path)) as rig:
        assert (await rig.get()).body == b"ok"
        assert (await rig.get()).body == b"ok"
        assert rig.service.connections == 1


async def test_a_unix_socket_that_is_not_there_is_said() -> None:
    async with Rig(silent, url="unix:/nowhere/app.sock") as rig:
        visit = await rig.get()
        sentence = "The local service at unix:/nowhere/app.sock cannot be reached (No such file or directory)."
        assert visit.heard == [("reset", ResetCode.UPSTREAM_UNREACHABLE, sentence)]


async def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    async with Rig(serve_forever, service=ScriptedService(serve_forever, context=server_context())) as rig:
        visit = await rig.get()
        assert visit.heard[0][1] is ResetCode.UPSTREAM_UNREACHABLE
        assert "certificate" in str(visit.heard[0][2]).lower()
