"""Users: made once, brought up to date, found, listed, kept out, and deleted with everything that is theirs."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import func, select, text

from terratunnel.server.storage.api_keys import ApiKeys
from terratunnel.server.storage.audit import Audit, AuditFilters, AuditRow
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.links import DeviceLogins, LoginLinks
from terratunnel.server.storage.models import ApiKey, DeviceLogin, LoginLink, Tunnel, User
from terratunnel.server.storage.tunnels import Tunnels
from terratunnel.server.storage.users import Profile, Users
from terratunnel.testing.clock import Clock, turns

ANN = Profile("github", "1", "ann", "ann@example.com", "Ann Example", "https://example.com/ann.png")
BOB = Profile("github", "2", "bob")


async def sign_in(database: Database, profile: Profile = ANN) -> User:
    async with database.session() as session:
        return await Users(session).upsert_from_profile(profile)


async def everybody(database: Database) -> list[User]:
    async with database.reading() as session:
        return await Users(session).list()


async def test_a_first_login_makes_a_user(database: Database) -> None:
    async with database:
        made = await sign_in(database)
        (found,) = await everybody(database)
    assert found.id == made.id
    assert (found.auth_provider, found.provider_user_id, found.provider_username) == ("github", "1", "ann")
    assert (found.email, found.name, found.avatar_url) == (ANN.email, ANN.name, ANN.avatar_url)
    assert found.is_active is True
    assert found.created_at.timestamp() == found.updated_at.timestamp() == 1_750_000_000
    assert found.tunnel_subdomain is None


async def test_a_later_login_brings_the_user_up_to_date(database: Database, clock: Clock) -> None:
    async with database:
        made = await sign_in(database)
        clock.now += 60
        await sign_in(database, replace(ANN, username="anna", email=None))
        (found,) = await everybody(database)
    assert (found.id, found.provider_username, found.email) == (made.id, "anna", None)
    assert found.created_at.timestamp() == 1_750_000_000
    assert found.updated_at.timestamp() == 1_750_000_060


async def test_a_login_does_not_let_in_who_is_kept_out(database: Database) -> None:
    async with database:
        made = await sign_in(database)
        async with database.session() as session:
            assert await Users(session).set_active(made.id, False)
        assert (await sign_in(database)).is_active is False
        async with database.session() as session:
            assert await Users(session).set_active(made.id, True)
        assert (await sign_in(database)).is_active is True


async def test_nobody_can_be_kept_out_who_is_not_there(database: Database) -> None:
    async with database, database.session() as session:
        assert not await Users(session).set_active(99, False)


async def test_first_logins_at_once_make_one_user(database: Database) -> None:
    async with database:
        users = await asyncio.gather(*(sign_in(database) for _ in range(20)))
        assert len({user.id for user in users}) == 1
        assert len(await everybody(database)) == 1


async def test_the_same_id_at_two_providers_is_two_users(database: Database) -> None:
    async with database:
        await sign_in(database)
        await sign_in(database, replace(ANN, provider="gitlab"))
        async with database.reading() as session:
            users = Users(session)
            assert [user.auth_provider for user in await users.by_username("ann")] == ["github", "gitlab"]
            gitlab = await users.by_provider("gitlab", "1")
            assert gitlab is not None
            assert gitlab.auth_provider == "gitlab"
            assert await users.by_provider("gitlab", "2") is None
            assert await users.by_username("bob") == []


async def test_a_name_goes_to_who_has_it_at_the_provider_now(database: Database) -> None:
    async with database:
        old = await sign_in(database)
        new = await sign_in(database, replace(BOB, username="ann"))
        assert new.id != old.id
        assert [user.provider_username for user in await everybody(database)] == ["ann#1", "ann"]
        await sign_in(database, replace(ANN, username="anna"))
        assert [user.provider_username for user in await everybody(database)] == ["anna", "ann"]


async def test_two_who_swap_their_names_can_both_sign_in(database: Database) -> None:
    async with database:
        await sign_in(database)
        await sign_in(database, BOB)
        await sign_in(database, replace(ANN, username="bob"))
        await sign_in(database, replace(BOB, username="ann"))
        assert [user.provider_username for user in await everybody(database)] == ["bob", "ann"]


async def test_pages_are_in_order_and_have_all(database: Database) -> None:
    async with database:
        for number in range(7):
            await sign_in(database, Profile("github", str(number), f"user{number}"))
        async with database.reading() as session:
            users = Users(session)
            pages = [await users.list(page, 3) for page in (1, 2, 3, 4)]
            assert [[user.provider_user_id for user in page] for page in pages] == [
                ["0", "1", "2"],
                ["3", "4", "5"],
                ["6"],
                [],
            ]
            assert await users.count() == 7


@pytest.mark.parametrize(("search", "found"), [("AN", 1), ("example.com", 1), ("bob", 1), ("%", 0), ("_", 0), ("", 2)])
async def test_a_search_is_for_a_part_of_a_name_or_address(database: Database, search: str, found: int) -> None:
    async with database:
        await sign_in(database)
        await sign_in(database, BOB)
        async with database.reading() as session:
            assert len(await Users(session).list(search=search)) == found
            assert await Users(session).count(search) == found


async def test_a_locked_user_is_the_newest_state_of_them(database: Database) -> None:
    async with database:
        made = await sign_in(database)
        async with database.session() as session:
            before = await Users(session).get(made.id)
            assert before is not None
            await Users(session).set_active(made.id, False)
            locked = await Users(session).lock(made.id)
            assert locked is not None
            assert locked.is_active is False
            assert await Users(session).lock(99) is None


async def test_who_locks_a_user_first_counts_and_creates_alone(database: Database) -> None:
    async def create(user_id: int, number: int) -> bool:
        async with database.session() as session:
            await Users(session).lock(user_id)
            if await Tunnels(session).count_of_user(user_id):
                return False
            await Tunnels(session).create(user_id, f"name-{number}")
            return True

    async with database:
        made = await sign_in(database)
        created = await asyncio.gather(*(create(made.id, number) for number in range(50)))
        assert created.count(True) == 1


async def furnish(database: Database, user: User) -> None:
    """Give a user one of everything."""
    async with database.session() as session:
        tunnel = await Tunnels(session).create(user.id, f"of-{user.provider_username}")
        key = await ApiKeys(session).replace(tunnel.id, user.id, f"hash-{user.id}", "tt_abcde")
        later = session.now().replace(year=2030)
        await LoginLinks(session).add(f"link-{user.id}", user.id, later)
        await DeviceLogins(session).start(f"code-{user.id}", f"CODE-{user.id}", "192.0.2.1", later)
        await DeviceLogins(session).approve(f"CODE-{user.id}", user.id, tunnel.id)
        row = AuditRow(session.now(), "connect", user_id=user.id, username="ann", api_key_id=key.id)
        await Audit(session).add_many([row])


async def test_a_deleted_user_leaves_nothing_but_the_log_and_names_in_quarantine(database: Database) -> None:
    async with database:
        ann, bob = await sign_in(database), await sign_in(database, BOB)
        await furnish(database, ann)
        await furnish(database, bob)
        async with database.session() as session:
            assert await Users(session).delete(ann.id) == ["of-ann"]
        async with database.reading() as session:
            assert [user.id for user in await Users(session).list()] == [bob.id]
            for table in (Tunnel, ApiKey, LoginLink, DeviceLogin):
                assert await session.scalar(select(func.count()).select_from(table)) == 1
            log = (await Audit(session).list()).rows
            assert [(row.user_id, row.username) for row in log] == [(bob.id, "ann"), (None, "ann")]
            assert [row.api_key_id is None for row in log] == [False, True]
            assert await Tunnels(session).is_quarantined("of-ann")
            assert not await Tunnels(session).is_quarantined("of-bob")
            assert (await Audit(session).list(AuditFilters(user_id=bob.id))).rows == log[:1]


async def test_deleting_nobody_deletes_nothing(database: Database) -> None:
    async with database:
        await sign_in(database)
        async with database.session() as session:
            assert await Users(session).delete(99) == []
        assert len(await everybody(database)) == 1


async def test_a_deleted_user_who_comes_back_is_somebody_new(database: Database) -> None:
    async with database:
        first = await sign_in(database)
        async with database.session() as session:
            await Users(session).delete(first.id)
        assert (await sign_in(database)).id > first.id


async def until_somebody_waits(database: Database) -> None:
    """Return when a session of Postgres waits for another one; those of SQLite wait before they begin."""
    await turns(5)
    waiting = 0 if database.dialect == "postgresql" else 1
    while not waiting:
        async with database.reading() as session:
            waiting = await session.scalar(text("SELECT COUNT(*) FROM pg_locks WHERE NOT granted")) or 0


async def test_a_user_deleted_while_a_tunnel_is_made_leaves_no_name_unguarded(database: Database) -> None:
    async def delete(user_id: int) -> list[str]:
        async with database.session() as session:
            return await Users(session).delete(user_id)

    async with database:
        made = await sign_in(database)
        async with database.session() as session:
            await Users(session).lock(made.id)
            await Tunnels(session).create(made.id, "in-time")
            deleting = asyncio.create_task(delete(made.id))
            await until_somebody_waits(database)
        assert await deleting == ["in-time"]
        async with database.reading() as session:
            assert await Tunnels(session).is_quarantined("in-time")
            assert await session.scalar(select(func.count()).select_from(Tunnel)) == 0


async def test_whether_anybody_may_come_in_is_known(database: Database) -> None:
    async def any_active() -> bool:
        async with database.reading() as session:
            return await Users(session).any_active()

    async with database:
        assert not await any_active()
        made = await sign_in(database)
        assert await any_active()
        async with database.session() as session:
            await Users(session).set_active(made.id, False)
        assert not await any_active()
