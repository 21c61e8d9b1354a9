"""The forwarder itself: what it owns, what it tells, and how it ends."""

import asyncio

import pytest

from terratunnel.forwarding.endpoint import parse_endpoint
from terratunnel.forwarding.exchange import Exchange
from terratunnel.forwarding.forwarder import Forwarder
from terratunnel.forwarding.pool import UpstreamPool
from terratunnel.protocol.errors import GoAwayCode, ResetCode
from terratunnel.testing.clock import Clock, clocked, settled
from terratunnel.testing.links import join_in_memory
from terratunnel.testing.services import Caller, ScriptedService
from tests.forwarding.rig import OK, Rig, serve_forever, silent


async def test_close_ends_everything_and_refuses_the_rest() -> None:
    async with Rig(silent) as rig:
        waiting = rig.send()
        while not rig.pool.connections:
            await settled()
        rig.forwarder.close()
        late = rig.send()
        await waiting.until_heard("reset")
        await late.until_heard("reset")
        reset = ("reset", ResetCode.UPSTREAM_UNREACHABLE, "The client is stopping.")
        assert waiting.heard == late.heard == [reset]
        await settled()
        assert rig.pool.connections == 0


async def test_what_comes_too_late_for_an_exchange_changes_nothing() -> None:
    async with Rig(serve_forever) as rig:
        visit = await rig.get()
        await visit.until(lambda: visit.ended)
        (exchange,) = rig.finished
        late = await rig.pool.connect()
        exchange.connected(late)
        assert not late.usable
        exchange.fail(ResetCode.INTERNAL, "too late")
        exchange.reset_received(ResetCode.CANCELLED, "too late")
        exchange.room_available()
        assert (exchange.error, len(rig.finished)) == ("", 1)
        assert visit.body == b"ok"


@clocked
async def test_close_while_a_connection_is_made_leaves_nothing(clock: Clock) -> None:
    async with Rig(silent, clock) as rig:
        rig.pool.endpoint = parse_endpoint(rig.service.url.replace("http:", "https:"))
        visit = rig.send()
        while not rig.service.connections:
            await settled()
        rig.forwarder.close()
        await settled()
        assert visit.names() == ["reset"]
        assert (rig.forwarder.under_way, rig.pool.connections) == (0, 0)


class BrokenObserver:
    def exchange_finished(self, exchange: Exchange) -> None:
        raise RuntimeError("the inspector has a bug")


async def test_an_observer_with_a_fault_does_not_stand_in_the_road(caplog: pytest.LogCaptureFixture) -> None:
    async with ScriptedService(serve_forever) as service:
        pool = UpstreamPool(parse_endpoint(service.url), asyncio.get_running_loop().time)
        forwarder = Forwarder(pool, BrokenObserver())
        links = await join_in_memory(forwarder.stream_opened).opened()
        for _ in range(2):
            visit = links.open([b"GET", b"/", b"Host", b"a"])
            await visit.until(lambda visit=visit: visit.ended)  # type: ignore[misc]
        assert service.connections == 1
        assert "the inspector has a bug" in caplog.text
        links.server.close_now(GoAwayCode.NORMAL, "")
        forwarder.close()


async def test_a_forwarder_without_an_observer_forwards() -> None:
    async with ScriptedService(serve_forever) as service:
        forwarder = Forwarder(UpstreamPool(parse_endpoint(service.url), asyncio.get_running_loop().time))
        links = await join_in_memory(forwarder.stream_opened).opened()
        visit = links.open([b"GET", b"/", b"Host", b"a"])
        await visit.until(lambda: visit.ended)
        links.server.close_now(GoAwayCode.NORMAL, "")
        forwarder.close()


@clocked
async def test_the_observer_is_told_once_with_what_was_asked_and_how_it_went(clock: Clock) -> None:
    async def script(caller: Caller) -> None:
        await caller.head()
        await go.wait()
        caller.send(OK)
        await caller.gone()

    go = asyncio.Event()
    async with Rig(script, clock) as rig:
        visit = rig.send(b"PUT", target=b"/x?y")
        await settled()
        await clock.advance(2)
        go.set()
        await visit.until(lambda: visit.ended)
        (exchange,) = rig.finished
        assert (exchange.method, exchange.target, exchange.status, exchange.error) == (b"PUT", b"/x?y", 200, "")
        assert exchange.duration_s == 2.0
