"""The sample app shows what arrived, byte for byte where it can."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from terratunnel.cli import sample
from terratunnel.cli.sample import sample_app
from terratunnel.client import api
from tests.client.lab import HOST, LIMIT_S, ask, ask_raw


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    sock = api.bind(0)
    server = api.AppServer(sample_app(event_every_s=0.0), sock)
    await server.start()
    try:
        yield api.port_of(sock)
    finally:
        await server.close()


async def test_the_page_says_hello() -> None:
    async with serving() as port:
        head, body = await ask_raw(port, HOST, "/")
    assert b"text/html" in head
    assert b"Hello" in body


async def test_a_hook_is_told_what_arrived() -> None:
    body = b"\x00\xff" * 10_000
    async with serving() as port, asyncio.timeout(LIMIT_S):
        reader, writer = await asyncio.open_connection(HOST, port)
        head = (
            f"POST /hook/%2F?a=1&b= HTTP/1.1\r\nHost: x\r\nX-Twice: 1\r\nX-Twice: 2\r\nContent-Length: {len(body)}\r\n"
        )
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        answer = json.loads((await reader.read()).partition(b"\r\n\r\n")[2])
        writer.close()
    assert (answer["method"], answer["target"]) == ("POST", "/hook/%2F?a=1&b=")
    assert [value for name, value in answer["headers"] if name == "x-twice"] == ["1", "2"]
    assert (answer["body_bytes"], answer["body_sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    assert len(answer["body_start"]) == sample.MAX_ECHO_CHARS


async def test_any_path_is_echoed() -> None:
    async with serving() as port:
        assert json.loads((await ask(port, HOST, "/somewhere"))[1])["target"] == "/somewhere"


async def test_a_method_nobody_has_heard_of_is_echoed() -> None:
    async with serving() as port, asyncio.timeout(LIMIT_S):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"BREW /pot HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = json.loads((await reader.read()).partition(b"\r\n\r\n")[2])
        writer.close()
    assert (answer["method"], answer["target"]) == ("BREW", "/pot")


async def test_events_come_one_by_one_and_end() -> None:
    async with serving() as port:
        head, body = await ask_raw(port, HOST, "/events")
    assert b"text/event-stream" in head
    assert body.count(b"event: tick") == sample.MAX_EVENTS
    assert b'data: {"number": 1, "of": 60}\n\n' in body
