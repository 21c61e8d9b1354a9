"""The database browser: tables, the query box and the backup, whichever database it is. Used by the API and pages."""

import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from terratunnel.server.control.sqlbrowser.answers import MAX_SQL_CHARS, Answer, QueryRefused
from terratunnel.server.control.sqlbrowser.backup import backup
from terratunnel.server.control.sqlbrowser.postgres import PostgresQueries
from terratunnel.server.control.sqlbrowser.sqlite import SqliteQueries
from terratunnel.server.control.sqlbrowser.tables import Tables
from terratunnel.server.storage.engine import Database


class Queries(Protocol):
    """The query box over one kind of database."""

    async def query(self, sql: str) -> Answer:
        """Run one SELECT. Raises QueryRefused, BrowserUnavailable or StorageUnavailable."""


@dataclass(frozen=True)
class TimedAnswer:
    """An answer, and how long it took."""

    answer: Answer
    duration_ms: int


class SqlBrowser:
    """What administrators see of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.tables = Tables(database)
        self._queries: Queries = (
            SqliteQueries(database.location.path)
            if database.location.path is not None
            else PostgresQueries(database.location.dsn, database.location.shown)
        )

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """Which SQL the query box speaks."""
        return self._database.dialect

    async def query(self, sql: str) -> TimedAnswer:
        """Run one SELECT. Raises QueryRefused, BrowserUnavailable or StorageUnavailable."""
        statement = sql.strip().rstrip(";").rstrip()
        if not statement or len(statement) > MAX_SQL_CHARS or "\0" in statement:
            raise QueryRefused(f"Write one SELECT of at most {MAX_SQL_CHARS} characters.")
        started = time.monotonic()
        answer = await self._queries.query(statement)
        return TimedAnswer(answer, round((time.monotonic() - started) * 1_000))

    def backup(self) -> AbstractAsyncContextManager[Path]:
        """Make a consistent copy that is removed afterwards. Raises StorageUnavailable."""
        return backup(self._database)
