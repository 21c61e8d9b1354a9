"""Sessions: who is signed in, and which tokens let nobody in (security.md A3)."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace

import jwt
import pytest

from terratunnel.server.auth.sessions import AUDIENCE, Sessions
from terratunnel.server.storage.sessions import Sessions as RevokedSessions
from tests.server.desk import ADMIN, ALICE, HERE, SIGNING, Desk

HOUR_S = 3_600.0


def cookies(sessions: Sessions, token: str) -> list[str]:
    """The Cookie fields of a browser."""
    return [f"other=1; {sessions.cookie}={token}"]


async def test_who_has_signed_in_is_known_by_the_cookie(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        cookie = desk.sessions.issue(alice)
        assert cookie.name == "__Host-terratunnel_session"
        assert (cookie.secure, cookie.max_age_s) == (True, 24 * HOUR_S)
        actor = await desk.sessions.read(cookies(desk.sessions, cookie.value), HERE)
        assert actor is not None
        assert (actor.id, actor.username, actor.origin, actor.key_id) == (alice.id, "alice", HERE, None)
        assert actor.session_id
        row = (await desk.audited())[-1]
        assert (row.event_type, row.user_id, row.client_ip) == ("login", alice.id, HERE.address)


async def test_where_there_is_no_tls_the_cookie_has_its_plain_name(desk: Desk) -> None:
    async with desk:
        sessions = desk.sessions_of(SIGNING, secure=False)
        cookie = sessions.issue(await desk.user(ALICE))
        assert (cookie.name, cookie.secure) == ("terratunnel_session", False)
        assert await sessions.read(cookies(sessions, cookie.value)) is not None


async def test_each_sign_in_has_an_id_of_its_own(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        read = [await desk.sessions.read(cookies(desk.sessions, desk.sessions.issue(alice).value)) for _ in range(2)]
        ids = {actor.session_id for actor in read if actor is not None}
        assert len(ids) == 2
        tokens = {desk.sessions.csrf_token(actor) for actor in read if actor is not None}
        assert len(tokens) == 2
        assert not tokens & ids


async def test_a_session_ends_by_itself(desk: Desk) -> None:
    async with desk:
        token = desk.sessions.issue(await desk.user(ALICE)).value
        desk.clock.now += 24 * HOUR_S - 1
        assert await desk.sessions.read(cookies(desk.sessions, token)) is not None
        desk.clock.now += 1
        assert await desk.sessions.read(cookies(desk.sessions, token)) is None


async def test_a_session_that_was_ended_is_over_for_every_copy_of_its_cookie(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        token, other = (desk.sessions.issue(alice).value for _ in range(2))
        actor = await desk.sessions.read(cookies(desk.sessions, token), HERE)
        assert actor is not None
        gone = await desk.sessions.end(actor)
        assert (gone.name, gone.value) == (desk.sessions.cookie, "")
        assert await desk.sessions.read(cookies(desk.sessions, token)) is None
        assert await desk.sessions.read(cookies(desk.sessions, other)) is not None
        assert (await desk.events())[-1] == "logout"


async def test_who_acts_by_key_has_no_session_to_end(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        await desk.sessions.end(replace(alice, key_id=1))
        assert "logout" not in await desk.events()


async def test_ended_sessions_are_forgotten_when_their_token_has_expired(desk: Desk) -> None:
    async with desk:
        token = desk.sessions.issue(await desk.user(ALICE)).value
        actor = await desk.sessions.read(cookies(desk.sessions, token))
        assert actor is not None
        await desk.sessions.end(actor)
        for hours, revoked in ((23, True), (2, False)):
            desk.clock.now += hours * HOUR_S
            await desk.sessions.purge()
            async with desk.database.reading() as session:
                assert await RevokedSessions(session).is_revoked(actor.session_id) is revoked


async def test_a_token_alone_lets_nobody_in_who_is_disabled_or_gone(desk: Desk) -> None:
    async with desk:
        alice, root = await desk.user(ALICE), await desk.user(ADMIN)
        token = desk.sessions.issue(alice).value
        await desk.accounts.set_user_active(root, alice.id, False)
        assert await desk.sessions.read(cookies(desk.sessions, token)) is None
        await desk.accounts.set_user_active(root, alice.id, True)
        assert await desk.sessions.read(cookies(desk.sessions, token)) is not None
        await desk.accounts.delete_user(root, alice.id)
        assert await desk.sessions.read(cookies(desk.sessions, token)) is None


async def test_whoever_comes_after_a_deleted_user_is_not_let_in_by_their_token(desk: Desk) -> None:
    async with desk:
        alice, root = await desk.user(ALICE), await desk.user(ADMIN)
        token = desk.sessions.issue(alice).value
        await desk.accounts.delete_user(root, alice.id)
        await desk.user(replace(ALICE, provider_user_id="3", username="carol"))
        assert await desk.sessions.read(cookies(desk.sessions, token)) is None


# ---------------------------------------------------------------------- tokens of others


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def changed(**changes: object) -> Callable[[dict[str, object]], str]:
    """A token signed as ours, with other claims; None leaves a claim out."""

    def make(claims: dict[str, object]) -> str:
        kept = {key: value for key, value in (claims | changes).items() if value is not None}
        return jwt.encode(kept, SIGNING.secret, SIGNING.algorithm)

    return make


FORGED: dict[str, Callable[[dict[str, object]], str]] = {
    "alg none": lambda claims: f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}.",
    "alg None": lambda claims: f"{part({'alg': 'None', 'typ': 'JWT'})}.{part(claims)}.",
    "another secret": lambda claims: jwt.encode(claims, b"another secret of 32 bytes or more", "HS256"),
    "an empty secret": lambda claims: f"{jwt.encode(claims, b'x' * 32, 'HS256').rpartition('.')[0]}.",
    "another algorithm": lambda claims: jwt.encode(claims, SIGNING.secret + b"0" * 32, "HS512"),
    "the same secret, another algorithm": lambda claims: jwt.encode(claims, SIGNING.secret, "HS384"),
    "another audience": changed(aud="terratunnel oauth"),
    "another issuer": changed(iss="tunnel.example.org"),
    "no audience": changed(aud=None),
    "no issuer": changed(iss=None),
    "no expiry": changed(exp=None),
    "no id": changed(jti=None),
    "no subject": changed(sub=None),
    "no birth": changed(iat=None),
    "a subject that is no number": changed(sub="root"),
    "an expiry that is no number": changed(exp="never"),
    "an expiry beyond all time": changed(exp=10**20),
    "an expiry in the past": changed(exp=1),
    "nothing": lambda claims: "",
    "no token": lambda claims: "a.b.c",
}


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
@pytest.mark.parametrize("how", FORGED)
async def test_a_token_that_is_not_ours_as_it_stands_lets_nobody_in(how: str, desk: Desk) -> None:
    async with desk:
        token = desk.sessions.issue(await desk.user(ALICE)).value
        claims = jwt.decode(token, options={"verify_signature": False})
        assert claims["aud"] == AUDIENCE
        assert await desk.sessions.read(cookies(desk.sessions, changed()(claims))) is not None
        assert await desk.sessions.read(cookies(desk.sessions, FORGED[how](claims))) is None


async def test_two_session_cookies_are_none(desk: Desk) -> None:
    async with desk:
        token = desk.sessions.issue(await desk.user(ALICE)).value
        one = f"{desk.sessions.cookie}={token}"
        assert await desk.sessions.read([one]) is not None
        assert await desk.sessions.read([one, one]) is None
        assert await desk.sessions.read([f"{desk.sessions.cookie}=tossed; {one}"]) is None


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
async def test_the_algorithm_is_the_one_that_is_configured(algorithm: str, desk: Desk) -> None:
    async with desk:
        signing = replace(SIGNING, secret=SIGNING.secret * 2, algorithm=algorithm)
        sessions = desk.sessions_of(signing)
        token = sessions.issue(await desk.user(ALICE)).value
        assert jwt.get_unverified_header(token)["alg"] == algorithm
        assert await sessions.read(cookies(sessions, token)) is not None
        assert await desk.sessions_of(SIGNING).read(cookies(sessions, token)) is None
