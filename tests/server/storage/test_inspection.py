"""What a database is: empty, ours at a revision, or the older program's. Refusals are tried with the migrations."""

import os
from pathlib import Path

import pytest

from terratunnel.server.storage.errors import MigrationRefused
from terratunnel.server.storage.inspection import (
    CHECKED_BYTES,
    MIGRATIONS,
    alembic_config,
    inspect_sqlite,
    newest_revision,
)
from terratunnel.testing.databases import SQLiteFiles
from tests.server.storage import older


def test_an_empty_file_has_no_revision_and_no_tables(tmp_path: Path) -> None:
    (tmp_path / "new.db").touch()
    state = inspect_sqlite(tmp_path / "new.db")
    assert (state.revision, state.tables) == (None, frozenset())


def test_a_migrated_file_is_at_the_newest_revision(sqlite: SQLiteFiles) -> None:
    state = inspect_sqlite(Path(sqlite.new().removeprefix("sqlite:///")))
    assert state.revision == newest_revision()
    assert "alembic_version" in state.tables


def test_an_older_file_has_tables_and_no_revision(tmp_path: Path) -> None:
    older.make(tmp_path / "older.db", "the oldest")
    state = inspect_sqlite(tmp_path / "older.db")
    assert (state.revision, state.tables) == (None, frozenset({"users", "api_keys", "tunnel_audit_log"}))


def test_the_migrations_are_found_beside_the_package() -> None:
    assert alembic_config().get_main_option("script_location") == str(MIGRATIONS)
    assert (MIGRATIONS / "env.py").is_file()


def test_a_file_is_read_through_at_each_start_unless_it_is_large(sqlite: SQLiteFiles) -> None:
    path = Path(sqlite.new().removeprefix("sqlite:///"))
    with path.open("r+b") as file:
        file.seek(5 * 4_096)
        file.write(b"\xff" * 4_096)
    with pytest.raises(MigrationRefused, match="is damaged"):
        inspect_sqlite(path)
    os.truncate(path, CHECKED_BYTES + 4_096)  # a hole, which takes no room
    assert inspect_sqlite(path).revision == newest_revision()
