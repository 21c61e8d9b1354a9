"""Connections to a service, as a pool makes them, without a forwarder above them."""

import asyncio
import socket
import ssl
from typing import Any

import pytest

from terratunnel.errors import LocalProtocolError
from terratunnel.forwarding.pool import UpstreamTimeouts
from terratunnel.forwarding.upstream import LINGER_S, UpstreamConnection
from terratunnel.testing.clock import Clock, clocked, settled
from terratunnel.testing.services import Caller, ScriptedService
from tests.certificates import client_context, server_context
from tests.forwarding.rig import CUT_SHORT, GET, OK, ResponseRecorder, exchange, pool_for, serve_forever, silent

# ---------------------------------------------------------------------- endpoints


async def test_localhost_is_found_on_either_family() -> None:
    if not socket.has_ipv6:
        return
    for host in ("127.0.0.1", "::1"):
        async with ScriptedService(serve_forever, host=host) as service:
            pool = pool_for(f"http://localhost:{service.port}")
            assert (await exchange(await pool.connect())).names() == ["head", "data", "end"]
            pool.close()


async def test_localhost_that_listens_nowhere_is_refused_in_the_words_of_the_first_family() -> None:
    async with ScriptedService(silent) as service:
        pass
    with pytest.raises(ConnectionRefusedError):
        await pool_for(f"http://localhost:{service.port}").connect()


async def test_tls_is_verified_by_the_given_authority() -> None:
    async with ScriptedService(serve_forever, context=server_context()) as service:
        pool = pool_for(service.url)
        pool.context = client_context()
        assert (await exchange(await pool.connect())).names() == ["head", "data", "end"]
        again = pool.take_idle()
        assert again is not None
        assert (await exchange(again)).names() == ["head", "data", "end"]
        pool.close()
        await settled()


async def test_tls_without_a_trusted_authority_is_no_connection() -> None:
    async with ScriptedService(serve_forever, context=server_context()) as service:
        pool = pool_for(service.url)
        with pytest.raises(ssl.SSLCertVerificationError):
            await pool.connect()
        assert pool.connections == 0


async def test_a_certificate_for_another_name_is_no_connection() -> None:
    async with ScriptedService(serve_forever, context=server_context(), host="127.0.0.2") as service:
        pool = pool_for(service.url)
        pool.context = client_context()
        with pytest.raises(ssl.SSLCertVerificationError):
            await pool.connect()


async def test_a_plain_service_behind_https_is_no_connection() -> None:
    async def plain(caller: Caller) -> None:
        await caller.read_some()
        caller.send(OK)

    async with ScriptedService(plain) as service:
        pool = pool_for(service.url.replace("http:", "https:"))
        with pytest.raises(OSError):  # noqa: PT011 - its text is OpenSSL's
            await pool.connect()


async def test_a_tls_service_that_closes_in_the_middle_is_a_cut() -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        caller.send(OK[:-1])
        await caller.sent()

    async with ScriptedService(script, context=server_context()) as service:
        pool = pool_for(service.url)
        pool.context = client_context()
        recorder = await exchange(await pool.connect())
        assert recorder.heard[-1] == ("failed", CUT_SHORT)


@clocked
async def test_a_handshake_that_takes_too_long_is_given_up(clock: Clock) -> None:
    async with ScriptedService(silent) as service:
        pool = pool_for(service.url.replace("http:", "https:"), UpstreamTimeouts(connect_s=3))
        opening = asyncio.ensure_future(pool.connect())
        while not service.connections:
            await settled()
        await clock.advance(3.1)
        with pytest.raises(TimeoutError):
            await opening
        assert pool.connections == 0


class LosingLoop(asyncio.SelectorEventLoop):
    """A loop whose connections are gone before whoever asked for them is told."""

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        made = await super().create_connection(*args, **options)
        made[0].abort()
        await settled()
        return made


def test_a_connection_that_is_gone_before_it_is_had_is_no_connection() -> None:
    async def main() -> None:
        async with ScriptedService(silent) as service:
            pool = pool_for(service.url)
            with pytest.raises(ConnectionResetError):
                await pool.connect()
            assert pool.connections == 0

    with asyncio.Runner(loop_factory=LosingLoop) as runner:
        runner.run(main())


async def test_a_connection_that_was_lost_before_it_was_used_is_not_used() -> None:
    pool = pool_for("http://127.0.0.1:1")
    connection = UpstreamConnection(pool)
    assert not connection.usable
    connection.connection_lost(None)
    assert connection.lost
    assert not connection.usable
    connection.drop()
    connection.close()


