"""One connection for one piece of work: it begins as told, and what is not committed is gone."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import OperationalError

from terratunnel.server.storage.connecting import postgres_once, sqlite_once
from terratunnel.testing.databases import PostgresCluster


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "our.db").touch()
    return tmp_path / "our.db"


def test_a_file_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match="unable to open"), sqlite_once(tmp_path / "our.db", "rw"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_reading_connection_cannot_write(path: Path) -> None:
    with sqlite_once(path, "ro") as connection, pytest.raises(OperationalError, match="readonly"):
        connection.execute(text("CREATE TABLE t (x)"))


def test_a_transaction_that_is_not_committed_is_undone_with_its_tables(path: Path) -> None:
    with sqlite_once(path, "rw") as connection:
        connection.execute(text("CREATE TABLE t (x)"))
    with sqlite_once(path, "ro") as connection:
        assert inspect(connection).get_table_names() == []


def test_an_immediate_transaction_keeps_other_writers_out_at_once(path: Path) -> None:
    with (
        sqlite_once(path, "rw", "BEGIN IMMEDIATE") as connection,
        connection.begin(),
        closing(sqlite3.connect(path, timeout=0)) as other,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute("CREATE TABLE t (x)")


def test_a_renamed_table_takes_no_reference_along(path: Path) -> None:
    with sqlite_once(path, "rw") as connection:
        for statement in (
            "CREATE TABLE a (id INTEGER PRIMARY KEY)",
            "CREATE TABLE b (id INTEGER REFERENCES a (id))",
            "INSERT INTO b VALUES (1)",
            "ALTER TABLE a RENAME TO older",
        ):
            connection.execute(text(statement))
        (reference,) = connection.exec_driver_sql("PRAGMA foreign_key_list(b)").all()
    assert reference.table == "a"


async def test_postgres_without_a_commit_is_as_before(postgres: PostgresCluster) -> None:
    url = postgres.empty()
    async with postgres_once(url) as connection:
        await connection.execute(text("CREATE TABLE t (x INTEGER)"))
    async with postgres_once(url) as connection:
        assert await connection.run_sync(lambda sync: inspect(sync).get_table_names()) == []
        assert await connection.scalar(text("SHOW timezone")) == "UTC"
        assert await connection.scalar(text("SHOW application_name")) == "terratunnel"
