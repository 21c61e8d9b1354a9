"""The seam between the acceptor and accounts, and the two authenticators that need no database.

An authenticator answers with a Grant or raises Refused; it never sees a request of a visitor.
"""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from terratunnel.errors import TerratunnelError
from terratunnel.server.names import NameTokens, is_valid_name, new_name
from terratunnel.server.storage.errors import StorageUnavailable


@dataclass(frozen=True)
class Credentials:
    """What an agent showed when it connected."""

    key: str
    token: str
    address: str
    user_agent: str
    local_endpoint: str


@dataclass(frozen=True)
class Grant:
    """The name an agent may serve, and whose it is. `token` is handed back by an anonymous agent to keep its name."""

    name: str
    token: str = ""
    tunnel_id: int | None = None
    user_id: int | None = None
    key_id: int | None = None
    username: str = ""


class Refused(TerratunnelError):
    """The agent may not connect; `status` is 401, 403, 409 or 503 (spec §1). `whose` is of the key it showed, if
    somebody has it: for the audit log.
    """

    def __init__(self, status: int, message: str, whose: Grant | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.whose = whose or Grant("")


class Authenticator(Protocol):
    """Decides about an agent."""

    async def authenticate(self, credentials: Credentials) -> Grant:
        """Return the grant; raises Refused."""


class StaticKeys:
    """Keys from the configuration, each with its name: for tests and small setups."""

    def __init__(self, keys: dict[str, str]) -> None:
        self._keys = keys

    def name_of(self, key: str) -> str:
        """Return the name of a key, or nothing; each one is compared in constant time."""
        found = ""
        for known, name in self._keys.items():
            if hmac.compare_digest(known.encode(), key.encode()):
                found = name
        return found


class AnonymousOrKey:
    """Anyone may connect (`REQUIRE_AUTH_FOR_TUNNELS=false`); who shows a key is asked for a valid one."""

    def __init__(self, keys: Authenticator, tokens: NameTokens, is_taken: Callable[[str], Awaitable[bool]]) -> None:
        self._keys = keys
        self._tokens = tokens
        self._is_taken = is_taken

    async def authenticate(self, credentials: Credentials) -> Grant:
        """Give an agent without a key the name its token claims, or a new one."""
        if credentials.key:
            return await self._keys.authenticate(credentials)
        try:
            name = await self._free_name(self._tokens.name_in(credentials.token))
        except StorageUnavailable as error:
            raise Refused(503, str(error)) from error
        return Grant(name, self._tokens.token_for(name))

    async def _free_name(self, name: str | None) -> str:
        """Return the name that is wished for, or another one where it belongs to an account."""
        while name is None or not is_valid_name(name) or await self._is_taken(name):
            name = new_name()
        return name
