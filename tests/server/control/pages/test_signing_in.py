"""`/auth`: the browser's way in, at a real provider and by links, and the approval of a client."""

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from terratunnel.server.actors import OPERATOR
from terratunnel.server.control.throttle import TRIES
from terratunnel.testing.databases import Databases, SQLiteFiles
from terratunnel.testing.provider import Person, Provider, providing
from tests.server.control.lab import BASE_URL, PAGE, Lab, pages

ANN = Person(1, "ann", "ann@example.com", "Ann")
OURS = {"Origin": BASE_URL}


async def through(lab: Lab, kind: str, provider: Provider, path: str = "", as_whom: str = "ann") -> httpx.Response:
    """Sign in with a browser; returns our answer to its return."""
    begun = await lab.client.get(f"/auth/{kind}", params={"redirect_uri": path} if path else {}, headers=PAGE)
    assert begun.status_code == 303
    async with httpx.AsyncClient() as browser:
        back = await browser.get(f"{begun.headers['Location']}&as={as_whom}")
    return await lab.client.get(back.headers["Location"], headers=PAGE)


@pytest.mark.parametrize("kind", ["github", "gitlab"])
async def test_a_stranger_signs_in_and_finds_a_tunnel(databases: Databases, kind: str) -> None:
    async with providing(ANN) as provider, pages(databases.new(), provider.config(kind)) as lab:
        answer = await through(lab, kind, provider)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")
        home = await lab.client.get("/", headers=PAGE)
        assert "Your tunnel" in home.text
        assert "Get a key" in home.text
        me = (await lab.client.get("/auth/me")).json()
        assert (me["username"], me["provider"], me["is_admin"]) == ("ann", kind, False)
        out = await lab.client.post("/auth/logout", data={"csrf_token": me["csrf_token"]}, headers=OURS)
        assert out.headers["Location"] == "/"
        assert (await lab.client.get("/auth/me")).status_code == 401


