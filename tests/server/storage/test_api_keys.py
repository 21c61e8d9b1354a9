"""Keys: found by their hash with whom they belong to, one active for a tunnel, and ended for good."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from terratunnel.server.storage.api_keys import ApiKeys
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.models import ApiKey, Tunnel, User
from terratunnel.server.storage.tunnels import Tunnels
from terratunnel.server.storage.users import Profile, Users
from terratunnel.testing.clock import Clock

NOW = datetime(2025, 6, 15, 15, 6, 40, tzinfo=UTC)


@dataclass
class Owner:
    user: User
    tunnel: Tunnel


async def new_owner(database: Database, name: str = "ann") -> Owner:
    async with database.session() as session:
        user = await Users(session).upsert_from_profile(Profile("github", name, name))
        return Owner(user, await Tunnels(session).create(user.id, f"of-{name}"))


async def replace(database: Database, owner: Owner, key_hash: str, expires_at: datetime | None = None) -> ApiKey:
    async with database.session() as session:
        keys = ApiKeys(session)
        return await keys.replace(owner.tunnel.id, owner.user.id, key_hash, "tt_abcde", "laptop", expires_at)


async def usable(database: Database, *keys: ApiKey) -> set[int]:
    async with database.reading() as session:
        return await ApiKeys(session).usable({key.id for key in keys})


async def test_a_key_is_found_by_its_hash_with_its_tunnel_and_user(database: Database) -> None:
    async with database:
        owner = await new_owner(database)
        made = await replace(database, owner, "hash", NOW + timedelta(days=1))
        async with database.reading() as session:
            found = await ApiKeys(session).by_hash("hash")
            assert await ApiKeys(session).by_hash("other") is None
            assert await ApiKeys(session).get(99) is None
    assert found is not None
    key, tunnel, user = found
    assert (key.id, tunnel.id, user.id) == (made.id, owner.tunnel.id, owner.user.id)
    assert (key.key_prefix, key.name, key.scopes, key.is_active) == ("tt_abcde", "laptop", "tunnel:create", True)
    assert (key.created_at, key.expires_at, key.last_used_at) == (NOW, NOW + timedelta(days=1), None)


async def test_a_key_that_has_ended_is_found_and_says_so(database: Database) -> None:
    async with database:
        made = await replace(database, await new_owner(database), "hash")
        async with database.session() as session:
            assert await ApiKeys(session).deactivate(made.id)
            assert not await ApiKeys(session).deactivate(made.id)
            assert not await ApiKeys(session).deactivate(99)
        async with database.reading() as session:
            found = await ApiKeys(session).by_hash("hash")
    assert found is not None
    assert found[0].is_active is False


async def test_a_key_of_somebody_else_s_tunnel_opens_nothing(database: Database) -> None:
    async with database:
        ann, bob = await new_owner(database), await new_owner(database, "bob")
        async with database.session() as session:
            await ApiKeys(session).replace(bob.tunnel.id, ann.user.id, "hash", "tt_abcde")
        async with database.reading() as session:
            assert await ApiKeys(session).by_hash("hash") is None


async def test_a_new_key_ends_the_old_one_of_its_tunnel_alone(database: Database) -> None:
    async with database:
        ann, bob = await new_owner(database), await new_owner(database, "bob")
        first, others = await replace(database, ann, "first"), await replace(database, bob, "others")
        second = await replace(database, ann, "second")
        async with database.reading() as session:
            keys = ApiKeys(session)
            active = await keys.active_of_tunnel(ann.tunnel.id)
            assert active is not None
            assert active.id == second.id
            assert [key.id for key in await keys.list_of_user(ann.user.id)] == [second.id, first.id]
            of_both = await keys.active_of_tunnels([ann.tunnel.id, bob.tunnel.id, 99])
            assert {tunnel: key.id for tunnel, key in of_both.items()} == {
                ann.tunnel.id: second.id,
                bob.tunnel.id: others.id,
            }
            assert await keys.active_of_tunnel(99) is None


async def test_rotations_at_once_leave_one_active_key(database: Database) -> None:
    async with database:
        owner = await new_owner(database)
        keys = await asyncio.gather(*(replace(database, owner, f"hash-{number}") for number in range(20)))
        assert len(await usable(database, *keys)) == 1


async def test_a_rotation_that_fails_leaves_the_old_key(database: Database) -> None:
    async with database:
        owner = await new_owner(database)
        key = await replace(database, owner, "hash")
        with pytest.raises(Exception, match=r"(?i)unique"):
            await replace(database, owner, "hash")
        assert await usable(database, key) == {key.id}


async def test_a_key_is_usable_until_it_its_tunnel_or_its_user_ends(database: Database, clock: Clock) -> None:
    async with database:
        owners = [await new_owner(database, name) for name in ("ann", "bob", "cat", "dan", "eve")]
        keys = [await replace(database, owner, owner.user.provider_username) for owner in owners[:4]]
        keys.append(await replace(database, owners[4], "eve", NOW + timedelta(hours=1)))
        assert await usable(database, *keys) == {key.id for key in keys}
        async with database.session() as session:
            await ApiKeys(session).deactivate(keys[1].id)
            await Users(session).set_active(owners[2].user.id, False)
            tunnel = await Tunnels(session).get(owners[3].tunnel.id)
            assert tunnel is not None
            tunnel.is_active = False
        clock.now += 3_600
        assert await usable(database, *keys) == {keys[0].id}
        assert await usable(database) == set()


async def test_the_last_use_only_moves_forward(database: Database) -> None:
    async with database:
        owner, other = await new_owner(database), await new_owner(database, "bob")
        key, others = await replace(database, owner, "hash"), await replace(database, other, "other")
        for used in (
            {key.id: NOW, others.id: NOW, 99: NOW},
            {key.id: NOW - timedelta(hours=1)},
            {others.id: NOW + timedelta(hours=1)},
        ):
            async with database.session() as session:
                await ApiKeys(session).touch_many(used)
        async with database.reading() as session:
            found = [await ApiKeys(session).get(made.id) for made in (key, others)]
    assert [made.last_used_at for made in found if made] == [NOW, NOW + timedelta(hours=1)]
