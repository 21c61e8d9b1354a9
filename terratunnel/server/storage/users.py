"""Users in the database. Used by accounts and the admin pages. Queries only; who may ask is decided above."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, func, or_, select, update

from terratunnel.server.storage.engine import Session
from terratunnel.server.storage.models import ApiKey, Tunnel, User
from terratunnel.server.storage.tunnels import Tunnels


@dataclass(frozen=True)
class Profile:
    """Who somebody is, by the word of a provider."""

    provider: str
    provider_user_id: str
    username: str
    email: str | None = None
    name: str | None = None
    avatar_url: str | None = None


class Users:
    """The table `users`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def get(self, user_id: int) -> User | None:
        """Return a user."""
        return await self._session.get(User, user_id)

    async def lock(self, user_id: int, *, to_delete: bool = False) -> User | None:
        """Return a user whom no other session can lock or change until this one ends: lock, count, then create.

        `to_delete` also keeps others from adding what refers to the user.
        """
        query = select(User).where(User.id == user_id).with_for_update(key_share=not to_delete)
        return await self._session.scalar(query, execution_options={"populate_existing": True})

    async def by_provider(self, provider: str, provider_user_id: str) -> User | None:
        """Return the user whom a provider knows by this id."""
        query = select(User).where(User.auth_provider == provider, User.provider_user_id == provider_user_id)
        return await self._session.scalar(query)

    async def by_username(self, username: str) -> list[User]:
        """Return the users of this name, one for each provider at most."""
        query = select(User).where(User.provider_username == username).order_by(User.id)
        return list(await self._session.scalars(query))

    async def upsert_from_profile(self, profile: Profile) -> User:
        """Return the user of a profile, made or brought up to date. Two first logins at once make one user."""
        await self._free_username(profile)
        if not await self._insert(profile):
            await self._refresh(profile)
        query = select(User).where(*_is(profile))
        found = await self._session.scalars(query, execution_options={"populate_existing": True})
        return found.one()

    async def _free_username(self, profile: Profile) -> None:
        # Who has the name at the provider now is who signs in; the other one was renamed there since.
        # '#' is in no provider's names, so the stale name is nobody's, also in a list of admins.
        await self._session.execute(
            update(User)
            .where(
                User.auth_provider == profile.provider,
                User.provider_username == profile.username,
                User.provider_user_id != profile.provider_user_id,
            )
            .values(provider_username=User.provider_username + "#" + User.provider_user_id)
        )

    async def _insert(self, profile: Profile) -> bool:
        now = self._session.now()
        values = _values(profile) | {"created_at": now, "updated_at": now, "is_active": True}
        values |= {"auth_provider": profile.provider, "provider_user_id": profile.provider_user_id}
        return await self._session.insert_missing(User, values)

    async def _refresh(self, profile: Profile) -> None:
        values = _values(profile) | {"updated_at": self._session.now()}
        await self._session.execute(update(User).where(*_is(profile)).values(values))

    async def count(self, search: str = "") -> int:
        """Return how many there are."""
        query = select(func.count()).select_from(User).where(*_matches(self._session, search))
        return await self._session.scalar(query) or 0

    async def any_active(self) -> bool:
        """Whether there is anybody who is not kept out."""
        return await self._session.scalar(select(User.id).where(User.is_active.is_(True)).limit(1)) is not None

    async def set_active(self, user_id: int, active: bool) -> bool:
        """Let a user in, or keep them out; False when there is none."""
        values = {"is_active": active, "updated_at": self._session.now()}
        return await self._session.change(update(User).where(User.id == user_id).values(values)) == 1

    async def delete(self, user_id: int) -> list[str]:
        """Delete a user with everything that is theirs; return the names of their tunnels, now in quarantine."""
        await self.lock(user_id, to_delete=True)
        tunnels = Tunnels(self._session)
        names = [tunnel.subdomain for tunnel in await tunnels.of_user(user_id)]
        await tunnels.release(names)
        own_tunnels = select(Tunnel.id).where(Tunnel.user_id == user_id)
        await self._session.execute(
            delete(ApiKey).where(or_(ApiKey.user_id == user_id, ApiKey.tunnel_id.in_(own_tunnels)))
        )
        await self._session.execute(delete(User).where(User.id == user_id))
        return names

    async def list(self, page: int = 1, page_size: int = 50, search: str = "") -> list[User]:
        """Return a page of users, oldest first; pages count from 1. `search` is a part of a name or address."""
        query = select(User).where(*_matches(self._session, search)).order_by(User.id)
        return list(await self._session.scalars(query.limit(page_size).offset((page - 1) * page_size)))


def _values(profile: Profile) -> dict[str, object]:
    return {
        "provider_username": profile.username,
        "email": profile.email,
        "name": profile.name,
        "avatar_url": profile.avatar_url,
    }


def _is(profile: Profile) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return User.auth_provider == profile.provider, User.provider_user_id == profile.provider_user_id


def _matches(session: Session, search: str) -> list[ColumnElement[bool]]:
    if not search:
        return []
    # SQLite's LIKE takes no notice of case as it is, and is four times as quick without two LOWER.
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    columns = (User.provider_username, User.name, User.email)
    parts = [(column.contains if is_sqlite else column.icontains)(search, autoescape=True) for column in columns]
    return [or_(*parts)]
