"""While the database is locked, full or gone: live tunnels go on, whoever wants something of it is told, and then all
is well again. A real server, a real provider and real trouble.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from terratunnel.mux.handshake import HandshakeRefused
from terratunnel.server.actors import OPERATOR
from terratunnel.server.config import AccountsConfig, ServerConfig
from terratunnel.server.storage.audit import Audit
from terratunnel.server.storage.urls import database_url
from terratunnel.server.storage.users import Profile
from terratunnel.testing.databases import PostgresCluster
from terratunnel.testing.provider import Person, Provider, providing
from tests.server.lab import Agent, Lab, Response, answer, running
from tests.server.storage.trouble import can_mount, held, small_disk

ALICE = Profile("github", "7", "alice")
BOB = Person(8, "bob", "bob@example.com")
# Waiting for a database is bounded: 5 s for a turn and 5 s for a lock, and a busy machine needs some time of its own.
TOLD_WITHIN_S = 20.0
AT_ONCE_S = 4.0  # what needs no database waits for none of it


class Site:
    """A server with one tunnel that serves, and people who sign in at a provider or by a link."""

    def __init__(
        self, lab: Lab, provider: Provider, key: str, agent: Agent, host: bytes, cookie: str, link: str
    ) -> None:
        self.lab = lab
        self.key = key
        self.host = host
        self.agent = agent
        self.cookie = cookie
        self._provider = provider
        self._link = link

    async def forwards(self) -> None:
        """A request passes through the tunnel."""
        async with asyncio.timeout(AT_ONCE_S):
            visitor = await self.lab.visit()
            visitor.post(b"a webhook", host=self.host)
            answer(await self.agent.request(len(self.agent.owner.streams) + 1), b"taken")
            response = await visitor.response()
            assert (response.status, response.body) == (200, b"taken")

    async def exchanges(self) -> Response:
        """Bob asks for a key, which writes."""
        visitor = await self.lab.visit()
        body = json.dumps({"github_token": self._provider.token_of("bob", "github")}).encode()
        fields = (b"Content-Type: application/json", b"Content-Length: %d" % len(body))
        visitor.get(b"/api/auth/exchange", *fields, method=b"POST", host=b"localhost")
        visitor.send(body)
        async with asyncio.timeout(TOLD_WITHIN_S):
            return await visitor.response()

    async def signs_in(self) -> Response:
        """Alice uses a one-time link, which writes that it was used."""
        visitor = await self.lab.visit()
        body = b"token=" + self._link.encode()
        host = b"localhost:%d" % self.lab.server.port
        form = (b"Content-Type: application/x-www-form-urlencoded", b"Content-Length: %d" % len(body))
        visitor.get(b"/auth/link", b"Origin: http://" + host, *form, method=b"POST", host=host)
        visitor.send(body)
        async with asyncio.timeout(TOLD_WITHIN_S):
            return await visitor.response()

    async def asks_who(self) -> Response:
        """Alice's browser asks who she is, which reads."""
        visitor = await self.lab.visit()
        visitor.get(b"/auth/me", b"Cookie: " + self.cookie.encode(), host=b"localhost")
        async with asyncio.timeout(TOLD_WITHIN_S):
            return await visitor.response()

    async def is_healthy(self) -> bool:
        """The health check needs no database."""
        visitor = await self.lab.visit()
        visitor.get(b"/_health", host=b"localhost")
        async with asyncio.timeout(AT_ONCE_S):
            return (await visitor.response()).status == 200


@asynccontextmanager
async def site(url: str) -> AsyncIterator[Site]:
    async with providing(BOB) as provider:
        accounts = AccountsConfig((provider.config("github"),))
        config = ServerConfig("127.0.0.1", 0, database_url=url, accounts=accounts)
        async with running(config=config) as lab:
            services = lab.server.services
            alice = await services.accounts.sign_in(ALICE)
            tunnel = (await services.accounts.tunnels_of(alice))[0].tunnel
            key = (await services.accounts.rotate_key(alice, tunnel.id)).plain
            cookie = services.sessions.issue(alice)
            link = (await services.links.create_link(OPERATOR, alice.id)).token
            host = f"{tunnel.subdomain}.localhost".encode()
            yield Site(lab, provider, key, await lab.agent(key), host, f"{cookie.name}={cookie.value}", link)


def is_told(response: Response) -> None:
    """It is one sentence for whoever waits, and it says when to come again."""
    assert response.status == 503
    assert response.value(b"Retry-After")
    sentence = json.loads(response.body)["message"]
    assert sentence.endswith(".")
    assert not [word for word in ("sqlite", "Traceback", "asyncpg", "/") if word in sentence]


async def passes(at: Site, trouble: AbstractContextManager[None], reading_fails: bool) -> None:
    """The whole promise for one trouble."""
    await at.forwards()
    with trouble:
        await at.forwards()
        writing = asyncio.gather(at.exchanges(), at.signs_in())
        for _ in range(5):
            await at.forwards()
            assert await at.is_healthy()
        exchanged, signed_in = await writing
        is_told(exchanged)
        is_told(signed_in)
        if reading_fails:
            is_told(await at.asks_who())
            with pytest.raises(HandshakeRefused) as refused:
                await at.lab.agent(at.key)
            assert refused.value.status == 503
            assert refused.value.message.endswith(".")
        else:
            assert (await at.asks_who()).status == 200
        await at.forwards()
        assert "closed" not in at.agent.owner.names()
        if not reading_fails:  # a key needs only to be read
            at.agent = await at.lab.agent(at.key)
            await at.forwards()
    await is_well(at)


async def is_well(at: Site) -> None:
    """Afterwards everything works, and what happened meanwhile is in the audit log."""
    await at.forwards()
    assert (await at.exchanges()).status == 200
    assert (await at.signs_in()).status == 303
    assert (await at.asks_who()).status == 200
    await at.lab.agent(at.key)
    services = at.lab.server.services
    await services.audit.flush()
    async with services.database.reading() as session:
        events = [row.event_type for row in (await Audit(session).list()).rows]
    assert {"connect", "key_rotated", "tunnel_created", "login"} <= set(events)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tunnels.db"


async def test_a_database_that_another_process_locks(path: Path) -> None:
    async with site(database_url(str(path))) as at:
        await passes(at, held(path, "BEGIN IMMEDIATE"), reading_fails=False)


@contextmanager
def moved_away(path: Path) -> Iterator[None]:
    files = [path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))]
    for file in files:
        if file.exists():
            file.rename(f"{file}.away")
    yield
    for file in files:
        if Path(f"{file}.away").exists():
            Path(f"{file}.away").rename(file)


async def test_a_database_that_is_gone(path: Path) -> None:
    async with site(database_url(str(path))) as at:
        await passes(at, moved_away(path), reading_fails=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4_096))
    yield
    ballast.unlink()


async def test_a_database_whose_disk_is_full(tmp_path: Path) -> None:
    if not can_mount(tmp_path / "tried"):
        return  # tests of the pools fill a file up to its limit
    with small_disk(tmp_path / "disk", 2_048) as folder:
        async with site(database_url(str(folder / "tunnels.db"))) as at:
            await passes(at, filled(folder), reading_fails=False)


@contextmanager
def stopped(postgres: PostgresCluster) -> Iterator[None]:
    postgres.stop()
    try:
        yield
    finally:
        postgres.start()


async def test_a_postgres_that_is_stopped(postgres: PostgresCluster) -> None:
    async with site(postgres.new()) as at:
        await passes(at, stopped(postgres), reading_fails=True)
