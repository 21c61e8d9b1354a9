"""The acceptor: who gets a link, who is told why not, and who takes over from whom."""

import asyncio
import json
import logging
from dataclasses import replace

import pytest

from terratunnel.mux.handshake import HandshakeRefused
from terratunnel.protocol.errors import GoAwayCode
from terratunnel.protocol.frames import GOAWAY, FrameType, frame
from terratunnel.protocol.settings import Settings
from terratunnel.server.auth.authenticator import Credentials, Grant
from terratunnel.server.config import EdgeLimits, ServerConfig
from terratunnel.server.proxies import networks_in
from terratunnel.server.storage.audit import Audit
from terratunnel.server.storage.models import TunnelAuditLog
from terratunnel.testing.clock import Clock, clocked, settled
from tests.server.lab import KEYS, Lab, RawAgent, answer, begin, running

UPGRADE = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13")
KEY = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
PROTOCOL = b"Sec-WebSocket-Protocol: chat, terratunnel.v1"


class SlowAuthenticator:
    """Decides when it is told to."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.asked: list[Credentials] = []
        self.decide = asyncio.Event()
        self._failure = failure

    async def authenticate(self, credentials: Credentials) -> Grant:
        self.asked.append(credentials)
        await self.decide.wait()
        if self._failure is not None:
            raise self._failure
        return Grant("app")


def ask_slowly(lab: Lab, failure: Exception | None = None) -> SlowAuthenticator:
    authenticator = SlowAuthenticator(failure)
    lab.server._acceptor._authenticator = authenticator
    return authenticator


async def until_asked(authenticator: SlowAuthenticator) -> None:
    while not authenticator.asked:
        await settled()


async def test_an_agent_behind_a_trusted_proxy_has_an_address_of_its_own() -> None:
    config = ServerConfig("127.0.0.1", 0, static_keys=KEYS, trusted_proxies=networks_in("127.0.0.1"))
    for trusting, address in ((config, "203.0.113.7"), (replace(config, trusted_proxies=()), "127.0.0.1")):
        async with running(config=trusting) as lab:
            authenticator = ask_slowly(lab)
            visitor = await lab.visit()
            forwarded = (b"X-Forwarded-For: 198.51.100.1", b"x-forwarded-for: 203.0.113.7")
            visitor.get(b"/ws", *UPGRADE, KEY, PROTOCOL, *forwarded, host=b"localhost")
            await until_asked(authenticator)
            assert authenticator.asked[0].address == address
            authenticator.decide.set()
            assert b" 101 " in await visitor.reader.readuntil(b"\r\n\r\n")


# ---------------------------------------------------------------------- the form of the request


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        (b"GET", ()),
        (b"GET", UPGRADE),
        (b"GET", (*UPGRADE, KEY)),
        (b"GET", (*UPGRADE, KEY, b"Sec-WebSocket-Protocol: terratunnel.v2")),
        (b"GET", (*UPGRADE[:2], b"Sec-WebSocket-Version: 8", KEY, PROTOCOL)),
        (b"GET", (b"Connection: Upgrade", b"Upgrade: chat", b"Sec-WebSocket-Version: 13", KEY, PROTOCOL)),
        (b"POST", (*UPGRADE, KEY, PROTOCOL)),
    ],
)
async def test_what_does_not_ask_for_a_link_is_told_what_would(method: bytes, fields: tuple[bytes, ...]) -> None:
    async with running() as lab:
        visitor = await lab.visit()
        visitor.get(b"/ws", *fields, method=method, host=b"localhost")
        response = await visitor.response()
        assert response.status == 426
        assert response.value(b"Sec-WebSocket-Protocol") == b"terratunnel.v1"
        assert json.loads(response.body)["status"] == 426


async def test_a_link_is_told_its_public_url() -> None:
    async with running() as lab:
        agent = await lab.agent()
        assert agent.url == f"http://app.localhost:{lab.server.port}"
        assert agent.token == ""


async def test_bytes_behind_the_request_are_the_first_of_the_link() -> None:
    async with running() as lab:
        visitor = await lab.visit()
        visitor.get(b"/ws", *UPGRADE, KEY, PROTOCOL, b"Authorization: Bearer key-of-app", host=b"localhost")
        settings = frame(FrameType.SETTINGS, 0, 0, b"")
        visitor.send(bytes([0x82, 0x80 | len(settings), 0, 0, 0, 0]), settings)
        assert (await visitor.head()).status == 101
        second = await lab.visit()
        second.get()
        assert b"HEADERS"  # for the reader: what follows is a HEADERS frame, type 1
        seen = b""
        while b"app.localhost" not in seen:
            seen += await visitor.reader.read(65_536)


# ---------------------------------------------------------------------- who may


@pytest.mark.parametrize("key", ["", "wrong"])
async def test_a_missing_or_wrong_key_is_401_with_a_sentence(key: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with running() as lab:
        with pytest.raises(HandshakeRefused) as refused:
            await lab.open(key)
        assert refused.value.status == 401
        assert "API key" in refused.value.message
        assert lab.server.routes.agents == 0
    assert "agent_refused address=127.0.0.1 status=401" in caplog.text
    assert "wrong" not in caplog.text


async def test_a_refusal_names_the_scheme_of_keys() -> None:
    async with running() as lab:
        visitor = await lab.visit()
        visitor.get(b"/ws", *UPGRADE, KEY, PROTOCOL, host=b"localhost")
        response = await visitor.response()
        assert response.value(b"WWW-Authenticate") == b"Bearer"


async def test_an_authenticator_that_fails_is_503_and_its_fault_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as lab:
        authenticator = ask_slowly(lab, RuntimeError("the database is away"))
        authenticator.decide.set()
        with pytest.raises(HandshakeRefused) as refused:
            await lab.open()
        assert refused.value.status == 503
        assert "database" not in refused.value.message
        assert [row.event_type for row in await audited(lab)] == ["refused"]
    assert "the database is away" in caplog.text


async def test_the_authenticator_sees_what_the_agent_showed() -> None:
    async with running() as lab:
        authenticator = ask_slowly(lab)
        authenticator.decide.set()
        fields = [b"User-Agent", b"test/1", b"Terratunnel-Token", b"t", b"Terratunnel-Local-Endpoint", b"http://l"]
        RawAgent(await lab.open("the-key", *fields))
        assert authenticator.asked == [Credentials("the-key", "t", "127.0.0.1", "test/1", "http://l")]


async def test_an_agent_that_leaves_while_it_is_decided_upon_gets_no_route() -> None:
    async with running() as lab:
        authenticator = ask_slowly(lab)
        visitor = await lab.visit()
        visitor.get(b"/ws", *UPGRADE, KEY, PROTOCOL, host=b"localhost")
        await until_asked(authenticator)
        visitor.reset()
        await settled()
        authenticator.decide.set()
        await settled()
        assert lab.server.routes.agents == 0


@clocked
async def test_an_authenticator_that_never_decides_costs_503(clock: Clock) -> None:
    async with running(clock=clock) as lab:
        ask_slowly(lab)
        visitor = await lab.visit()
        visitor.get(b"/ws", *UPGRADE, KEY, PROTOCOL, host=b"localhost")
        await settled()
        await clock.advance(11.0)
        assert (await visitor.response()).status == 503


async def test_an_agent_that_comes_while_the_server_drains_is_503() -> None:
    async with running() as lab:
        authenticator = ask_slowly(lab)
        early, late = await lab.visit(), await lab.visit()
        early.get(b"/ws", *UPGRADE, KEY, PROTOCOL, host=b"localhost")
        await until_asked(authenticator)
        lab.server._acceptor.draining = True
        authenticator.decide.set()
        late.get(b"/ws", *UPGRADE, KEY, PROTOCOL, host=b"localhost")
        for visitor in (early, late):
            response = await visitor.response()
            assert (response.status, response.value(b"Retry-After")) == (503, b"1")
        assert lab.server.routes.agents == 0


# ---------------------------------------------------------------------- taking over


async def test_a_newer_agent_takes_over_and_the_older_one_is_told() -> None:
    async with running() as lab:
        old, visitor = await lab.agent(), await lab.visit()
        visitor.get(b"/1")
        under_way = await old.request()
        new = await lab.agent()
        note = await old.owner.until_heard("goaway")
        assert note == ("goaway", GoAwayCode.REPLACED, "another client connected as app")
        answer(under_way, b"by the old one")
        assert (await visitor.response()).body == b"by the old one"
        visitor.get(b"/2")
        answer(await new.request(), b"by the new one")
        assert (await visitor.response()).body == b"by the new one"
        await old.owner.until_heard("closed")
        assert lab.server.routes.agents == 1
        assert "closed" not in new.owner.names()


async def test_the_death_of_the_older_link_does_not_touch_the_new_route() -> None:
    async with running() as lab:
        old = await lab.agent()
        new, visitor = await lab.agent(), await lab.visit()
        old.link.abort()
        await settled()
        visitor.get()
        answer(await new.request(), b"new")
        assert (await visitor.response()).body == b"new"


async def test_who_waits_at_the_older_agent_is_told_at_once() -> None:
    async with running(link=Settings(max_streams=1)) as lab:
        old, one, two = await lab.agent(), await lab.visit(), await lab.visit()
        one.get()
        await old.request()
        two.get()
        await settled()
        await lab.agent()
        assert (await two.response()).status == 502


async def test_an_agent_that_says_goodbye_frees_its_name_and_finishes_what_is_under_way() -> None:
    async with running(link=Settings(max_streams=1)) as lab:
        agent = await lab.raw_agent()
        one, two, three = await lab.visit(), await lab.visit(), await lab.visit()
        one.get()
        (stream,) = await agent.heads()
        two.get()
        await settled()
        agent.say(frame(FrameType.GOAWAY, 0, 0, GOAWAY.pack(stream, GoAwayCode.NORMAL) + b"bye"))
        assert (await two.response()).status == 502
        three.get()
        assert (await three.response()).status == 502
        agent.say(agent.head(stream, [b"200", b"OK"]), agent.data(stream, b"done", end=True))
        assert (await one.response()).body == b"done"


async def test_requests_the_agent_never_looked_at_are_503() -> None:
    async with running() as lab:
        agent, visitor = await lab.raw_agent(), await lab.visit()
        visitor.get()
        await agent.heads()
        agent.say(frame(FrameType.GOAWAY, 0, 0, GOAWAY.pack(0, GoAwayCode.DRAINING)))
        assert (await visitor.response()).status == 503


# ---------------------------------------------------------------------- links that end


async def test_a_link_that_is_lost_answers_502_or_cuts() -> None:
    async with running() as lab:
        agent, waiting, reading = await lab.agent(), await lab.visit(), await lab.visit()
        waiting.get()
        await agent.request()
        reading.get()
        begin(await agent.request(2))
        assert (await reading.head()).status == 200
        agent.link.abort()
        response = await waiting.response()
        assert response.status == 502
        assert b"the link was lost" in response.body
        assert await reading.is_cut()
        assert lab.server.routes.agents == 0


@clocked
async def test_a_link_that_falls_silent_is_dead_after_15_s(clock: Clock) -> None:
    async with running(clock=clock) as lab:
        agent, visitor = await lab.raw_agent(), await lab.visit()
        visitor.get()
        await agent.heads()
        await clock.advance(14.0)
        assert lab.server.routes.agents == 1
        await clock.advance(1.5)
        assert (await visitor.response()).status == 502
        assert lab.server.routes.agents == 0


@clocked
async def test_an_agent_that_never_says_settings_gets_no_visitor_and_no_long_life(clock: Clock) -> None:
    async with running(EdgeLimits(queue_timeout_s=5.0), clock=clock) as lab:
        agent, visitor = RawAgent(await lab.open()), await lab.visit()
        visitor.get()
        await settled()
        await clock.advance(6.0)
        assert (await visitor.response()).status == 503
        await clock.advance(10.0)
        assert lab.server.routes.agents == 0
        assert "HEADERS" not in agent.names()


@pytest.mark.parametrize("kind", [FrameType.DATA, FrameType.HEADERS])
async def test_an_agent_that_breaks_the_protocol_is_told_and_dropped(kind: FrameType) -> None:
    async with running() as lab:
        agent = await lab.raw_agent()
        agent.say(frame(kind, 0, 2, b""))
        note = await agent.until_heard("GOAWAY")
        assert isinstance(note[2], bytes)
        assert GOAWAY.unpack_from(note[2])[1] == GoAwayCode.PROTOCOL_ERROR
        await agent.until_heard("lost")
        while lab.server.routes.agents:
            await settled()


# ---------------------------------------------------------------------- what is audited


async def audited(lab: Lab) -> list[TunnelAuditLog]:
    """What was audited, oldest first."""
    services = lab.server.services
    await services.audit.flush()
    async with services.database.reading() as session:
        return (await Audit(session).list()).rows[::-1]


async def test_connecting_and_leaving_is_audited_with_who_and_where() -> None:
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.post(b"12345")
        answer(await agent.request(), b"123")
        await visitor.response()
        agent.connection.close_now(GoAwayCode.NORMAL, "the user stopped it")
        while lab.server.routes.agents:
            await settled()
        came, left = await audited(lab)
        assert (came.event_type, left.event_type) == ("connect", "disconnect")
        assert (came.subdomain, came.hostname, came.client_ip) == ("app", "app.localhost", "127.0.0.1")
        assert came.connection_id == left.connection_id
        assert came.connection_id
        details = json.loads(left.additional_data or "")
        assert details == {"reason": "the user stopped it", "requests": 1, "bytes_in": 5, "bytes_out": 3}


async def test_each_link_has_an_id_of_its_own() -> None:
    async with running() as lab:
        await lab.agent()
        await lab.agent()
        rows = await audited(lab)
        connects = [row.connection_id for row in rows if row.event_type == "connect"]
        assert len(set(connects)) == 2
        assert {row.connection_id for row in rows} == set(connects)


async def test_a_refusal_is_audited_with_its_reason_and_without_the_key() -> None:
    async with running() as lab:
        with pytest.raises(HandshakeRefused):
            await lab.open("a-wrong-key", b"User-Agent", b"a client", b"Terratunnel-Local-Endpoint", b"http://x")
        (row,) = await audited(lab)
        assert (row.event_type, row.client_ip, row.user_agent) == ("refused", "127.0.0.1", "a client")
        assert row.local_endpoint == "http://x"
        assert json.loads(row.additional_data or "")["status"] == 401
        assert "a-wrong-key" not in str(vars(row))
