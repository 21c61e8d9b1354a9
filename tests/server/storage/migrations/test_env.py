"""The environment runs on the connection it is given and leaves the commit to whoever opened it."""

from pathlib import Path

from alembic import command
from sqlalchemy import inspect

from terratunnel.server.storage.connecting import sqlite_once
from terratunnel.server.storage.inspection import alembic_config, newest_revision, state_of


def test_nothing_is_committed_by_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    path.touch()
    with sqlite_once(path, "rw") as connection:
        connection.begin()
        config = alembic_config()
        config.attributes.update(connection=connection, notes=[])
        command.upgrade(config, "head")
        assert state_of(connection, "").revision == newest_revision()
    with sqlite_once(path, "ro") as connection:
        assert inspect(connection).get_table_names() == []
