"""The rules of accounts: who has which tunnels and keys, and what becomes of them. Used by pages, API and command line.

Rule: every id is checked against the actor here, in the transaction that uses it; what ends a key ends its link too.
"""

import hashlib
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from terratunnel.errors import TerratunnelError
from terratunnel.server.actors import Actor, Origin
from terratunnel.server.auditing import AuditLog, Event
from terratunnel.server.config import LOCAL_PROVIDER, AccountsConfig
from terratunnel.server.names import is_valid_name, is_valid_username, new_name
from terratunnel.server.storage.api_keys import ApiKeys
from terratunnel.server.storage.engine import Database, Session
from terratunnel.server.storage.errors import AlreadyThere
from terratunnel.server.storage.models import ApiKey, Tunnel, User
from terratunnel.server.storage.tunnels import Tunnels
from terratunnel.server.storage.users import Profile, Users

Row = TypeVar("Row", User, Tunnel, ApiKey)
Owned = TypeVar("Owned", Tunnel, ApiKey)

KEY_START: Final = "tt_"
KEY_BYTES: Final = 32  # security.md A4: at least 256 random bits
PREFIX_CHARS: Final = 8
MAX_NAME_CHARS: Final = 100
# Of 10^8 names; that so many in a row are taken means that something else is wrong.
NAME_TRIES: Final = 20


class AccountError(TerratunnelError):
    """What was asked for is not done; `status` is the HTTP status that says so."""

    status = 400


class BadRequest(AccountError):
    """It makes no sense."""


class Forbidden(AccountError):
    """The actor may not."""

    status = 403


class NotFound(AccountError):
    """It does not exist, or is another's, which is the same to who asks."""

    status = 404


class Conflict(AccountError):
    """It cannot be done as things stand."""

    status = 409


@dataclass(frozen=True)
class NewKey:
    """A key that was just made: the only time that `plain` exists."""

    plain: str
    prefix: str
    api_key: ApiKey
    tunnel: Tunnel


@dataclass(frozen=True)
class OwnTunnel:
    """A tunnel with its active key, if it has one."""

    tunnel: Tunnel
    key: ApiKey | None


def hash_of(key: str) -> str:
    """Return what of a key is stored."""
    return hashlib.sha256(key.encode()).hexdigest()


# Ends the live link of a subdomain: that of one key, or of whatever key (None). The reason completes the client's
# sentence "The key of this tunnel was revoked: …".
EndLink = Callable[[str, int | None, str], None]


