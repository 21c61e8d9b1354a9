"""Errors of the database: one base, and a detail that stays out of the message."""

import pytest

from terratunnel.errors import TerratunnelError
from terratunnel.server.storage import errors


@pytest.mark.parametrize(
    "kind", [errors.StorageUnavailable, errors.AlreadyThere, errors.MigrationRefused, errors.DatabaseURLInvalid]
)
def test_every_error_is_ours(kind: type[Exception]) -> None:
    assert issubclass(kind, errors.StorageError)
    assert issubclass(kind, TerratunnelError)


def test_the_detail_is_no_part_of_the_message() -> None:
    error = errors.StorageUnavailable("The database is busy.", "/data/terratunnel.db: database is locked")
    assert str(error) == "The database is busy."
    assert error.detail == "/data/terratunnel.db: database is locked"
