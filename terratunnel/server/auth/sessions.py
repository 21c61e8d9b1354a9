"""Sessions of the pages: a signed token in a cookie, and a list of those that ended early. Used by the pages.

Rule (security.md A3): one algorithm, every claim required; a token alone lets nobody in whose user is gone or disabled.
"""

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import jwt

from terratunnel.server.actors import Actor, Origin
from terratunnel.server.auditing import AuditLog, Event
from terratunnel.server.auth.cookies import SetCookie, cookie_name, value_of
from terratunnel.server.background import Periodic
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.sessions import Sessions as RevokedSessions
from terratunnel.server.storage.users import Users
from terratunnel.server.tunnels import Accounts

log = logging.getLogger(__name__)

COOKIE: Final = "terratunnel_session"
AUDIENCE: Final = "terratunnel pages"
_CLAIMS: Final = ("iss", "aud", "exp", "iat", "jti", "sub")
_ID_BYTES: Final = 32
PURGE_EVERY_S: Final = 600.0


@dataclass(frozen=True)
class Signing:
    """How tokens are signed: one secret, one algorithm, and who signs."""

    secret: bytes
    algorithm: str
    issuer: str


@dataclass(frozen=True)
class _Claims:
    user_id: int
    session_id: str
    expires_at: datetime


class Sessions:
    """Issues sessions, reads them from cookies, and ends them."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        audit: AuditLog,
        signing: Signing,
        hours: float,
        secure: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._audit = audit
        self._signing = signing
        self._seconds = int(hours * 3_600)
        self._secure = secure
        self._clock = clock
        self._purger = Periodic("session_purge", PURGE_EVERY_S, self.purge)

    @property
    def cookie(self) -> str:
        """The name of the cookie."""
        return cookie_name(COOKIE, self._secure)

    def start(self) -> None:
        """Begin to forget sessions that are over."""
        self._purger.start()

    async def close(self) -> None:
        """Stop that."""
        await self._purger.close()

    def issue(self, actor: Actor, method: str = "") -> SetCookie:
        """Begin a session under a new id, for a user who has just signed in by `method`."""
        now = int(self._clock())
        claims = {
            "iss": self._signing.issuer,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + self._seconds,
            "jti": secrets.token_urlsafe(_ID_BYTES),
            "sub": str(actor.id),
        }
        token = jwt.encode(claims, self._signing.secret, self._signing.algorithm)
        self._audit.record(Event.LOGIN, actor, details={"method": method or actor.provider})
        return SetCookie(self.cookie, token, self._seconds, self._secure)

    async def read(self, cookies: Iterable[str], origin: Origin | None = None) -> Actor | None:
        """Return who is signed in, by the Cookie fields of a request. Raises StorageUnavailable."""
        token = value_of(cookies, self.cookie)
        claims = self._verified(token) if token is not None else None
        if claims is None:
            return None
        async with self._database.reading() as session:
            if await RevokedSessions(session).is_revoked(claims.session_id):
                return None
            user = await Users(session).get(claims.user_id)
        if user is None or not user.is_active:
            return None
        actor = self._accounts.actor(user, origin)
        return replace(actor, session_id=claims.session_id, expires_at=claims.expires_at)

    async def end(self, actor: Actor) -> SetCookie:
        """End the session of an actor, also for copies of its cookie. Raises StorageUnavailable."""
        if actor.session_id and actor.expires_at is not None:
            async with self._database.session() as session:
                await RevokedSessions(session).revoke(actor.session_id, actor.id, actor.expires_at)
            self._audit.record(Event.LOGOUT, actor)
        return SetCookie(self.cookie, "", 0, self._secure)

    def csrf_token(self, actor: Actor) -> str:
        """Return what a form of this session carries; nobody can make it without the secret."""
        key = hashlib.sha256(b"terratunnel csrf\0" + self._signing.secret).digest()
        return hmac.new(key, actor.session_id.encode(), hashlib.sha256).hexdigest()

    async def purge(self) -> None:
        """Forget ended sessions whose tokens have expired."""
        async with self._database.session() as session:
            await RevokedSessions(session).purge()

    def _verified(self, token: str) -> _Claims | None:
        try:
            claims = jwt.decode(
                token,
                self._signing.secret,
                algorithms=[self._signing.algorithm],
                audience=AUDIENCE,
                issuer=self._signing.issuer,
                options={"require": list(_CLAIMS), "verify_exp": False, "verify_iat": False},
            )
            found = _Claims(int(claims["sub"]), str(claims["jti"]), datetime.fromtimestamp(int(claims["exp"]), UTC))
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, OSError):
            return None
        return found if found.expires_at.timestamp() > self._clock() else None
