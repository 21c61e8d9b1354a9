"""Sign-in without a provider: one-time links, and `terratunnel login`, which a signed-in browser approves.

Used by the pages, the API and the command line. Rule: secrets are stored as hashes, and each works once.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

from terratunnel.server.actors import Actor, Origin
from terratunnel.server.auditing import AuditLog, Event
from terratunnel.server.background import Periodic
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.errors import AlreadyThere
from terratunnel.server.storage.links import DeviceLogins, LoginLinks
from terratunnel.server.storage.tunnels import Tunnels
from terratunnel.server.storage.users import Users
from terratunnel.server.tunnels import Accounts, BadRequest, Conflict, Forbidden, NewKey, NotFound, hash_of

LINK_PATH: Final = "/auth/link"
DEVICE_PATH: Final = "/auth/device"
LINK_MINUTES: Final = 15.0
DEVICE_SECONDS: Final = 600
POLL_SECONDS: Final = 2
PURGE_EVERY_S: Final = 600.0
# RFC 8628 §6.1: no vowels, so no words, and nothing that looks like something else. 20^8 codes, ten minutes each.
CODE_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
CODE_CHARS: Final = 8
_TOKEN_BYTES: Final = 32
_CODE_TRIES: Final = 5


@dataclass(frozen=True)
class SignInLink:
    """A link that signs a user in once. What is behind the # is sent to no server and written to no log."""

    url: str
    token: str
    expires_at: datetime


@dataclass(frozen=True)
class DeviceCodes:
    """What a client that wants a key shows (`user_code`) and keeps to itself (`device_code`)."""

    device_code: str
    user_code: str
    verification_url: str
    expires_in_s: int
    interval_s: int


@dataclass(frozen=True)
class Waiting:
    """A login that somebody may approve; `requested_by` is what its client says of itself."""

    user_code: str
    requested_by: str
    created_at: datetime
    expires_at: datetime


class PollState(Enum):
    """How a device login stands."""

    WAITING = "authorization_pending"
    EXPIRED = "expired_token"


