"""Turns the errors of drivers into one sentence. Used by the engine around every session, and by migrations.

Rule: a broken constraint or a wrong statement is a bug and passes as it is; whatever time or an operator can heal is
StorageUnavailable.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Final

import asyncpg
from sqlalchemy import exc

from terratunnel.server.storage.errors import StorageUnavailable


class Failure(Enum):
    """Why a database did not do what it was asked, as a sentence for whoever waits for it."""

    BUSY = "The database is busy or locked; try again in a moment."
    FULL = "The disk of the database is full, so nothing was stored."
    BROKEN_DISK = "The disk of the database is full or fails."
    READ_ONLY = "The database cannot be written."
    DAMAGED = "The database is damaged; its operator has to restore a backup."
    UNMIGRATED = "The database is not set up; its operator has to run: terratunnel admin database migrate"
    UNREACHABLE = "The database does not answer; try again in a moment."


_SQLITE: Final = {
    sqlite3.SQLITE_BUSY: Failure.BUSY,
    sqlite3.SQLITE_LOCKED: Failure.BUSY,
    sqlite3.SQLITE_FULL: Failure.FULL,
    sqlite3.SQLITE_IOERR: Failure.BROKEN_DISK,
    sqlite3.SQLITE_READONLY: Failure.READ_ONLY,
    sqlite3.SQLITE_CORRUPT: Failure.DAMAGED,
    sqlite3.SQLITE_NOTADB: Failure.DAMAGED,
    sqlite3.SQLITE_CANTOPEN: Failure.UNREACHABLE,
    sqlite3.SQLITE_PERM: Failure.UNREACHABLE,
    sqlite3.SQLITE_INTERRUPT: Failure.BUSY,
}
_PRIMARY_CODE: Final = 0xFF  # of SQLite's extended result codes
# Classes and codes of SQLSTATE, the longest first: PostgreSQL, appendix A.
_POSTGRES: Final = {
    "42P01": Failure.UNMIGRATED,
    "53100": Failure.FULL,
    "53300": Failure.BUSY,
    "55P03": Failure.BUSY,
    "57014": Failure.BUSY,
    "25006": Failure.READ_ONLY,
    "XX001": Failure.DAMAGED,
    "XX002": Failure.DAMAGED,
    "08": Failure.UNREACHABLE,
    "28": Failure.UNREACHABLE,
    "3D": Failure.UNREACHABLE,
    "40": Failure.BUSY,
    "53": Failure.BUSY,
    "57": Failure.UNREACHABLE,
    "58": Failure.BROKEN_DISK,
}
# What comes from asyncpg by itself while it connects, or when a connection or a limit breaks.
_RAW: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@contextmanager
def unavailable(shown: str) -> Iterator[None]:
    """Raise StorageUnavailable in place of a driver's error; `shown` names the database to its operator."""
    try:
        yield
    except exc.TimeoutError as error:
        raise StorageUnavailable(Failure.BUSY.value, f"{shown}: every connection is in use") from error
    except exc.DBAPIError as error:
        failure = failure_of(error.orig)
        if failure is None:
            raise
        raise StorageUnavailable(failure.value, f"{shown}: {error.orig}") from error
    except _RAW as error:
        failure = failure_of(error) or Failure.UNREACHABLE
        raise StorageUnavailable(failure.value, f"{shown}: {str(error) or type(error).__name__}") from error


def failure_of(error: BaseException | None) -> Failure | None:
    """Return why the driver failed, or None when the fault is in what it was asked."""
    if isinstance(error, sqlite3.Error):
        return _failure_of_sqlite(error)
    if isinstance(error, TimeoutError):
        return Failure.BUSY
    state: str | None = getattr(error, "sqlstate", None)
    if state is None:  # the connection itself
        return Failure.UNREACHABLE
    return next((failure for start, failure in _POSTGRES.items() if state.startswith(start)), None)


def _failure_of_sqlite(error: sqlite3.Error) -> Failure | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is None:  # of the driver, not of SQLite: a connection that was closed
        return Failure.UNREACHABLE if isinstance(error, sqlite3.OperationalError) else None
    if str(error).startswith("no such table"):
        return Failure.UNMIGRATED
    return _SQLITE.get(code & _PRIMARY_CODE)
