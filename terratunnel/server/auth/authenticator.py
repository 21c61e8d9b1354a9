"""The seam between the acceptor and accounts, and the two authenticators that need no database.

An authenticator answers with a Grant or raises Refused; it never sees a request of a visitor.
"""

import hmac
from dataclasses import dataclass
from typing import Protocol

from terratunnel.errors import TerratunnelError
from terratunnel.server.auth.names import NameTokens, is_valid_name, new_name


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
    """The name an agent may serve. `token` is handed back by an anonymous agent to keep its name."""

    name: str
    token: str = ""


class Refused(TerratunnelError):
    """The agent may not connect; `status` is 401, 403, 409 or 503 (spec §1)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Authenticator(Protocol):
    """Decides about an agent."""

    async def authenticate(self, credentials: Credentials) -> Grant:
        """Return the grant; raises Refused."""


class StaticKeys:
    """Keys from the configuration, each with its name: for tests and for a server without accounts."""

    def __init__(self, keys: dict[str, str]) -> None:
        self._keys = keys

    async def authenticate(self, credentials: Credentials) -> Grant:
        """Compare with every key, in constant time for each."""
        if not credentials.key:
            raise Refused(401, "This server needs an API key; pass it with --api-key or TERRATUNNEL_API_KEY.")
        found = ""
        for key, name in self._keys.items():
            if hmac.compare_digest(key.encode(), credentials.key.encode()):
                found = name
        if not found:
            raise Refused(401, "The API key is not valid; check it, or ask for a new one.")
        return Grant(found)


class AnonymousOrKey:
    """Anyone may connect (`REQUIRE_AUTH_FOR_TUNNELS=false`); who shows a key is asked for a valid one."""

    def __init__(self, keys: Authenticator, tokens: NameTokens) -> None:
        self._keys = keys
        self._tokens = tokens

    async def authenticate(self, credentials: Credentials) -> Grant:
        """Give an agent without a key the name its token claims, or a new one."""
        if credentials.key:
            return await self._keys.authenticate(credentials)
        name = self._tokens.name_in(credentials.token)
        if name is None or not is_valid_name(name):
            name = new_name()
        return Grant(name, self._tokens.token_for(name))
