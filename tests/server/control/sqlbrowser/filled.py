"""A database with one of everything, and a look at all of it. Used by the browser's tests."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from terratunnel.server.storage.api_keys import ApiKeys
from terratunnel.server.storage.audit import Audit, AuditRow
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.links import DeviceLogins, LoginLinks
from terratunnel.server.storage.models import Base
from terratunnel.server.storage.tunnels import Tunnels
from terratunnel.server.storage.users import Profile, Users

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
SECRETS = ("5ec4e7-0f-a-key", "5ec4e7-0f-a-link", "5ec4e7-0f-a-login", "BCDFGHJK")


@asynccontextmanager
async def filled(database: Database) -> AsyncIterator[Database]:
    """Open a database and put one row into each table."""
    async with database:
        async with database.session() as session:
            user = await Users(session).upsert_from_profile(Profile("github", "1", "ann"))
            tunnel = await Tunnels(session).create(user.id, "happy-panda", "webhooks")
            await ApiKeys(session).replace(tunnel.id, user.id, SECRETS[0], "tt_abcde")
            await LoginLinks(session).add(SECRETS[1], user.id, NOW + timedelta(days=1))
            await DeviceLogins(session).start(SECRETS[2], SECRETS[3], "a laptop", NOW + timedelta(days=1))
            await Audit(session).add_many([AuditRow(NOW, "connect", "happy-panda", user_id=user.id, username="ann")])
        yield database


async def everything(database: Database) -> list[object]:
    """All that is in a database, its schema too."""
    async with database.reading() as session:
        rows: list[object] = [
            tuple(row) for table in Base.metadata.sorted_tables for row in await session.execute(table.select())
        ]
        if database.dialect == "postgresql":
            query = "SELECT relname, relkind::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
            return [*rows, *map(tuple, await session.execute(text(query)))]
    assert database.location.path is not None
    with closing(sqlite3.connect(database.location.path)) as connection:
        return [*rows, *connection.execute("SELECT * FROM sqlite_master").fetchall()]
