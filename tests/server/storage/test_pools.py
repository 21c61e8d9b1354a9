"""Outages: while a database is locked, full, or gone, sessions say so within their time; afterwards all is well."""

import asyncio
import gc
import logging
import shutil
import threading
import warnings
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import delete, select, text

from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.errors import DatabaseURLInvalid, StorageUnavailable
from terratunnel.server.storage.failures import Failure
from terratunnel.server.storage.models import ReleasedName
from terratunnel.server.storage.pools import POSTGRES_CONNECTIONS, READERS
from terratunnel.server.storage.urls import database_url
from terratunnel.testing.databases import PostgresCluster, SQLiteFiles
from tests.server.storage.trouble import can_mount, held, small_disk


async def add(database: Database, name: str, size: int = 0) -> None:
    async with database.session() as session:
        session.add(ReleasedName(subdomain=name + "x" * size, released_at=session.now()))


async def count(database: Database) -> int:
    async with database.reading() as session:
        return len(list(await session.scalars(select(ReleasedName.subdomain))))


async def fails(database: Database, failure: Failure) -> str:
    """Writing fails for this reason; return the detail."""
    with pytest.raises(StorageUnavailable) as failed:
        await add(database, "lost")
    assert str(failed.value) == failure.value
    return failed.value.detail


@pytest.fixture
def path(sqlite: SQLiteFiles, tmp_path: Path) -> Path:
    """A migrated file in a folder of its own."""
    (tmp_path / "data").mkdir()
    return Path(shutil.copy(sqlite.new().removeprefix("sqlite:///"), tmp_path / "data" / "our.db"))


@pytest.fixture
def on_file(path: Path) -> Database:
    return Database(database_url(str(path)), wait_s=0.3)


@pytest.fixture
def on_postgres(postgres: PostgresCluster) -> Database:
    return Database(postgres.new(), wait_s=1.0)


async def test_while_another_process_writes_to_a_file_it_can_be_read(on_file: Database, path: Path) -> None:
    async with on_file:
        with held(path, "BEGIN IMMEDIATE"):
            assert "database is locked" in await fails(on_file, Failure.BUSY)
            assert await count(on_file) == 0
        await add(on_file, "kept")
        assert await count(on_file) == 1


async def test_a_file_that_another_process_locks_altogether_is_busy(on_file: Database, path: Path) -> None:
    with held(path, "PRAGMA locking_mode=EXCLUSIVE", "BEGIN EXCLUSIVE"):
        with pytest.raises(StorageUnavailable, match="locked"):
            await on_file.open()
        await fails(on_file, Failure.BUSY)
    async with on_file:
        await add(on_file, "kept")
        assert await count(on_file) == 1


async def limit(database: Database, pages: int) -> None:
    async with database.session() as session:
        await session.execute(text(f"PRAGMA max_page_count={pages}"))


async def test_connecting_in_vain_leaves_nothing_behind(path: Path) -> None:
    before = set(threading.enumerate())
    with held(path, "PRAGMA locking_mode=EXCLUSIVE", "BEGIN EXCLUSIVE"):
        database = Database(database_url(str(path)), wait_s=0.01)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            for _ in range(5):
                with pytest.raises(StorageUnavailable):
                    await database.open()
            gc.collect()
    await database.close()
    assert [warning for warning in warned if warning.category is ResourceWarning] == []
    for thread in set(threading.enumerate()) - before:
        await asyncio.to_thread(thread.join, 5.0)  # it may be about to end
        assert not thread.is_alive() or thread.name.startswith("asyncio_")


async def test_a_full_file_stores_nothing_until_there_is_room(on_file: Database) -> None:
    async with on_file:
        await limit(on_file, 60)
        with pytest.raises(StorageUnavailable, match="full"):
            await add(on_file, "lost", 1_000_000)
        assert await count(on_file) == 0
        await limit(on_file, 1_000_000)
        await add(on_file, "kept", 1_000_000)
        assert await count(on_file) == 1


async def test_a_full_disk_stores_nothing_until_there_is_room(path: Path, tmp_path: Path) -> None:
    if not can_mount(tmp_path / "tried"):
        return  # the full file above has to do
    with small_disk(tmp_path / "disk", 1_024) as folder:
        moved = Path(shutil.move(path, folder))
        async with Database(database_url(str(moved)), wait_s=0.3) as database:
            await add(database, "before")
            write_until_full(folder / "ballast")
            with pytest.raises(StorageUnavailable, match="full"):
                await add(database, "lost", 100_000)
            assert await count(database) == 1
            (folder / "ballast").unlink()
            await add(database, "afterwards", 100_000)
            assert await count(database) == 2


def write_until_full(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4_096))


async def test_a_file_that_is_gone_is_not_written_to_and_works_when_it_is_back(on_file: Database, path: Path) -> None:
    async with on_file:
        await add(on_file, "kept")
        elsewhere = path.parent.rename(path.parent.with_name("elsewhere"))
        assert "unable to open database file" in await fails(on_file, Failure.UNREACHABLE)
        with pytest.raises(StorageUnavailable):
            await count(on_file)
        elsewhere.rename(path.parent)
        await add(on_file, "afterwards")
        assert await count(on_file) == 2


async def test_a_folder_that_was_deleted_works_when_a_copy_is_put_back(
    on_file: Database, path: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copy(path, tmp_path / "copy.db"))
    async with on_file:
        await add(on_file, "lost")
        shutil.rmtree(path.parent)
        await fails(on_file, Failure.UNREACHABLE)
        path.parent.mkdir()
        shutil.copy(copy, path)
        assert await count(on_file) == 0
        await add(on_file, "kept")
        assert await count(on_file) == 1


