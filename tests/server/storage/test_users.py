"""Users: found, made once, brought up to date, listed, kept out and deleted, on both databases."""

from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.users import Profile, Users

ANN = Profile("github", "1", "ann", "ann@example.com", "Ann", "https://example.com/ann.png")


async def test_a_profile_makes_a_user(database: Database) -> None:
    async with database:
        async with database.session() as session:
            made = await Users(session).upsert_from_profile(ANN)
        async with database.reading() as session:
            found = await Users(session).get(made.id)
    assert found is not None
    assert (found.provider_username, found.email, found.is_active) == ("ann", "ann@example.com", True)
    assert found.created_at.timestamp() == 1_750_000_000.0
