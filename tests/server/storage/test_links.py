"""Links and logins: each step happens once, in its time, and for nobody else."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.errors import AlreadyThere
from terratunnel.server.storage.links import DeviceLogins, LoginLinks
from terratunnel.server.storage.tunnels import Tunnels
from terratunnel.server.storage.users import Profile, Users
from terratunnel.testing.clock import Clock

LATER = datetime(2025, 6, 15, 15, 16, 40, tzinfo=UTC)  # ten minutes after the clock's start


async def new_user(database: Database) -> int:
    async with database.session() as session:
        return (await Users(session).upsert_from_profile(Profile("github", "1", "ann"))).id


async def new_link(database: Database) -> int:
    user = await new_user(database)
    async with database.session() as session:
        await LoginLinks(session).add("token", user, LATER)
    return user


async def use(database: Database, token: str = "token") -> int | None:
    async with database.session() as session:
        return await LoginLinks(session).use(token)


async def test_a_link_works_once(database: Database) -> None:
    async with database:
        user = await new_link(database)
        assert await use(database, "other") is None
        assert await use(database) == user
        assert await use(database) is None


async def test_a_link_that_many_use_at_once_works_for_one(database: Database) -> None:
    async with database:
        user = await new_link(database)
        used = await asyncio.gather(*(use(database) for _ in range(10)))
        assert sorted(used, key=str) == [user, *[None] * 9]


async def test_a_link_expires(database: Database, clock: Clock) -> None:
    async with database:
        await new_link(database)
        clock.now = LATER.timestamp()
        assert await use(database) is None


@pytest.mark.parametrize("over", ["used", "expired"])
async def test_a_link_that_is_over_is_forgotten(database: Database, clock: Clock, over: str) -> None:
    async with database:
        await new_link(database)
        async with database.session() as session:
            assert await LoginLinks(session).purge() == 0
        if over == "used":
            await use(database)
        else:
            clock.now = LATER.timestamp()
        async with database.session() as session:
            assert await LoginLinks(session).purge() == 1


async def start(database: Database, number: int = 1) -> None:
    async with database.session() as session:
        await DeviceLogins(session).start(f"hash-{number}", f"CODE-{number}", "192.0.2.1, laptop", LATER)


async def approve(database: Database, user: int) -> bool:
    async with database.session() as session:
        return await DeviceLogins(session).approve("CODE-1", user)


async def claim(database: Database) -> int | None:
    async with database.session() as session:
        login = await DeviceLogins(session).claim("hash-1")
        return login.user_id if login else None


async def is_waiting(database: Database) -> bool:
    async with database.reading() as session:
        return await DeviceLogins(session).waiting("CODE-1") is not None


async def test_a_login_is_started_approved_and_claimed(database: Database) -> None:
    async with database:
        user = await new_user(database)
        await start(database)
        assert await claim(database) is None
        assert await is_waiting(database)
        assert await approve(database, user)
        assert not await is_waiting(database)
        assert await claim(database) == user


async def test_a_login_knows_what_it_is_for(database: Database) -> None:
    async with database:
        user = await new_user(database)
        await start(database)
        async with database.session() as session:
            tunnel = await Tunnels(session).create(user, "name")
            assert await DeviceLogins(session).approve("CODE-1", user, tunnel.id)
        async with database.reading() as session:
            login = await DeviceLogins(session).get("hash-1")
            assert await DeviceLogins(session).get("hash-2") is None
    assert login is not None
    assert (login.user_code, login.requested_by) == ("CODE-1", "192.0.2.1, laptop")
    assert (login.user_id, login.tunnel_id, login.claimed_at) == (user, tunnel.id, None)
    assert login.created_at == login.approved_at == LATER - timedelta(minutes=10)


async def test_each_step_happens_once_however_many_try(database: Database) -> None:
    async with database:
        user = await new_user(database)
        await start(database)
        approved = await asyncio.gather(*(approve(database, user) for _ in range(10)))
        assert approved.count(True) == 1
        claimed = await asyncio.gather(*(claim(database) for _ in range(10)))
        assert sorted(claimed, key=str) == [user, *[None] * 9]


async def test_a_code_that_is_in_use_is_not_given_again_and_the_session_lives_on(database: Database) -> None:
    async with database:
        await start(database)
        async with database.session() as session:
            with pytest.raises(AlreadyThere):
                await DeviceLogins(session).start("hash-2", "CODE-1", "192.0.2.2", LATER)
            await DeviceLogins(session).start("hash-2", "CODE-2", "192.0.2.2", LATER)


async def test_a_login_expires_at_each_step(database: Database, clock: Clock) -> None:
    async with database:
        user = await new_user(database)
        await start(database)
        await start(database, 2)
        async with database.session() as session:
            assert await DeviceLogins(session).approve("CODE-2", user)
        clock.now = LATER.timestamp()
        assert not await is_waiting(database)
        assert not await approve(database, user)
        async with database.session() as session:
            assert await DeviceLogins(session).claim("hash-2") is None


async def test_a_login_that_its_user_did_not_ask_for_is_dropped(database: Database) -> None:
    async with database:
        user = await new_user(database)
        await start(database)
        async with database.session() as session:
            assert await DeviceLogins(session).deny("CODE-1")
            assert not await DeviceLogins(session).deny("CODE-1")
        assert not await approve(database, user)


async def test_an_approved_login_cannot_be_dropped_by_its_code(database: Database) -> None:
    async with database:
        user = await new_user(database)
        await start(database)
        await approve(database, user)
        async with database.session() as session:
            assert not await DeviceLogins(session).deny("CODE-1")
        assert await claim(database) == user


async def test_logins_that_are_over_are_forgotten(database: Database, clock: Clock) -> None:
    async with database:
        user = await new_user(database)
        await start(database)
        await start(database, 2)
        await approve(database, user)
        await claim(database)
        async with database.session() as session:
            assert await DeviceLogins(session).purge() == 1
        clock.now = LATER.timestamp()
        async with database.session() as session:
            assert await DeviceLogins(session).purge() == 1
