"""Revision 0001 makes exactly the models' tables, and exactly the guide's columns, however it came to them."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from terratunnel.server.storage.connecting import postgres_once, sqlite_once
from terratunnel.server.storage.migrate import migrate
from terratunnel.server.storage.models import Base
from terratunnel.server.storage.urls import database_url
from terratunnel.testing.databases import PostgresCluster
from tests.server.storage import older

GUIDE = {"users": older.USERS, "tunnels": older.TUNNELS, "api_keys": older.API_KEYS, "tunnel_audit_log": older.AUDIT}


def differences(connection: Connection) -> list[object]:
    options = {"compare_type": True, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))


async def test_a_new_sqlite_file_has_the_tables_of_the_models(tmp_path: Path) -> None:
    await migrate(database_url(str(tmp_path / "new.db")))
    with sqlite_once(tmp_path / "new.db", "ro") as connection:
        assert differences(connection) == []


async def test_a_new_postgres_has_the_tables_of_the_models(postgres: PostgresCluster) -> None:
    url = postgres.empty()
    await migrate(url)
    async with postgres_once(url) as connection:
        assert await connection.run_sync(differences) == []


@pytest.mark.parametrize("shape", older.SHAPES)
async def test_an_older_database_gets_the_tables_of_the_models(tmp_path: Path, shape: str) -> None:
    older.make(tmp_path / "older.db", shape)
    await migrate(database_url(str(tmp_path / "older.db")))
    await migrate(database_url(str(tmp_path / "new.db")))
    with sqlite_once(tmp_path / "older.db", "ro") as connection:
        assert differences(connection) == []
    assert schema(tmp_path / "older.db") == schema(tmp_path / "new.db")


def schema(path: Path) -> set[tuple[str, str, str]]:
    with closing(sqlite3.connect(path)) as database:
        return set(database.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"))


def columns(database: sqlite3.Connection, table: str) -> list[tuple[str, str, int, str | None, int]]:
    """Name, type, NOT NULL, default and place in the key; a key is never NULL, said or not."""
    rows = database.execute(f"PRAGMA table_info({table})")
    return [
        (name, kind, 1 if key else required, default and default.strip("()"), key)
        for _, name, kind, required, default, key in rows
    ]


@pytest.mark.parametrize("table", GUIDE)
async def test_the_guide_s_tables_have_exactly_its_columns(tmp_path: Path, table: str) -> None:
    await migrate(database_url(str(tmp_path / "new.db")))
    with closing(sqlite3.connect(":memory:")) as guide, closing(sqlite3.connect(tmp_path / "new.db")) as ours:
        guide.executescript("".join(GUIDE.values()))
        assert columns(ours, table) == columns(guide, table)


@pytest.mark.parametrize("table", GUIDE)
async def test_the_guide_s_tables_have_exactly_its_constraints(tmp_path: Path, table: str) -> None:
    def constraints(database: sqlite3.Connection) -> tuple[set[object], set[object]]:
        references = {row[2:] for row in database.execute(f"PRAGMA foreign_key_list({table})")}
        indexes = [row[1] for row in database.execute(f"PRAGMA index_list({table})") if row[2]]
        return references, {tuple(row[2] for row in database.execute(f"PRAGMA index_info('{i}')")) for i in indexes}

    await migrate(database_url(str(tmp_path / "new.db")))
    with closing(sqlite3.connect(":memory:")) as guide, closing(sqlite3.connect(tmp_path / "new.db")) as ours:
        guide.executescript("".join(GUIDE.values()))
        assert constraints(ours) == constraints(guide)


async def test_an_id_of_a_deleted_row_is_not_given_again(tmp_path: Path) -> None:
    older.make(tmp_path / "older.db")
    await migrate(database_url(str(tmp_path / "older.db")))
    with closing(sqlite3.connect(tmp_path / "older.db")) as database:
        database.execute("DELETE FROM api_keys WHERE user_id = 7")
        database.execute("DELETE FROM users WHERE id = 7")
        database.execute(
            "INSERT INTO users (auth_provider, provider_user_id, provider_username) VALUES ('github', '1', 'eve')"
        )
        assert database.execute("SELECT id FROM users WHERE provider_username = 'eve'").fetchone() == (8,)


def test_a_revision_imports_no_model() -> None:
    versions = Path(__file__).parents[5] / "terratunnel" / "server" / "storage" / "migrations"
    for module in versions.rglob("*.py"):
        assert not re.search(r"storage\.models|storage import models", module.read_text())
