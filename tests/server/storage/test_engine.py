"""Sessions: all of a transaction or nothing, writers one after the other, readers never in the way."""

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.errors import StorageUnavailable
from terratunnel.server.storage.models import ReleasedName, Tunnel
from terratunnel.testing.clock import Clock, turns

NOW = datetime(2025, 6, 15, 15, 6, 40, tzinfo=UTC)


async def add(database: Database, name: str) -> None:
    async with database.session() as session:
        session.add(ReleasedName(subdomain=name, released_at=session.now()))


async def names(database: Database) -> set[str]:
    async with database.reading() as session:
        return set(await session.scalars(select(ReleasedName.subdomain)))


async def test_a_session_knows_the_time(database: Database, clock: Clock) -> None:
    async with database, database.reading() as session:
        assert session.now() == NOW
        clock.now += 1
        assert session.now() == NOW.replace(second=41)


async def test_what_a_session_did_is_kept(database: Database) -> None:
    async with database:
        await add(database, "one")
        assert await names(database) == {"one"}


async def test_a_session_that_raises_has_done_nothing(database: Database) -> None:
    async with database:
        with pytest.raises(ZeroDivisionError):
            await add_and_raise(database)
        assert await names(database) == set()


async def add_and_raise(database: Database) -> None:
    async with database.session() as session:
        session.add(ReleasedName(subdomain="one", released_at=session.now()))
        await session.flush()
        raise ZeroDivisionError


async def test_a_reading_session_cannot_write(database: Database) -> None:
    async with database:
        with pytest.raises(StorageUnavailable, match="cannot be written"):
            async with database.reading() as session:
                await session.execute(delete(ReleasedName))
        await add(database, "one")


async def test_a_reading_session_sees_one_moment(database: Database) -> None:
    async with database, database.reading() as session:
        assert await session.scalar(select(func.count()).select_from(ReleasedName)) == 0
        await add(database, "one")
        assert await session.scalar(select(func.count()).select_from(ReleasedName)) == 0


async def test_readers_do_not_wait_for_a_writer(hurried: Database) -> None:
    async with hurried:
        await add(hurried, "one")
        async with hurried.session() as session:
            await session.execute(delete(ReleasedName))
            assert await names(hurried) == {"one"}
        assert await names(hurried) == set()


async def test_what_is_returned_lives_on_after_its_session(database: Database) -> None:
    async with database:
        async with database.session() as session:
            name = ReleasedName(subdomain="one", released_at=session.now())
            session.add(name)
        assert name.subdomain == "one"


async def test_writers_take_turns(database: Database) -> None:
    async def increment() -> None:
        async with database.session() as session:
            query = select(ReleasedName.released_at).where(ReleasedName.subdomain == "count").with_for_update()
            found = (await session.scalars(query)).one()
            await session.execute(update(ReleasedName).values(released_at=found.replace(year=found.year + 1)))

    async with database:
        await add(database, "count")
        await asyncio.gather(*(increment() for _ in range(50)))
        async with database.reading() as session:
            assert await session.scalar(select(ReleasedName.released_at)) == NOW.replace(year=2075)


async def test_servers_on_one_database_take_turns(database: Database) -> None:
    async def add_next(server: Database) -> None:
        async with server.session() as session:
            query = select(ReleasedName).where(ReleasedName.subdomain == "count").with_for_update()
            await session.scalar(query)
            count = await session.scalar(select(func.count()).select_from(ReleasedName)) or 0
            session.add(ReleasedName(subdomain=str(count), released_at=session.now()))

    async with database, Database(database.url) as other:
        await add(database, "count")
        await asyncio.gather(*(add_next(server) for server in (database, other) for _ in range(20)))
        assert await names(database) == {"count", *(str(number) for number in range(1, 41))}


async def test_an_error_tells_no_value(database: Database) -> None:
    async with database:
        with pytest.raises(IntegrityError) as failed:
            async with database.session() as session:
                await session.execute(insert(Tunnel).values(user_id=99, subdomain="a-secret"))
    assert "a-secret" not in str(failed.value)


async def test_a_session_inside_a_session_fails_rather_than_hang(hurried: Database) -> None:
    async with hurried:
        async with hurried.session() as outer:
            outer.add(ReleasedName(subdomain="one", released_at=outer.now()))
            await outer.flush()
            with pytest.raises(StorageUnavailable, match="busy"):
                await add(hurried, "one")
        assert await names(hurried) == {"one"}


async def test_foreign_keys_hold(database: Database) -> None:
    async with database:
        with pytest.raises(IntegrityError):
            async with database.session() as session:
                session.add(Tunnel(user_id=99, subdomain="nobody-s"))


async def test_a_row_is_added_where_none_shares_a_unique_value(database: Database) -> None:
    async with database, database.session() as session:
        row = {"subdomain": "one", "released_at": session.now()}
        assert await session.insert_missing(ReleasedName, row)
        assert not await session.insert_missing(ReleasedName, row)
        assert await session.change(delete(ReleasedName)) == 1
        assert await session.change(delete(ReleasedName)) == 0


async def test_a_statement_that_is_wrong_is_a_bug_and_no_outage(database: Database) -> None:
    async with database:
        with pytest.raises(Exception, match="no_such_column") as failed:
            async with database.reading() as session:
                await session.execute(text("SELECT no_such_column"))
        assert not isinstance(failed.value, StorageUnavailable)


async def test_a_cancelled_session_gives_everything_back(hurried: Database) -> None:
    async def work(started: asyncio.Event) -> None:
        async with hurried.session() as session:
            session.add(ReleasedName(subdomain="one", released_at=session.now()))
            await session.flush()
            started.set()
            await asyncio.get_running_loop().create_future()

    async with hurried:
        for _ in range(15):  # more than there are connections
            started = asyncio.Event()
            task = asyncio.create_task(work(started))
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await names(hurried) == set()
        await add(hurried, "one")


async def test_a_session_cancelled_in_the_middle_of_a_statement_gives_everything_back(database: Database) -> None:
    async with database:
        for attempt in range(30):
            task = asyncio.create_task(add(database, f"one-{attempt}"))
            await turns(attempt)
            task.cancel()
            await asyncio.wait([task])
        await add(database, "two")
        assert "two" in await names(database)


async def test_a_database_that_was_closed_opens_again(database: Database) -> None:
    for name in ("one", "two"):
        async with database:
            await add(database, name)
    async with database:
        assert await names(database) == {"one", "two"}


async def test_the_dialect_is_said(database: Database) -> None:
    assert database.dialect == ("postgresql" if database.url.startswith("postgresql") else "sqlite")
