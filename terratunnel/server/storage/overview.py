"""What an operator's lists show: rows of several tables side by side. Used by `terratunnel admin`.

Rule: queries only, each of them one statement or two, however many rows there are.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import and_, func, select

from terratunnel.server.storage.engine import Session
from terratunnel.server.storage.models import ApiKey, Tunnel, TunnelAuditLog, User

# As the audit log names them (`server/auditing.py`, which is above this package).
CONNECT: Final = "connect"
DISCONNECT: Final = "disconnect"


@dataclass(frozen=True)
class Connected:
    """A connection of a client: `ended_at` is None while it lasts, or when its server was killed (`lost`)."""

    row: TunnelAuditLog
    ended_at: datetime | None
    lost: bool


class Overview:
    """Users, tunnels, keys and connections with what belongs to them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def users(self) -> list[tuple[User, list[str]]]:
        """Return all users, oldest first, with the names of their tunnels."""
        names: dict[int, list[str]] = {}
        for user_id, name in await self._session.execute(select(Tunnel.user_id, Tunnel.subdomain).order_by(Tunnel.id)):
            names.setdefault(user_id, []).append(name)
        users = await self._session.scalars(select(User).order_by(User.id))
        return [(user, names.get(user.id, [])) for user in users]

    async def users_named(self, name: str, provider: str = "") -> list[User]:
        """Return the users of a name, whatever its case; one for each provider at most, or that of one provider."""
        query = select(User).where(func.lower(User.provider_username) == name.lower()).order_by(User.id)
        return list(await self._session.scalars(query.where(User.auth_provider == provider) if provider else query))

    async def tunnels(self, user_id: int | None = None) -> list[tuple[Tunnel, User, ApiKey | None]]:
        """Return all tunnels or those of a user, oldest first, with their users and newest active keys."""
        newest = (
            select(ApiKey.tunnel_id, func.max(ApiKey.id).label("key_id"))
            .where(ApiKey.is_active.is_(True))
            .group_by(ApiKey.tunnel_id)
            .subquery()
        )
        query = (
            select(Tunnel, User, ApiKey)
            .join(User, Tunnel.user_id == User.id)
            .outerjoin(newest, newest.c.tunnel_id == Tunnel.id)
            .outerjoin(ApiKey, ApiKey.id == newest.c.key_id)
            .order_by(Tunnel.id)
        )
        found = await self._session.execute(query if user_id is None else query.where(Tunnel.user_id == user_id))
        return [(tunnel, user, key) for tunnel, user, key in found]

    async def keys(self, user_id: int | None = None) -> list[tuple[ApiKey, User, Tunnel | None]]:
        """Return all keys or those of a user, newest first, with their users and tunnels."""
        query = (
            select(ApiKey, User, Tunnel)
            .join(User, ApiKey.user_id == User.id)
            .outerjoin(Tunnel, ApiKey.tunnel_id == Tunnel.id)
            .order_by(ApiKey.id.desc())
        )
        found = await self._session.execute(query if user_id is None else query.where(ApiKey.user_id == user_id))
        return [(key, user, tunnel) for key, user, tunnel in found]

    async def connections(self, subdomain: str | None, limit: int) -> list[Connected]:
        """Return the newest connections, of all tunnels or of one, newest first."""
        log = TunnelAuditLog
        query = select(log).where(log.event_type == CONNECT, *([log.subdomain == subdomain] if subdomain else []))
        rows = list(await self._session.scalars(query.order_by(log.timestamp.desc(), log.id.desc()).limit(limit)))
        ends = await self._ends(rows)
        found, seen = [], set[str]()
        for row in rows:
            ended_at = ends.get(row.connection_id)
            # A tunnel has one client at a time, so a newer one is the end of an older one that noted none.
            found.append(Connected(row, ended_at, ended_at is None and row.subdomain in seen))
            seen.add(row.subdomain)
        return found

    async def _ends(self, rows: Collection[TunnelAuditLog]) -> dict[str, datetime]:
        if not rows:
            return {}
        log = TunnelAuditLog
        # By name and time, for which there is an index: there is none for the ids of connections.
        of_these = and_(
            log.subdomain.in_({row.subdomain for row in rows}), log.timestamp >= min(row.timestamp for row in rows)
        )
        query = select(log.connection_id, log.timestamp).where(of_these, log.event_type == DISCONNECT)
        return {found.connection_id: found.timestamp for found in await self._session.execute(query)}
