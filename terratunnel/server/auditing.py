"""The audit log as it is written: what happened is noted at once and stored in batches. Used wherever it happens.

Rule: `record` is quick and never fails; while the database is away events wait, up to a bound that is named here.
"""

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from terratunnel.server.actors import OPERATOR_ID, Actor, Origin
from terratunnel.server.background import Periodic
from terratunnel.server.storage.audit import DELETE_BATCH, Audit, AuditRow
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.errors import StorageUnavailable

log = logging.getLogger(__name__)

WRITE_EVERY_S: Final = 0.5
PURGE_EVERY_S: Final = 3_600.0
# About 20 MB; at a hundred events a second the database may be away for eight minutes.
MAX_WAITING: Final = 50_000
BATCH: Final = 500
# What strangers choose is kept up to here; a user agent of a browser has 100 to 200 characters.
MAX_TEXT: Final = 500
# Who knocks again and again is one row a minute, so that a stranger cannot fill the disk.
REPEAT_S: Final = 60.0
MAX_REPEATERS: Final = 1_000


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


# What anybody on the internet can make happen.
_REPEATABLE: Final = frozenset((Event.REFUSED, Event.LOGIN_FAILED))


@dataclass
class _Repeater:
    """Rows of one kind, address and key that were not written since the first one."""

    since: float
    last: AuditRow
    count: int = 0


class AuditLog:
    """Takes events and stores them. `start`, then `record` as often as wanted, then `close`."""

    def __init__(self, database: Database, retention_days: float = 0, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._retention_days = retention_days
        self._clock = clock
        self._waiting: deque[AuditRow] = deque()
        self._storing = asyncio.Lock()
        self._repeaters: dict[tuple[str, str, int | None], _Repeater] = {}
        self._lost = 0
        self._writer = Periodic("audit_write", WRITE_EVERY_S, self.flush)
        self._purger = Periodic("audit_purge", PURGE_EVERY_S, self.purge)

    @property
    def waiting(self) -> int:
        """How many events are not stored yet."""
        return len(self._waiting)

    def now(self) -> datetime:
        """Return the time that events are given."""
        return datetime.fromtimestamp(self._clock(), UTC)

    def start(self) -> None:
        """Begin to store."""
        self._writer.start()
        self._purger.start()

    async def close(self) -> None:
        """Store what waits and stop; what cannot be stored now is counted in the log."""
        await self._purger.close()
        await self._writer.close()
        self._tell_repeaters(all_of_them=True)
        await self._writer.run_once()
        if self._waiting:
            log.error("audit_events_lost count=%s", len(self._waiting) + self._lost)

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
        """Note what happened. `actor` is who did it; `user_id` and `username` are for what no Actor did.

        `api_key_id` is the key that it is about; without one it is that of the actor.
        """
        where = origin or (actor.origin if actor is not None else Origin())
        if actor is not None:
            user_id = actor.id if actor.id != OPERATOR_ID else None
            username = actor.username
            api_key_id = actor.key_id if api_key_id is None else api_key_id
        row = AuditRow(
            timestamp=self.now(),
            event_type=event.value,
            subdomain=_storable(subdomain),
            hostname=_storable(hostname),
            local_endpoint=_storable(local_endpoint),
            connection_id=connection_id,
            client_ip=_storable(where.address) or None,
            user_agent=_storable(where.user_agent) or None,
            user_id=user_id,
            username=_storable(username or "") or None,
            api_key_id=api_key_id,
            additional_data=json.dumps(details, default=str) if details else None,
        )
        if event not in _REPEATABLE or not self._repeats(row):
            self._add(row)

    async def flush(self) -> None:
        """Store what waits, in order. Raises StorageUnavailable; then it waits on."""
        async with self._storing:
            self._tell_repeaters()
            while self._waiting:
                batch = [self._waiting[number] for number in range(min(BATCH, len(self._waiting)))]
                await self._store(batch)
                for _ in batch:
                    self._waiting.popleft()
            if self._lost:
                lost, self._lost = self._lost, 0
                self.record(Event.EVENTS_LOST, details={"count": lost})

    async def purge(self) -> None:
        """Delete what is older than the retention, or as much of it as there is time for. Raises StorageUnavailable."""
        if not self._retention_days:
            return
        until = self.now() - timedelta(days=self._retention_days)
        deleted = DELETE_BATCH
        while deleted == DELETE_BATCH:
            async with self._database.session() as session:
                deleted = await Audit(session).delete_before(until)
            if self._purger.stopping:  # the rest can wait for the next start; who stops the server cannot
                return

    async def _store(self, batch: Sequence[AuditRow]) -> None:
        try:
            async with self._database.session() as session:
                await Audit(session).add_many(batch)
        except StorageUnavailable:
            raise
        except Exception:
            if len(batch) == 1:  # one that no database takes must not hold up the others for ever
                log.exception("audit_event_lost event=%s", batch[0].event_type)
                return
            for row in batch:
                await self._store([row])

    def _add(self, row: AuditRow) -> None:
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(row)
        else:
            self._lost += 1

    def _repeats(self, row: AuditRow) -> bool:
        """Whether the like of it was written within the last minute; then it is counted for the next row."""
        key = (row.event_type, row.client_ip or "", row.api_key_id)
        if key not in self._repeaters and len(self._repeaters) >= MAX_REPEATERS:
            key = (row.event_type, "", None)
        repeater = self._repeaters.get(key)
        if repeater is None:
            self._repeaters[key] = _Repeater(self._clock(), row)
            return False
        repeater.last = row
        repeater.count += 1
        return True

    def _tell_repeaters(self, all_of_them: bool = False) -> None:
        until = self._clock() - REPEAT_S
        over = [key for key, repeater in self._repeaters.items() if all_of_them or repeater.since <= until]
        for key in over:
            repeater = self._repeaters.pop(key)
            if repeater.count:
                details = json.loads(repeater.last.additional_data or "{}") | {"times": repeater.count}
                self._add(replace(repeater.last, additional_data=json.dumps(details)))


def _storable(text: str) -> str:
    """Return what every database takes of a text: no NUL, no half of a surrogate pair, and not too much of it."""
    return text[:MAX_TEXT].replace("\0", "").encode("utf-8", "ignore").decode()
