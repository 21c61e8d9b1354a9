"""Databases for tests: real, migrated, and each test's own."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from terratunnel.server.storage.check import check
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.errors import StorageUnavailable
from terratunnel.server.storage.users import Profile, Users
from terratunnel.testing.databases import Databases, apart, postgres_cluster, sqlite_files


async def uses(databases: Databases) -> None:
    """Two databases are at the newest revision and share nothing; an empty one is empty."""
    first, second = databases.new(), databases.new()
    async with Database(first) as database, database.session() as session:
        await Users(session).upsert_from_profile(Profile("github", "1", "ann"))
    assert [(await check(url)).counts["users"] for url in (first, second)] == [1, 0]
    assert databases.empty() not in (first, second)


async def test_sqlite_files_are_each_test_s_own_and_gone_afterwards() -> None:
    with sqlite_files() as databases:
        await uses(databases)
        folder = Path(databases.new().removeprefix("sqlite:///")).parent
        assert not Path(databases.empty().removeprefix("sqlite:///")).exists()
    assert not folder.exists()


async def test_a_postgres_is_each_test_run_s_own_and_gone_afterwards() -> None:
    with postgres_cluster() as databases:
        await uses(databases)
        url = databases.new()
        databases.stop()
        with pytest.raises(StorageUnavailable):
            await check(url)
        databases.start()
        assert (await check(url)).is_current
        with pytest.raises(asyncpg.DuplicateDatabaseError):
            databases.run("CREATE DATABASE migrated")
    with pytest.raises(StorageUnavailable):
        await check(url)


def test_work_is_done_apart_with_or_without_a_running_loop() -> None:
    done: list[int] = []

    async def work() -> None:
        done.append(1)

    async def caller() -> None:
        apart(work())

    apart(work())
    asyncio.run(caller())
    assert done == [1, 1]
