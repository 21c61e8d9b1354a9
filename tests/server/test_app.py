"""The server as a whole: what it starts with, what it refuses to start with, and how it drains."""

import asyncio
import io
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from terratunnel.mux.handshake import field
from terratunnel.protocol.errors import GoAwayCode
from terratunnel.server.actors import OPERATOR
from terratunnel.server.app import Server
from terratunnel.server.auditing import AuditLog
from terratunnel.server.config import AccountsConfig, ConfigError, ProviderConfig, ServerConfig
from terratunnel.server.storage.audit import Audit
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.errors import MigrationRefused
from terratunnel.server.storage.inspection import newest_revision
from terratunnel.server.storage.tunnels import Tunnels
from terratunnel.server.storage.urls import database_url
from terratunnel.server.storage.users import Users
from terratunnel.server.tunnels import Accounts
from terratunnel.testing.clock import Clock, clocked, settled, turns
from tests.server.desk import ALICE
from tests.server.lab import KEYS, answer, begin, passing, running
from tests.server.storage import older

LOCAL = ServerConfig("127.0.0.1", 0, static_keys=KEYS)
SECRET = "6f1d86a0c2b94e57d1f3a8420b9c7e55"
PRODUCTION = ServerConfig("127.0.0.1", 0, domain="tunnel.example.com", secret=SECRET)
APP = ProviderConfig("github", "GitHub", "id", "secret", "https://github.com", "https://api.github.com")


# ---------------------------------------------------------------------- start


async def test_a_wrong_configuration_is_refused_before_anything_listens() -> None:
    with pytest.raises(ConfigError):
        Server(replace(LOCAL, port=-1))


async def test_a_port_that_is_taken_is_an_error_of_the_system(tmp_path: Path) -> None:
    async with running() as lab:
        second = Server(replace(LOCAL, port=lab.server.port, db_path=str(tmp_path / "second.db")))
        with pytest.raises(OSError, match="in use"):
            await second.start()
        await second.close()


async def test_the_pages_are_there_with_the_first_byte() -> None:
    async with running() as lab:
        visitor = await lab.visit()
        visitor.get(host=b"localhost")
        response = await visitor.response()
        assert response.status == 200
        assert b"terratunnel client --server-url ws://localhost:%d" % lab.server.port in response.body
        assert lab.server.public_url == f"http://localhost:{lab.server.port}"


async def test_anyone_may_connect_where_that_is_allowed_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = replace(LOCAL, require_auth=False, db_path=str(tmp_path / "mine.db"))
    async with running(config=config) as lab:
        first = await lab.open("")
        token = next(value for name, value in first.fields if name == b"Terratunnel-Token")
        url = next(value for name, value in first.fields if name == b"Terratunnel-Url")
        first.link.abort()
        again = await lab.open("", b"Terratunnel-Token", token)
        assert (b"Terratunnel-Url", url) in again.fields
    assert "anyone_may_connect" in caplog.text


# ---------------------------------------------------------------------- what it refuses to start with