async def test_a_file_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="does not answer"):
        await Database(database_url(str(tmp_path / "our.db"))).open()
    assert list(tmp_path.iterdir()) == []


async def test_an_empty_file_is_not_set_up(tmp_path: Path) -> None:
    (tmp_path / "our.db").touch()
    async with Database(database_url(str(tmp_path / "our.db"))) as database:
        with pytest.raises(StorageUnavailable, match="terratunnel admin database migrate"):
            await count(database)


async def test_a_damaged_file_is_said(on_file: Database, path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4_096)
        file.write(b"\xff" * (path.stat().st_size - 4_096))
    with pytest.raises(StorageUnavailable, match="damaged"):
        await on_file.open()


async def test_a_file_has_one_writer_and_a_few_readers(on_file: Database) -> None:
    async with on_file:
        sessions = [on_file.reading() for _ in range(READERS)]
        for session in sessions:
            await session.__aenter__()
        with pytest.raises(StorageUnavailable, match="busy") as failed:
            await count(on_file)
        assert "every connection is in use" in failed.value.detail
        await add(on_file, "written all the same")
        for session in sessions:
            await session.__aexit__(None, None, None)


async def test_a_file_is_written_with_a_log_and_without_waiting_for_the_disk(on_file: Database) -> None:
    async with on_file, on_file.session() as session:
        settings = {}
        for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "query_only"):
            settings[name] = await session.scalar(text(f"PRAGMA {name}"))
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 1,  # NORMAL
        "foreign_keys": 1,
        "busy_timeout": 300,
        "query_only": 0,
    }


async def test_statements_are_in_the_debug_log_without_their_values(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with database:
        await add(database, "unlogged")
        caplog.set_level(logging.DEBUG, "terratunnel")
        await add(database, "a-secret")
        assert await count(database) == 2
    said = [record.message for record in caplog.records]
    for start in ("INSERT INTO released_names (subdomain, released_at) VALUES (", "SELECT released_names.subdomain"):
        assert len([line for line in said if line.startswith(f"sql statement={start}")]) == 1
    assert "a-secret" not in caplog.text


async def test_a_postgres_that_stops_says_so_and_works_when_it_is_back(
    on_postgres: Database, postgres: PostgresCluster
) -> None:
    async with on_postgres:
        await add(on_postgres, "before")
        postgres.stop()
        try:
            await fails(on_postgres, Failure.UNREACHABLE)
        finally:
            postgres.start()
        await add(on_postgres, "afterwards")
        assert await count(on_postgres) == 2


async def test_a_session_whose_connection_is_cut_fails_and_the_next_works(
    on_postgres: Database, postgres: PostgresCluster
) -> None:
    async with on_postgres:
        with pytest.raises(StorageUnavailable) as failed:
            await cut_off(on_postgres, postgres)
        assert str(failed.value) == Failure.UNREACHABLE.value
        await add(on_postgres, "kept")
        assert await count(on_postgres) == 1


async def cut_off(database: Database, postgres: PostgresCluster) -> None:
    async with database.session() as session:
        process = await session.scalar(text("SELECT pg_backend_pid()"))
        postgres.run(f"SELECT pg_terminate_backend({process})")
        session.add(ReleasedName(subdomain="lost", released_at=session.now()))


async def test_a_row_that_somebody_else_locks_is_busy(on_postgres: Database) -> None:
    async with on_postgres:
        await add(on_postgres, "one")
        other = await asyncpg.connect(on_postgres.url)
        async with other.transaction():
            await other.execute("SELECT * FROM released_names FOR UPDATE")
            with pytest.raises(StorageUnavailable, match="busy"):
                async with on_postgres.session() as session:
                    await session.execute(delete(ReleasedName))
        await other.close()
        async with on_postgres.session() as session:
            assert await session.change(delete(ReleasedName)) == 1


async def test_postgres_gets_no_more_connections_than_we_say(on_postgres: Database) -> None:
    async with on_postgres:
        sessions = [on_postgres.session() for _ in range(POSTGRES_CONNECTIONS)]
        for session in sessions:
            await session.__aenter__()
        await fails(on_postgres, Failure.BUSY)
        for session in sessions:
            await session.__aexit__(None, None, None)
        await add(on_postgres, "kept")


async def test_a_restart_that_nobody_saw_is_not_noticed(on_postgres: Database, postgres: PostgresCluster) -> None:
    async with on_postgres:
        await add(on_postgres, "before")
        postgres.stop()
        postgres.start()
        await add(on_postgres, "afterwards")
        assert await count(on_postgres) == 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("/test_", "/absent_"), 'database "absent_'),
        (("postgres@", "nobody@"), 'role "nobody" does not exist'),
    ],
)
async def test_a_wrong_url_is_said_to_the_operator_alone(
    postgres: PostgresCluster, change: tuple[str, str], reason: str
) -> None:
    url = postgres.empty().replace("postgres:@", "postgres@").replace(*change)
    with pytest.raises(StorageUnavailable) as failed:
        await Database(url, wait_s=1.0).open()
    assert str(failed.value) == Failure.UNREACHABLE.value
    assert reason in failed.value.detail


@pytest.mark.parametrize("url", ["postgresql://host/name?sslmode=secret", "postgresql://ann:secret"])
async def test_a_url_that_the_driver_does_not_understand_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(DatabaseURLInvalid, match="TERRATUNNEL_DATABASE_URL is not like") as refused:
        await Database(url).open()
    assert "secret" not in str(refused.value)
