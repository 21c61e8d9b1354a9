"""Databases of the server's tests: each test that asks for `database` or `desk` runs on SQLite and on Postgres."""

import pytest

from terratunnel.server.storage.engine import Database
from terratunnel.testing.clock import Clock
from terratunnel.testing.databases import Databases
from tests.server.desk import Desk


@pytest.fixture(params=["sqlite", "postgres"])
def databases(request: pytest.FixtureRequest) -> Databases:
    """Each kind of database."""
    found: Databases = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def clock() -> Clock:
    return Clock(1_750_000_000.0)


@pytest.fixture
def database(databases: Databases, clock: Clock) -> Database:
    """A migrated database, to be opened by the test: `async with database:`."""
    return Database(databases.new(), clock)


@pytest.fixture
def desk(database: Database, clock: Clock) -> Desk:
    """Accounts on a database of their own, to be opened by the test: `async with desk:`."""
    return Desk(database, clock)
