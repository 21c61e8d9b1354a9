"""Sign-in at a real provider over HTTP, and every way in which it must come to nothing (security.md A2, §1.1-3)."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from html import unescape
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import jwt
import pytest

from terratunnel.server.auth.oauth import STATE_SECONDS, OAuth, Redirection, SignedIn, SignInFailed, safe_path
from terratunnel.server.config import AccountsConfig
from terratunnel.server.storage.users import Profile
from terratunnel.testing.clock import Clock
from terratunnel.testing.provider import CLIENT_ID, CLIENT_SECRET, Person, Provider, providing

SECRET = b"0123456789abcdef0123456789abcdef"
BASE_URL = "https://tunnel.example.com"
ALICE = Person(7, "alice", "alice@example.com", "Alice")
BOB = Person(8, "bob", "bob@example.com", email_hidden=True)
KINDS = ("github", "gitlab")


class Lab:
    """A provider, and a server's side of the sign-in."""

    def __init__(self, provider: Provider, **changes: str) -> None:
        self.provider = provider
        self.clock = Clock(1_750_000_000.0)
        config = AccountsConfig(tuple(provider.config(kind) for kind in KINDS), **changes)  # type: ignore[arg-type]
        self.oauth = OAuth(config, SECRET, lambda: BASE_URL, True, self.clock)
        self.browser = httpx.AsyncClient(trust_env=False)

    async def chosen(self, begun: Redirection, who: str) -> dict[str, str]:
        """Go to the provider as a browser does and follow a link of its page; return what the callback is asked."""
        page = await self.browser.get(begun.url)
        assert page.status_code == 200
        links = [unescape(link) for link in re.findall(r'href="([^"]+)"', page.text)]
        link = next(link for link in links if parse_qs(link, keep_blank_values=True)["as"] == [who])
        answer = await self.browser.get(f"{self.provider.url}{link}")
        back = urlsplit(answer.headers["location"])
        assert f"{back.scheme}://{back.netloc}" == BASE_URL
        assert back.path in [f"/auth/{kind}/callback" for kind in KINDS]
        return dict(parse_qsl(back.query))

    async def sign_in(self, kind: str, who: str = "alice", redirect_uri: str = "") -> SignedIn:
        """The whole way."""
        begun = self.oauth.begin(kind, redirect_uri)
        return await self.oauth.finish(kind, await self.chosen(begun, who), cookies(begun))

    async def failure(self, work: Awaitable[object]) -> SignInFailed:
        """How it comes to nothing."""
        with pytest.raises(SignInFailed) as failed:
            await work
        return failed.value


def cookies(begun: Redirection) -> list[str]:
    """What the browser that began it sends."""
    return [f"{begun.cookie.name}={begun.cookie.value}"]


@asynccontextmanager
async def lab(**changes: str) -> AsyncIterator[Lab]:
    async with providing(ALICE, BOB) as provider:
        found = Lab(provider, **changes)
        async with found.browser:
            yield found


# ---------------------------------------------------------------------- how it goes well


async def test_a_sign_in_at_github_tells_who_it_is() -> None:
    async with lab() as at:
        signed_in = await at.sign_in("github", redirect_uri="/tunnels/new?a=1")
        assert signed_in.profile == Profile(
            "github", "7", "alice", "alice@example.com", "Alice", "https://avatars.example.com/7"
        )
        assert signed_in.next_path == "/tunnels/new?a=1"
        assert (signed_in.cookie.name, signed_in.cookie.value) == ("__Host-terratunnel_oauth", "")


async def test_a_sign_in_at_gitlab_tells_who_it_is() -> None:
    async with lab() as at:
        signed_in = await at.sign_in("gitlab")
        assert signed_in.profile == Profile("gitlab", "7", "alice", "alice@example.com", "Alice", None)
        assert signed_in.next_path == "/"


async def test_an_address_that_github_hides_is_asked_for() -> None:
    async with lab() as at:
        assert (await at.sign_in("github", "bob")).profile.email == "bob@example.com"
        token = at.provider.token_of("bob", "github", scope="read:user")
        assert (await at.oauth.exchange_token("github", token)).email is None


@pytest.mark.parametrize(("kind", "scope"), [("github", "read:user user:email"), ("gitlab", "read_user")])
async def test_a_browser_is_sent_with_what_the_provider_needs_and_no_more(kind: str, scope: str) -> None:
    async with lab() as at:
        begun = at.oauth.begin(kind)
        query = dict(parse_qsl(urlsplit(begun.url).query))
        assert begun.url.startswith(at.provider.url)
        assert query.pop("state")
        assert len(query.pop("code_challenge")) == 43
        assert query == {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": f"{BASE_URL}/auth/{kind}/callback",
            "scope": scope,
            "code_challenge_method": "S256",
        }
        assert CLIENT_SECRET not in begun.url + begun.cookie.value
        assert (begun.cookie.name, begun.cookie.secure) == ("__Host-terratunnel_oauth", True)
        assert begun.cookie.max_age_s == STATE_SECONDS


