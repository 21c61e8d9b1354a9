"""One connection for one piece of work, outside the pools. Used by migrations and checks.

Rule: whoever opens it says how its transaction begins; what is not committed by the end is rolled back.
"""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, NullPool, create_engine, event
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from terratunnel.server.storage.pools import WAIT_S, connect_postgres
from terratunnel.server.storage.urls import sqlite_uri


@contextmanager
def sqlite_once(path: Path, mode: Literal["ro", "rw"], begin: str = "BEGIN") -> Iterator[Connection]:
    """Connect to a SQLite file, without foreign keys: a table that is replaced must not take other rows along."""

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(sqlite_uri(path, mode), uri=True, timeout=WAIT_S, isolation_level=None)
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("PRAGMA legacy_alter_table=ON")  # renaming a table leaves what names it as it is
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    with engine.connect() as connection:
        yield connection


@asynccontextmanager
async def postgres_once(dsn: str) -> AsyncIterator[AsyncConnection]:
    """Connect to Postgres; statements may take as long as they take."""

    async def connect() -> Any:
        return await connect_postgres(dsn)

    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=connect, poolclass=NullPool, hide_parameters=True
    )
    async with engine.connect() as connection:
        yield connection
