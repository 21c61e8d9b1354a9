"""Points in time as columns: aware datetimes in Python, UTC in the database. Used by the models and migrations.

Rule: in SQLite a time is the text `YYYY-MM-DD HH:MM:SS[.ffffff]`, like CURRENT_TIMESTAMP, so texts sort as times do.
"""

from datetime import UTC, datetime

from sqlalchemy import TIMESTAMP, Dialect
from sqlalchemy.types import TypeDecorator


class UtcTime(TypeDecorator[datetime]):
    """TIMESTAMP in SQLite, TIMESTAMP WITH TIME ZONE in Postgres."""

    impl = TIMESTAMP(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a time without a zone; it would be off by hours somewhere."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time needs its zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return an aware time."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