async def test_no_token_and_no_code_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "terratunnel")
    async with lab() as at:
        begun = at.oauth.begin("github")
        query = await at.chosen(begun, "alice")
        await at.oauth.finish("github", query, cookies(begun))
        ours = [record.getMessage() for record in caplog.records if record.name.startswith("terratunnel")]
        assert not [line for line in ours if query["code"] in line or query["state"] in line]


# ---------------------------------------------------------------------- where it leads back to


@pytest.mark.parametrize(
    "path", ["/", "/tunnels/new", "/tunnels/7/keys/new?x=%2F%2Fexample.org#top", "/@user", "/?x=//y"]
)
def test_a_path_of_ours_is_where_it_leads_back_to(path: str) -> None:
    assert safe_path(path) == path


@pytest.mark.parametrize(
    "target",
    [
        *(
            "https://example.org",
            "//example.org",
            "///example.org",
            "/\\example.org",
            "\\\\example.org",
            "\\/example.org",
        ),
        *("/.//example.org", "/..//example.org", "/tunnels/..//example.org", "/;//user@example.org"),
        *("javascript:alert(1)", "example.org", "https:example.org", "https://tunnel.example.com@example.org/"),
        *("/\t/example.org", "/\n/example.org", "/\r\nSet-Cookie: a=b", "\x00/", " /", "/ü", "/" + "x" * 1_024),
    ],
)
async def test_nothing_leads_anywhere_else(target: str) -> None:
    async with lab() as at:
        with pytest.raises(SignInFailed, match="redirect_uri is not a path of this site") as failed:
            at.oauth.begin("github", target)
        assert failed.value.status == 400


# ---------------------------------------------------------------------- whose callback it is


async def begun_and_chosen(at: Lab) -> tuple[Redirection, dict[str, str]]:
    begun = at.oauth.begin("github")
    return begun, await at.chosen(begun, "alice")


async def test_a_callback_in_another_browser_comes_to_nothing() -> None:
    async with lab() as at:
        _, query = await begun_and_chosen(at)
        other = at.oauth.begin("github")
        for sent in ([], cookies(other), ["__Host-terratunnel_oauth=x"]):
            failed = await at.failure(at.oauth.finish("github", query, sent))
            assert (failed.status, "not begun in this browser" in failed.message) == (400, True)


async def test_a_callback_counts_once() -> None:
    async with lab() as at:
        begun, query = await begun_and_chosen(at)
        await at.oauth.finish("github", query, cookies(begun))
        again = {**query, "code": (await begun_and_chosen(at))[1]["code"]}
        assert (await at.failure(at.oauth.finish("github", again, cookies(begun)))).status == 400


async def test_a_callback_that_comes_twice_at_once_counts_once() -> None:
    async with lab() as at:
        begun, query = await begun_and_chosen(at)
        both = await asyncio.gather(
            *(at.oauth.finish("github", query, cookies(begun)) for _ in range(2)), return_exceptions=True
        )
        assert sum(isinstance(each, SignedIn) for each in both) == 1


async def test_a_callback_that_comes_too_late_comes_to_nothing() -> None:
    async with lab() as at:
        begun, query = await begun_and_chosen(at)
        at.clock.now += STATE_SECONDS
        assert (await at.failure(at.oauth.finish("github", query, cookies(begun)))).status == 400


async def test_a_callback_of_another_provider_comes_to_nothing() -> None:
    async with lab() as at:
        begun, query = await begun_and_chosen(at)
        assert (await at.failure(at.oauth.finish("gitlab", query, cookies(begun)))).status == 400


@pytest.mark.parametrize("state", ["", "x", "\u00fc"])
async def test_a_state_that_is_not_the_one_comes_to_nothing(state: str) -> None:
    async with lab() as at:
        begun, query = await begun_and_chosen(at)
        assert (await at.failure(at.oauth.finish("github", {**query, "state": state}, cookies(begun)))).status == 400
        del query["state"]
        assert (await at.failure(at.oauth.finish("github", query, cookies(begun)))).status == 400


async def test_two_cookies_of_the_sign_in_are_none() -> None:
    async with lab() as at:
        begun, query = await begun_and_chosen(at)
        assert (await at.failure(at.oauth.finish("github", query, cookies(begun) * 2))).status == 400


async def test_a_cookie_that_others_have_signed_comes_to_nothing() -> None:
    async with lab() as at:
        begun, query = await begun_and_chosen(at)
        claims = jwt.decode(begun.cookie.value, options={"verify_signature": False})
        forged = jwt.encode(claims, SECRET, "HS256")  # even with the secret of the sessions
        sent = [f"{begun.cookie.name}={forged}"]
        assert (await at.failure(at.oauth.finish("github", query, sent))).status == 400


