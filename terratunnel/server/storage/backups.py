"""Consistent copies of a SQLite database that is in use. Used before a migration, and by the admin's download.

Rule: a copy has its final name only when it is complete, and nobody but its owner can read it.
"""

import glob
import os
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from terratunnel.server.storage.urls import sqlite_uri


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a database as it is at one moment, while others write. Blocks: call it in a thread.

    Raises sqlite3.Error or OSError; nothing is left behind then.
    """
    partial = target.with_name(f"{target.name}.partial")
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with (
            closing(sqlite3.connect(sqlite_uri(source, "ro"), uri=True)) as reading,
            closing(sqlite3.connect(partial)) as writing,
        ):
            reading.backup(writing)
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def keep_newest(source: Path, count: int) -> None:
    """Delete the oldest dated copies of a database, so that `count` are left."""
    for old in dated_copies(source)[:-count]:
        old.unlink(missing_ok=True)


def dated_copies(source: Path) -> list[Path]:
    """Return the copies `<file>.backup-YYYYmmddTHHMMSSZ` of a database, oldest first."""
    digit = "[0-9]"
    return sorted(source.parent.glob(f"{glob.escape(source.name)}.backup-{digit * 8}T{digit * 6}Z"))


def dated_name(source: Path, now: datetime) -> Path:
    """Return the name of a copy made now; a name that is taken is never used again."""
    while True:
        target = source.with_name(f"{source.name}.backup-{now:%Y%m%dT%H%M%SZ}")
        if not target.exists():
            return target
        now += timedelta(seconds=1)
