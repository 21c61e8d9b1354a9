"""Backups: what is downloaded opens as a database of Terratunnel, whichever it came from."""

import shutil
import stat
from pathlib import Path

import pytest

from terratunnel.server.control.sqlbrowser.backup import backup
from terratunnel.server.storage.check import check
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.errors import StorageUnavailable
from terratunnel.server.storage.models import Base
from terratunnel.server.storage.urls import database_url, locate
from terratunnel.testing.databases import SQLiteFiles
from tests.server.control.sqlbrowser.filled import filled


async def rows_of(database: Database) -> list[tuple[object, ...]]:
    async with database.reading() as session:
        return [tuple(row) for table in Base.metadata.sorted_tables for row in await session.execute(table.select())]


async def test_a_backup_is_a_database_with_everything_in_it(database: Database, tmp_path: Path) -> None:
    async with filled(database), backup(database) as made:
        assert stat.S_IMODE(made.parent.stat().st_mode) == 0o700
        kept = tmp_path / "kept.db"
        shutil.copy(made, kept)
        before = await rows_of(database)
    assert not made.exists()
    report = await check(database_url(str(kept)))
    assert (report.problems, report.is_current) == ((), True)
    async with Database(database_url(str(kept))) as copy:
        assert await rows_of(copy) == before
        assert len(before) == 6


async def test_a_database_that_cannot_be_copied_is_said(sqlite: SQLiteFiles) -> None:
    url = sqlite.new()
    path = locate(url).path
    assert path is not None
    path.write_bytes(b"not a database" * 1_000)
    with pytest.raises(StorageUnavailable, match="backup cannot be made"):
        async with backup(Database(url)):
            pass
