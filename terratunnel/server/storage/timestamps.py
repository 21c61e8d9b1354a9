"""Points in time as columns: aware datetimes in Python, UTC in the database. Used by the models.

Rule: in SQLite a time is the text `YYYY-MM-DD HH:MM:SS[.ffffff]`, like CURRENT_TIMESTAMP, one text for each time, so
that texts compare as times do.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import TIMESTAMP, Dialect
from sqlalchemy.dialects import sqlite
from sqlalchemy.types import TypeDecorator, TypeEngine


def sqlite_text(moment: datetime) -> str:
    """Return a time in UTC as SQLite keeps it."""
    return moment.replace(tzinfo=None).isoformat(sep=" ")


class _SQLiteTime(sqlite.DATETIME):
    """SQLAlchemy's own always writes six more digits, which CURRENT_TIMESTAMP does not."""

    __visit_name__ = "TIMESTAMP"

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], str | None]:
        """Return what makes the text."""
        return lambda moment: None if moment is None else sqlite_text(moment)


class UtcTime(TypeDecorator[datetime]):
    """TIMESTAMP in SQLite, TIMESTAMP WITH TIME ZONE in Postgres."""

    impl = TIMESTAMP(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime]:
        """Return the type of a kind of database."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(_SQLiteTime())  # type: ignore[no-untyped-call]
        return dialect.type_descriptor(TIMESTAMP(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a time without a zone; it would be off by hours somewhere."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time needs its zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return an aware time."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
