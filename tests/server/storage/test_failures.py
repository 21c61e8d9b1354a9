"""What a driver says becomes a sentence when an operator or time can heal it, and passes as it is when it is a bug."""

import sqlite3
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import exc

from terratunnel.server.storage.errors import StorageUnavailable
from terratunnel.server.storage.failures import Failure, failure_of, unavailable


def sqlite_error(path: Path, *statements: str, mode: str = "rwc") -> sqlite3.Error:
    with closing(sqlite3.connect(f"file:{path}?mode={mode}", uri=True, isolation_level=None)) as database:
        try:
            for statement in statements:
                database.execute(statement)
        except sqlite3.Error as error:
            return error
    raise AssertionError("nothing failed")


def test_a_full_file_is_full(tmp_path: Path) -> None:
    fill = "INSERT INTO t SELECT zeroblob(1000000)"
    error = sqlite_error(tmp_path / "a.db", "CREATE TABLE t (x)", "PRAGMA max_page_count=10", fill)
    assert failure_of(error) is Failure.FULL


def test_a_file_opened_to_be_read_is_read_only(tmp_path: Path) -> None:
    sqlite_error(tmp_path / "a.db", "CREATE TABLE t (x)", "nonsense")
    assert failure_of(sqlite_error(tmp_path / "a.db", "DROP TABLE t", mode="ro")) is Failure.READ_ONLY


def test_a_letter_is_a_damaged_database(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("Dear database, " * 100)
    assert failure_of(sqlite_error(tmp_path / "a.db", "SELECT * FROM t")) is Failure.DAMAGED


def test_a_missing_table_is_a_missing_migration(tmp_path: Path) -> None:
    assert failure_of(sqlite_error(tmp_path / "a.db", "SELECT * FROM users")) is Failure.UNMIGRATED


def test_a_locked_file_is_busy(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        error = sqlite_error(tmp_path / "a.db", "PRAGMA busy_timeout=0", "CREATE TABLE t (x)")
    assert failure_of(error) is Failure.BUSY


@pytest.mark.parametrize("statement", ["SELEC 1", "SELECT no_such_column"])
def test_a_wrong_statement_is_a_bug(tmp_path: Path, statement: str) -> None:
    assert failure_of(sqlite_error(tmp_path / "a.db", statement)) is None


def test_a_broken_constraint_is_a_bug(tmp_path: Path) -> None:
    statements = ("CREATE TABLE t (x UNIQUE)", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (1)")
    assert failure_of(sqlite_error(tmp_path / "a.db", *statements)) is None


def test_a_closed_connection_is_unreachable_and_its_misuse_a_bug() -> None:
    assert failure_of(sqlite3.OperationalError("no active connection")) is Failure.UNREACHABLE
    assert failure_of(sqlite3.ProgrammingError("Cannot operate on a closed database.")) is None


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (asyncpg.DiskFullError("no space"), Failure.FULL),
        (asyncpg.TooManyConnectionsError("too many"), Failure.BUSY),
        (asyncpg.OutOfMemoryError("memory"), Failure.BUSY),
        (asyncpg.LockNotAvailableError("lock"), Failure.BUSY),
        (asyncpg.QueryCanceledError("canceled"), Failure.BUSY),
        (asyncpg.DeadlockDetectedError("deadlock"), Failure.BUSY),
        (asyncpg.SerializationError("again"), Failure.BUSY),
        (asyncpg.ReadOnlySQLTransactionError("read only"), Failure.READ_ONLY),
        (asyncpg.DataCorruptedError("bits"), Failure.DAMAGED),
        (asyncpg.UndefinedTableError("users"), Failure.UNMIGRATED),
        (asyncpg.AdminShutdownError("stopped"), Failure.UNREACHABLE),
        (asyncpg.CannotConnectNowError("starting"), Failure.UNREACHABLE),
        (asyncpg.InvalidPasswordError("password"), Failure.UNREACHABLE),
        (asyncpg.InvalidCatalogNameError("no database"), Failure.UNREACHABLE),
        (asyncpg.ConnectionDoesNotExistError("gone"), Failure.UNREACHABLE),
        (asyncpg.PostgresIOError("disk"), Failure.BROKEN_DISK),
        (asyncpg.InterfaceError("connection is closed"), Failure.UNREACHABLE),
        (TimeoutError(), Failure.BUSY),
        (ConnectionRefusedError("refused"), Failure.UNREACHABLE),
        (asyncpg.UniqueViolationError("twice"), None),
        (asyncpg.PostgresSyntaxError("SELEC"), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_postgres_says_is_understood(error: Exception, failure: Failure | None) -> None:
    assert failure_of(error) is failure


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), asyncpg.InterfaceError("closed")])
def test_an_error_of_the_connection_names_the_database_in_its_detail_alone(error: Exception) -> None:
    with pytest.raises(StorageUnavailable) as failed, unavailable("db.example.com/tunnels"):
        raise error
    assert str(failed.value) == Failure.UNREACHABLE.value
    assert failed.value.detail == f"db.example.com/tunnels: {error}"
    assert failed.value.__cause__ is error


def test_an_error_without_words_is_named() -> None:
    with pytest.raises(StorageUnavailable) as failed, unavailable("our.db"):
        raise TimeoutError
    assert failed.value.detail == "our.db: TimeoutError"


def test_a_pool_without_connections_is_busy() -> None:
    with pytest.raises(StorageUnavailable, match="busy") as failed, unavailable("our.db"):
        raise exc.TimeoutError
    assert failed.value.detail == "our.db: every connection is in use"


def test_an_error_of_postgres_while_it_connects_is_unreachable_at_least() -> None:
    with pytest.raises(StorageUnavailable, match="does not answer"), unavailable("our.db"):
        raise asyncpg.FeatureNotSupportedError("unsupported startup parameter")


@pytest.mark.parametrize("error", [ValueError("bug"), exc.IntegrityError("INSERT", {}, sqlite3.IntegrityError())])
def test_a_bug_passes_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as passed, unavailable("our.db"):
        raise error
    assert passed.value is error
