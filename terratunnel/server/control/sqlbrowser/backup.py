"""A consistent copy of the database as a SQLite file, for an administrator to take away. Used by the browser.

Rule: it is a database that Terratunnel opens, also when it comes from Postgres; it holds the hashes, so it is no toy.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from sqlalchemy import Engine, Table, create_engine, insert, select

from terratunnel.server.storage.backups import copy_sqlite
from terratunnel.server.storage.engine import Database, Session
from terratunnel.server.storage.errors import StorageUnavailable
from terratunnel.server.storage.migrate import migrate
from terratunnel.server.storage.models import Base
from terratunnel.server.storage.urls import database_url

ROWS_AT_A_TIME: Final = 1_000


@asynccontextmanager
async def backup(database: Database) -> AsyncIterator[Path]:
    """Make a copy in a folder that is removed afterwards. Raises StorageUnavailable."""
    with TemporaryDirectory(prefix="terratunnel-") as folder:
        target = Path(folder) / "terratunnel.db"
        try:
            if database.location.path is not None:
                await asyncio.to_thread(copy_sqlite, database.location.path, target)
            else:
                await _from_postgres(database, target)
        except (sqlite3.Error, OSError) as error:
            raise StorageUnavailable("The backup cannot be made; the disk may be full.", str(error)) from error
        yield target


async def _from_postgres(database: Database, target: Path) -> None:
    await migrate(database_url(str(target)))
    engine = create_engine(f"sqlite:///{target}")
    try:
        async with database.reading() as session:
            for table in Base.metadata.sorted_tables:
                await _copy_table(session, table, engine)
    finally:
        engine.dispose()


async def _copy_table(session: Session, table: Table, engine: Engine) -> None:
    found = await session.stream(select(table).execution_options(yield_per=ROWS_AT_A_TIME))
    async for rows in found.mappings().partitions():
        await asyncio.to_thread(_store, engine, table, [dict(row) for row in rows])


def _store(engine: Engine, table: Table, rows: list[dict[str, Any]]) -> None:
    with engine.begin() as connection:
        connection.execute(insert(table), rows)
