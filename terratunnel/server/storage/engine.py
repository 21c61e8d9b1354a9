"""Connections to the database, and sessions: one transaction each. Used by everything that stores.

Rule: a writer waits for its turn and then owns the database's write lock from its first statement, so that what it
reads stays true until it commits.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Literal, Self, cast

from sqlalchemy import CursorResult, Delete, Insert, Update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from terratunnel.server.storage.failures import unavailable
from terratunnel.server.storage.models import Base
from terratunnel.server.storage.pools import WAIT_S, postgres_pools, sqlite_pools
from terratunnel.server.storage.urls import locate


class Session(AsyncSession):
    """A session that knows the time; the repositories work on it."""

    def __init__(self, engine: AsyncEngine, clock: Callable[[], float]) -> None:
        super().__init__(engine, expire_on_commit=False)
        self._clock = clock

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.fromtimestamp(self._clock(), UTC)

    async def change(self, statement: Insert | Update | Delete) -> int:
        """Run a statement; return how many rows it has changed."""
        # Not RETURNING: the SQLite of some systems that we run on is older than it (3.35).
        return cast(CursorResult[object], await self.execute(statement)).rowcount

    async def insert_missing(self, model: type[Base], values: Mapping[str, object]) -> bool:
        """Add a row, unless one is there that shares a unique value with it; say whether it was added."""
        insert = postgresql.insert if self.get_bind().dialect.name == "postgresql" else sqlite.insert
        return await self.change(insert(model).values(**values).on_conflict_do_nothing()) == 1


class Database:
    """The database of a server. `open`, then any number of sessions, then `close`; or `async with`.

    `clock` tells seconds since 1970. `wait_s` is how long a session waits: for a connection, for a lock that somebody
    else holds, and for an answer of Postgres.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.time, wait_s: float = WAIT_S) -> None:
        self.location = locate(url)
        self.url = url
        self._clock = clock
        path, dsn = self.location.path, self.location.dsn
        self._pools = sqlite_pools(path, wait_s) if path is not None else postgres_pools(dsn, wait_s)

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """Which kind of database it is."""
        return "postgresql" if self.location.path is None else "sqlite"

    async def open(self) -> None:
        """See that it answers; raises StorageUnavailable. It must exist: `migrate` makes it."""
        async with self.reading():
            pass

    async def close(self) -> None:
        """Close every connection."""
        await self._pools.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """One transaction that may write: committed at the end, rolled back when anything is raised.

        Keep it short, wait for nothing but the database in it, and never open another one inside: SQLite has one
        writer. Raises StorageUnavailable.
        """
        with unavailable(self.location.shown):
            async with Session(self._pools.writers, self._clock) as session:
                await session.connection()
                yield session
                await session.commit()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Session]:
        """One transaction that sees the database at one moment and cannot write; it waits for no writer.

        Raises StorageUnavailable.
        """
        with unavailable(self.location.shown):
            async with Session(self._pools.readers, self._clock) as session:
                await session.connection()
                yield session