class Accounts:
    """Users, their tunnels and their keys."""

    def __init__(
        self,
        database: Database,
        config: AccountsConfig,
        audit: AuditLog,
        end_link: EndLink,
        taken_names: Collection[str] = (),
        make_name: Callable[[], str] = new_name,
    ) -> None:
        self._database = database
        self._config = config
        self._audit = audit
        self._end_link = end_link
        self._taken_names = frozenset(taken_names)
        self._make_name = make_name

    def actor(self, user: User, origin: Origin | None = None) -> Actor:
        """Return a user as somebody who may act; the caller has checked that it is them."""
        return Actor(
            id=user.id,
            username=user.provider_username,
            provider=user.auth_provider,
            is_admin=self._config.is_admin(user.auth_provider, user.provider_username),
            email=user.email,
            name=user.name,
            avatar_url=user.avatar_url,
            origin=origin or Origin(),
        )

    # ------------------------------------------------------------------ users

    async def sign_in(self, profile: Profile, origin: Origin | None = None) -> Actor:
        """Return the user of a profile; the first time they are made, with one tunnel. Raises Forbidden."""
        async with self._database.session() as session:
            user = await Users(session).upsert_from_profile(profile)
            actor = self.actor(user, origin)
            if user.is_active:
                tunnel = await self._first_tunnel(session, user)
        if not user.is_active:
            self._audit.record(Event.LOGIN_FAILED, actor, details={"reason": "disabled"})
            raise Forbidden("This account is disabled; ask the server's administrator.")
        if tunnel is not None:
            self._audit.record(Event.TUNNEL_CREATED, actor, subdomain=tunnel.subdomain)
        return actor

    async def create_user(self, actor: Actor, username: str, email: str | None = None) -> User:
        """Make a user who signs in by one-time links, with one tunnel. Admins only. Raises Conflict."""
        _require_admin(actor)
        if not is_valid_username(username):
            raise BadRequest("A user name has 1 to 255 letters, digits, hyphens, dots and underscores.")
        async with self._database.session() as session:
            if await Users(session).by_provider(LOCAL_PROVIDER, username.lower()) is not None:
                raise Conflict(f"There is a user {username} already.")
            profile = Profile(LOCAL_PROVIDER, username.lower(), username, email)
            user = await Users(session).upsert_from_profile(profile)
            tunnel = await self._first_tunnel(session, user)
        details = {"id": user.id, "user": username}
        self._audit.record(Event.USER_CREATED, actor, subdomain=tunnel.subdomain if tunnel else "", details=details)
        return user

    async def delete_user(self, actor: Actor, user_id: int) -> list[str]:
        """Delete a user with everything that is theirs; return the names of their tunnels. Admins only."""
        _require_admin(actor)
        if user_id == actor.id:
            raise Conflict("You cannot delete yourself.")
        async with self._database.session() as session:
            user = _found(await Users(session).get(user_id), "user")
            username = user.provider_username
            names = await Users(session).delete(user_id)
        self._audit.record(Event.USER_DELETED, actor, details={"id": user_id, "user": username, "tunnels": names})
        for name in names:
            self._end_link(name, None, "its user was deleted")
        return names

    async def set_user_active(self, actor: Actor, user_id: int, active: bool) -> None:
        """Let a user in, or keep them out and cut their tunnels off. Admins only."""
        _require_admin(actor)
        if user_id == actor.id:
            raise Conflict("You cannot disable yourself.")
        async with self._database.session() as session:
            user = _found(await Users(session).get(user_id), "user")
            await Users(session).set_active(user_id, active)
            names = [tunnel.subdomain for tunnel in await Tunnels(session).of_user(user_id)]
        event = Event.USER_ENABLED if active else Event.USER_DISABLED
        self._audit.record(event, actor, details={"id": user_id, "user": user.provider_username})
        for name in [] if active else names:
            self._end_link(name, None, "its user was disabled")

    # ------------------------------------------------------------------ tunnels

    async def tunnels_of(self, actor: Actor, user_id: int | None = None) -> list[OwnTunnel]:
        """Return the actor's tunnels, oldest first; an admin may ask for another user's."""
        if user_id is not None and user_id != actor.id:
            _require_admin(actor)
        async with self._database.reading() as session:
            tunnels = await Tunnels(session).of_user(actor.id if user_id is None else user_id)
            keys = await ApiKeys(session).active_of_tunnels([tunnel.id for tunnel in tunnels])
        return [OwnTunnel(tunnel, keys.get(tunnel.id)) for tunnel in tunnels]

    async def tunnel(self, actor: Actor, tunnel_id: int) -> OwnTunnel:
        """Return a tunnel of the actor's, or any for an admin. Raises NotFound."""
        async with self._database.reading() as session:
            tunnel = _own(actor, await Tunnels(session).get(tunnel_id), "tunnel")
            key = await ApiKeys(session).active_of_tunnel(tunnel_id)
        return OwnTunnel(tunnel, key)

    async def is_taken(self, subdomain: str) -> bool:
        """Whether a name belongs to somebody. Raises StorageUnavailable."""
        if subdomain in self._taken_names:
            return True
        async with self._database.reading() as session:
            return await Tunnels(session).by_subdomain(subdomain) is not None

    async def create_tunnel(self, actor: Actor, name: str | None = None, user_id: int | None = None) -> Tunnel:
        """Create a tunnel; who is no admin has one at most, however many ask at once. Raises Forbidden."""
        if user_id is not None and user_id != actor.id:
            _require_admin(actor)
        label = _label(name)
        async with self._database.session() as session:
            owner = _found(await Users(session).lock(actor.id if user_id is None else user_id), "user")
            if not actor.is_admin and await Tunnels(session).count_of_user(owner.id):
                raise Forbidden("You have a tunnel already; only administrators create more.")
            tunnel = await self._new_tunnel(session, owner.id, label)
        self._audit.record(Event.TUNNEL_CREATED, actor, subdomain=tunnel.subdomain)
        return tunnel

    async def delete_tunnel(self, actor: Actor, tunnel_id: int) -> str:
        """Delete a tunnel with its keys; its name goes into quarantine. Admins only."""
        _require_admin(actor)
        async with self._database.session() as session:
            subdomain = await Tunnels(session).delete(tunnel_id)
            if subdomain is None:
                raise NotFound("There is no such tunnel.")
        self._audit.record(Event.TUNNEL_DELETED, actor, subdomain=subdomain)
        self._end_link(subdomain, None, "the tunnel was deleted")
        return subdomain

    # ------------------------------------------------------------------ keys

    async def keys_of(self, actor: Actor) -> list[ApiKey]:
        """Return all keys of the actor, newest first."""
        async with self._database.reading() as session:
            return await ApiKeys(session).list_of_user(actor.id)

    async def rotate_key(
        self, actor: Actor, tunnel_id: int, key_name: str | None = None, expires_at: datetime | None = None
    ) -> NewKey:
        """Give a tunnel a new key; the old one stops at once and its client is cut off. Raises NotFound."""
        async with self._database.session() as session:
            made = await self.make_key(session, actor, tunnel_id, key_name, expires_at)
        self.key_was_made(actor, made)
        return made

    async def make_key(
        self,
        session: Session,
        actor: Actor,
        tunnel_id: int,
        key_name: str | None = None,
        expires_at: datetime | None = None,
    ) -> NewKey:
        """Make a key in a transaction of the caller's, who calls `key_was_made` once it is committed."""
        tunnel = _own(actor, await Tunnels(session).lock(tunnel_id), "tunnel")
        plain = KEY_START + secrets.token_urlsafe(KEY_BYTES)
        prefix = plain[:PREFIX_CHARS]
        key = await ApiKeys(session).replace(
            tunnel.id, tunnel.user_id, hash_of(plain), prefix, _label(key_name), expires_at
        )
        return NewKey(plain, prefix, key, tunnel)

    def key_was_made(self, actor: Actor, made: NewKey) -> None:
        """Tell the audit log, and whoever is connected with the key that was replaced."""
        self._record(Event.KEY_ROTATED, actor, made.tunnel.subdomain, made.api_key)
        self._end_link(made.tunnel.subdomain, None, "a new key has replaced it")

    async def revoke_key(self, actor: Actor, key_id: int) -> None:
        """End a key of the actor's and cut its client off. Raises BadRequest for the key in use, or NotFound."""
        if key_id == actor.key_id:
            raise BadRequest("This is the key that you are using; revoke it from the pages, or with another key.")
        async with self._database.session() as session:
            key = _own(actor, await ApiKeys(session).get(key_id), "key")
            tunnel = await Tunnels(session).get(key.tunnel_id) if key.tunnel_id is not None else None
            ended = await ApiKeys(session).deactivate(key_id)
        subdomain = tunnel.subdomain if tunnel is not None else ""
        if ended:
            self._record(Event.KEY_REVOKED, actor, subdomain, key)
        if subdomain:
            self._end_link(subdomain, key_id, f"by {actor.username}")

    # ------------------------------------------------------------------ private

    def _record(self, event: Event, actor: Actor, subdomain: str, key: ApiKey) -> None:
        """Note what was done to a key, and with which other key, if with any."""
        details = {"key_prefix": key.key_prefix} | ({"by_key_id": actor.key_id} if actor.key_id is not None else {})
        self._audit.record(event, actor, subdomain=subdomain, api_key_id=key.id, details=details)

    async def _first_tunnel(self, session: Session, user: User) -> Tunnel | None:
        await Users(session).lock(user.id)
        if await Tunnels(session).count_of_user(user.id):
            return None
        return await self._new_tunnel(session, user.id, None)

    async def _new_tunnel(self, session: Session, user_id: int, label: str | None) -> Tunnel:
        tunnels = Tunnels(session)
        for _ in range(NAME_TRIES):
            subdomain = self._make_name()
            if not is_valid_name(subdomain) or subdomain in self._taken_names:
                continue
            if await tunnels.is_quarantined(subdomain):
                continue
            try:
                return await tunnels.create(user_id, subdomain, label)
            except AlreadyThere:
                continue
        raise Conflict("No free name was found; try again.")


def _require_admin(actor: Actor) -> None:
    if not actor.is_admin:
        raise Forbidden("Only administrators may do this.")


def _found(row: Row | None, what: str) -> Row:
    if row is None:
        raise NotFound(f"There is no such {what}.")
    return row


def _own(actor: Actor, row: Owned | None, what: str) -> Owned:
    if row is None or (row.user_id != actor.id and not actor.is_admin):
        raise NotFound(f"There is no such {what}.")
    return row


def _label(name: str | None) -> str | None:
    text = (name or "").strip()
    if len(text) > MAX_NAME_CHARS or not text.isprintable():
        raise BadRequest(f"A name has at most {MAX_NAME_CHARS} characters, all of them printable.")
    return text or None
