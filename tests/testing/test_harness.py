"""A whole tunnel in one process works, says what happens and leaves nothing behind."""

import asyncio

from terratunnel.server.config import EdgeLimits
from terratunnel.testing.harness import KEY, DisplayRecorder, Tunnel
from terratunnel.testing.services import Caller, ScriptedService


async def hello(caller: Caller) -> None:
    async for head in caller.heads():
        target = head.split(b" ")[1]
        caller.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(target), target))


async def test_a_visitor_reaches_the_service() -> None:
    async with ScriptedService(hello) as service, Tunnel(service.url) as tunnel:
        answer = await tunnel.get(b"/a%2Fb?c")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\n/a%2Fb?c")
        assert tunnel.url == f"http://my-app.localhost:{tunnel.port}"
        assert tunnel.display.heard[:2] == [("connecting", f"ws://127.0.0.1:{tunnel.port}"), ("online", tunnel.url)]
        assert ("exchange", b"GET", b"/a%2Fb?c", 200, "") in tunnel.display.heard
    assert tunnel.display.names()[-1] == "closed"
    assert "GET /a%2Fb?c -> 200" in tunnel.log.getvalue()
    assert KEY not in tunnel.log.getvalue()


async def test_a_client_that_stops_and_starts_again_serves_the_same_name() -> None:
    async with ScriptedService(hello) as service, Tunnel(service.url) as tunnel:
        await tunnel.stop_client()
        assert (await tunnel.get()).startswith(b"HTTP/1.1 502 ")
        await tunnel.start_client()
        assert (await tunnel.get()).startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_stops_finishes_what_is_under_way() -> None:
    go = asyncio.Event()

    async def slow(caller: Caller) -> None:
        await caller.head()
        await go.wait()
        caller.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
        await caller.gone()

    async with ScriptedService(slow) as service, Tunnel(service.url) as tunnel:
        answer = asyncio.ensure_future(tunnel.get())
        while not service.connections:
            await tunnel.visitor()
        stopping = asyncio.ensure_future(tunnel.stop_client())
        await tunnel.display.until_heard("notice")
        go.set()
        assert (await answer).endswith(b"\r\n\r\nlate")
        await stopping


async def test_limits_may_be_given() -> None:
    async with ScriptedService(hello) as service, Tunnel(service.url, EdgeLimits(max_request_bytes=3)) as tunnel:
        visitor = await tunnel.visitor()
        visitor.send(b"POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 4\r\n\r\n" % tunnel.host)
        assert (await visitor.head()).startswith(b"HTTP/1.1 413 ")


def test_a_display_recorder_notes_what_a_client_says() -> None:
    display = DisplayRecorder()
    display.connecting("ws://a")
    display.reconnecting(0.0, "lost")
    display.refused("no key")
    display.notice("by the way")
    display.closed("over", failed=False)
    display.close()
    assert display.heard == [
        ("connecting", "ws://a"),
        ("reconnecting", "lost"),
        ("refused", "no key"),
        ("notice", "by the way"),
        ("closed", "over"),
    ]
