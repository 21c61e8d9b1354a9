"""Looks a database over without changing it. Used by `terratunnel admin database check`.

Rule: a damaged database is an answer here, not an error.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, exc, func, inspect, select

from terratunnel.server.storage.connecting import postgres_once, sqlite_once
from terratunnel.server.storage.errors import MigrationRefused
from terratunnel.server.storage.failures import unavailable
from terratunnel.server.storage.inspection import newest_revision, state_of
from terratunnel.server.storage.models import Base
from terratunnel.server.storage.urls import locate


@dataclass(frozen=True)
class CheckReport:
    """What was found: `problems` is empty when all is well; `counts` are the rows of each table of ours."""

    dialect: Literal["sqlite", "postgresql"]
    revision: str | None
    newest_revision: str
    problems: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def is_current(self) -> bool:
        """Whether a migration has nothing to do."""
        return self.revision == self.newest_revision


async def check(url: str) -> CheckReport:
    """Read all of a database; raises StorageUnavailable when it does not answer."""
    location = locate(url)
    with unavailable(location.shown):
        if location.path is not None:
            return await asyncio.to_thread(_check_sqlite, location.path)
        async with postgres_once(location.dsn) as connection:
            return await connection.run_sync(_look, "postgresql", location.shown, [])


def _check_sqlite(path: Path) -> CheckReport:
    try:
        with sqlite_once(path, "ro") as connection:
            return _look(connection, "sqlite", str(path), _sqlite_problems(connection))
    except exc.OperationalError:
        raise
    except exc.DatabaseError as error:
        return CheckReport("sqlite", None, newest_revision(), (str(error.orig),))


def _sqlite_problems(connection: Connection) -> list[str]:
    problems = [line for line in connection.exec_driver_sql("PRAGMA integrity_check").scalars() if line != "ok"]
    for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        problems.append(f"row {row} of {table} names a row of {parent} that does not exist")
    return problems


def _look(
    connection: Connection, dialect: Literal["sqlite", "postgresql"], shown: str, problems: list[str]
) -> CheckReport:
    try:
        revision = state_of(connection, shown).revision
    except MigrationRefused as error:
        return CheckReport(dialect, None, newest_revision(), (*problems, str(error)))
    existing = set(inspect(connection).get_table_names())
    tables = [table for table in Base.metadata.sorted_tables if table.name in existing]
    counts = {table.name: connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables}
    return CheckReport(dialect, revision, newest_revision(), tuple(problems), counts)
