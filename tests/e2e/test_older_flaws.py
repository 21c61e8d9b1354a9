"""What was wrong in the older program and touches accounts (security.md §1), against a whole server and a provider.

Over HTTP, as a browser or an attacker comes; the number of the flaw stands in each test. Those of the road are tested
where they belong: 5 in the client, 6 in `test_acceptor`, 7-10 and 12-15 beside the bytes, 11 in the SQL browser.
"""

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from terratunnel.server.config import AccountsConfig, ConfigError, ServerConfig
from terratunnel.server.secret import server_secret
from terratunnel.testing.provider import Person, Provider, providing
from tests.server.lab import Lab, running

ALICE = Person(7, "alice", "alice@example.com")
EVIL = "https://evil.example.org/steal"


class Site:
    """A server, its provider, and browsers."""

    def __init__(self, lab: Lab, provider: Provider) -> None:
        self.lab = lab
        self.provider = provider
        self.url = f"http://localhost:{lab.server.port}"
        self.seen: list[httpx.Response] = []

    def browser(self) -> httpx.AsyncClient:
        """A browser with cookies of its own; what it sees is kept in `seen`."""

        async def note(response: httpx.Response) -> None:
            await response.aread()
            self.seen.append(response)

        return httpx.AsyncClient(base_url=self.url, trust_env=False, event_hooks={"response": [note]})

    async def back_from_provider(self, browser: httpx.AsyncClient, path: str = "/auth/github") -> str:
        """Begin a sign-in and let Alice in at the provider; return the address of the callback."""
        begun = await browser.get(path)
        page = await browser.get(begun.headers["location"])
        link = unescape(next(link for link in re.findall(r'href="([^"]+)"', page.text) if "as=alice" in link))
        return str((await browser.get(f"{self.provider.url}{link}")).headers["location"])

    async def who(self, browser: httpx.AsyncClient) -> str | None:
        """Who is signed in in a browser."""
        answer = await browser.get("/auth/me")
        return str(answer.json()["username"]) if answer.status_code == 200 else None


@asynccontextmanager
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with providing(ALICE) as provider:
        accounts = AccountsConfig((provider.config("github"), provider.config("gitlab")))
        config = ServerConfig("127.0.0.1", 0, db_path=str(tmp_path / "test.db"), accounts=accounts)
        async with running(config=config) as lab:
            yield Site(lab, provider)


async def test_a_sign_in_works_as_it_should(tmp_path: Path) -> None:
    """Without this the refusals below would show nothing."""
    async with site(tmp_path) as at, at.browser() as browser:
        for kind in ("github", "gitlab"):
            callback = await at.back_from_provider(browser, f"/auth/{kind}?redirect_uri=/tunnels/new")
            signed_in = await browser.get(callback)
            assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/tunnels/new")
            assert await at.who(browser) == "alice"


@pytest.mark.parametrize("path", ["/auth/github/authorize", "/auth/gitlab/authorize"])
async def test_1_no_address_gives_tokens_and_keys_to_any_site(path: str, tmp_path: Path) -> None:
    async with site(tmp_path) as at, at.browser() as browser:
        answer = await browser.get(path, params={"redirect_uri": EVIL})
        assert answer.status_code == 404
        assert "location" not in answer.headers


async def test_1_no_token_and_no_key_is_in_an_address_or_a_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "terratunnel")
    async with site(tmp_path) as at, at.browser() as browser:
        callback = await at.back_from_provider(browser)
        await browser.get(callback)
        token = at.provider.token_of("alice", "github")
        exchanged = await browser.post("/api/auth/exchange", json={"github_token": token})
        key = exchanged.json()["api_key"]
        code = parse_qs(urlsplit(callback).query)["code"][0]
        session = browser.cookies["terratunnel_session"]
        written = [*at.lab.access_log, *(record.getMessage() for record in caplog.records if "terra" in record.name)]
        for secret in (code, token, key, session):
            assert not [line for line in written if secret in line]
        addresses = [str(seen.request.url) for seen in at.seen] + [seen.headers.get("location", "") for seen in at.seen]
        for secret in (token, key, session, *at.provider._tokens):
            assert not [address for address in addresses if secret in address]


@pytest.mark.parametrize("target", [EVIL, "//evil.example.org", "/\\evil.example.org", "javascript:alert(1)"])
async def test_2_a_sign_in_leads_nowhere_else(target: str, tmp_path: Path) -> None:
    async with site(tmp_path) as at, at.browser() as browser:
        for path in ("/auth/github", "/auth/gitlab", "/auth/login"):
            answer = await browser.get(path, params={"redirect_uri": target})
            assert answer.status_code == 400
            assert "location" not in answer.headers
            assert "set-cookie" not in answer.headers


async def test_3_nobody_is_signed_in_by_somebody_elses_callback(tmp_path: Path) -> None:
    """Login CSRF: with the attacker's callback the victim would work in the attacker's account."""
    async with site(tmp_path) as at, at.browser() as attacker, at.browser() as victim:
        callback = await at.back_from_provider(attacker)
        await victim.get("/auth/github")  # even if the victim was about to sign in
        answer = await victim.get(callback)
        assert answer.status_code == 400
        assert await at.who(victim) is None
        assert (await attacker.get(callback)).status_code == 303


async def test_3_a_callback_works_once(tmp_path: Path) -> None:
    async with site(tmp_path) as at, at.browser() as browser:
        begun = await browser.get("/auth/github")
        cookie = begun.headers["set-cookie"].partition(";")[0]
        page = await browser.get(begun.headers["location"])
        link = unescape(next(link for link in re.findall(r'href="([^"]+)"', page.text) if "as=alice" in link))
        callback = (await browser.get(f"{at.provider.url}{link}")).headers["location"]
        assert (await browser.get(callback)).status_code == 303
        async with at.browser() as thief:
            assert (await thief.get(callback, headers={"Cookie": cookie})).status_code == 400


def test_4_a_server_does_not_start_with_a_secret_that_others_know() -> None:
    config = ServerConfig(domain="tunnel.example.com")
    for secret in ("", "short", "your-secret-key-change-in-production"):
        with pytest.raises(ConfigError, match="JWT_SECRET"):
            server_secret(ServerConfig(domain=config.domain, secret=secret))


async def test_a_provider_that_answers_with_a_page_of_its_own_puts_nothing_into_ours(tmp_path: Path) -> None:
    async with site(tmp_path) as at, at.browser() as browser:
        callback = await at.back_from_provider(browser)
        at.provider.answers["/api/v3/user"] = (500, b"<script>alert(1)</script>")
        answer = await browser.get(callback, headers={"Accept": "text/html"})
        assert answer.status_code == 502
        assert "alert(1)" not in answer.text
        assert await at.who(browser) is None
