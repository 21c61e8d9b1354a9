"""Brings a database to this program's version. Used by the server at its start and by `terratunnel admin`.

Rule: all of it or nothing. A database that cannot be brought here stays as it is, and the sentence says why.
"""

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from alembic import command
from sqlalchemy import Connection, exc, text

from terratunnel.server.storage.backups import copy_sqlite, dated_name, keep_newest
from terratunnel.server.storage.connecting import postgres_once, sqlite_once
from terratunnel.server.storage.errors import MigrationRefused
from terratunnel.server.storage.failures import failure_of, unavailable
from terratunnel.server.storage.inspection import State, alembic_config, inspect_sqlite, newest_revision, state_of
from terratunnel.server.storage.urls import Location, locate

BACKUPS_KEPT: Final = 5
# Alembic keeps what it works on in its modules.
_ONE_AT_A_TIME: Final = threading.Lock()
# A number that nobody else takes: "terratun" in ASCII.
_ADVISORY_LOCK: Final = 0x7465_7272_6174_756E


@dataclass(frozen=True)
class MigrationReport:
    """What was done. `from_revision` is None for a new database and for the older program's."""

    from_revision: str | None
    to_revision: str
    changed: bool
    backup: Path | None = None
    notes: tuple[str, ...] = ()


async def migrate(url: str, *, backup: bool = True, clock: Callable[[], float] = time.time) -> MigrationReport:
    """Make the database, or bring it to this version; a SQLite file that would change is copied first.

    Raises MigrationRefused, or StorageUnavailable when it is locked or does not answer.
    """
    return await asyncio.to_thread(_migrate, locate(url), backup, clock)


def _migrate(location: Location, backup: bool, clock: Callable[[], float]) -> MigrationReport:
    with _ONE_AT_A_TIME, unavailable(location.shown):
        if location.path is None:
            return asyncio.run(_migrate_postgres(location))
        return _migrate_sqlite(location.path, datetime.fromtimestamp(clock(), UTC) if backup else None)


async def _migrate_postgres(location: Location) -> MigrationReport:
    async with postgres_once(location.dsn) as connection, connection.begin():
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
        state = await connection.run_sync(state_of, location.shown)
        return await connection.run_sync(_upgrade, state, location.shown)


def _migrate_sqlite(path: Path, now: datetime | None) -> MigrationReport:
    with _existing(path):
        state = inspect_sqlite(path)
        if state.revision == newest_revision():
            return MigrationReport(state.revision, state.revision, changed=False)
        saved = _save(path, now) if now is not None and state.tables else None
        with sqlite_once(path, "rw", "BEGIN IMMEDIATE") as connection, connection.begin():
            state = state_of(connection, str(path))  # another process may have been faster
            report = _upgrade(connection, state, str(path))
    return replace(report, backup=saved)


@contextmanager
def _existing(path: Path) -> Iterator[None]:
    """Make an empty file if there is none, which only its owner may read, and take it away if this comes to nothing."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if path.is_dir():
            raise MigrationRefused(f"{path} is a folder; name a file for the database.") from None
        yield
        return
    except OSError as error:
        raise MigrationRefused(f"The database {path} cannot be made ({error.strerror}).") from error
    try:
        yield
    except BaseException:
        with suppress(FileNotFoundError):
            if not path.stat().st_size:  # else another process has made its database there meanwhile
                path.unlink()
        raise


def _save(path: Path, now: datetime) -> Path:
    target = dated_name(path, now)
    try:
        copy_sqlite(path, target)
    except (OSError, sqlite3.Error) as error:
        raise MigrationRefused(
            f"The database {path} was not touched, because it cannot be copied to {target} first ({error})."
        ) from error
    keep_newest(path, BACKUPS_KEPT)
    return target


def _upgrade(connection: Connection, state: State, shown: str) -> MigrationReport:
    notes: list[str] = []
    config = alembic_config()
    config.attributes.update(connection=connection, notes=notes)
    try:
        command.upgrade(config, "head")
    except exc.DBAPIError as error:
        if failure_of(error.orig) is not None:
            raise
        raise MigrationRefused(
            f"The database {shown} holds what this version does not allow ({error.orig}). Nothing was changed."
        ) from error
    newest = newest_revision()
    return MigrationReport(state.revision, newest, state.revision != newest, None, tuple(notes))