@pytest.mark.parametrize("require_auth", [True, False])
@pytest.mark.parametrize("secret", ["", "short", "your-secret-key-change-in-production"])
async def test_in_production_a_secret_that_is_none_is_refused(require_auth: bool, secret: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.db"
    config = replace(PRODUCTION, secret=secret, require_auth=require_auth, static_keys=KEYS, db_path=str(path))
    with pytest.raises(ConfigError, match=r"JWT_SECRET .* openssl rand -hex 32"):
        Server(config)
    assert list(tmp_path.iterdir()) == []


async def refusal(config: ServerConfig) -> str:
    """Why a server does not start, nor listen."""
    server = Server(config, io.StringIO())
    with pytest.raises(ConfigError) as refused:
        await server.start()
    await server.close()
    assert server.port == 0
    return str(refused.value)


async def test_in_production_a_server_that_nobody_can_use_is_refused(tmp_path: Path) -> None:
    sentence = await refusal(replace(PRODUCTION, db_path=str(tmp_path / "mine.db")))
    for needed in ("GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET", "GITLAB_CLIENT_ID", "terratunnel admin user create"):
        assert needed in sentence


@pytest.mark.parametrize(
    "config",
    [
        replace(PRODUCTION, accounts=AccountsConfig((APP,))),
        replace(PRODUCTION, static_keys=KEYS),
        replace(PRODUCTION, require_auth=False),
    ],
)
async def test_in_production_one_way_in_is_enough(config: ServerConfig, tmp_path: Path) -> None:
    async with running(config=replace(config, db_path=str(tmp_path / "mine.db"))) as lab:
        assert lab.server.public_url == "https://tunnel.example.com"


async def test_a_user_whom_the_operator_has_made_is_a_way_in(tmp_path: Path) -> None:
    config = replace(PRODUCTION, db_path=str(tmp_path / "mine.db"))
    await refusal(config)
    async with Database(database_url(config.db_path)) as database:
        accounts = Accounts(database, config.accounts, AuditLog(database), lambda *_: None)
        user = await accounts.create_user(OPERATOR, "carol")
        async with running(config=config):
            pass
        await accounts.set_user_active(OPERATOR, user.id, False)
    await refusal(config)


async def test_on_localhost_it_is_only_said_that_nobody_can_connect(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(config=replace(LOCAL, static_keys={}, db_path=str(tmp_path / "mine.db"))):
        assert "nobody_may_connect: Clients need a key and nobody can sign in" in caplog.text


@pytest.mark.parametrize("algorithm", ["none", "RS256", "hs256"])
async def test_an_algorithm_that_is_none_of_ours_is_refused(algorithm: str) -> None:
    with pytest.raises(ConfigError, match="JWT_ALGORITHM"):
        Server(replace(PRODUCTION, static_keys=KEYS, accounts=AccountsConfig(algorithm=algorithm)))


async def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.db"
    path.write_bytes(b"my diary" * 1_000)
    server = Server(replace(LOCAL, db_path=str(path)), io.StringIO())
    with pytest.raises(MigrationRefused, match="is damaged, or no database"):
        await server.start()
    await server.close()
    assert path.read_bytes() == b"my diary" * 1_000


async def test_what_a_migration_did_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "mine.db"
    older.make(path, "the oldest")
    for _ in range(2):
        async with running(config=replace(LOCAL, db_path=str(path))):
            pass
    (backup,) = tmp_path.glob("mine.db.backup-*")
    said = [record.message for record in caplog.records if record.message.startswith("database_migrated")]
    assert said[0] == f"database_migrated revision={newest_revision()} backup={backup}"
    assert [line.rpartition(" serves ")[0] for line in said[1:]] == [
        f"database_migrated: user {user} had a key and no tunnel; it" for user in (3, 7)
    ]


# ---------------------------------------------------------------------- names and audit


async def test_a_name_of_an_account_is_no_anonymous_clients(tmp_path: Path) -> None:
    config = replace(LOCAL, require_auth=False, db_path=str(tmp_path / "mine.db"))
    async with running(config=config) as lab:
        first = await lab.open("")
        token = field(first.fields, b"terratunnel-token")
        url = field(first.fields, b"terratunnel-url")
        first.link.abort()
        name = url.decode().partition("//")[2].partition(".")[0]
        services = lab.server.services
        async with services.database.session() as session:
            user = await Users(session).upsert_from_profile(ALICE)
            await Tunnels(session).create(user.id, name)
        again = await lab.open("", b"Terratunnel-Token", token)
        assert field(again.fields, b"terratunnel-url") != url


async def test_what_happened_is_stored_when_the_server_has_drained(tmp_path: Path) -> None:
    config = replace(LOCAL, db_path=str(tmp_path / "mine.db"))
    async with running(config=config) as lab:
        agent = await lab.agent()
        draining = asyncio.ensure_future(lab.server.drain(5.0))
        await agent.owner.until_heard("closed")
        await draining
    async with Database(database_url(config.db_path)) as database, database.reading() as session:
        rows = (await Audit(session).list()).rows
    assert [row.event_type for row in rows] == ["disconnect", "connect"]


async def test_a_name_is_kept_across_a_restart_of_the_server(tmp_path: Path) -> None:
    config = replace(LOCAL, require_auth=False, db_path=str(tmp_path / "mine.db"))
    names = []
    fields: list[bytes] = []
    for _ in range(2):
        async with running(config=config) as lab:
            opened = await lab.open("", *fields)
            said = dict(opened.fields)
            names.append(said[b"Terratunnel-Url"].rpartition(b":")[0])
            fields = [b"Terratunnel-Token", said[b"Terratunnel-Token"]]
    assert names[0] == names[1]


# ---------------------------------------------------------------------- drain


@clocked
async def test_draining_tells_the_clients_finishes_and_ends(clock: Clock) -> None:
    async with running(clock=clock) as lab:
        agent, visitor, idle = await lab.agent(), await lab.visit(), await lab.visit()
        idle.get(b"/_health", host=b"localhost")
        await idle.response()
        visitor.get()
        request = await agent.request()
        draining = asyncio.ensure_future(lab.server.drain(30.0))
        await agent.owner.until_heard("goaway")
        assert ("goaway", GoAwayCode.DRAINING, "the server is restarting") in agent.owner.heard
        await clock.advance(5.0)
        assert not draining.done()
        answer(request, b"finished")
        assert (await visitor.response()).body == b"finished"
        assert await visitor.rest() == b""
        await agent.owner.until_heard("closed")
        await clock.advance(3.0)
        assert draining.done()


@clocked
async def test_a_visitor_whose_request_came_before_does_not_hold_the_drain_up(clock: Clock) -> None:
    """Its connection was to be kept alive; with nothing under way it is closed."""
    async with running(clock=clock) as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get()
        request = await agent.request()
        begin(request, b"Content-Length", b"4")
        assert (await visitor.head()).value(b"Connection") == b""
        draining = asyncio.ensure_future(lab.server.drain(30.0))
        await settled()
        assert request.stream is not None
        request.stream.send_data(b"last", end=True)
        assert await visitor.rest() == b"last"
        await clock.advance(3.0)
        assert draining.done()


@clocked
async def test_draining_ends_after_its_time_and_what_is_left_is_cut(clock: Clock) -> None:
    async with running(clock=clock) as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get()
        begin(await agent.request())
        assert (await visitor.head()).status == 200
        draining = asyncio.ensure_future(lab.server.drain(30.0))
        await turns(5)
        await clock.advance(29.0)
        assert not draining.done()
        await clock.advance(1.5)
        assert draining.done()
        await passing(lab.server.close(), clock)
        assert await visitor.is_cut()
        await agent.owner.until_heard("closed")


async def test_a_server_that_was_closed_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with running() as lab:
        agent, visitor = await lab.agent(), await lab.visit()
        visitor.get()
        await agent.request()
    await agent.owner.until_heard("closed")
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert left == []
    assert caplog.records == []


async def test_a_link_that_was_taken_over_ends_with_the_server_as_well() -> None:
    async with running() as lab:
        old, visitor = await lab.agent(), await lab.visit()
        visitor.get()
        request = await old.request()
        await lab.agent()
        await old.owner.until_heard("goaway")
        await lab.server.close()
        await request.until_heard("reset")
        await old.owner.until_heard("closed")
