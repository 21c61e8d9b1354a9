"""The audit log in the database. Used by the audit writer, the admin pages and the command line.

Rule: a page costs the same however long the log is, so it is read backwards from a row and never counted.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, delete, insert, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, aliased

from terratunnel.server.storage.engine import Session
from terratunnel.server.storage.models import ApiKey, TunnelAuditLog, User

# Rows deleted in one transaction: 50 ms on either database, so that nobody waits for the purge.
DELETE_BATCH: Final = 1_000


@dataclass(frozen=True)
class AuditRow:
    """One thing that happened, before it is stored. What does not apply is empty."""

    timestamp: datetime
    event_type: str
    subdomain: str = ""
    hostname: str = ""
    local_endpoint: str = ""
    connection_id: str = ""
    client_ip: str | None = None
    user_agent: str | None = None
    user_id: int | None = None
    username: str | None = None
    api_key_id: int | None = None
    additional_data: str | None = None


@dataclass(frozen=True)
class AuditFilters:
    """Which rows are wanted; None means any."""

    user_id: int | None = None
    api_key_id: int | None = None
    subdomain: str | None = None
    event_type: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class AuditPage:
    """Rows, newest first; `next_before` asks for the page after them, None after the last."""

    rows: list[TunnelAuditLog]
    next_before: int | None


class Audit:
    """The table `tunnel_audit_log`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def add_many(self, rows: Sequence[AuditRow]) -> None:
        """Store rows in their order. Users and keys that are gone by now are left out of them."""
        if not rows:
            return
        users = await self._existing(User.id, {row.user_id for row in rows if row.user_id is not None})
        keys = await self._existing(ApiKey.id, {row.api_key_id for row in rows if row.api_key_id is not None})
        kept = [
            replace(
                row,
                user_id=row.user_id if row.user_id in users else None,
                api_key_id=row.api_key_id if row.api_key_id in keys else None,
            )
            for row in rows
        ]
        await self._session.execute(insert(TunnelAuditLog), [asdict(row) for row in kept])

    async def _existing(self, column: InstrumentedAttribute[int], ids: Collection[int]) -> set[int]:
        # The share lock keeps them until we have committed; SQLite has one writer and ignores it.
        query = select(column).where(column.in_(ids)).with_for_update(read=True, key_share=True)
        return set(await self._session.scalars(query)) if ids else set()

    async def list(
        self, filters: AuditFilters | None = None, before: int | None = None, page_size: int = 50
    ) -> AuditPage:
        """Return a page, newest first: the first one, or the one after `next_before` of another."""
        query = select(TunnelAuditLog).where(*_conditions(filters or AuditFilters()))
        if before is not None:
            last = aliased(TunnelAuditLog)
            place = select(last.timestamp, last.id).where(last.id == before).scalar_subquery()
            query = query.where(tuple_(TunnelAuditLog.timestamp, TunnelAuditLog.id) < place)
        query = query.order_by(TunnelAuditLog.timestamp.desc(), TunnelAuditLog.id.desc()).limit(page_size + 1)
        rows = list(await self._session.scalars(query))
        more = len(rows) > page_size
        return AuditPage(rows[:page_size], rows[page_size - 1].id if more else None)

    async def delete_before(self, time: datetime) -> int:
        """Delete up to DELETE_BATCH rows older than `time`; return how many. Call it, in a new session each time,
        until it returns less.
        """
        oldest = select(TunnelAuditLog.id).where(TunnelAuditLog.timestamp < time)
        oldest = oldest.order_by(TunnelAuditLog.timestamp).limit(DELETE_BATCH)
        return await self._session.change(delete(TunnelAuditLog).where(TunnelAuditLog.id.in_(oldest)))


def _conditions(filters: AuditFilters) -> list[ColumnElement[bool]]:
    log = TunnelAuditLog
    equal = [
        (log.user_id, filters.user_id),
        (log.api_key_id, filters.api_key_id),
        (log.subdomain, filters.subdomain),
        (log.event_type, filters.event_type),
    ]
    conditions: list[ColumnElement[bool]] = [column == value for column, value in equal if value is not None]
    if filters.since is not None:
        conditions.append(log.timestamp >= filters.since)
    if filters.until is not None:
        conditions.append(log.timestamp < filters.until)
    return conditions
