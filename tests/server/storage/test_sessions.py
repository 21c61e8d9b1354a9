"""Sessions that were ended stay ended until their token has expired by itself."""

from datetime import timedelta

from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.sessions import Sessions
from terratunnel.testing.clock import Clock


async def test_a_session_is_ended_once_and_for_all(database: Database, clock: Clock) -> None:
    async with database:
        for _ in range(2):
            async with database.session() as session:
                await Sessions(session).revoke("one", 7, session.now() + timedelta(hours=1))
        async with database.reading() as session:
            assert await Sessions(session).is_revoked("one")
            assert not await Sessions(session).is_revoked("two")
        clock.now += 3_599
        async with database.session() as session:
            assert await Sessions(session).purge() == 0
        clock.now += 1
        async with database.session() as session:
            assert await Sessions(session).purge() == 1
            assert not await Sessions(session).is_revoked("one")
