"""Keys as proof: which are taken from agents and from callers of the API, and what is remembered of their use."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from terratunnel.server.auth.authenticator import Grant, Refused
from terratunnel.server.auth.keys import STORE_EVERY_S
from terratunnel.server.storage.models import ApiKey, Tunnel
from tests.server.desk import ADMIN, ALICE, HERE, Desk, shown


async def refusal(desk: Desk, key: str) -> tuple[int, str]:
    """How an agent with this key is refused; a caller of the API is refused in the same way."""
    with pytest.raises(Refused) as refused:
        await desk.keys.authenticate(shown(key))
    assert not key or key not in refused.value.message
    return refused.value.status, refused.value.message


async def test_a_key_grants_the_name_of_its_tunnel_and_says_whose_it_is(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        made = await desk.accounts.rotate_key(alice, await desk.tunnel_id(alice))
        assert await desk.keys.authenticate(shown(made.plain)) == Grant(
            made.tunnel.subdomain,
            tunnel_id=made.tunnel.id,
            user_id=alice.id,
            key_id=made.api_key.id,
            username="alice",
        )


async def test_a_key_of_the_configuration_belongs_to_no_account(desk: Desk) -> None:
    async with desk:
        assert await desk.keys.authenticate(shown("sesame")) == Grant("static")


@pytest.mark.parametrize("key", ["", "tt_wrong", "x" * 10_000, "tt_\u00fc", "'; drop table users; --"])
async def test_an_unknown_key_is_refused_and_not_repeated(key: str, desk: Desk) -> None:
    async with desk:
        await desk.key(await desk.user(ALICE))
        assert (await refusal(desk, key))[0] == 401


async def test_the_stored_hash_is_no_key(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        made = await desk.accounts.rotate_key(alice, await desk.tunnel_id(alice))
        for wrong in (made.api_key.key_hash, made.prefix, made.plain[:-1], made.plain + "x", made.plain.upper()):
            assert (await refusal(desk, wrong))[0] == 401


async def test_a_key_that_was_replaced_says_so(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        old, new = await desk.key(alice), await desk.key(alice)
        assert await refusal(desk, old) == (401, "The API key was revoked, or replaced by a newer one.")
        await desk.keys.authenticate(shown(new))


async def test_a_key_that_has_expired_says_so(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        soon = desk.audit.now() + timedelta(seconds=10)
        key = (await desk.accounts.rotate_key(alice, await desk.tunnel_id(alice), None, soon)).plain
        desk.clock.now += 9.9
        await desk.keys.authenticate(shown(key))
        desk.clock.now += 0.1
        assert await refusal(desk, key) == (401, "The API key has expired; make a new one on the server's pages.")


async def test_a_disabled_user_and_a_disabled_tunnel_are_told_apart(desk: Desk) -> None:
    async with desk:
        alice, root = await desk.user(ALICE), await desk.user(ADMIN)
        key = await desk.key(alice)
        async with desk.database.session() as session:
            await session.execute(update(Tunnel).values(is_active=False))
        assert await refusal(desk, key) == (403, "This tunnel is disabled; ask the server's administrator.")
        await desk.accounts.set_user_active(root, alice.id, False)
        assert await refusal(desk, key) == (403, "This account is disabled; ask the server's administrator.")


@pytest.mark.parametrize(("scopes", "allowed"), [(None, True), ("read tunnel:create", True), ("read", False)])
async def test_a_key_opens_a_tunnel_if_its_scopes_say_so(scopes: str | None, allowed: bool, desk: Desk) -> None:
    async with desk:
        key = await desk.key(await desk.user(ALICE))
        async with desk.database.session() as session:
            await session.execute(update(ApiKey).values(scopes=scopes))
        if allowed:
            await desk.keys.authenticate(shown(key))
        else:
            assert (await refusal(desk, key))[0] == 403


# ---------------------------------------------------------------------- the API


async def test_a_caller_of_the_api_is_known_by_key(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        made = await desk.accounts.rotate_key(alice, await desk.tunnel_id(alice))
        actor = await desk.keys.actor(f"bearer  {made.plain} ", HERE)
        assert (actor.id, actor.key_id, actor.origin, actor.session_id) == (alice.id, made.api_key.id, HERE, "")


@pytest.mark.parametrize("field", ["", "Bearer", "Bearer ", "Basic abc", "tt_key", "Bearer tt_wrong"])
async def test_a_caller_without_a_good_key_is_refused(field: str, desk: Desk) -> None:
    async with desk:
        with pytest.raises(Refused) as refused:
            await desk.keys.actor(field)
        assert refused.value.status == 401


async def test_a_key_of_the_configuration_is_nobody_to_the_api(desk: Desk) -> None:
    async with desk:
        with pytest.raises(Refused):
            await desk.keys.actor("Bearer sesame")


# ---------------------------------------------------------------------- when it was used


async def used_at(desk: Desk) -> float | None:
    """When the one key was used last, by the database."""
    async with desk.database.reading() as session:
        key = await session.get(ApiKey, 1)
        assert key is not None
        return None if key.last_used_at is None else key.last_used_at.timestamp()


async def test_that_a_key_was_used_is_stored_together_and_not_each_time(desk: Desk) -> None:
    async with desk:
        key = await desk.key(await desk.user(ALICE))
        for _ in range(100):
            desk.clock.now += 0.5
            await desk.keys.actor(f"Bearer {key}")
        assert STORE_EVERY_S == 60.0
        assert await used_at(desk) is None
        await desk.keys.flush()
        assert await used_at(desk) == desk.clock.now
        assert desk.keys._used == {}


async def test_it_is_stored_at_the_end(desk: Desk) -> None:
    async with desk:
        key = await desk.key(await desk.user(ALICE))
        desk.keys.start()
        await desk.keys.authenticate(shown(key))
        await desk.keys.close()
        assert await used_at(desk) == desk.clock.now