async def test_a_code_is_worth_nothing_to_who_did_not_begin_the_sign_in() -> None:
    """A code that was stolen on its way is for another PKCE verifier."""
    async with lab() as at:
        _, stolen = await begun_and_chosen(at)
        own = at.oauth.begin("github")
        query = {**await at.chosen(own, "bob"), "code": stolen["code"]}
        failed = await at.failure(at.oauth.finish("github", query, cookies(own)))
        assert (failed.status, failed.message) == (502, "GitHub did not accept the sign-in; begin again.")


async def test_who_says_no_at_the_provider_is_told_so_in_our_words(caplog: pytest.LogCaptureFixture) -> None:
    async with lab() as at:
        begun = at.oauth.begin("github")
        query = await at.chosen(begun, "")
        assert query["error"] == "access_denied"
        query["error_description"] = "<script>alert(1)</script>"
        failed = await at.failure(at.oauth.finish("github", query, cookies(begun)))
        assert (failed.status, "did not let you in" in failed.message) == (403, True)
        assert "script" not in failed.message


async def test_an_error_without_the_state_is_not_even_read() -> None:
    async with lab() as at:
        assert (await at.failure(at.oauth.finish("github", {"error": "x"}, []))).status == 400


async def test_states_that_are_over_are_forgotten() -> None:
    async with lab() as at:
        for _ in range(3):
            await at.sign_in("github")
        assert len(at.oauth._used) == 3
        at.clock.now += STATE_SECONDS
        await at.sign_in("github")
        assert len(at.oauth._used) == 1


@pytest.mark.parametrize("name", ["", "google", "GitHub", "../github"])
async def test_a_provider_that_is_not_configured_does_not_exist(name: str) -> None:
    async with lab() as at:
        with pytest.raises(SignInFailed) as failed:
            at.oauth.begin(name)
        assert failed.value.status == 404
        assert (await at.failure(at.oauth.finish(name, {}, []))).status == 404
        assert (await at.failure(at.oauth.exchange_token(name, "x"))).status == 404


# ---------------------------------------------------------------------- provider tokens


@pytest.mark.parametrize("kind", KINDS)
async def test_a_token_tells_whose_it_is(kind: str) -> None:
    async with lab() as at:
        profile = await at.oauth.exchange_token(kind, at.provider.token_of("alice", kind))
        assert (profile.provider, profile.provider_user_id, profile.username) == (kind, "7", "alice")


@pytest.mark.parametrize("token", ["", "wrong", "x" * 4_097, "two words", "a\r\nX-A: b", "\u00fc"])
async def test_a_token_that_the_provider_does_not_know_is_refused_and_not_repeated(token: str) -> None:
    async with lab() as at:
        failed = await at.failure(at.oauth.exchange_token("github", token))
        assert failed.status == 401
        assert not token or token not in failed.message


async def test_a_token_of_one_provider_is_none_of_the_other() -> None:
    async with lab() as at:
        token = at.provider.token_of("alice", "gitlab")
        assert (await at.failure(at.oauth.exchange_token("github", token))).status == 401


@pytest.mark.parametrize("kind", KINDS)
async def test_a_token_that_another_app_was_given_is_worth_nothing_here(kind: str) -> None:
    """Otherwise whoever runs that app could get the key of everybody who has signed in to it."""
    async with lab() as at:
        ours, theirs = (at.provider.token_of("alice", kind, app) for app in (CLIENT_ID, "another-app"))
        assert (await at.oauth.exchange_token(kind, ours)).username == "alice"
        failed = await at.failure(at.oauth.exchange_token(kind, theirs))
        assert (failed.status, "has not given this token to this server's app" in failed.message) == (401, True)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_takes_any_token_takes_those_of_others_too(kind: str) -> None:
    async with lab(token_exchange="any") as at:
        theirs = at.provider.token_of("alice", kind, "another-app")
        assert (await at.oauth.exchange_token(kind, theirs)).username == "alice"


async def test_where_tokens_are_not_exchanged_it_is_said() -> None:
    async with lab(token_exchange="off") as at:
        failed = await at.failure(at.oauth.exchange_token("github", at.provider.token_of("alice", "github")))
        assert failed.status == 403


async def test_a_provider_that_is_down_is_its_own_fault() -> None:
    async with lab() as at:
        nowhere = replace(at.provider.config("github"), url="http://127.0.0.1:1", api_url="http://127.0.0.1:1")
        oauth = OAuth(AccountsConfig((nowhere,)), SECRET, lambda: BASE_URL, True)
        failed = await at.failure(oauth.exchange_token("github", "token"))
        assert (failed.status, failed.message) == (502, "GitHub does not answer; try again in a moment.")


def test_the_callback_is_made_from_the_configuration_and_never_from_a_request() -> None:
    oauth = OAuth(AccountsConfig(), SECRET, lambda: BASE_URL, True)
    taken: Callable[[str], str] = oauth.callback_url
    assert taken("github") == "https://tunnel.example.com/auth/github/callback"
