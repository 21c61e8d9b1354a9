"""API keys as proof of who somebody is: agents that connect, and calls of the API. Used by the acceptor and the API.

Rule: a key is looked up by its hash, once; that it was used is kept in memory and stored once a minute.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from terratunnel.server.actors import Actor, Origin
from terratunnel.server.auth.authenticator import Credentials, Grant, Refused, StaticKeys
from terratunnel.server.background import Periodic
from terratunnel.server.storage.api_keys import ApiKeys
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.errors import StorageUnavailable
from terratunnel.server.storage.models import ApiKey, Tunnel, User
from terratunnel.server.tunnels import Accounts, hash_of

STORE_EVERY_S: Final = 60.0
CONNECT_SCOPE: Final = "tunnel:create"

_NO_KEY: Final = "This server needs an API key; pass it with --api-key or TERRATUNNEL_API_KEY."
_UNKNOWN: Final = "The API key is not valid; check it, or ask for a new one."


class KeyAuthenticator:
    """Authenticates by key. `start`, then `close`, which stores what is not stored yet."""

    def __init__(
        self, database: Database, accounts: Accounts, static: StaticKeys, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._static = static
        self._clock = clock
        self._used: dict[int, datetime] = {}
        self._writer = Periodic("keys_used", STORE_EVERY_S, self.flush)

    def start(self) -> None:
        """Begin to store when keys were used."""
        self._writer.start()

    async def close(self) -> None:
        """Store what is not stored yet, and stop."""
        await self._writer.close()
        await self._writer.run_once()

    async def authenticate(self, credentials: Credentials) -> Grant:
        """Decide about an agent. Raises Refused."""
        if not credentials.key:
            raise Refused(401, _NO_KEY)
        name = self._static.name_of(credentials.key)
        if name:
            return Grant(name)
        key, tunnel, user = await self._checked(credentials.key)
        grant = _grant(key, tunnel, user)
        if not tunnel.is_active:
            raise Refused(403, "This tunnel is disabled; ask the server's administrator.", grant)
        if CONNECT_SCOPE not in (key.scopes or CONNECT_SCOPE).replace(",", " ").split():
            raise Refused(403, "This key may not open a tunnel; make a new one on the server's pages.", grant)
        self.used(key.id)
        return grant

    async def actor(self, authorization: str, origin: Origin | None = None) -> Actor:
        """Return who calls the API, by its Authorization field; never an administrator, because a key is for tunnels
        and lies about on laptops. Raises Refused.
        """
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Refused(401, "Send your API key as: Authorization: Bearer KEY")
        found, _, user = await self._checked(key.strip())
        self.used(found.id)
        actor = self._accounts.actor(user, origin)
        return replace(actor, is_admin=False, key_id=found.id, expires_at=found.expires_at)

    def used(self, key_id: int) -> None:
        """Note that a key was used now."""
        self._used[key_id] = datetime.fromtimestamp(self._clock(), UTC)

    async def flush(self) -> None:
        """Store when keys were used. Raises StorageUnavailable; then nothing is forgotten."""
        if not self._used:
            return
        stored = dict(self._used)
        async with self._database.session() as session:
            await ApiKeys(session).touch_many(stored)
        for key_id, used_at in stored.items():
            if self._used.get(key_id) == used_at:
                del self._used[key_id]

    async def _checked(self, plain: str) -> tuple[ApiKey, Tunnel, User]:
        try:
            async with self._database.reading() as session:
                found = await ApiKeys(session).by_hash(hash_of(plain))
        except StorageUnavailable as error:
            raise Refused(503, str(error)) from error
        if found is None:
            raise Refused(401, _UNKNOWN)
        key, tunnel, user = found
        whose = _grant(key, tunnel, user)
        if not key.is_active:
            raise Refused(401, "The API key was revoked, or replaced by a newer one.", whose)
        if key.expires_at is not None and key.expires_at.timestamp() <= self._clock():
            raise Refused(401, "The API key has expired; make a new one on the server's pages.", whose)
        if not user.is_active:
            raise Refused(403, "This account is disabled; ask the server's administrator.", whose)
        return found


def _grant(key: ApiKey, tunnel: Tunnel, user: User) -> Grant:
    return Grant(tunnel.subdomain, tunnel_id=tunnel.id, user_id=user.id, key_id=key.id, username=user.provider_username)
