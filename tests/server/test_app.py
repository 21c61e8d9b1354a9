"""The server as a whole: its secret, its start, and how it drains."""

import asyncio
import logging
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from terratunnel.protocol.errors import GoAwayCode
from terratunnel.server.app import MIN_SECRET_BYTES, Server, server_secret
from terratunnel.server.config import ConfigError, ServerConfig
from terratunnel.testing.clock import Clock, clocked, settled, turns
from tests.server.lab import KEYS, answer, begin, passing, running

LOCAL = ServerConfig("127.0.0.1", 0, static_keys=KEYS)
PRODUCTION = replace(LOCAL, domain="tunnel.example.com")


# ---------------------------------------------------------------------- secret


def test_on_localhost_a_secret_is_made_and_kept_beside_the_database(tmp_path: Path) -> None:
    config = replace(LOCAL, db_path=str(tmp_path / "mine.db"))
    secret = server_secret(config)
    assert len(secret) >= MIN_SECRET_BYTES
    assert server_secret(config) == secret
    file = tmp_path / "mine.secret"
    assert file.read_bytes() == secret
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_secret_that_cannot_be_kept_is_said() -> None:
    with pytest.raises(ConfigError, match="name another --db-path"):
        server_secret(replace(LOCAL, db_path="/nowhere/at/all/mine.db"))


def test_a_kept_secret_that_cannot_be_read_or_was_cut_short_is_said(tmp_path: Path) -> None:
    config = replace(LOCAL, db_path=str(tmp_path / "mine.db"))
    file = tmp_path / "mine.secret"
    file.touch()  # as a full disk leaves it: everybody knows the empty secret
    with pytest.raises(ConfigError, match="shorter than 32 bytes; remove the file"):
        server_secret(config)
    file.unlink()
    file.mkdir()
    with pytest.raises(ConfigError, match="name another --db-path"):
        server_secret(config)


def test_in_production_a_missing_or_short_secret_is_refused() -> None:
    with pytest.raises(ConfigError, match="JWT_SECRET is not set"):
        server_secret(PRODUCTION)
    with pytest.raises(ConfigError, match="shorter than 32 bytes"):
        server_secret(replace(PRODUCTION, secret="short"))
    assert server_secret(replace(PRODUCTION, secret="x" * 32)) == b"x" * 32


# ---------------------------------------------------------------------- start


async def test_a_wrong_configuration_is_refused_before_anything_listens() -> None:
    with pytest.raises(ConfigError):
        Server(replace(LOCAL, port=-1))


async def test_a_port_that_is_taken_is_an_error_of_the_system() -> None:
    async with running() as lab:
        second = Server(replace(LOCAL, port=lab.server.port))
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
