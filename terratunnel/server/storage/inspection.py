"""What a database is, before anything is done to it: empty, ours at a revision, the older program's, or neither.

Used by `migrate` and `check`. Rule: it reads; a file that it refuses is the same afterwards, byte for byte.
"""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, exc, inspect

from terratunnel.server.storage.connecting import sqlite_once
from terratunnel.server.storage.errors import MigrationRefused

MIGRATIONS: Final = Path(__file__).with_name("migrations")
# What a table of the older program must have to be taken for one; whatever else it may lack is known.
OLDER_TABLES: Final = {
    "users": {"id", "auth_provider", "provider_user_id", "provider_username"},
    "tunnels": {"id", "user_id", "subdomain"},
    "api_keys": {"id", "user_id", "key_hash", "key_prefix"},
    "tunnel_audit_log": {"id", "subdomain", "hostname", "local_endpoint", "connection_id"},
}
# A file up to this size is read through at each start, in half a second; a larger one only before it is changed.
CHECKED_BYTES: Final = 268_435_456
_HALF_DONE: Final = (sqlite3.SQLITE_READONLY_ROLLBACK, sqlite3.SQLITE_READONLY_RECOVERY)


@dataclass(frozen=True)
class State:
    """`revision` is None without Alembic's table; `tables` are those that exist."""

    revision: str | None
    tables: frozenset[str]


def alembic_config() -> Config:
    """Return Alembic's configuration; it is in no file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def newest_revision() -> str:
    """Return the revision that this program works with."""
    return str(ScriptDirectory.from_config(alembic_config()).get_current_head())


def state_of(connection: Connection, shown: str) -> State:
    """Return what a database is; raises MigrationRefused when it is none that can be brought to this version."""
    tables = frozenset(inspect(connection).get_table_names())
    heads = MigrationContext.configure(connection).get_current_heads()
    known = {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    for revision in heads:
        if revision not in known:
            raise MigrationRefused(
                f"The database {shown} is from a newer Terratunnel (revision {revision}); start that one, or restore "
                "a backup. Nothing was changed."
            )
    if not heads:
        _refuse_strangers(connection, tables, shown)
    return State(heads[0] if heads else None, tables)


def _refuse_strangers(connection: Connection, tables: frozenset[str], shown: str) -> None:
    if not tables - {"alembic_version"}:
        return
    if connection.dialect.name != "sqlite" or "users" not in tables:
        raise MigrationRefused(f"The database {shown} belongs to another program; name another. Nothing was changed.")
    for table, needed in OLDER_TABLES.items():
        if table in tables:
            missing = needed - {column["name"] for column in inspect(connection).get_columns(table)}
            if missing:
                raise MigrationRefused(
                    f"The table {table} of the database {shown} has no {', '.join(sorted(missing))}, so it is not "
                    "Terratunnel's; name another database. Nothing was changed."
                )


def inspect_sqlite(path: Path) -> State:
    """Return what a SQLite file is; raises MigrationRefused when it is damaged or no database."""
    try:
        return _inspect(path)
    except exc.OperationalError as error:
        if getattr(error.orig, "sqlite_errorcode", None) not in _HALF_DONE:
            raise
    # A writer was killed; who only reads may not undo what it left half done.
    with sqlite_once(path, "rw") as connection:
        connection.exec_driver_sql("SELECT COUNT(*) FROM sqlite_master")
    return _inspect(path)


def _inspect(path: Path) -> State:
    try:
        with sqlite_once(path, "ro") as connection:
            state = state_of(connection, str(path))
            if state.revision != newest_revision() or path.stat().st_size <= CHECKED_BYTES:
                problems = connection.exec_driver_sql("PRAGMA quick_check(1)").scalars().all()
                if problems != ["ok"]:
                    raise _damaged(path, problems[0])
            return state
    except exc.OperationalError:
        raise
    except exc.DatabaseError as error:
        raise _damaged(path, str(error.orig)) from error


def _damaged(path: Path, reason: str) -> MigrationRefused:
    return MigrationRefused(f"The file {path} is damaged, or no database ({reason}). Nothing was changed.")
