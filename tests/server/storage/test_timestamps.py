"""Times: aware in Python, UTC in the database, in texts that sort as they do."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import select
from sqlalchemy.exc import StatementError

from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.models import ReleasedName
from terratunnel.server.storage.timestamps import sqlite_text

NOON = datetime(2025, 7, 1, 12, 0, 0, 123456, UTC)


async def test_a_time_comes_back_as_it_was(database: Database) -> None:
    async with database:
        async with database.session() as session:
            session.add(ReleasedName(subdomain="name", released_at=NOON.astimezone(timezone(timedelta(hours=5)))))
        async with database.reading() as session:
            back = await session.scalar(select(ReleasedName.released_at))
    assert back == NOON
    assert back.tzinfo is UTC


async def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    async with database:
        with pytest.raises(StatementError, match="a time needs its zone"):
            async with database.session() as session:
                session.add(ReleasedName(subdomain="name", released_at=NOON.replace(tzinfo=None)))


async def test_no_time_is_none(database: Database) -> None:
    async with database, database.reading() as session:
        assert await session.scalar(select(ReleasedName.released_at).where(ReleasedName.subdomain == "absent")) is None


def test_the_text_of_a_full_second_is_that_of_sqlite_s_own_clock() -> None:
    assert sqlite_text(NOON) == "2025-07-01 12:00:00.123456"
    assert sqlite_text(NOON.replace(microsecond=0)) == "2025-07-01 12:00:00"


async def test_a_time_is_found_by_itself(database: Database) -> None:
    async with database:
        for moment in (NOON, NOON.replace(microsecond=0)):
            async with database.session() as session:
                session.add(ReleasedName(subdomain=str(moment), released_at=moment))
            async with database.reading() as session:
                query = select(ReleasedName.subdomain).where(ReleasedName.released_at == moment)
                assert await session.scalar(query) == str(moment)


async def test_a_time_of_sqlite_s_own_clock_is_utc(database: Database) -> None:
    if database.location.path is None:
        return
    with closing(sqlite3.connect(database.location.path)) as by_hand:
        by_hand.execute("INSERT INTO released_names VALUES ('name', '2025-07-01 12:00:00')")
        by_hand.commit()
    async with database, database.reading() as session:
        assert await session.scalar(select(ReleasedName.released_at)) == NOON.replace(microsecond=0)
