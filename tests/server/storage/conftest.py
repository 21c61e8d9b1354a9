"""A database in a hurry, for the storage's tests; the others come from the server's."""

import pytest

from terratunnel.server.storage.engine import Database
from terratunnel.testing.clock import Clock
from terratunnel.testing.databases import Databases


@pytest.fixture
def hurried(databases: Databases, clock: Clock) -> Database:
    """A migrated database whose sessions wait for a moment only: for tests in which they wait in vain."""
    return Database(databases.new(), clock, wait_s=0.3)
