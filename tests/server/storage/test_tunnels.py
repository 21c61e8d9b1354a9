"""Tunnels: one owner for a name, and nobody for a while after it was released."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from terratunnel.server.storage.api_keys import ApiKeys
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.errors import AlreadyThere
from terratunnel.server.storage.models import Tunnel, User
from terratunnel.server.storage.tunnels import QUARANTINE, Tunnels
from terratunnel.server.storage.users import Profile, Users
from terratunnel.testing.clock import Clock


async def new_user(database: Database, name: str = "ann") -> User:
    async with database.session() as session:
        return await Users(session).upsert_from_profile(Profile("github", name, name))


async def create(database: Database, user: User, subdomain: str, name: str | None = None) -> Tunnel:
    async with database.session() as session:
        return await Tunnels(session).create(user.id, subdomain, name)


async def first_subdomain(database: Database, user: User) -> str | None:
    async with database.reading() as session:
        found = await Users(session).get(user.id)
    assert found is not None
    return found.tunnel_subdomain


async def test_a_name_is_reserved_for_a_user(database: Database) -> None:
    async with database:
        user = await new_user(database)
        made = await create(database, user, "happy-panda", "Main")
        async with database.reading() as session:
            tunnels = Tunnels(session)
            for found in (await tunnels.get(made.id), await tunnels.by_subdomain("happy-panda")):
                assert found is not None
                assert (found.id, found.user_id, found.subdomain) == (made.id, user.id, "happy-panda")
                assert (found.name, found.is_active) == ("Main", True)
                assert found.created_at.timestamp() == 1_750_000_000
            assert await tunnels.by_subdomain("other") is None
            assert await tunnels.get(99) is None


async def test_a_name_has_one_owner_and_the_session_lives_on(database: Database) -> None:
    async with database:
        user = await new_user(database)
        await create(database, user, "taken")
        async with database.session() as session:
            with pytest.raises(AlreadyThere, match="The name taken is taken"):
                await Tunnels(session).create(user.id, "taken")
            await Tunnels(session).create(user.id, "free")
        async with database.reading() as session:
            assert [tunnel.subdomain for tunnel in await Tunnels(session).of_user(user.id)] == ["taken", "free"]
            assert await Tunnels(session).count_of_user(user.id) == 2
            assert await Tunnels(session).count_of_user(99) == 0


async def test_a_name_that_many_want_at_once_goes_to_one(database: Database) -> None:
    async def wins(user: User) -> bool:
        try:
            await create(database, user, "wanted")
        except AlreadyThere:
            return False
        return True

    async with database:
        users = [await new_user(database, f"user{number}") for number in range(10)]
        assert (await asyncio.gather(*map(wins, users))).count(True) == 1


async def test_a_tunnel_of_nobody_is_a_bug(database: Database) -> None:
    async with database:
        with pytest.raises(IntegrityError):
            await create(database, User(id=99), "nobody-s")


async def test_the_user_s_row_names_the_first_tunnel_there_is(database: Database) -> None:
    async with database:
        user = await new_user(database)
        first, second, third = [await create(database, user, name) for name in ("first", "second", "third")]
        assert await first_subdomain(database, user) == "first"
        for gone, left in ((third, "first"), (first, "second"), (second, None)):
            async with database.session() as session:
                await Tunnels(session).delete(gone.id)
            assert await first_subdomain(database, user) == left


async def test_a_deleted_tunnel_takes_its_keys_along_and_leaves_its_name_in_quarantine(
    database: Database, clock: Clock
) -> None:
    async with database:
        user = await new_user(database)
        tunnel, other = await create(database, user, "released"), await create(database, user, "other")
        async with database.session() as session:
            for owner in (tunnel, other):
                await ApiKeys(session).replace(owner.id, user.id, f"hash-{owner.id}", "tt_abcde")
        async with database.session() as session:
            assert await Tunnels(session).delete(tunnel.id) == "released"
            assert await Tunnels(session).delete(tunnel.id) is None
        async with database.reading() as session:
            assert [key.tunnel_id for key in await ApiKeys(session).list_of_user(user.id)] == [other.id]
            assert await Tunnels(session).is_quarantined("released")
            assert not await Tunnels(session).is_quarantined("other")
            now = session.now()
            assert await Tunnels(session).is_quarantined("released", now + QUARANTINE - timedelta(seconds=1))
            assert not await Tunnels(session).is_quarantined("released", now + QUARANTINE)
            clock.now += QUARANTINE.total_seconds()
            assert not await Tunnels(session).is_quarantined("released")


async def test_a_name_that_is_released_again_is_in_quarantine_anew(database: Database, clock: Clock) -> None:
    async with database:
        for _ in range(2):
            async with database.session() as session:
                await Tunnels(session).release(["again"])
            clock.now += QUARANTINE.total_seconds() - 1
        async with database.reading() as session:
            assert await Tunnels(session).is_quarantined("again")


async def test_tunnels_that_may_connect_are_listed_with_their_users(database: Database) -> None:
    async with database:
        ann, bob = await new_user(database), await new_user(database, "bob")
        for user, name in ((ann, "one"), (bob, "two"), (ann, "three"), (ann, "four")):
            await create(database, user, name)
        async with database.session() as session:
            await Users(session).set_active(bob.id, False)
            four = await Tunnels(session).by_subdomain("four")
            assert four is not None
            four.is_active = False
        async with database.reading() as session:
            pages = [await Tunnels(session).all_active(page, 1) for page in (1, 2, 3)]
        found = [[(tunnel.subdomain, user.provider_username) for tunnel, user in page] for page in pages]
        assert found == [[("one", "ann")], [("three", "ann")], []]


async def test_a_locked_tunnel_is_the_newest_state_of_it(database: Database) -> None:
    async with database:
        tunnel = await create(database, await new_user(database), "name")
        async with database.session() as session:
            assert await Tunnels(session).lock(tunnel.id) is not None
            assert await Tunnels(session).lock(99) is None


async def test_new_names_are_learnt_by_pages(database: Database) -> None:
    async with database:
        user = await new_user(database)
        made = [await create(database, user, name) for name in ("one", "two", "three")]
        async with database.reading() as session:
            names = await Tunnels(session).names_after(0, 2)
            assert names == [(tunnel.id, tunnel.subdomain) for tunnel in made[:2]]
            assert await Tunnels(session).names_after(names[-1][0], 2) == [(made[2].id, "three")]
            assert await Tunnels(session).names_after(made[2].id, 2) == []
