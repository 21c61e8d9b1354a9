"""The edge as a whole: where a request goes, the health check, the sweep, and how it stops."""

import json
import re

import pytest

from terratunnel.server.edge.listener import SWEEP_EVERY_S
from terratunnel.testing.clock import Clock, clocked, settled
from tests.server.lab import Lab, answer, running


async def health(lab: Lab) -> object:
    visitor = await lab.visit()
    visitor.get(b"/_health", host=b"localhost")
    response = await visitor.response()
    assert response.status == 200
    return json.loads(response.body)


async def test_the_health_check_counts_agents() -> None:
    async with running() as lab:
        assert await health(lab) == {"status": "healthy", "active_connections": 0}
        one, _ = await lab.agent(), await lab.agent("key-of-other")
        assert await health(lab) == {"status": "healthy", "active_connections": 2}
        one.link.abort()
        await one.owner.until_heard("closed")
        assert await health(lab) == {"status": "healthy", "active_connections": 1}


@pytest.mark.parametrize("host", [b"localhost", b"LOCALHOST:80", b"127.0.0.1", b"127.0.0.1:8000", b"[::1]:8000"])
async def test_the_domain_and_any_address_are_the_server_itself(host: bytes) -> None:
    async with running() as lab:
        visitor = await lab.visit()
        visitor.get(b"/", host=host)
        assert b"Terratunnel" in (await visitor.response()).body
        visitor.get(b"/_health?verbose", host=host, method=b"HEAD")
        assert (await visitor.response(b"HEAD")).status == 200


@pytest.mark.parametrize("host", [b"app.localhost", b"APP.localhost:1", b"App.LocalHost."])
async def test_a_name_below_the_domain_is_a_tunnel_however_it_is_spelt(host: bytes) -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get(b"/", host=host)
        answer(await agent.request(), b"mine")
        assert (await visitor.response()).body == b"mine"


@pytest.mark.parametrize("path", [b"/ws", b"/_health", b"/api/auth/me", b"/auth/login"])
async def test_a_tunnel_has_every_path_for_itself(path: bytes) -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get(path, b"Connection: Upgrade", b"Upgrade: websocket")
        request = await agent.request()
        assert request.heard[0][1][1] == path  # type: ignore[index] # ("headers", items)
        answer(request, b"the service's")
        assert (await visitor.response()).body == b"the service's"


async def test_a_name_nobody_had_is_404_and_one_whose_agent_is_away_502() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get(host=b"nobody.localhost")
        response = await visitor.response()
        assert (response.status, response.value(b"Retry-After")) == (404, b"")
        agent.link.abort()
        await agent.owner.until_heard("closed")
        while lab.server.routes.agents:
            await settled()
        visitor.get()
        response = await visitor.response()
        assert (response.status, response.value(b"Retry-After")) == (502, b"2")
        assert b"app.localhost" in response.body
        assert re.fullmatch(rb"[0-9a-f]{32}", response.value(b"X-Request-Id"))


@pytest.mark.parametrize("host", [b"a.b.localhost", b"app.localhost.evil.example", b"example.com", b"xlocalhost"])
async def test_a_name_that_is_no_tunnel_is_404(host: bytes) -> None:
    async with running() as lab:
        await lab.agent()
        visitor = await lab.visit()
        visitor.get(host=host)
        assert (await visitor.response()).status == 404


async def test_request_ids_do_not_repeat() -> None:
    async with running() as lab:
        ids = [lab.server._edge.new_request_id() for _ in range(1_000)]
        assert len(set(ids)) == 1_000
        assert all(re.fullmatch(rb"[0-9a-f]{32}", each) for each in ids)


@clocked
async def test_a_fault_with_one_connection_ends_it_and_lapses_no_limit_of_the_others(clock: Clock) -> None:
    async with running(clock=clock) as lab:
        edge = lab.server._edge
        swept: list[str] = []

        class Swept:
            def __init__(self, name: str) -> None:
                self.name = name

            def check_time(self, now: float) -> None:
                swept.append(self.name)
                if self.name == "faulty":
                    raise RuntimeError("for the test")

            def cut(self) -> None:
                swept.append("cut")
                edge.connections.discard(self)

        others = [Swept("other"), Swept("other")]
        edge.connections.update([others[0], Swept("faulty"), others[1]])  # type: ignore[list-item]
        await clock.advance(3 * SWEEP_EVERY_S + 0.1)
        edge.connections.difference_update(others)
        assert (swept.count("faulty"), swept.count("cut")) == (1, 1)
        assert swept.count("other") >= 6


# ---------------------------------------------------------------------- draining


async def test_draining_finishes_what_is_under_way_and_closes_after_it() -> None:
    async with running() as lab:
        agent, busy, idle = await lab.agent(), await lab.visit(), await lab.visit()
        idle.get(b"/_health", host=b"localhost")
        await idle.response()
        busy.get()
        request = await agent.request()
        lab.server._edge.stop_listening()
        assert await idle.rest() == b""
        answer(request, b"finished")
        response = await busy.response()
        assert response.body == b"finished"
        assert response.value(b"Connection") == b"close"
        assert await busy.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            await lab.visit()


async def test_while_draining_new_requests_are_503_and_so_is_the_health_check() -> None:
    async with running() as lab:
        agent = await lab.agent()
        visitors = [await lab.visit() for _ in range(3)]
        for number, visitor in enumerate(visitors, 1):
            visitor.get()
            request = await agent.request(number)
            assert request.stream is not None
            request.stream.send_headers([b"200", b"OK", b"Content-Length", b"5"])
            assert (await visitor.head()).status == 200
        lab.server._edge.stop_listening()
        visitors[0].get(b"/new")
        visitors[1].get(b"/_health", host=b"localhost")
        await settled()
        for request in agent.owner.streams:
            assert request.stream is not None
            request.stream.send_data(b"whole", end=True)
        for visitor in visitors:
            assert await visitor.reader.readexactly(5) == b"whole"
        refused = await visitors[0].response()
        assert (refused.status, refused.value(b"Connection"), refused.value(b"Retry-After")) == (503, b"close", b"2")
        assert json.loads((await visitors[1].response()).body)["status"] == "draining"
        for visitor in visitors:
            assert await visitor.rest() == b""
        assert len(agent.owner.streams) == 3


async def test_a_half_head_may_still_become_a_request_while_draining() -> None:
    async with running() as lab:
        await lab.agent()
        visitor = await lab.visit()
        visitor.send(b"GET / HTTP/1.1\r\nHost: app.loc")
        await settled()
        lab.server._edge.stop_listening()
        visitor.send(b"alhost\r\n\r\n")
        assert (await visitor.response()).status == 503
        assert await visitor.rest() == b""


async def test_closing_cuts_what_is_under_way() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get()
        await agent.request()
        lab.server._edge.close()
        assert await visitor.is_cut()
