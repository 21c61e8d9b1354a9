"""The rules of accounts, on both databases."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from terratunnel.server.actors import OPERATOR, Actor
from terratunnel.server.storage.api_keys import ApiKeys
from terratunnel.server.storage.tunnels import QUARANTINE, Tunnels
from terratunnel.server.storage.users import Profile, Users
from terratunnel.server.tunnels import (
    KEY_BYTES,
    NAME_TRIES,
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    hash_of,
)
from tests.server.desk import ADMIN, ALICE, BOB, HERE, Desk

# ---------------------------------------------------------------------- signing in


async def test_the_first_sign_in_makes_a_user_and_one_tunnel(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        (own,) = await desk.accounts.tunnels_of(alice)
        assert (alice.username, alice.provider, alice.email) == ("alice", "github", "alice@example.com")
        assert (alice.is_admin, alice.key_id, alice.session_id) == (False, None, "")
        assert (own.tunnel.subdomain, own.key) == ("happy-panda-1", None)
        assert await desk.events() == ["tunnel_created"]


async def test_the_second_sign_in_finds_them_again(desk: Desk) -> None:
    async with desk:
        first = await desk.user(ALICE)
        again = await desk.user(replace(ALICE, username="alice-b", email=None))
        assert (again.id, again.username, again.email) == (first.id, "alice-b", None)
        assert len(await desk.accounts.tunnels_of(again)) == 1


async def test_two_first_sign_ins_at_once_make_one_user_with_one_tunnel(desk: Desk) -> None:
    async with desk:
        actors = await asyncio.gather(*(desk.user(ALICE) for _ in range(8)))
        assert len({actor.id for actor in actors}) == 1
        assert len(await desk.accounts.tunnels_of(actors[0])) == 1
        async with desk.database.reading() as session:
            assert await Users(session).count() == 1


async def test_the_same_number_at_two_providers_is_two_people(desk: Desk) -> None:
    async with desk:
        assert (await desk.user(ALICE)).id != (await desk.user(BOB)).id


async def test_a_disabled_user_stays_out_and_it_is_audited(desk: Desk) -> None:
    async with desk:
        alice, root = await desk.user(ALICE), await desk.user(ADMIN)
        await desk.accounts.set_user_active(root, alice.id, False)
        with pytest.raises(Forbidden, match="disabled"):
            await desk.user(ALICE)
        assert (await desk.events())[-2:] == ["user_disabled", "login_failed"]
        await desk.accounts.set_user_active(root, alice.id, True)
        assert (await desk.user(ALICE)).id == alice.id


async def test_administrators_are_those_of_the_configuration_in_any_case(desk: Desk) -> None:
    async with desk:
        assert (await desk.user(ADMIN)).is_admin
        assert not (await desk.user(replace(ADMIN, provider="gitlab"))).is_admin
        assert not (await desk.user(Profile("github", "9", "root2"))).is_admin


async def test_whoever_takes_over_a_name_at_the_provider_is_another_user(desk: Desk) -> None:
    async with desk:
        before = await desk.user(ALICE)
        after = await desk.user(replace(ALICE, provider_user_id="99"))
        assert after.id != before.id
        assert (await desk.accounts.tunnels_of(after))[0].tunnel.user_id == after.id


# ---------------------------------------------------------------------- names


async def test_a_name_that_is_taken_reserved_or_not_a_label_is_passed_over(desk: Desk) -> None:
    async with desk:
        desk.names = ["mine"]
        await desk.user(ALICE)
        desk.names = ["mine", "static", "www", "xn--mine", "Mine", "my.own", "yours"]
        bob = await desk.user(BOB)
        assert (await desk.accounts.tunnels_of(bob))[0].tunnel.subdomain == "yours"


async def test_a_released_name_comes_back_after_its_quarantine_only(desk: Desk) -> None:
    async with desk:
        root = await desk.user(ADMIN)
        desk.names = ["webhooks"]
        alice = await desk.user(ALICE)
        assert await desk.accounts.delete_user(root, alice.id) == ["webhooks"]
        desk.names = ["webhooks", "other"]
        bob = await desk.user(BOB)
        assert (await desk.accounts.tunnels_of(bob))[0].tunnel.subdomain == "other"
        desk.clock.now += QUARANTINE.total_seconds() + 1
        desk.names = ["webhooks"]
        assert (await desk.accounts.create_tunnel(root)).subdomain == "webhooks"


async def test_when_no_name_is_free_nothing_is_made(desk: Desk) -> None:
    async with desk:
        desk.names = ["www"] * NAME_TRIES
        with pytest.raises(Conflict, match="No free name"):
            await desk.user(ALICE)
        async with desk.database.reading() as session:
            assert await Users(session).count() == 0


async def test_a_name_is_taken_by_an_account_or_by_a_key_of_the_configuration(desk: Desk) -> None:
    async with desk:
        desk.names = ["mine"]
        await desk.user(ALICE)
        assert await desk.accounts.is_taken("mine")
        assert await desk.accounts.is_taken("static")
        assert not await desk.accounts.is_taken("free")


# ---------------------------------------------------------------------- tunnels


async def test_who_is_no_administrator_has_one_tunnel(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        with pytest.raises(Forbidden, match="have a tunnel already"):
            await desk.accounts.create_tunnel(alice)


async def test_fifty_attempts_at_once_make_one_tunnel(desk: Desk) -> None:
    async with desk:
        alice, root = await desk.user(ALICE), await desk.user(ADMIN)
        await desk.accounts.delete_tunnel(root, await desk.tunnel_id(alice))
        made = await asyncio.gather(*(desk.accounts.create_tunnel(alice) for _ in range(50)), return_exceptions=True)
        assert sum(isinstance(each, Forbidden) for each in made) == 49
        assert len(await desk.accounts.tunnels_of(alice)) == 1


async def test_an_administrator_makes_more_also_for_others(desk: Desk) -> None:
    async with desk:
        alice, root = await desk.user(ALICE), await desk.user(ADMIN)
        mine = await desk.accounts.create_tunnel(root, "  Stripe hooks ")
        theirs = await desk.accounts.create_tunnel(root, None, alice.id)
        assert (mine.name, theirs.name) == ("Stripe hooks", None)
        assert [own.tunnel.id for own in await desk.accounts.tunnels_of(root, alice.id)][-1] == theirs.id
        assert (await desk.accounts.tunnel(root, theirs.id)).tunnel.user_id == alice.id
        with pytest.raises(NotFound):
            await desk.accounts.create_tunnel(root, None, 999)


@pytest.mark.parametrize("name", ["x" * 101, "two\nlines", "\x1b[2J"])
async def test_a_label_that_cannot_be_shown_is_refused(name: str, desk: Desk) -> None:
    async with desk:
        root = await desk.user(ADMIN)
        with pytest.raises(BadRequest, match="at most 100 characters"):
            await desk.accounts.create_tunnel(root, name)


async def test_a_deleted_tunnel_takes_its_keys_and_its_link_along(desk: Desk) -> None:
    async with desk:
        alice, root = await desk.user(ALICE), await desk.user(ADMIN)
        await desk.key(alice)
        desk.ended.clear()
        name = await desk.accounts.delete_tunnel(root, await desk.tunnel_id(alice))
        assert desk.ended == [(name, None, "the tunnel was deleted")]
        assert await desk.accounts.keys_of(alice) == []
        assert (await desk.events())[-1] == "tunnel_deleted"


# ---------------------------------------------------------------------- keys


async def test_a_key_has_256_random_bits_and_only_its_hash_is_stored(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        made = await desk.accounts.rotate_key(alice, await desk.tunnel_id(alice), "laptop")
        assert KEY_BYTES * 8 >= 256
        assert len(made.plain) >= len("tt_") + 43  # 32 bytes in base64
        assert made.plain.startswith("tt_")
        assert made.api_key.key_hash == hashlib.sha256(made.plain.encode()).hexdigest() == hash_of(made.plain)
        assert made.api_key.key_prefix == made.prefix == made.plain[:8]
        assert (made.api_key.name, made.api_key.user_id, made.api_key.is_active) == ("laptop", alice.id, True)
        stored = str([vars(key) for key in await desk.accounts.keys_of(alice)])
        assert made.plain not in stored


async def test_a_new_key_ends_the_old_one_and_its_link_but_not_the_name(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        tunnel_id = await desk.tunnel_id(alice)
        first = await desk.accounts.rotate_key(alice, tunnel_id)
        desk.ended.clear()
        second = await desk.accounts.rotate_key(alice, tunnel_id)
        assert first.plain != second.plain
        assert first.tunnel.subdomain == second.tunnel.subdomain
        assert desk.ended == [(first.tunnel.subdomain, None, "a new key has replaced it")]
        newest, oldest = await desk.accounts.keys_of(alice)
        assert (newest.is_active, oldest.is_active) == (True, False)
        own = await desk.accounts.tunnel(alice, tunnel_id)
        assert own.key is not None
        assert own.key.id == second.api_key.id


async def test_rotations_at_once_leave_one_active_key(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        tunnel_id = await desk.tunnel_id(alice)
        await asyncio.gather(*(desk.accounts.rotate_key(alice, tunnel_id) for _ in range(10)))
        assert [key.is_active for key in await desk.accounts.keys_of(alice)].count(True) == 1


async def test_a_revoked_key_ends_its_own_link_only(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        made = await desk.accounts.rotate_key(alice, await desk.tunnel_id(alice))
        desk.ended.clear()
        await desk.accounts.revoke_key(alice, made.api_key.id)
        assert desk.ended == [(made.tunnel.subdomain, made.api_key.id, "by alice")]
        assert [key.is_active for key in await desk.accounts.keys_of(alice)] == [False]
        row = (await desk.audited())[-1]
        assert (row.event_type, row.username, row.api_key_id) == ("key_revoked", "alice", made.api_key.id)
        assert await desk.details() == {"key_prefix": made.prefix}


async def test_a_new_key_is_audited_by_its_id_and_with_the_key_that_asked_for_it(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        first = await desk.accounts.rotate_key(alice, await desk.tunnel_id(alice))
        by_key = replace(alice, key_id=first.api_key.id)
        second = await desk.accounts.rotate_key(by_key, await desk.tunnel_id(alice))
        rows = [row for row in await desk.audited() if row.event_type == "key_rotated"]
        assert [row.api_key_id for row in rows] == [first.api_key.id, second.api_key.id]
        assert await desk.details() == {"key_prefix": second.prefix, "by_key_id": first.api_key.id}


async def test_a_key_that_has_ended_is_revoked_once(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        made = await desk.accounts.rotate_key(alice, await desk.tunnel_id(alice))
        for _ in range(2):
            await desk.accounts.revoke_key(alice, made.api_key.id)
        assert (await desk.events()).count("key_revoked") == 1


async def test_the_key_in_use_is_not_revoked(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        made = await desk.accounts.rotate_key(alice, await desk.tunnel_id(alice))
        by_key = replace(alice, key_id=made.api_key.id)
        with pytest.raises(BadRequest, match="the key that you are using") as refused:
            await desk.accounts.revoke_key(by_key, made.api_key.id)
        assert refused.value.status == 400
        assert (await desk.accounts.keys_of(alice))[0].is_active


async def test_a_key_may_expire(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        expires_at = desk.audit.now() + timedelta(hours=1)
        made = await desk.accounts.rotate_key(alice, await desk.tunnel_id(alice), None, expires_at)
        assert made.api_key.expires_at == expires_at


# ---------------------------------------------------------------------- whose it is (security.md A5)

FOREIGN: dict[str, Callable[[Desk, Actor, int, int], Awaitable[object]]] = {
    "see a tunnel": lambda desk, actor, tunnel, key: desk.accounts.tunnel(actor, tunnel),
    "rotate": lambda desk, actor, tunnel, key: desk.accounts.rotate_key(actor, tunnel),
    "revoke": lambda desk, actor, tunnel, key: desk.accounts.revoke_key(actor, key),
}
ONLY_ADMINS: dict[str, Callable[[Desk, Actor, int, int], Awaitable[object]]] = {
    "delete a tunnel": lambda desk, actor, tunnel, key: desk.accounts.delete_tunnel(actor, tunnel),
    "list": lambda desk, actor, tunnel, key: desk.accounts.tunnels_of(actor, 1),
    "create for another": lambda desk, actor, tunnel, key: desk.accounts.create_tunnel(actor, None, 1),
    "delete a user": lambda desk, actor, tunnel, key: desk.accounts.delete_user(actor, 1),
    "disable a user": lambda desk, actor, tunnel, key: desk.accounts.set_user_active(actor, 1, False),
    "create a user": lambda desk, actor, tunnel, key: desk.accounts.create_user(actor, "new"),
}


@pytest.mark.parametrize("what", FOREIGN)
async def test_what_is_anothers_does_not_exist_for_who_asks(what: str, desk: Desk) -> None:
    async with desk:
        alice, bob = await desk.user(ALICE), await desk.user(BOB)
        made = await desk.accounts.rotate_key(alice, await desk.tunnel_id(alice))
        for tunnel_id, key_id in ((made.tunnel.id, made.api_key.id), (999, 999)):
            with pytest.raises(NotFound, match="There is no such") as refused:
                await FOREIGN[what](desk, bob, tunnel_id, key_id)
            assert refused.value.status == 404
        assert (await desk.accounts.keys_of(alice))[0].is_active


@pytest.mark.parametrize("what", ONLY_ADMINS)
async def test_what_is_for_administrators_is_refused_to_others(what: str, desk: Desk) -> None:
    async with desk:
        alice, bob = await desk.user(ALICE), await desk.user(BOB)
        assert alice.id == 1
        with pytest.raises(Forbidden) as refused:
            await ONLY_ADMINS[what](desk, bob, await desk.tunnel_id(alice), 1)
        assert refused.value.status == 403


@pytest.mark.parametrize("what", ["see a tunnel", "rotate", "revoke"])
async def test_an_administrator_may(what: str, desk: Desk) -> None:
    async with desk:
        alice, root = await desk.user(ALICE), await desk.user(ADMIN)
        made = await desk.accounts.rotate_key(alice, await desk.tunnel_id(alice))
        await FOREIGN[what](desk, root, made.tunnel.id, made.api_key.id)


async def test_a_rotation_by_an_administrator_leaves_the_key_with_its_owner(desk: Desk) -> None:
    async with desk:
        alice, root = await desk.user(ALICE), await desk.user(ADMIN)
        made = await desk.accounts.rotate_key(root, await desk.tunnel_id(alice))
        assert made.api_key.user_id == alice.id
        assert (await desk.audited())[-1].username == "Root"


# ---------------------------------------------------------------------- users


async def test_the_operator_makes_users_without_a_provider(desk: Desk) -> None:
    async with desk:
        user = await desk.accounts.create_user(OPERATOR, "Carol", "carol@example.com")
        assert (user.auth_provider, user.provider_username, user.email) == ("local", "Carol", "carol@example.com")
        assert len(await desk.accounts.tunnels_of(OPERATOR, user.id)) == 1
        row = (await desk.audited())[-1]
        assert (row.event_type, row.user_id, row.username) == ("user_created", None, "operator")
        with pytest.raises(Conflict, match="a user carol already"):
            await desk.accounts.create_user(OPERATOR, "carol")


@pytest.mark.parametrize("name", ["", "two words", "a#1", "a/b", "x" * 256, "bücher"])
async def test_a_user_name_is_one_that_a_provider_would_take(name: str, desk: Desk) -> None:
    async with desk:
        with pytest.raises(BadRequest):
            await desk.accounts.create_user(OPERATOR, name)


async def test_a_deleted_user_takes_everything_along_but_what_the_log_says(desk: Desk) -> None:
    async with desk:
        alice, root = await desk.user(ALICE), await desk.user(ADMIN)
        await desk.key(alice)
        name = (await desk.accounts.tunnels_of(alice))[0].tunnel.subdomain
        await desk.audited()
        desk.ended.clear()
        await desk.accounts.delete_user(root, alice.id)
        assert desk.ended == [(name, None, "its user was deleted")]
        async with desk.database.reading() as session:
            assert await Users(session).get(alice.id) is None
            assert await Tunnels(session).by_subdomain(name) is None
            assert await ApiKeys(session).list_of_user(alice.id) == []
        rows = await desk.audited()
        assert [(row.username, row.user_id) for row in rows if row.event_type == "key_rotated"] == [("alice", None)]
        with pytest.raises(NotFound):
            await desk.accounts.delete_user(root, alice.id)


async def test_an_administrator_does_not_lock_themselves_out(desk: Desk) -> None:
    async with desk:
        root = await desk.user(ADMIN)
        with pytest.raises(Conflict, match="delete yourself"):
            await desk.accounts.delete_user(root, root.id)
        with pytest.raises(Conflict, match="disable yourself"):
            await desk.accounts.set_user_active(root, root.id, False)


async def test_a_disabled_user_is_cut_off(desk: Desk) -> None:
    async with desk:
        alice, root = await desk.user(ALICE), await desk.user(ADMIN)
        name = (await desk.accounts.tunnels_of(alice))[0].tunnel.subdomain
        await desk.accounts.set_user_active(root, alice.id, False)
        assert desk.ended == [(name, None, "its user was disabled")]


async def test_where_somebody_was_is_audited_with_what_they_did(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        await desk.key(alice)
        row = (await desk.audited())[-1]
        assert (row.event_type, row.user_id, row.username) == ("key_rotated", alice.id, "alice")
        assert (row.client_ip, row.user_agent) == (HERE.address, HERE.user_agent)
