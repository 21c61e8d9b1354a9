"""The agent in the server's own process: the pages over a link in memory, and a clean end."""

import os
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from terratunnel.mux.connection import MuxConnection
from terratunnel.protocol.settings import Settings
from terratunnel.server.control.agent import PagesAgent
from terratunnel.testing.streams import OwnerRecorder, StreamRecorder


async def echo(request: Request) -> Response:
    return PlainTextResponse(request.headers["host"].encode() + b" " + await request.body())


APP = Starlette(routes=[Route("/echo", echo, methods=["POST"])])


async def started(agent: PagesAgent) -> MuxConnection:
    link = await agent.start()
    owner = OwnerRecorder()
    connection = MuxConnection(link, owner, True, Settings())
    link.attach(connection)
    await owner.until_heard("opened")
    return connection


async def test_a_request_reaches_the_pages_and_comes_back() -> None:
    agent = PagesAgent(APP, Settings())
    connection = await started(agent)
    recorder = StreamRecorder()
    recorder.stream = connection.open_stream(recorder)
    recorder.stream.send_headers([b"POST", b"/echo", b"Host", b"example.com", b"Content-Length", b"5"])
    recorder.stream.send_data(b"hello", end=True)
    await recorder.finish()
    head = recorder.heard[0][1]
    assert isinstance(head, list)
    assert head[:2] == [b"200", b"OK"]
    assert b"server" not in [name.lower() for name in head[2::2]]
    assert recorder.body == b"example.com hello"
    await agent.close()


async def test_its_socket_is_nobody_elses_and_goes_with_it() -> None:
    agent = PagesAgent(APP, Settings())
    await started(agent)
    folder = Path(agent._folder.name)
    assert [path.name for path in folder.iterdir()] == ["pages.sock"]
    assert os.stat(folder).st_mode & 0o077 == 0
    await agent.close()
    assert not folder.exists()


async def test_closing_loses_the_link() -> None:
    agent = PagesAgent(APP, Settings())
    connection = await started(agent)
    owner = connection.owner
    assert isinstance(owner, OwnerRecorder)
    await agent.close()
    await owner.until_heard("closed")
    assert connection.closed


async def test_an_agent_that_was_never_started_can_be_closed() -> None:
    await PagesAgent(APP, Settings()).close()