async def test_a_connection_that_was_never_made_takes_no_harm() -> None:
    connection = UpstreamConnection(pool_for("http://127.0.0.1:1"))
    recorder = ResponseRecorder()
    connection.begin(recorder, b"GET")
    connection.write(GET)
    connection.writelines([GET])
    connection.write_eof()
    connection.pause_reading()
    connection.resume_reading()
    connection.connection_lost(ConnectionResetError())
    assert recorder.heard == [("failed", CUT_SHORT)]


# ---------------------------------------------------------------------- one exchange


async def test_an_answer_in_the_kernel_survives_the_write_that_fails() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    pool = pool_for(f"http://127.0.0.1:{listener.getsockname()[1]}")
    connection = await pool.connect()
    service, _ = listener.accept()
    recorder = ResponseRecorder()
    connection.begin(recorder, b"POST")
    connection.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
    await settled()
    service.sendall(b"HTTP/1.1 413 No\r\nContent-Length: 4\r\n\r\nstop")
    service.close()  # with the request unread: the kernel sends RST
    for _ in range(3):
        connection.write(b"x" * 1000)
    await recorder.until_heard("failed")
    assert recorder.heard == [("head", 413), ("data", b"stop"), ("end",), ("failed", CUT_SHORT)]
    listener.close()
    pool.close()


async def test_a_body_that_was_cut_off_with_a_failing_write_is_no_clean_end() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    pool = pool_for(f"http://127.0.0.1:{listener.getsockname()[1]}")
    connection = await pool.connect()
    service, _ = listener.accept()
    recorder = ResponseRecorder()
    connection.begin(recorder, b"POST")
    connection.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
    await settled()
    service.sendall(b"HTTP/1.1 413 No\r\n\r\nuntil the close, which never came")
    service.close()
    for _ in range(3):
        connection.write(b"x" * 1000)
    await recorder.until_heard("failed")
    assert "end" not in recorder.names()
    listener.close()
    pool.close()


async def test_a_connection_that_fails_with_nothing_left_to_read_has_failed() -> None:
    async with ScriptedService(silent) as service:
        pool = pool_for(service.url)
        connection = await pool.connect()
        recorder = ResponseRecorder()
        connection.begin(recorder, b"GET")
        connection.connection_lost(BrokenPipeError())
        assert recorder.heard == [("failed", CUT_SHORT)]
        await settled()


async def test_room_is_told_when_a_slow_service_has_caught_up() -> None:
    async def slow(caller: Caller) -> None:
        await caller.head()
        await go.wait()
        await caller.gone()

    go = asyncio.Event()
    async with ScriptedService(slow) as service:
        pool = pool_for(service.url)
        connection = await pool.connect()
        recorder = ResponseRecorder()
        connection.begin(recorder, b"POST")
        connection.write(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not connection.writing_paused:
            connection.writelines([b"x" * 100_000, b"y" * 100_000])
            await settled()
        assert recorder.heard == []
        go.set()
        await recorder.until_heard("room")
        assert not connection.writing_paused
        pool.close()


async def test_writing_that_resumes_after_the_exchange_tells_nobody() -> None:
    connection = UpstreamConnection(pool_for("http://127.0.0.1:1"))
    connection.pause_writing()
    connection.resume_writing()
    assert not connection.writing_paused


async def test_a_connection_serves_one_exchange_at_a_time() -> None:
    async with ScriptedService(silent) as service:
        pool = pool_for(service.url)
        connection = await pool.connect()
        connection.begin(ResponseRecorder(), b"GET")
        assert connection.in_use
        with pytest.raises(LocalProtocolError):
            connection.begin(ResponseRecorder(), b"GET")
        pool.close()


async def test_what_is_said_to_a_closed_connection_is_not_sent() -> None:
    heard: list[bytes] = []

    async def script(caller: Caller) -> None:
        heard.append(await caller.read_to_end())

    async with ScriptedService(script) as service:
        pool = pool_for(service.url)
        connection = await pool.connect()
        connection.write(b"before")
        connection.pause_reading()
        connection.close()
        connection.write(b"after")
        connection.writelines([b"after"])
        connection.write_eof()
        connection.resume_reading()
        connection.pause_reading()
        while not heard:
            await settled()
    assert heard == [b"before"]


@clocked
async def test_a_connection_that_cannot_get_rid_of_its_last_bytes_is_dropped_in_the_end(clock: Clock) -> None:
    async def stubborn(caller: Caller) -> None:
        await forever.wait()

    forever = asyncio.Event()
    async with ScriptedService(stubborn) as service:
        pool = pool_for(service.url)
        connection = await pool.connect()
        while not connection.writing_paused:
            connection.write(b"x" * 1_000_000)
        connection.close()
        await clock.advance(LINGER_S - 1)
        pool.sweep(clock())
        await settled()
        assert pool.connections == 1
        await clock.advance(2)
        pool.sweep(clock())
        await settled()
        assert pool.connections == 0


# ---------------------------------------------------------------------- the pool
