"""Sessions that ended before their token expires. Used by the sign-in. Queries only."""

from datetime import datetime

from sqlalchemy import delete, select

from terratunnel.server.storage.engine import Session
from terratunnel.server.storage.models import RevokedSession


class Sessions:
    """The table `revoked_sessions`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def revoke(self, jti: str, user_id: int, expires_at: datetime) -> None:
        """End a session; ending it twice is the same."""
        await self._session.insert_missing(RevokedSession, {"jti": jti, "user_id": user_id, "expires_at": expires_at})

    async def is_revoked(self, jti: str) -> bool:
        """Whether a session was ended."""
        return await self._session.scalar(select(RevokedSession.jti).where(RevokedSession.jti == jti)) is not None

    async def purge(self) -> int:
        """Forget sessions whose token has expired by itself; return how many."""
        expired = RevokedSession.expires_at <= self._session.now()
        return await self._session.change(delete(RevokedSession).where(expired))
