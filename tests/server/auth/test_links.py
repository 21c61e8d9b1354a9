"""Sign-in without a provider: links that work once, and clients that a browser lets in."""

import asyncio
import re

import pytest

from terratunnel.server.actors import OPERATOR
from terratunnel.server.auth.links import CODE_LETTERS, DEVICE_SECONDS, LINK_MINUTES, PollState, plain_code
from terratunnel.server.storage.models import DeviceLogin, LoginLink
from terratunnel.server.tunnels import BadRequest, Forbidden, NewKey, NotFound, hash_of
from tests.server.desk import ADMIN, ALICE, BOB, HERE, Desk, shown

# ---------------------------------------------------------------------- one-time links


async def test_a_link_signs_its_user_in_once(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        link = await desk.links.create_link(OPERATOR, alice.id)
        actor = await desk.links.use_link(link.token, HERE)
        assert (actor.id, actor.origin) == (alice.id, HERE)
        with pytest.raises(BadRequest, match="was used, or is too old"):
            await desk.links.use_link(link.token, HERE)
        assert (await desk.events())[-1] == "login_failed"
        assert await desk.details() == {"reason": "link not valid"}
        assert (await desk.audited())[-1].client_ip == HERE.address


async def test_what_is_secret_of_a_link_is_sent_to_no_server_and_stored_nowhere(desk: Desk) -> None:
    async with desk:
        link = await desk.links.create_link(OPERATOR, (await desk.user(ALICE)).id)
        assert link.url == f"https://tunnel.example.com/auth/link#{link.token}"
        assert len(link.token) >= 43  # 256 bits
        async with desk.database.reading() as session:
            stored = await session.get(LoginLink, hash_of(link.token))
            assert stored is not None
        assert link.token not in str([vars(stored), *map(vars, await desk.audited())])


async def test_a_link_used_many_times_at_once_works_once(desk: Desk) -> None:
    async with desk:
        link = await desk.links.create_link(OPERATOR, (await desk.user(ALICE)).id)
        used = await asyncio.gather(*(desk.links.use_link(link.token) for _ in range(10)), return_exceptions=True)
        assert sum(isinstance(each, BadRequest) for each in used) == 9


async def test_a_link_is_too_old_after_a_while(desk: Desk) -> None:
    async with desk:
        link = await desk.links.create_link(OPERATOR, (await desk.user(ALICE)).id)
        desk.clock.now += LINK_MINUTES * 60
        with pytest.raises(BadRequest):
            await desk.links.use_link(link.token)


async def test_a_link_does_not_let_a_disabled_user_in(desk: Desk) -> None:
    async with desk:
        alice, root = await desk.user(ALICE), await desk.user(ADMIN)
        link = await desk.links.create_link(root, alice.id)
        await desk.accounts.set_user_active(root, alice.id, False)
        with pytest.raises(Forbidden):
            await desk.links.use_link(link.token)
        assert (await desk.events())[-1] == "login_failed"
        assert await desk.details() == {"reason": "disabled"}


async def test_links_are_made_by_administrators_for_users_that_exist(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        with pytest.raises(Forbidden):
            await desk.links.create_link(alice, alice.id)
        with pytest.raises(NotFound):
            await desk.links.create_link(OPERATOR, 999)
        await desk.links.create_link(OPERATOR, alice.id)
        assert (await desk.events())[-1] == "login_link_created"
        assert await desk.details() == {"id": alice.id, "user": "alice"}


# ---------------------------------------------------------------------- terratunnel login


async def test_a_client_gets_its_key_when_the_browser_has_approved_it(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        codes = await desk.links.start_device("alice's laptop")
        assert codes.verification_url == "https://tunnel.example.com/auth/device"
        assert await desk.links.poll(codes.device_code) is PollState.WAITING
        assert (await desk.links.waiting(codes.user_code)).requested_by == "alice's laptop"
        await desk.links.approve(alice, codes.user_code)
        made = await desk.links.poll(codes.device_code, HERE)
        assert isinstance(made, NewKey)
        assert (await desk.keys.authenticate(shown(made.plain))).user_id == alice.id
        assert await desk.links.poll(codes.device_code) is PollState.EXPIRED
        assert (await desk.events())[-2:] == ["device_approved", "key_rotated"]
        assert desk.ended == [(made.tunnel.subdomain, None, "a new key has replaced it")]


async def test_a_code_is_easy_to_read_out_and_to_type(desk: Desk) -> None:
    async with desk:
        codes = await desk.links.start_device("x")
        assert re.fullmatch(f"[{CODE_LETTERS}]{{4}}-[{CODE_LETTERS}]{{4}}", codes.user_code)
        typed = f"  {codes.user_code.lower().replace('-', ' ')} "
        assert plain_code(typed) == codes.user_code.replace("-", "")
        await desk.links.waiting(typed)


async def test_many_polls_at_once_make_one_key(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        codes = await desk.links.start_device("x")
        await desk.links.approve(alice, codes.user_code)
        polled = await asyncio.gather(*(desk.links.poll(codes.device_code) for _ in range(10)))
        assert sum(isinstance(each, NewKey) for each in polled) == 1
        assert len(await desk.accounts.keys_of(alice)) == 1


async def test_what_the_client_keeps_to_itself_is_stored_as_a_hash_and_the_key_not_at_all(desk: Desk) -> None:
    async with desk:
        codes = await desk.links.start_device("x")
        await desk.links.approve(await desk.user(ALICE), codes.user_code)
        async with desk.database.reading() as session:
            login = await session.get(DeviceLogin, hash_of(codes.device_code))
            assert login is not None
            assert codes.device_code not in str(vars(login))


@pytest.mark.parametrize("code", ["", "BBBB-BBBB", "what", "'--"])
async def test_an_unknown_code_is_approved_by_nobody(code: str, desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        with pytest.raises(NotFound):
            await desk.links.waiting(code)
        with pytest.raises(NotFound):
            await desk.links.approve(alice, code)
        assert await desk.links.poll(code) is PollState.EXPIRED


async def test_the_user_code_is_no_device_code(desk: Desk) -> None:
    async with desk:
        codes = await desk.links.start_device("x")
        await desk.links.approve(await desk.user(ALICE), codes.user_code)
        for guess in (codes.user_code, plain_code(codes.user_code)):
            assert await desk.links.poll(guess) is PollState.EXPIRED


async def test_a_login_is_approved_once_and_by_one(desk: Desk) -> None:
    async with desk:
        alice, bob = await desk.user(ALICE), await desk.user(BOB)
        codes = await desk.links.start_device("x")
        await desk.links.approve(alice, codes.user_code)
        with pytest.raises(NotFound):
            await desk.links.approve(bob, codes.user_code)
        made = await desk.links.poll(codes.device_code)
        assert isinstance(made, NewKey)
        assert made.api_key.user_id == alice.id


async def test_nobody_approves_for_anothers_tunnel(desk: Desk) -> None:
    async with desk:
        alice, bob = await desk.user(ALICE), await desk.user(BOB)
        codes = await desk.links.start_device("x")
        with pytest.raises(NotFound, match="no such tunnel"):
            await desk.links.approve(bob, codes.user_code, await desk.tunnel_id(alice))
        await desk.links.approve(bob, codes.user_code, await desk.tunnel_id(bob))


async def test_a_denied_login_is_over(desk: Desk) -> None:
    async with desk:
        codes = await desk.links.start_device("x")
        await desk.links.deny(await desk.user(ALICE), codes.user_code)
        assert await desk.links.poll(codes.device_code) is PollState.EXPIRED


async def test_a_login_that_takes_too_long_is_over(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        waiting, approved = [await desk.links.start_device("x") for _ in range(2)]
        await desk.links.approve(alice, approved.user_code)
        desk.clock.now += DEVICE_SECONDS
        for codes in (waiting, approved):
            assert await desk.links.poll(codes.device_code) is PollState.EXPIRED
        with pytest.raises(NotFound):
            await desk.links.approve(alice, waiting.user_code)
        await desk.links.purge()
        async with desk.database.reading() as session:
            assert await session.get(DeviceLogin, hash_of(waiting.device_code)) is None


async def test_who_was_disabled_after_the_approval_gets_no_key(desk: Desk) -> None:
    async with desk:
        alice, root = await desk.user(ALICE), await desk.user(ADMIN)
        codes = await desk.links.start_device("x")
        await desk.links.approve(alice, codes.user_code)
        await desk.accounts.set_user_active(root, alice.id, False)
        assert await desk.links.poll(codes.device_code) is PollState.EXPIRED
        assert await desk.accounts.keys_of(alice) == []
