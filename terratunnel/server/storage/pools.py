"""Pools of connections, as each kind of database wants them. Used by the engine alone.

Rule: SQLite has one connection that writes and a few that cannot; Postgres has one pool for both.
"""

import logging
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
from sqlalchemy import URL, event, exc
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from terratunnel.server.storage.urls import invalid_dsn, sqlite_uri

log = logging.getLogger(__name__)

# SQLite's own advice for a lock that another process holds for a moment; a page that waits longer has lost its reader.
WAIT_S: Final = 5.0
READERS: Final = 4
POSTGRES_CONNECTIONS: Final = 10


@dataclass(frozen=True)
class Pools:
    """Where a writing and a reading session get their connection; for Postgres both are one pool."""

    writers: AsyncEngine
    readers: AsyncEngine

    async def close(self) -> None:
        """Close every connection."""
        await self.writers.dispose()
        await self.readers.dispose()


def sqlite_pools(path: Path, wait_s: float) -> Pools:
    """Return pools over a SQLite file."""
    return Pools(
        _sqlite_engine(path, wait_s, 1, "BEGIN IMMEDIATE", query_only=False),
        _sqlite_engine(path, wait_s, READERS, "BEGIN", query_only=True),
    )


def _sqlite_engine(path: Path, wait_s: float, connections: int, begin: str, query_only: bool) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=sqlite_uri(path, "rw"), query={"uri": "true"}),
        pool_size=connections,
        max_overflow=0,
        hide_parameters=True,
        pool_timeout=wait_s,
        connect_args={"timeout": wait_s},
    )
    event.listen(engine.sync_engine, "do_connect", _refuse_absent(path))
    event.listen(engine.sync_engine, "connect", _sqlite_connected(path, query_only))
    event.listen(engine.sync_engine, "checkout", _same_file(path))
    event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    _log_statements(engine)
    return engine


def _refuse_absent(path: Path) -> Callable[..., None]:
    def connects(*_: Any) -> None:
        # SQLite would say the same, but the driver's thread would outlive a program that ends because of it.
        if not path.is_file():
            raise sqlite3.OperationalError("unable to open database file")

    return connects


def _sqlite_connected(path: Path, query_only: bool) -> Callable[[Any, Any], None]:
    pragmas = ["journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", f"query_only={int(query_only)}"]

    def connected(connection: Any, record: Any) -> None:
        record.info["file"] = _identity(path)
        try:
            connection.isolation_level = None  # we say BEGIN ourselves: the driver would say it too late
            cursor = connection.cursor()
            for pragma in pragmas:
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()
        except sqlite3.Error:
            connection.close()  # older releases of SQLAlchemy leave it, and its thread, behind
            raise

    return connected


def _same_file(path: Path) -> Callable[[Any, Any, Any], None]:
    def checked_out(connection: Any, record: Any, proxy: Any) -> None:
        # A file that was removed or replaced lives on for who has it open, and so would what is written to it.
        if record.info.get("file") != _identity(path):
            raise exc.DisconnectionError("the file of the database was replaced")

    return checked_out


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def postgres_pools(dsn: str, wait_s: float) -> Pools:
    """Return one pool over Postgres, and a view of it that cannot write."""

    async def connect() -> Any:
        return await connect_postgres(dsn, wait_s)

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=POSTGRES_CONNECTIONS,
        max_overflow=0,
        hide_parameters=True,
        pool_timeout=wait_s,
        pool_pre_ping=True,
    )
    _log_statements(engine)
    # REPEATABLE READ is a snapshot, like a reading transaction of SQLite has; without writes it cannot fail.
    return Pools(engine, engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True))


def _log_statements(engine: AsyncEngine) -> None:
    """Log each statement at DEBUG, without its values: those are keys' hashes and people's addresses."""

    def executes(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("sql statement=%s", " ".join(statement.split()))

    event.listen(engine.sync_engine, "before_cursor_execute", executes)


async def connect_postgres(dsn: str, command_timeout_s: float | None = None) -> Any:
    """Return a connection of the driver; raises DatabaseURLInvalid for a URL that it does not understand."""
    try:
        return await asyncpg.connect(
            dsn,
            timeout=WAIT_S if command_timeout_s is None else command_timeout_s,
            command_timeout=command_timeout_s,
            server_settings={"application_name": "terratunnel", "timezone": "UTC"},
        )
    except ValueError:
        raise invalid_dsn() from None
