"""Accounts without a server around them: on a real database, with a clock that a test moves. Used by tests of accounts.

Rule: what would end a live link is noted in `ended`, and what was audited is read back from the database.
"""

import json
from typing import Any, Self

from terratunnel.server.actors import Actor, Origin
from terratunnel.server.auditing import AuditLog
from terratunnel.server.auth.authenticator import Credentials, StaticKeys
from terratunnel.server.auth.keys import KeyAuthenticator
from terratunnel.server.auth.links import Links
from terratunnel.server.auth.sessions import Sessions, Signing
from terratunnel.server.config import AccountsConfig
from terratunnel.server.storage.audit import Audit
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.models import TunnelAuditLog
from terratunnel.server.storage.users import Profile
from terratunnel.server.tunnels import Accounts
from terratunnel.testing.clock import Clock

ADMIN = Profile("github", "1", "Root", "root@example.com")
ALICE = Profile("github", "2", "alice", "alice@example.com", "Alice", "https://example.com/alice.png")
BOB = Profile("gitlab", "2", "bob")
CONFIG = AccountsConfig(admins=frozenset({("github", "root")}))
SIGNING = Signing(b"0123456789abcdef0123456789abcdef", "HS256", "tunnel.example.com")
BASE_URL = "https://tunnel.example.com"
HERE = Origin("192.0.2.7", "a browser")


def shown(key: str) -> Credentials:
    """What an agent with a key shows."""
    return Credentials(key, "", "192.0.2.9", "a client", "http://localhost:3000")


class Desk:
    """Everything of accounts over one database: `async with desk:`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.clock = clock
        self.ended: list[tuple[str, int | None, str]] = []
        self.names: list[str] = []  # those that the next tunnels are offered first
        self.audit = AuditLog(database, 0, clock)
        self.accounts = Accounts(database, CONFIG, self.audit, self._end, {"static"}, self._name)
        self.keys = KeyAuthenticator(database, self.accounts, StaticKeys({"sesame": "static"}), clock)
        self.links = Links(database, self.accounts, self.audit, lambda: BASE_URL, clock)
        self.sessions = self.sessions_of(SIGNING)
        self._made = 0

    async def __aenter__(self) -> Self:
        await self.database.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.database.close()

    def sessions_of(self, signing: Signing, secure: bool = True) -> Sessions:
        """Sessions as they would be with other settings."""
        return Sessions(self.database, self.accounts, self.audit, signing, 24.0, secure, self.clock)

    async def user(self, profile: Profile) -> Actor:
        """Somebody who has signed in."""
        return await self.accounts.sign_in(profile, HERE)

    async def tunnel_id(self, actor: Actor) -> int:
        """The first tunnel of somebody."""
        return (await self.accounts.tunnels_of(actor))[0].tunnel.id

    async def key(self, actor: Actor) -> str:
        """A new key of somebody's first tunnel."""
        return (await self.accounts.rotate_key(actor, await self.tunnel_id(actor))).plain

    async def audited(self) -> list[TunnelAuditLog]:
        """What was audited, oldest first."""
        await self.audit.flush()
        async with self.database.reading() as session:
            return (await Audit(session).list(page_size=1_000)).rows[::-1]

    async def events(self) -> list[str | None]:
        """The kinds of what was audited."""
        return [row.event_type for row in await self.audited()]

    async def details(self) -> dict[str, Any]:
        """The details of what was audited last."""
        found = json.loads((await self.audited())[-1].additional_data or "{}")
        assert isinstance(found, dict)
        return found

    def _end(self, subdomain: str, key_id: int | None, reason: str) -> None:
        self.ended.append((subdomain, key_id, reason))

    def _name(self) -> str:
        self._made += 1
        return self.names.pop(0) if self.names else f"happy-panda-{self._made}"
