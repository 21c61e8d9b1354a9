"""A link ends once, with a reason, and finishes what is under way."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from terratunnel.client.link import Ending, ServerLink, Welcome, sentence, welcome_in, why
from terratunnel.errors import RemoteProtocolError
from terratunnel.forwarding.endpoint import parse_endpoint
from terratunnel.forwarding.forwarder import Forwarder
from terratunnel.forwarding.pool import UpstreamPool
from terratunnel.mux.handshake import ServerAddress, open_link
from terratunnel.protocol.errors import GoAwayCode
from terratunnel.protocol.settings import Settings
from terratunnel.server.app import Server
from tests.client.lab import HOST, LIMIT_S, OK, ask, listening, serving


class Service:
    """A local service that answers when the test says so."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked.set()
        await self.answer.wait()
        writer.write(OK)


@asynccontextmanager
async def linked(server: Server, service: Service, drain_s: float = 30.0) -> AsyncIterator[ServerLink]:
    """A link the server has taken, which leads to the service."""
    loop = asyncio.get_running_loop()
    online = asyncio.Event()
    async with listening(service) as port:
        forwarder = Forwarder(UpstreamPool(parse_endpoint(f"http://{HOST}:{port}"), loop.time))
        opened = await open_link(ServerAddress(HOST, server.port, False), [], None, LIMIT_S)
        link = ServerLink(opened, forwarder, Settings(), drain_s, lambda _: online.set())
        async with asyncio.timeout(LIMIT_S):
            await online.wait()
            yield link
        link.cut(GoAwayCode.NORMAL, "the test is over")
        forwarder.close()


def say_goaway(server: Server, code: GoAwayCode, reason: str) -> None:
    """The server ends the links of its agents, gently."""
    for route in server.routes.routes():
        if route.name:
            route.connection.close(code, reason)


async def test_the_server_says_who_the_client_is(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, linked(server, Service()) as link:
        assert link.welcome.url == f"http://{link.welcome.hostname}:{server.port}"
        assert link.welcome.hostname.endswith(".localhost")
        assert link.welcome.token


async def test_draining_ends_a_link_without_requests_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, linked(server, Service()) as link:
        link.drain("enough")
        assert await link.over == Ending(GoAwayCode.NORMAL, "enough")
        await link.closed


async def test_draining_waits_for_the_request_under_way(tmp_path: Path) -> None:
    service = Service()
    async with serving(tmp_path) as server, linked(server, service) as link:
        visit = asyncio.create_task(ask(server.port, link.welcome.hostname))
        await service.asked.wait()
        link.drain("enough")
        link.drain("a second time is no matter")
        assert not link.closed.done()
        service.answer.set()
        assert await visit == (200, b"ok")
        await link.closed


async def test_draining_has_a_limit(tmp_path: Path) -> None:
    service = Service()
    async with serving(tmp_path) as server, linked(server, service, drain_s=0.05) as link:
        visit = asyncio.create_task(ask(server.port, link.welcome.hostname))
        await service.asked.wait()
        link.drain("enough")
        await link.closed
        assert (await visit)[0] == 502


async def test_cutting_does_not_wait(tmp_path: Path) -> None:
    service = Service()
    async with serving(tmp_path) as server, linked(server, service) as link:
        visit = asyncio.create_task(ask(server.port, link.welcome.hostname))
        await service.asked.wait()
        link.cut(GoAwayCode.DEAD, "slept")
        assert await link.over == Ending(GoAwayCode.DEAD, "slept")
        assert (await visit)[0] == 502


async def test_a_draining_server_is_left_while_its_request_goes_on(tmp_path: Path) -> None:
    service = Service()
    async with serving(tmp_path) as server, linked(server, service) as link:
        visit = asyncio.create_task(ask(server.port, link.welcome.hostname))
        await service.asked.wait()
        say_goaway(server, GoAwayCode.DRAINING, "restarting")
        assert await link.over == Ending(GoAwayCode.DRAINING, "restarting")
        assert not link.closed.done()
        service.answer.set()
        assert await visit == (200, b"ok")
        await link.closed


async def test_a_request_without_end_does_not_hold_a_draining_link_for_ever(tmp_path: Path) -> None:
    service = Service()
    async with serving(tmp_path) as server, linked(server, service, drain_s=0.05) as link:
        visit = asyncio.create_task(ask(server.port, link.welcome.hostname))
        await service.asked.wait()
        say_goaway(server, GoAwayCode.DRAINING, "restarting")
        await link.closed
        assert (await visit)[0] == 502


async def test_a_replaced_link_is_over_when_its_request_is(tmp_path: Path) -> None:
    service = Service()
    async with serving(tmp_path) as server, linked(server, service) as link:
        visit = asyncio.create_task(ask(server.port, link.welcome.hostname))
        await service.asked.wait()
        say_goaway(server, GoAwayCode.REPLACED, "somebody came")
        service.answer.set()
        assert await visit == (200, b"ok")
        assert await link.over == Ending(GoAwayCode.REPLACED, "somebody came")


async def test_a_link_that_vanishes_has_no_code(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, linked(server, Service()) as link:
        for route in server.routes.routes():
            route.connection.link.abort()
        ending = await link.over
        assert ending.code is None
        assert ending.reason


def test_what_a_server_says_of_itself_is_taken_as_it_is() -> None:
    assert welcome_in([]) == Welcome("", "", "")
    assert welcome_in([(b"Terratunnel-Url", b"http://[::1"), (b"TERRATUNNEL-TOKEN", b"t")]) == Welcome(
        "http://[::1", "", "t"
    )


@pytest.mark.parametrize(
    ("what", "reason", "expected"),
    [
        ("It ended", "", "It ended."),
        ("It ended", "the key was revoked", "It ended: the key was revoked."),
        ("It ended", " The key was revoked. ", "It ended: The key was revoked."),
    ],
)
def test_a_sentence_ends_with_one_full_stop(what: str, reason: str, expected: str) -> None:
    assert sentence(what, reason) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TimeoutError(), "it did not answer in time"),
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 8000)"), "Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "wrong version number"),
        (ConnectionResetError("the server closed the connection"), "the server closed the connection"),
        (RemoteProtocolError("the server's answer is not HTTP"), "the server's answer is not HTTP"),
        (OSError(), "OSError"),
    ],
)
def test_a_reason_is_in_words(error: Exception, expected: str) -> None:
    assert expected in why(error)


def test_a_certificate_that_is_not_trusted_is_named_as_that() -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    assert why(error) == "its certificate cannot be trusted (self-signed certificate)"
