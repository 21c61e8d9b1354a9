"""Migrations: all or nothing, after a copy, by one at a time; what is refused stays the same, byte for byte."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from terratunnel.server.storage.backups import dated_copies
from terratunnel.server.storage.errors import DatabaseURLInvalid, MigrationRefused, StorageUnavailable
from terratunnel.server.storage.inspection import newest_revision
from terratunnel.server.storage.migrate import BACKUPS_KEPT, _existing, migrate
from terratunnel.server.storage.urls import database_url
from terratunnel.testing.clock import Clock
from terratunnel.testing.databases import Databases, PostgresCluster
from tests.server.storage import older
from tests.server.storage.trouble import can_mount, small_disk

# What a process does that migrates.
MIGRATE = """
import asyncio, sys
from terratunnel.server.storage.migrate import migrate
print((asyncio.run(migrate(sys.argv[1]))).changed)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "our data.db"


@pytest.fixture
def url(path: Path) -> str:
    return database_url(str(path))


def run(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return list(database.iterdump())


async def refusal(url: str) -> str:
    with pytest.raises(MigrationRefused) as refused:
        await migrate(url)
    return str(refused.value)


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """The file, and what lies beside it, are the same before and after."""

    def contents() -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith("-shm")}

    before = contents()
    yield
    assert contents() == before


async def test_a_new_database_is_made(databases: Databases) -> None:
    report = await migrate(databases.empty())
    assert (report.from_revision, report.to_revision, report.changed) == (None, newest_revision(), True)
    assert report.backup is None


async def test_a_database_at_the_newest_revision_is_left_alone(databases: Databases) -> None:
    report = await migrate(databases.new())
    assert (report.from_revision, report.to_revision, report.changed) == (newest_revision(), newest_revision(), False)


async def test_a_file_at_the_newest_revision_is_not_written(path: Path, url: str) -> None:
    await migrate(url)
    with unchanged(path):
        await migrate(url)


async def test_only_its_owner_reads_a_new_file(path: Path, url: str) -> None:
    await migrate(url)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_an_empty_file_is_a_new_database(path: Path, url: str) -> None:
    path.touch()
    report = await migrate(url)
    assert report.changed
    assert report.backup is None


async def test_an_older_file_is_copied_first(path: Path, url: str) -> None:
    older.make(path)
    before = dump(path)
    report = await migrate(url, clock=Clock(1_750_000_000))
    assert report.backup == path.with_name("our data.db.backup-20250615T150640Z")
    assert dump(report.backup) == before
    assert stat.S_IMODE(report.backup.stat().st_mode) == 0o600


async def test_no_copy_is_made_when_none_is_wanted(path: Path, url: str) -> None:
    older.make(path)
    report = await migrate(url, backup=False)
    assert report.backup is None
    assert [file.name for file in path.parent.iterdir()] == [path.name]


