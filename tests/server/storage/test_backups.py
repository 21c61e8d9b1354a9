"""Copies of a database: complete or not there, for nobody else to read, and the newest of them kept."""

import errno
import sqlite3
import stat
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from terratunnel.server.storage.backups import copy_sqlite, dated_copies, dated_name, keep_newest

NOON = datetime(2025, 7, 1, 12, 0, 59, tzinfo=UTC)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "our[1].db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE t (x)")
        database.execute("INSERT INTO t VALUES (1)")
        database.commit()
    return path


def rows(path: Path) -> list[tuple[int]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT x FROM t").fetchall()


def test_a_copy_holds_what_was_committed_while_somebody_writes(source: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(source)) as writer:
        writer.execute("INSERT INTO t VALUES (2)")
        copy_sqlite(source, tmp_path / "copy.db")
        writer.commit()
    assert rows(tmp_path / "copy.db") == [(1,)]


def test_only_its_owner_reads_a_copy(source: Path, tmp_path: Path) -> None:
    copy_sqlite(source, tmp_path / "copy.db")
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "letter.db").write_text("no database" * 1000)
    with pytest.raises(sqlite3.DatabaseError):
        copy_sqlite(tmp_path / "letter.db", tmp_path / "copy.db")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.db"]


def test_what_another_copy_has_begun_is_not_touched(source: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.db.partial").write_text("half")
    with pytest.raises(FileExistsError) as failed:
        copy_sqlite(source, tmp_path / "copy.db")
    assert failed.value.errno == errno.EEXIST
    assert (tmp_path / "copy.db.partial").read_text() == "half"


def test_a_name_that_is_taken_is_not_given_again(source: Path) -> None:
    for expected in ("20250701T120059Z", "20250701T120100Z", "20250701T120101Z"):
        name = dated_name(source, NOON)
        assert name.name == f"our[1].db.backup-{expected}"
        name.touch()


def test_the_newest_are_kept_and_other_files_left_alone(source: Path) -> None:
    names = [dated_name(source, NOON.replace(day=day)) for day in (3, 1, 2)]
    for other in (*names, source.with_name("our1.db.backup-20240101T000000Z"), source.with_name("our[1].db.backup-x")):
        other.touch()
    keep_newest(source, 2)
    assert [path.name[-16:-8] for path in dated_copies(source)] == ["20250702", "20250703"]
    assert len(list(source.parent.iterdir())) == 2 + 2 + 1


def test_fewer_than_are_kept_stay(source: Path) -> None:
    dated_name(source, NOON).touch()
    keep_newest(source, 5)
    assert len(dated_copies(source)) == 1
