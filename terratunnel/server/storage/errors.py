"""What can go wrong with the database. Raised by this package, answered by its callers.

Rule: each message is one sentence that an operator or a user may read; nothing of a driver leaks out.
"""

from terratunnel.errors import TerratunnelError


class StorageError(TerratunnelError):
    """Base of the errors of this package."""


class StorageUnavailable(StorageError):
    """The database is locked, full, damaged or gone: answer 503 with the message, which anybody may read.

    `detail` names the database and the driver's reason: for logs and the operator alone.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class AlreadyThere(StorageError):
    """A row with this unique value exists: choose another value."""


class MigrationRefused(StorageError):
    """The database cannot be brought to this version; it was left as it is."""


class DatabaseURLInvalid(StorageError):
    """TERRATUNNEL_DATABASE_URL names no database we know."""
