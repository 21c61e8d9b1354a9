"""The pool of connections to a service: which is used next, how many stay, and for how long."""

import asyncio
import socket
import sys
import time

import pytest

from terratunnel.forwarding.endpoint import parse_endpoint
from terratunnel.forwarding.pool import UpstreamPool, UpstreamTimeouts
from terratunnel.forwarding.upstream import UpstreamConnection
from terratunnel.http1.parser import ResponseHead, Trailers
from terratunnel.testing.clock import Clock, clocked, settled
from terratunnel.testing.services import Caller, ScriptedService
from terratunnel.testing.streams import Notes

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CUT_SHORT = "The local service closed the connection before its response was complete."


class ResponseRecorder(Notes):
    """An UpstreamHandler that writes down what it hears."""

    def response_head(self, head: ResponseHead) -> None:
        self.note("head", head.status)

    def response_data(self, data: bytes) -> None:
        self.note("data", data)

    def response_end(self, trailers: Trailers | None) -> None:
        self.note("end")

    def upstream_failed(self, sentence: str) -> None:
        self.note("failed", sentence)

    def upstream_room(self) -> None:
        self.note("room")


async def serve_forever(caller: Caller) -> None:
    async for _ in caller.heads():
        caller.send(OK)


async def listen(caller: Caller) -> None:
    await caller.gone()


def pool_for(url: str, timeouts: UpstreamTimeouts | None = None, max_idle: int = 128) -> UpstreamPool:
    loop = asyncio.get_running_loop()
    return UpstreamPool(parse_endpoint(url), loop.time, timeouts or UpstreamTimeouts(), max_idle=max_idle)


async def exchange(connection: UpstreamConnection) -> ResponseRecorder:
    """A whole exchange on a connection."""
    recorder = ResponseRecorder()
    connection.begin(recorder, b"GET")
    connection.write(GET)
    connection.request_ended()
    await recorder.until(lambda: bool({"end", "failed"} & set(recorder.names())))
    return recorder


# ---------------------------------------------------------------------- endpoints


async def test_the_connection_used_last_is_used_first() -> None:
    async with ScriptedService(serve_forever) as service:
        pool = pool_for(service.url)
        first, second = await pool.connect(), await pool.connect()
        await exchange(second)
        await exchange(first)
        assert pool.idle == 2
        assert pool.take_idle() is first
        assert pool.take_idle() is second
        assert pool.take_idle() is None
        pool.close()
        await settled()
        assert pool.connections == 0


async def test_idle_connections_have_a_limit() -> None:
    async with ScriptedService(serve_forever) as service:
        pool = pool_for(service.url, max_idle=2)
        connections = [await pool.connect() for _ in range(4)]
        for connection in connections:
            await exchange(connection)
        await settled()
        assert (pool.idle, pool.connections) == (2, 2)
        pool.close()


@clocked
async def test_connections_idle_for_too_long_are_swept(clock: Clock) -> None:
    async with ScriptedService(serve_forever) as service:
        pool = pool_for(service.url, UpstreamTimeouts(idle_s=90))
        old = await pool.connect()
        await exchange(old)
        await clock.advance(60)
        young = await pool.connect()
        await exchange(young)
        pool.sweep(clock())
        assert pool.idle == 2
        await clock.advance(31)
        pool.sweep(clock())
        await settled()
        assert (pool.idle, pool.connections) == (1, 1)
        assert pool.take_idle() is young
        pool.close()


@clocked
async def test_a_connection_past_its_time_is_not_taken_even_before_the_sweep(clock: Clock) -> None:
    async with ScriptedService(serve_forever) as service:
        pool = pool_for(service.url, UpstreamTimeouts(idle_s=10))
        await exchange(await pool.connect())
        clock.now += 10
        assert pool.take_idle() is None
        await settled()
        assert pool.connections == 0


async def test_a_connection_is_closed_politely_when_its_time_is_over() -> None:
    ends: list[bytes] = []

    async def script(caller: Caller) -> None:
        await caller.head()
        caller.send(OK)
        ends.append(await caller.read_to_end())  # raises where it is reset

    async with ScriptedService(script) as service:
        pool = pool_for(service.url)
        await exchange(await pool.connect())
        pool.sweep(time.monotonic() + 1_000_000)
        while not ends:
            await settled()
    assert ends == [b""]


@clocked
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the state of a connection")
async def test_a_connection_the_service_has_left_is_not_used_even_before_the_loop_has_heard(clock: Clock) -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        pool = pool_for(f"http://127.0.0.1:{listening.getsockname()[1]}")
        connection = await pool.connect()
        service, _ = await loop.sock_accept(listening)
        with service:
            service.sendall(OK)
            await exchange(connection)
            clock.now += 1
            assert pool.take_idle() is connection
            pool.release(connection, 0)
            clock.now += 1
        assert pool.take_idle() is None
        await settled()
        assert pool.connections == 0
