"""The check finds what is wrong, counts what is there, and changes nothing."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from terratunnel.server.storage.check import check
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.errors import StorageUnavailable
from terratunnel.server.storage.inspection import newest_revision
from terratunnel.server.storage.urls import database_url
from terratunnel.server.storage.users import Profile, Users
from terratunnel.testing.databases import Databases, SQLiteFiles
from tests.server.storage import older


async def test_a_sound_database_is_counted(database: Database) -> None:
    async with database, database.session() as session:
        await Users(session).upsert_from_profile(Profile("github", "1", "ann"))
    report = await check(database.url)
    assert report.dialect == database.dialect
    assert report.problems == ()
    assert report.is_current
    assert report.counts["users"] == 1
    assert report.counts["tunnel_audit_log"] == 0
    assert len(report.counts) == 8


async def test_a_new_database_has_nothing_to_count(databases: Databases) -> None:
    url = databases.empty()
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).touch()
    report = await check(url)
    assert (report.revision, report.problems, report.counts) == (None, (), {})
    assert not report.is_current


async def test_an_older_database_is_not_current(tmp_path: Path) -> None:
    older.make(tmp_path / "older.db", "without tunnels")
    report = await check(database_url(str(tmp_path / "older.db")))
    assert (report.revision, report.newest_revision, report.problems) == (None, newest_revision(), ())
    assert report.counts == {"users": 2, "api_keys": 3, "tunnel_audit_log": 2}


async def test_a_row_that_names_nothing_is_a_problem(sqlite: SQLiteFiles) -> None:
    url = sqlite.new()
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
        database.execute("INSERT INTO tunnels (user_id, subdomain) VALUES (99, 'nobody')")
        database.commit()
    report = await check(url)
    assert report.problems == ("row 1 of tunnels names a row of users that does not exist",)


async def test_damage_is_an_answer(sqlite: SQLiteFiles) -> None:
    url = sqlite.new()
    path = Path(url.removeprefix("sqlite:///"))
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 4096)
    report = await check(url)
    assert report.problems
    assert "malformed" in report.problems[-1] or "btreeInitPage" in report.problems[0]


async def test_a_letter_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "letter.db").write_text("no database" * 1000)
    report = await check(database_url(str(tmp_path / "letter.db")))
    assert (report.revision, report.problems) == (None, ("file is not a database",))


async def test_a_database_of_another_program_is_an_answer(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "songs.db")) as database:
        database.execute("CREATE TABLE songs (title TEXT)")
    report = await check(database_url(str(tmp_path / "songs.db")))
    assert "belongs to another program" in report.problems[0]


async def test_the_check_writes_nothing(sqlite: SQLiteFiles) -> None:
    url = sqlite.new()
    path = Path(url.removeprefix("sqlite:///"))
    before = path.read_bytes()
    await check(url)
    assert path.read_bytes() == before


async def test_a_database_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    for url in (database_url(str(tmp_path / "our.db")), f"postgresql://postgres@/postgres?host={tmp_path}"):
        with pytest.raises(StorageUnavailable):
            await check(url)
    assert list(tmp_path.iterdir()) == []
