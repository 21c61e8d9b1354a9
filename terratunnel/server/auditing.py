"""The audit log as it is written: what happened is noted at once and stored in batches. Used wherever it happens.

Rule: `record` is quick and never fails; while the database is away events wait, up to a bound that is named here.
"""

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from terratunnel.server.actors import OPERATOR_ID, Actor, Origin
from terratunnel.server.background import Periodic
from terratunnel.server.storage.audit import DELETE_BATCH, Audit, AuditRow
from terratunnel.server.storage.engine import Database

log = logging.getLogger(__name__)

WRITE_EVERY_S: Final = 0.5
PURGE_EVERY_S: Final = 3_600.0
# About 20 MB; at a hundred events a second the database may be away for eight minutes.
MAX_WAITING: Final = 50_000
BATCH: Final = 500
# What strangers choose is kept up to here; a user agent of a browser has 100 to 200 characters.
MAX_TEXT: Final = 500


class Event(StrEnum):
    """What can happen, as it stands in `event_type`."""

    CONNECT = "connect"
    DISCONNECT = "disconnect"
    REFUSED = "refused"
    LOGIN = "login"
    LOGIN_FAILED = "login_failed"
    LOGOUT = "logout"
    TUNNEL_CREATED = "tunnel_created"
    TUNNEL_DELETED = "tunnel_deleted"
    KEY_ROTATED = "key_rotated"
    KEY_REVOKED = "key_revoked"
    LOGIN_LINK_CREATED = "login_link_created"
    DEVICE_APPROVED = "device_approved"
    USER_CREATED = "user_created"
    USER_ENABLED = "user_enabled"
    USER_DISABLED = "user_disabled"
    USER_DELETED = "user_deleted"
    DATABASE_QUERY = "database_query"
    DATABASE_DOWNLOAD = "database_download"
    EVENTS_LOST = "events_lost"


class AuditLog:
    """Takes events and stores them. `start`, then `record` as often as wanted, then `close`."""

    def __init__(self, database: Database, retention_days: float = 0, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._retention_days = retention_days
        self._clock = clock
        self._waiting: deque[AuditRow] = deque()
        self._lost = 0
        self._writer = Periodic("audit_write", WRITE_EVERY_S, self.flush)
        self._purger = Periodic("audit_purge", PURGE_EVERY_S, self.purge)

    @property
    def waiting(self) -> int:
        """How many events are not stored yet."""
        return len(self._waiting)

    def start(self) -> None:
        """Begin to store."""
        self._writer.start()
        self._purger.start()

    async def close(self) -> None:
        """Store what waits and stop; what cannot be stored now is said in the log."""
        await self._purger.close()
        await self._writer.close()
        await self._writer.run_once()
        if self._waiting:
            log.error("audit_events_lost count=%s", len(self._waiting))

    def record(
        self,
        event: Event,
        actor: Actor | None = None,
        origin: Origin | None = None,
        *,
        subdomain: str = "",
        hostname: str = "",
        local_endpoint: str = "",
        connection_id: str = "",
        user_id: int | None = None,
        username: str | None = None,
        api_key_id: int | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        """Note what happened. `actor` is who did it; `user_id` and `username` are for what no Actor did."""
        where = origin or (actor.origin if actor is not None else Origin())
        if actor is not None:
            user_id = actor.id if actor.id != OPERATOR_ID else None
            username = actor.username
            api_key_id = actor.key_id if api_key_id is None else api_key_id
        self._add(
            AuditRow(
                timestamp=self._now(),
                event_type=event.value,
                subdomain=subdomain[:MAX_TEXT],
                hostname=hostname[:MAX_TEXT],
                local_endpoint=local_endpoint[:MAX_TEXT],
                connection_id=connection_id,
                client_ip=where.address or None,
                user_agent=where.user_agent[:MAX_TEXT] or None,
                user_id=user_id,
                username=username,
                api_key_id=api_key_id,
                additional_data=json.dumps(details, default=str) if details else None,
            )
        )

    async def flush(self) -> None:
        """Store what waits, in order. Raises StorageUnavailable; then it waits on."""
        while self._waiting:
            batch = [self._waiting[number] for number in range(min(BATCH, len(self._waiting)))]
            async with self._database.session() as session:
                await Audit(session).add_many(batch)
            for _ in batch:
                self._waiting.popleft()
        if self._lost:
            lost, self._lost = self._lost, 0
            self.record(Event.EVENTS_LOST, details={"count": lost})

    async def purge(self) -> None:
        """Delete what is older than the retention. Raises StorageUnavailable."""
        if not self._retention_days:
            return
        until = self._now() - timedelta(days=self._retention_days)
        deleted = DELETE_BATCH
        while deleted == DELETE_BATCH:
            async with self._database.session() as session:
                deleted = await Audit(session).delete_before(until)

    def _add(self, row: AuditRow) -> None:
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(row)
        else:
            self._lost += 1

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)
