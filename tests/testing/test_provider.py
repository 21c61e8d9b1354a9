"""The provider of our tests is as strict as the real ones: a sign-in that is wrong fails here as well."""

from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from terratunnel.testing.provider import CLIENT_ID, CLIENT_SECRET, Person, Provider, providing

ALICE = Person(7, "alice<b>", "alice@example.com")
BACK = "https://tunnel.example.com/auth/github/callback"
VERIFIER = "a" * 43
CHALLENGE = "ZtNPunH49FD35FWYhT5Tv8I7vRKQJ8uxMaL0_9eHjNA"  # RFC 7636 §4.2, of the verifier
ASKED = {
    "client_id": CLIENT_ID,
    "response_type": "code",
    "state": "s",
    "redirect_uri": BACK,
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}
TOKEN = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "redirect_uri": BACK, "code_verifier": VERIFIER}


async def code_of(browser: httpx.AsyncClient, provider: Provider) -> str:
    answer = await browser.get(f"{provider.url}/login/oauth/authorize?{urlencode(ASKED | {'as': ALICE.username})}")
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert query["state"] == ["s"]
    return query["code"][0]


async def test_a_page_asks_who_signs_in_and_escapes_it() -> None:
    async with providing(ALICE) as provider, httpx.AsyncClient(trust_env=False) as browser:
        page = await browser.get(f"{provider.url}/oauth/authorize?{urlencode(ASKED)}")
        assert "Sign in as alice&lt;b&gt;" in page.text
        assert "<b>" not in page.text


@pytest.mark.parametrize("missing", ["client_id", "response_type", "state", "code_challenge", "code_challenge_method"])
async def test_a_browser_that_was_sent_wrongly_stays_here(missing: str) -> None:
    async with providing(ALICE) as provider, httpx.AsyncClient(trust_env=False) as browser:
        asked = {name: value for name, value in ASKED.items() if name != missing}
        assert (await browser.get(f"{provider.url}/login/oauth/authorize?{urlencode(asked)}")).status_code == 400


@pytest.mark.parametrize(("path", "status"), [("/login/oauth/access_token", 200), ("/oauth/token", 400)])
@pytest.mark.parametrize("wrong", [*TOKEN, "code", ""])
async def test_a_code_is_for_one_app_one_callback_and_one_verifier(path: str, status: int, wrong: str) -> None:
    async with providing(ALICE) as provider, httpx.AsyncClient(trust_env=False) as browser:
        form = TOKEN | {"code": await code_of(browser, provider)}
        good = await browser.post(provider.url + path, data=form | ({wrong: "wrong"} if wrong else {}))
        assert ("access_token" in good.json()) is not bool(wrong)
        again = await browser.post(provider.url + path, data=form)
        if wrong != "code":  # a code that was tried is used up
            assert (again.status_code, again.json()["error"]) == (status, "invalid_grant")


async def test_a_test_may_say_what_a_path_answers() -> None:
    async with providing(ALICE) as provider, httpx.AsyncClient(trust_env=False) as browser:
        provider.answers["/oauth/token"] = (503, b"busy")
        answer = await browser.post(f"{provider.url}/oauth/token")
        assert (answer.status_code, answer.content) == (503, b"busy")
