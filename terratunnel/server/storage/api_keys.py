"""API keys in the database, by their hashes. Used by accounts and by the acceptor's authenticator.

Rule: queries only; no plain key comes here. Whether a key is still good is decided above, from what is returned.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import or_, select, update

from terratunnel.server.storage.engine import Session
from terratunnel.server.storage.models import ApiKey, Tunnel, User
from terratunnel.server.storage.tunnels import Tunnels


class ApiKeys:
    """The table `api_keys`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def get(self, key_id: int) -> ApiKey | None:
        """Return a key."""
        return await self._session.get(ApiKey, key_id)

    async def by_hash(self, key_hash: str) -> tuple[ApiKey, Tunnel, User] | None:
        """Return a key, active or not, with its tunnel and its user."""
        query = (
            select(ApiKey, Tunnel, User)
            .join(Tunnel, ApiKey.tunnel_id == Tunnel.id)
            .join(User, Tunnel.user_id == User.id)
            .where(ApiKey.key_hash == key_hash, ApiKey.user_id == User.id)
        )
        found = (await self._session.execute(query)).one_or_none()
        return None if found is None else (found[0], found[1], found[2])

    async def active_of_tunnel(self, tunnel_id: int) -> ApiKey | None:
        """Return the newest active key of a tunnel."""
        query = select(ApiKey).where(ApiKey.tunnel_id == tunnel_id, ApiKey.is_active.is_(True))
        return await self._session.scalar(query.order_by(ApiKey.id.desc()).limit(1))

    async def active_of_tunnels(self, tunnel_ids: Collection[int]) -> dict[int, ApiKey]:
        """Return the newest active key of each tunnel that has one."""
        query = select(ApiKey).where(ApiKey.tunnel_id.in_(tunnel_ids), ApiKey.is_active.is_(True))
        keys = await self._session.scalars(query.order_by(ApiKey.id))
        return {key.tunnel_id: key for key in keys if key.tunnel_id is not None}

    async def usable(self, key_ids: Collection[int]) -> set[int]:
        """Return which of these keys an agent may still be connected with: active, like their tunnel and user."""
        query = (
            select(ApiKey.id)
            .join(Tunnel, ApiKey.tunnel_id == Tunnel.id)
            .join(User, Tunnel.user_id == User.id)
            .where(ApiKey.id.in_(key_ids), ApiKey.is_active.is_(True))
            .where(Tunnel.is_active.is_(True), User.is_active.is_(True))
            .where(or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > self._session.now()))
        )
        return set(await self._session.scalars(query))

    async def list_of_user(self, user_id: int) -> list[ApiKey]:
        """Return all keys of a user, newest first."""
        query = select(ApiKey).where(ApiKey.user_id == user_id).order_by(ApiKey.id.desc())
        return list(await self._session.scalars(query))

    async def replace(
        self,
        tunnel_id: int,
        user_id: int,
        key_hash: str,
        key_prefix: str,
        name: str | None = None,
        expires_at: datetime | None = None,
    ) -> ApiKey:
        """Give a tunnel a new key; those it had are inactive from this transaction on."""
        await Tunnels(self._session).lock(tunnel_id)
        await self._session.execute(
            update(ApiKey).where(ApiKey.tunnel_id == tunnel_id, ApiKey.is_active.is_(True)).values(is_active=False)
        )
        key = ApiKey(
            tunnel_id=tunnel_id,
            user_id=user_id,
            key_hash=key_hash,
            key_prefix=key_prefix,
            name=name,
            is_active=True,
            created_at=self._session.now(),
            expires_at=expires_at,
            scopes="tunnel:create",
        )
        self._session.add(key)
        await self._session.flush()
        return key

    async def deactivate(self, key_id: int) -> bool:
        """End a key; False when it is unknown or has ended already."""
        query = update(ApiKey).where(ApiKey.id == key_id, ApiKey.is_active.is_(True)).values(is_active=False)
        return await self._session.change(query) == 1

    async def touch_many(self, used: Mapping[int, datetime]) -> None:
        """Note when keys were used last; an older time than the one known changes nothing."""
        for key_id, used_at in sorted(used.items()):  # in one order, so that two writers never wait for each other
            older = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < used_at)
            await self._session.execute(update(ApiKey).where(ApiKey.id == key_id, older).values(last_used_at=used_at))