class Links:
    """One-time links and device logins."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        audit: AuditLog,
        base_url: Callable[[], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._audit = audit
        self._base_url = base_url
        self._clock = clock
        self._purger = Periodic("link_purge", PURGE_EVERY_S, self.purge)

    def start(self) -> None:
        """Begin to forget what is over."""
        self._purger.start()

    async def close(self) -> None:
        """Stop that."""
        await self._purger.close()

    # ------------------------------------------------------------------ one-time links

    async def create_link(self, actor: Actor, user_id: int, minutes: float = LINK_MINUTES) -> SignInLink:
        """Make a link that signs a user in. Admins only. Raises NotFound or Forbidden."""
        if not actor.is_admin:
            raise Forbidden("Only administrators may do this.")
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        expires_at = self._now() + timedelta(minutes=minutes)
        async with self._database.session() as session:
            user = await Users(session).get(user_id)
            if user is None:
                raise NotFound("There is no such user.")
            await LoginLinks(session).add(hash_of(token), user_id, expires_at)
        details = {"id": user_id, "user": user.provider_username}
        self._audit.record(Event.LOGIN_LINK_CREATED, actor, details=details)
        return SignInLink(f"{self._base_url()}{LINK_PATH}#{token}", token, expires_at)

    async def use_link(self, token: str, origin: Origin | None = None) -> Actor:
        """Return whom a link signs in, once. Raises BadRequest or Forbidden."""
        async with self._database.session() as session:
            user_id = await LoginLinks(session).use(hash_of(token))
            user = await Users(session).get(user_id) if user_id is not None else None
        if user is None:
            self._audit.record(Event.LOGIN_FAILED, origin=origin, details={"reason": "link not valid"})
            raise BadRequest("This link is not valid: it was used, or is too old. Ask for a new one.")
        actor = self._accounts.actor(user, origin)
        if not user.is_active:
            self._audit.record(Event.LOGIN_FAILED, actor, details={"reason": "disabled"})
            raise Forbidden("This account is disabled; ask the server's administrator.")
        return actor

    # ------------------------------------------------------------------ terratunnel login

    async def start_device(self, requested_by: str) -> DeviceCodes:
        """Begin a login for a client that then polls."""
        device_code = secrets.token_urlsafe(_TOKEN_BYTES)
        expires_at = self._now() + timedelta(seconds=DEVICE_SECONDS)
        async with self._database.session() as session:
            for _ in range(_CODE_TRIES):
                user_code = "".join(secrets.choice(CODE_LETTERS) for _ in range(CODE_CHARS))
                try:
                    await DeviceLogins(session).start(hash_of(device_code), user_code, requested_by[:200], expires_at)
                    break
                except AlreadyThere:
                    continue
            else:
                raise Conflict("No free code was found; try again.")
        shown = f"{user_code[:4]}-{user_code[4:]}"
        return DeviceCodes(device_code, shown, f"{self._base_url()}{DEVICE_PATH}", DEVICE_SECONDS, POLL_SECONDS)

    async def waiting(self, user_code: str) -> Waiting:
        """Return the login of a code, so that its user sees what they approve. Raises NotFound."""
        code = plain_code(user_code)
        async with self._database.reading() as session:
            login = await DeviceLogins(session).waiting(code)
        if login is None:
            raise NotFound("No login waits for this code; it may be too old. Start again with: terratunnel login")
        return Waiting(code, login.requested_by, login.created_at, login.expires_at)

    async def approve(self, actor: Actor, user_code: str, tunnel_id: int | None = None) -> None:
        """Let the client of a code have a key of a tunnel of the actor's, by default the first. Raises NotFound."""
        code = plain_code(user_code)
        async with self._database.session() as session:
            tunnels = await Tunnels(session).of_user(actor.id)
            chosen = next((tunnel for tunnel in tunnels if tunnel_id in (None, tunnel.id)), None)
            if chosen is None:
                raise NotFound("There is no such tunnel.")
            if not await DeviceLogins(session).approve(code, actor.id, chosen.id):
                raise NotFound("No login waits for this code; it may be too old. Start again with: terratunnel login")
        self._audit.record(Event.DEVICE_APPROVED, actor, subdomain=chosen.subdomain)

    async def deny(self, actor: Actor, user_code: str) -> None:
        """Drop the login of a code."""
        async with self._database.session() as session:
            await DeviceLogins(session).deny(plain_code(user_code))

    async def poll(self, device_code: str, origin: Origin | None = None) -> NewKey | PollState:
        """Return the key, once, when the login was approved; it is made now and was never stored."""
        code_hash = hash_of(device_code)
        async with self._database.reading() as session:
            login = await DeviceLogins(session).get(code_hash)
        if login is None or login.claimed_at is not None or login.expires_at <= self._now():
            return PollState.EXPIRED
        if login.approved_at is None:
            return PollState.WAITING
        return await self._claim(code_hash, origin)

    async def purge(self) -> None:
        """Forget links and logins that are over."""
        async with self._database.session() as session:
            await LoginLinks(session).purge()
            await DeviceLogins(session).purge()

    async def _claim(self, code_hash: str, origin: Origin | None) -> NewKey | PollState:
        async with self._database.session() as session:
            login = await DeviceLogins(session).claim(code_hash)
            if login is None or login.user_id is None or login.tunnel_id is None:
                return PollState.EXPIRED
            user = await Users(session).get(login.user_id)
            if user is None or not user.is_active:
                return PollState.EXPIRED
            actor = self._accounts.actor(user, origin)
            made = await self._accounts.make_key(session, actor, login.tunnel_id, "terratunnel login")
        self._accounts.key_was_made(actor, made)
        return made

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def plain_code(text: str) -> str:
    """Return a user code as it is stored, however it was typed."""
    return "".join(char for char in text.upper() if char.isalnum())[: CODE_CHARS * 2]