async def test_what_is_still_in_the_write_ahead_log_is_copied_and_migrated(path: Path, url: str) -> None:
    older.make(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("UPDATE users SET name = 'in the log'")
        database.commit()
        report = await migrate(url)
    for copy in (path, report.backup):
        assert copy is not None
        with closing(sqlite3.connect(copy)) as database:
            assert database.execute("SELECT DISTINCT name FROM users").fetchall() == [("in the log",)]


async def test_the_newest_copies_are_kept(path: Path, url: str) -> None:
    older.make(path)
    strange = path.with_name(f"{path.name}.backup-by-hand")
    strange.touch()
    original = path.read_bytes()
    for second in range(BACKUPS_KEPT + 2):
        path.write_bytes(original)
        await migrate(url, clock=Clock(1_750_000_000 + second))
    names = [copy.name.removeprefix(f"{path.name}.backup-") for copy in dated_copies(path)]
    assert names == [f"20250615T1506{second}Z" for second in range(42, 42 + BACKUPS_KEPT)]
    assert strange.exists()


async def test_a_database_of_a_newer_program_is_refused(databases: Databases, path: Path) -> None:
    url = databases.new()
    await set_revision(url, "9999")
    assert "is from a newer Terratunnel (revision 9999)" in await refusal(url)


async def set_revision(url: str, revision: str) -> None:
    statement = f"UPDATE alembic_version SET version_num = '{revision}'"
    if url.startswith("sqlite"):
        run(Path(url.removeprefix("sqlite:///")), statement)
    else:
        import asyncpg

        connection = await asyncpg.connect(url)
        await connection.execute(statement)
        await connection.close()


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
async def test_a_newer_file_is_the_same_afterwards(path: Path, url: str, mode: str) -> None:
    await migrate(url)
    run(path, f"PRAGMA journal_mode={mode}", "UPDATE alembic_version SET version_num = '9999'")
    before = path.read_bytes()
    await refusal(url)
    assert path.read_bytes() == before
    assert dated_copies(path) == []


def no_database(path: Path) -> None:
    path.write_bytes(b"this is a letter, not a database" * 100)


def cut_short(path: Path) -> None:
    older.make(path)
    os.truncate(path, path.stat().st_size // 2)


def zeroed_page(path: Path) -> None:
    older.make(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(4096))


def of_another_program(path: Path) -> None:
    run(path, "CREATE TABLE songs (title TEXT)")


def with_other_users(path: Path) -> None:
    run(path, "CREATE TABLE users (id INTEGER PRIMARY KEY, password TEXT)")


def with_other_keys(path: Path) -> None:
    older.make(path)
    run(path, "ALTER TABLE api_keys RENAME COLUMN key_hash TO plain_key")


def with_two_like_names(path: Path) -> None:
    older.make(path)
    run(path, "INSERT INTO tunnels (user_id, subdomain) VALUES (7, 'Happy-Panda-Dancing')")


def with_a_table_of_our_name(path: Path) -> None:
    older.make(path)
    run(path, "CREATE TABLE login_links (url TEXT)")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (no_database, "is damaged, or no database (file is not a database)"),
        (cut_short, "is damaged, or no database"),
        (zeroed_page, "is damaged, or no database"),
        (of_another_program, "belongs to another program"),
        (with_other_users, "The table users of the database"),
        (with_other_keys, "has no key_hash, so it is not Terratunnel's"),
        (with_a_table_of_our_name, "holds what this version does not allow (table login_links already exists)"),
        (with_two_like_names, "holds what this version does not allow (UNIQUE constraint failed: tunnels.subdomain)"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_a_refused_file_is_the_same_afterwards(
    path: Path, url: str, make: Callable[[Path], None], reason: str
) -> None:
    make(path)
    before = path.read_bytes()
    sentence = await refusal(url)
    assert reason in sentence
    assert sentence.endswith("Nothing was changed.")
    assert path.read_bytes() == before


async def test_a_postgres_of_another_program_is_refused(postgres: PostgresCluster) -> None:
    import asyncpg

    url = postgres.empty()
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE users (id SERIAL PRIMARY KEY)")
    await connection.close()
    assert "belongs to another program" in await refusal(url)


async def test_a_copy_that_cannot_be_made_stops_it(path: Path, url: str) -> None:
    older.make(path)
    target = path.with_name(f"{path.name}.backup-20250615T150640Z.partial")
    target.mkdir()
    before = path.read_bytes()
    with pytest.raises(MigrationRefused, match=r"was not touched, because it cannot be copied .* first"):
        await migrate(url, clock=Clock(1_750_000_000))
    assert path.read_bytes() == before


async def test_a_disk_without_room_for_the_copy_or_the_change_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    if not can_mount(tmp_path / "tried"):
        return  # the copy that cannot be made has to do
    with small_disk(tmp_path / "disk", 1_024) as folder:
        path = folder / "our.db"
        older.make(path)
        run(path, "UPDATE users SET email = printf('%.*c', 300000, 'x')")
        before = path.read_bytes()
        assert "it cannot be copied to" in await refusal(database_url(str(path)))
        with pytest.raises(StorageUnavailable, match="is full"):
            await migrate(database_url(str(path)), backup=False)
        assert path.read_bytes() == before
        assert [file.name for file in folder.iterdir()] == ["our.db"]


async def test_a_file_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    sentence = await refusal(database_url(str(tmp_path / "nowhere" / "our.db")))
    assert "cannot be made (No such file or directory)" in sentence


async def test_a_new_file_that_comes_to_nothing_is_taken_away(path: Path, url: str, tmp_path: Path) -> None:
    path.with_name(f"{path.name}-journal").mkdir()
    with pytest.raises(StorageUnavailable):
        await migrate(url)
    assert not path.exists()


async def test_a_new_file_in_which_another_process_was_faster_stays(path: Path, url: str) -> None:
    late = _existing(path)
    late.__enter__()
    await migrate(url)
    assert not late.__exit__(OSError, OSError(), None)
    assert not (await migrate(url)).changed


async def test_a_folder_is_no_database(tmp_path: Path) -> None:
    assert "is a folder" in await refusal(database_url(str(tmp_path)))


async def test_a_locked_file_is_said(path: Path, url: str) -> None:
    older.make(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("BEGIN EXCLUSIVE")
        before = path.read_bytes()
        with pytest.raises(StorageUnavailable, match="locked"):
            await migrate(url)
    assert path.read_bytes() == before


@pytest.mark.parametrize(("mode", "left"), [("DELETE", "-journal"), ("WAL", "-wal")])
async def test_a_file_whose_last_writer_was_killed_is_recovered_and_migrated(
    path: Path, url: str, mode: str, left: str
) -> None:
    older.make(path)
    run(path, f"PRAGMA journal_mode={mode}")
    kill_in_the_middle_of_a_write(path)
    assert path.with_name(path.name + left).stat().st_size > 0
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)  # as after a crash of the machine
    await migrate(url)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT name FROM users").fetchall() == [("whole",), ("whole",)]


def kill_in_the_middle_of_a_write(path: Path) -> None:
    code = (
        "import os, sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "database.execute(\"UPDATE users SET name = 'whole'\")\n"
        "database.execute('PRAGMA cache_size=1')\n"
        "database.execute('PRAGMA cache_spill=1')\n"
        "database.execute('BEGIN')\n"
        "database.execute(\"UPDATE users SET name = 'half', email = ?\", ('x' * 100_000,))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=20)


async def test_processes_that_migrate_at_once_do_it_once(databases: Databases) -> None:
    url = databases.empty()
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", MIGRATE, url, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    said = [(await process.communicate())[0].decode().strip() for process in processes]
    assert sorted(said) == ["False", "False", "True"]


async def test_two_of_one_process_take_turns(databases: Databases) -> None:
    url, other = databases.empty(), databases.empty()
    reports = await asyncio.gather(migrate(url), migrate(other), migrate(url))
    assert sorted(report.changed for report in reports) == [False, True, True]


async def test_a_server_that_does_not_answer_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="does not answer"):
        await migrate(f"postgresql://postgres@/postgres?host={tmp_path}")


async def test_a_url_of_nothing_we_know_is_refused() -> None:
    with pytest.raises(DatabaseURLInvalid):
        await migrate("mysql://localhost/terratunnel")
