"""Tunnels and released names in the database. Used by accounts, the acceptor's authenticator and the admin pages.

Rule: queries only; how many tunnels somebody may have, and under which names, is decided above.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError

from terratunnel.server.storage.engine import Session
from terratunnel.server.storage.errors import AlreadyThere
from terratunnel.server.storage.models import ApiKey, ReleasedName, Tunnel, User

# A webhook that still points at a name must not reach whoever takes it next: a quarter is a usual audit's length.
QUARANTINE: Final = timedelta(days=90)


class Tunnels:
    """The tables `tunnels` and `released_names`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def get(self, tunnel_id: int) -> Tunnel | None:
        """Return a tunnel."""
        return await self._session.get(Tunnel, tunnel_id)

    async def lock(self, tunnel_id: int, *, to_delete: bool = False) -> Tunnel | None:
        """Return a tunnel that no other session can lock or change until this one ends; `to_delete` also keeps
        others from adding what refers to it.
        """
        query = select(Tunnel).where(Tunnel.id == tunnel_id).with_for_update(key_share=not to_delete)
        return await self._session.scalar(query, execution_options={"populate_existing": True})

    async def of_user(self, user_id: int) -> list[Tunnel]:
        """Return a user's tunnels, oldest first."""
        query = select(Tunnel).where(Tunnel.user_id == user_id).order_by(Tunnel.id)
        return list(await self._session.scalars(query))

    async def by_subdomain(self, subdomain: str) -> Tunnel | None:
        """Return the tunnel of a name."""
        return await self._session.scalar(select(Tunnel).where(Tunnel.subdomain == subdomain))

    async def count_of_user(self, user_id: int) -> int:
        """Return how many tunnels a user has; lock the user first if the answer decides anything."""
        return await self._session.scalar(select(func.count()).where(Tunnel.user_id == user_id)) or 0

    async def create(self, user_id: int, subdomain: str, name: str | None = None) -> Tunnel:
        """Reserve a name for a user; raises AlreadyThere when somebody has it, and the session lives on."""
        tunnel = Tunnel(user_id=user_id, subdomain=subdomain, name=name, created_at=self._session.now(), is_active=True)
        try:
            async with self._session.begin_nested():
                self._session.add(tunnel)
        except IntegrityError as error:
            if await self.by_subdomain(subdomain) is None:
                raise
            raise AlreadyThere(f"The name {subdomain} is taken.") from error
        await self._session.execute(
            update(User).where(User.id == user_id, User.tunnel_subdomain.is_(None)).values(tunnel_subdomain=subdomain)
        )
        return tunnel

    async def delete(self, tunnel_id: int) -> str | None:
        """Delete a tunnel with its keys; return its name, now in quarantine, or None when there is none."""
        tunnel = await self.lock(tunnel_id, to_delete=True)
        if tunnel is None:
            return None
        await self.release([tunnel.subdomain])
        await self._name_user_after_another(tunnel)  # before the keys: the audit log locks users and keys in this order
        await self._session.execute(delete(ApiKey).where(ApiKey.tunnel_id == tunnel_id))
        await self._session.execute(delete(Tunnel).where(Tunnel.id == tunnel_id))
        return tunnel.subdomain

    async def _name_user_after_another(self, tunnel: Tunnel) -> None:
        others = select(Tunnel.subdomain).where(Tunnel.user_id == tunnel.user_id, Tunnel.id != tunnel.id)
        await self._session.execute(
            update(User)
            .where(User.id == tunnel.user_id, User.tunnel_subdomain == tunnel.subdomain)
            .values(tunnel_subdomain=others.order_by(Tunnel.id).limit(1).scalar_subquery())
        )

    async def release(self, subdomains: list[str]) -> None:
        """Put names into quarantine from now on."""
        now = self._session.now()
        for subdomain in subdomains:
            again = update(ReleasedName).where(ReleasedName.subdomain == subdomain).values(released_at=now)
            if not await self._session.change(again):
                await self._session.insert_missing(ReleasedName, {"subdomain": subdomain, "released_at": now})

    async def is_quarantined(self, subdomain: str, now: datetime | None = None) -> bool:
        """Whether a name was released too short a time ago to be given to anybody."""
        since = (now or self._session.now()) - QUARANTINE
        query = select(ReleasedName.subdomain).where(
            ReleasedName.subdomain == subdomain, ReleasedName.released_at > since
        )
        return await self._session.scalar(query) is not None

    async def all_active(self, page: int = 1, page_size: int = 50) -> list[tuple[Tunnel, User]]:
        """Return a page of the tunnels that may connect, with their users, oldest first; pages count from 1."""
        query = (
            select(Tunnel, User)
            .join(User, Tunnel.user_id == User.id)
            .where(Tunnel.is_active.is_(True), User.is_active.is_(True))
            .order_by(Tunnel.id)
            .limit(page_size)
            .offset((page - 1) * page_size)
        )
        return [(tunnel, user) for tunnel, user in await self._session.execute(query)]

    async def names_after(self, tunnel_id: int, count: int) -> list[tuple[int, str]]:
        """Return the ids and names of the next tunnels after an id. Postgres gives ids out before it commits, so one
        that is lower than those seen may still come.
        """
        query = select(Tunnel.id, Tunnel.subdomain).where(Tunnel.id > tunnel_id).order_by(Tunnel.id).limit(count)
        return [(number, subdomain) for number, subdomain in await self._session.execute(query)]
