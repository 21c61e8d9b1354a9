"""One-time sign-in links, and logins of the command line that wait for approval. Used by the sign-in.

Rule: only hashes of secrets are stored, and each step of a link or login happens at most once.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.exc import IntegrityError

from terratunnel.server.storage.engine import Session
from terratunnel.server.storage.errors import AlreadyThere
from terratunnel.server.storage.models import DeviceLogin, LoginLink


class LoginLinks:
    """The table `login_links`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def add(self, token_hash: str, user_id: int, expires_at: datetime) -> None:
        """Store a link."""
        link = LoginLink(token_hash=token_hash, user_id=user_id, created_at=self._session.now(), expires_at=expires_at)
        self._session.add(link)
        await self._session.flush()

    async def use(self, token_hash: str) -> int | None:
        """Use a link up; return its user, or None when it is unknown, used or expired."""
        now = self._session.now()
        query = (
            update(LoginLink)
            .where(LoginLink.token_hash == token_hash, LoginLink.used_at.is_(None), LoginLink.expires_at > now)
            .values(used_at=now)
        )
        if not await self._session.change(query):
            return None
        return await self._session.scalar(select(LoginLink.user_id).where(LoginLink.token_hash == token_hash))

    async def purge(self) -> int:
        """Forget links that are over; return how many."""
        query = delete(LoginLink).where(
            or_(LoginLink.expires_at <= self._session.now(), LoginLink.used_at.is_not(None))
        )
        return await self._session.change(query)


class DeviceLogins:
    """The table `device_logins`: started, approved, claimed."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def start(self, code_hash: str, user_code: str, requested_by: str, expires_at: datetime) -> DeviceLogin:
        """Store a login; raises AlreadyThere when the user code is in use, and the session lives on."""
        login = DeviceLogin(
            code_hash=code_hash,
            user_code=user_code,
            requested_by=requested_by,
            created_at=self._session.now(),
            expires_at=expires_at,
        )
        try:
            async with self._session.begin_nested():
                self._session.add(login)
        except IntegrityError as error:
            raise AlreadyThere("This code is in use.") from error
        return login

    async def get(self, code_hash: str) -> DeviceLogin | None:
        """Return a login in whatever state, for the client that polls."""
        return await self._session.get(DeviceLogin, code_hash)

    async def waiting(self, user_code: str) -> DeviceLogin | None:
        """Return the login that may be approved by this code."""
        query = select(DeviceLogin).where(DeviceLogin.user_code == user_code, *self._open())
        return await self._session.scalar(query.where(DeviceLogin.approved_at.is_(None)))

    async def approve(self, user_code: str, user_id: int, tunnel_id: int | None = None) -> bool:
        """Approve a login for a user; False when it is unknown, expired or approved already."""
        query = (
            update(DeviceLogin)
            .where(DeviceLogin.user_code == user_code, DeviceLogin.approved_at.is_(None), *self._open())
            .values(user_id=user_id, tunnel_id=tunnel_id, approved_at=self._session.now())
        )
        return await self._session.change(query) == 1

    async def claim(self, code_hash: str) -> DeviceLogin | None:
        """Take an approved login, once: the caller makes its key. None when there is none to take."""
        query = (
            update(DeviceLogin)
            .where(DeviceLogin.code_hash == code_hash, DeviceLogin.approved_at.is_not(None), *self._open())
            .values(claimed_at=self._session.now())
        )
        if not await self._session.change(query):
            return None
        return await self._session.get(DeviceLogin, code_hash, populate_existing=True)

    async def deny(self, user_code: str) -> bool:
        """Drop a login that its user did not ask for; False when there is none that waits."""
        query = delete(DeviceLogin).where(DeviceLogin.user_code == user_code, DeviceLogin.approved_at.is_(None))
        return await self._session.change(query) == 1

    async def purge(self) -> int:
        """Forget logins that are over; return how many."""
        query = delete(DeviceLogin).where(
            or_(DeviceLogin.expires_at <= self._session.now(), DeviceLogin.claimed_at.is_not(None))
        )
        return await self._session.change(query)

    def _open(self) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        return DeviceLogin.expires_at > self._session.now(), DeviceLogin.claimed_at.is_(None)
