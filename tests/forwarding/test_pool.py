"""The pool of connections to a service: which is used next, how many stay, and for how long."""

import asyncio
import socket
import sys
import time

import pytest

from terratunnel.forwarding.pool import UpstreamTimeouts
from terratunnel.testing.clock import Clock, clocked, settled
from terratunnel.testing.services import Caller, ScriptedService
from tests.forwarding.rig import OK, exchange, pool_for, serve_forever


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