async def test_a_session_that_was_ended_is_over_for_its_copies_too(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        ann = await lab.person("ann")
        await ann.post("/auth/logout")
        assert (await ann.get("/auth/me")).status_code == 401


async def test_the_sign_in_leads_back_to_where_one_wanted_to_go(sqlite: SQLiteFiles) -> None:
    async with providing(ANN) as provider, pages(sqlite.new(), provider.config("github")) as lab:
        page = await lab.client.get("/auth/login?redirect_uri=/auth/device?code=ABCD", headers=PAGE)
        assert 'href="/auth/github?redirect_uri=%2Fauth%2Fdevice%3Fcode%3DABCD"' in page.text
        answer = await through(lab, "github", provider, "/auth/device?code=ABCD")
        assert answer.headers["Location"] == "/auth/device?code=ABCD"
        again = await lab.client.get("/auth/login?redirect_uri=/auth/device", headers=PAGE)
        assert again.headers["Location"] == "/auth/device"


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/ x"])
async def test_the_sign_in_leads_nowhere_else(sqlite: SQLiteFiles, path: str) -> None:
    async with pages(sqlite.new()) as lab:
        for page in ("/auth/login", "/auth/github"):
            answer = await lab.client.get(page, params={"redirect_uri": path}, headers=PAGE)
            assert answer.status_code == 400
            assert "Location" not in answer.headers


async def test_a_callback_counts_in_the_browser_that_began_it_and_once(sqlite: SQLiteFiles) -> None:
    async with providing(ANN) as provider, pages(sqlite.new(), provider.config("github")) as lab:
        begun = await lab.client.get("/auth/github")
        async with httpx.AsyncClient() as browser:
            back = (await browser.get(f"{begun.headers['Location']}&as=ann")).headers["Location"]
        cookie = lab.client.cookies["terratunnel_oauth"]
        lab.client.cookies.clear()
        assert (await lab.client.get(back, headers=PAGE)).status_code == 400
        returned = {"Cookie": f"terratunnel_oauth={cookie}"}
        assert (await lab.client.get(back, headers=returned)).status_code == 303
        lab.client.cookies.clear()
        assert (await lab.client.get(back, headers=PAGE | returned)).status_code == 400


async def test_no_token_or_session_is_in_an_address(sqlite: SQLiteFiles) -> None:
    async with providing(ANN) as provider, pages(sqlite.new(), provider.config("github")) as lab:
        begun = await lab.client.get("/auth/github")
        assert set(parse_qs(urlsplit(begun.headers["Location"]).query)) == {
            "client_id", "redirect_uri", "response_type", "scope", "state", "code_challenge", "code_challenge_method",
        }  # fmt: skip
        answer = await through(lab, "github", provider)
        assert "tt_" not in answer.headers["Location"]
        cookie = next(value for value in answer.headers.get_list("Set-Cookie") if "terratunnel_session=ey" in value)
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie


async def test_who_says_no_at_the_provider_is_told_so(sqlite: SQLiteFiles) -> None:
    async with providing(ANN) as provider, pages(sqlite.new(), provider.config("github")) as lab:
        answer = await through(lab, "github", provider, as_whom="")
        assert answer.status_code == 403
        assert "GitHub did not let you in" in answer.text
        unknown = await lab.client.get("/auth/bitbucket", headers=PAGE)
        assert unknown.status_code == 404


async def test_a_page_without_providers_says_how_to_come_in(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        lab.services.oauth.providers = ()
        page = await lab.client.get("/auth/login", headers=PAGE)
    assert "terratunnel admin login-link NAME" in page.text
    assert "Sign in with" not in page.text


async def test_a_server_for_everybody_says_so(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new(), require_auth=False) as lab:
        page = await lab.client.get("/", headers=PAGE)
    assert "This server gives everybody a name" in page.text
    assert "terratunnel client --server-url ws://localhost:8000 " in page.text


# ---------------------------------------------------------------------- links


async def test_a_link_signs_in_once(databases: Databases) -> None:
    async with pages(databases.new()) as lab:
        ann = await lab.person("ann")
        made = await lab.services.links.create_link(OPERATOR, ann.actor.id)
        assert urlsplit(made.url).path == "/auth/link"
        for pasted in (made.url, f"  {made.token} "):
            answer = await lab.client.post("/auth/link", data={"token": pasted}, headers=OURS | PAGE)
            if pasted == made.url:
                assert answer.headers["Location"] == "/"
                assert (await lab.client.get("/auth/me")).json()["username"] == "ann"
        assert answer.status_code == 400
        assert "was used" in answer.text


async def test_links_cannot_be_guessed_at_leisure(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        for _ in range(TRIES):
            assert (await lab.client.post("/auth/link", data={"token": "x"}, headers=OURS)).status_code == 400
        assert (await lab.client.post("/auth/link", data={"token": "x"}, headers=OURS)).status_code == 429


async def test_opening_a_link_uses_nothing_up(sqlite: SQLiteFiles) -> None:
    """Mail scanners open links; only the form signs in."""
    async with pages(sqlite.new()) as lab:
        ann = await lab.person("ann")
        made = await lab.services.links.create_link(OPERATOR, ann.actor.id)
        assert (await lab.client.get(made.url, headers=PAGE)).status_code == 200
        answer = await lab.client.post("/auth/link", data={"token": made.token}, headers=OURS)
        assert answer.status_code == 303


# ---------------------------------------------------------------------- terratunnel login


async def test_who_has_several_tunnels_chooses_one(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        root = await lab.person("root", admin=True)
        second = await lab.services.accounts.create_tunnel(root.actor, "billing")
        codes = await lab.services.links.start_device("a client")
        page = await root.get(f"/auth/device?code={codes.user_code}")
        assert f'<option value="{second.id}">{second.subdomain} (billing)</option>' in page.text
        await root.post("/auth/device", {"code": codes.user_code, "decision": "approve", "tunnel_id": str(second.id)})
        answer = await lab.client.post("/api/auth/device/token", json={"device_code": codes.device_code})
        assert answer.json()["tunnel_url"] == f"http://{second.subdomain}.localhost:8000"


async def test_another_s_tunnel_is_not_to_be_had(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        ann, bob = await lab.person("ann"), await lab.person("bob")
        codes = await lab.services.links.start_device("a client")
        form = {"code": codes.user_code, "decision": "approve", "tunnel_id": str(bob.tunnel_id)}
        assert (await ann.post("/auth/device", form)).status_code == 404
        assert (await ann.post("/auth/device", form | {"decision": "else"})).status_code == 422


async def test_a_code_that_nobody_waits_for_is_said(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        ann = await lab.person("ann")
        assert "The code that" in (await ann.get("/auth/device")).text
        page = await ann.get("/auth/device?code=AAAA-AAAA")
        assert page.status_code == 404
        assert "No login waits for this code" in page.text
