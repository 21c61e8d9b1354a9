"""Turns the errors of drivers into one sentence. Used by the engine around every session, and by migrations.

Rule: a broken constraint or a wrong statement is a bug and passes as it is; whatever time or an operator can heal is
StorageUnavailable.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy import exc

from terratunnel.server.storage.errors import StorageUnavailable

# What a driver may raise by itself while it connects or when the connection breaks.
_RAW = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_BUGS = (exc.IntegrityError, exc.ProgrammingError, exc.DataError, exc.NotSupportedError)


@contextmanager
def unavailable(shown: str) -> Iterator[None]:
    """Raise StorageUnavailable in place of a driver's error; `shown` names the database."""
    try:
        yield
    except _BUGS:
        raise
    except exc.TimeoutError as error:
        raise StorageUnavailable("The database is busy; try again in a moment.") from error
    except exc.DBAPIError as error:
        raise StorageUnavailable(_sentence(shown, str(error.orig))) from error
    except _RAW as error:
        raise StorageUnavailable(_sentence(shown, str(error))) from error


def _sentence(shown: str, reason: str) -> str:
    text = reason.lower()
    if "locked" in text or "timeout" in text:
        return f"The database {shown} is locked by somebody else; try again in a moment."
    if "full" in text or "no space" in text:
        return f"The disk of the database {shown} is full; make room."
    return f"The database {shown} does not answer."
