"""Every page in a real browser: for everybody to use, in the light and in the dark, on a phone and on a desk.

axe looks for what keeps people out; what is seen is for people to judge, what runs off the screen is not.
"""

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from terratunnel.server.control import words
from tests.e2e.support import provider as providers
from tests.e2e.support.browser import Visitor, chromium
from tests.e2e.support.lab import Lab, Tunnel, port_of

WIDTHS = (390, 1280)
HEIGHT = 900
# As long as a user's name may be, and without a place to break it at.
LONG_NAME = "x" * 255


@dataclass
class Site:
    """A server with a live tunnel, and the three who look at its pages."""

    url: str
    tunnel: Tunnel
    anybody: Visitor
    grace: Visitor  # has the tunnel
    ada: Visitor  # administrator

    def who(self, name: str) -> Visitor:
        """One of them."""
        visitor: Visitor = getattr(self, name)
        return visitor


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def site(module_lab: Lab, browser: Browser) -> Iterator[Site]:
    provider = module_lab.own(providers.start(module_lab.folder))
    server = module_lab.server(env={"REQUIRE_AUTH_FOR_TUNNELS": "true"} | providers.variables(provider))
    url = str(server.wait("ready")["public_url"])
    anybody, grace, ada = Visitor(browser, url), Visitor(browser, url), Visitor(browser, url)
    for visitor, name in ((grace, "grace"), (ada, "ada")):
        visitor.goes_to("/")
        visitor.clicks("Sign in with GitHub")
        visitor.clicks(f"Sign in as {name}")
        visitor.page.wait_for_url("/")
    assert module_lab.start("admin", "admin", "user", "create", LONG_NAME).wait_end() == 0
    key = new_key(grace)
    client = module_lab.client(port_of(server), module_lab.upstream().url, env={"TERRATUNNEL_API_KEY": key})
    yield Site(url, module_lab.join(server, client), anybody, grace, ada)
    for visitor in (anybody, grace, ada):
        visitor.leaves()


def new_key(visitor: Visitor) -> str:
    visitor.goes_to("/tunnels/1/keys/new")
    visitor.page.locator("form.card button").click()
    return visitor.page.locator(".copyable code").first.inner_text()


def opened(path: str) -> Callable[[Visitor], None]:
    return lambda visitor: visitor.goes_to(path)


def queried(sql: str) -> Callable[[Visitor], None]:
    def query(visitor: Visitor) -> None:
        visitor.goes_to("/admin/database")
        visitor.page.fill("#sql", sql)
        visitor.clicks("Run")

    return query


def created(visitor: Visitor) -> None:
    visitor.goes_to("/tunnels/new")
    visitor.page.fill("#name", "Billing webhooks")
    visitor.clicks("Create")
    visitor.clicks("Make the key")
    visitor.sees("Copy it now")


def asked_by_a_client(visitor: Visitor) -> None:
    answer = visitor.page.request.post("/api/auth/device", data={"client_name": "grace on a laptop"})
    visitor.goes_to(f"/auth/device?code={answer.json()['user_code']}")


PAGES: dict[str, tuple[str, Callable[[Visitor], None]]] = {
    "sign-in": ("anybody", opened("/")),
    "sign-in link": ("anybody", opened("/auth/link")),
    "sign-in link with its token": ("anybody", opened("/auth/link#token")),
    "not found": ("anybody", opened("/nothing")),
    "dashboard": ("grace", opened("/")),
    "another key": ("grace", opened("/tunnels/1/keys/new")),
    "a client's code": ("grace", opened("/auth/device")),
    "a client's login": ("grace", asked_by_a_client),
    "forbidden": ("grace", opened("/admin/users")),
    "everything": ("ada", opened("/")),
    "new tunnel": ("ada", opened("/tunnels/new")),
    "key shown": ("ada", created),
    "tunnel to be deleted": ("ada", opened("/tunnels/1/delete")),
    "users": ("ada", opened("/admin/users")),
    "user": ("ada", opened("/admin/users/1")),
    "user of a long name": ("ada", opened("/admin/users/3")),
    "user to be deleted": ("ada", opened("/admin/users/1/delete")),
    "audit log": ("ada", opened("/admin/audit")),
    "database": ("ada", opened("/admin/database?table=tunnel_audit_log")),
    "query": ("ada", queried("SELECT * FROM users, tunnels")),
    "query refused": ("ada", queried("DROP TABLE users")),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_for_everybody_to_use(site: Site, name: str) -> None:
    who, opening = PAGES[name]
    visitor = site.who(who)
    opening(visitor)
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            visitor.page.set_viewport_size({"width": width, "height": HEIGHT})
            visitor.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
            assert violations(visitor.page) == [], f"{scheme}, {width} wide"
            shown = visitor.page.evaluate("document.documentElement.scrollWidth")
            assert shown <= width, f"{scheme}: runs off a screen {width} wide by {shown - width}"


def violations(page: Page) -> list[str]:
    """What axe finds, and where."""
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {[node['target'] for node in each['nodes']]}" for each in found]


@pytest.mark.parametrize("name", ["dashboard", "everything"])
def test_a_page_does_without_scripts(browser: Browser, site: Site, name: str) -> None:
    """Only what scripts do is gone: no button is there that does nothing."""
    who, _ = PAGES[name]
    cookies = site.who(who).page.context.cookies()
    context = browser.new_context(base_url=site.url, java_script_enabled=False)
    context.add_cookies([{"name": cookie["name"], "value": cookie["value"], "url": site.url} for cookie in cookies])
    page = context.new_page()
    page.goto("/")
    expect(page.locator("article").first).to_be_visible()
    assert page.locator("button:visible").all_inner_texts() == ["Sign out"]
    context.close()


def test_numbers_move_by_themselves(site: Site) -> None:
    site.grace.goes_to("/")
    site.ada.goes_to("/")
    requests = int(site.grace.page.locator("[data-own-tunnels] [data-field=requests]").inner_text())
    with site.tunnel.visit() as wire:
        wire.send(site.tunnel.get(b"/"))  # the service does not answer: it was asked all the same
        for page in (site.grace.page, site.ada.page):
            shown = page.locator("[data-own-tunnels], [data-all-tunnels]").first.locator("[data-field=requests]").first
            expect(shown).to_have_text(str(requests + 1))
    expect(site.ada.page.locator("[data-all-tunnels] [data-field=rate_in]").first).to_have_text("0 B/s")


def test_a_row_of_a_live_tunnel_keeps_the_focus_while_numbers_move(site: Site) -> None:
    site.ada.goes_to("/")
    site.ada.page.locator("[data-all-tunnels] a").first.focus()
    expect(site.ada.page.locator("[data-all-tunnels] [data-field=rate_in]").first).to_have_text("0 B/s")
    assert site.ada.page.evaluate("document.activeElement.dataset.field") == "url"


def test_what_is_copied_is_what_is_shown(site: Site) -> None:
    site.grace.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    site.grace.goes_to("/")
    button = site.grace.page.get_by_role("button", name="Copy the URL")
    button.focus()
    site.grace.page.keyboard.press("Enter")
    expect(button).to_have_text("Copied")
    expect(site.grace.page.get_by_role("status")).to_have_text("Copied")
    host = site.tunnel.host.decode()
    assert site.grace.page.evaluate("navigator.clipboard.readText()") == f"http://{host}"


def test_the_first_key_pressed_leads_past_the_head(site: Site) -> None:
    site.ada.goes_to("/admin/users")
    site.ada.page.keyboard.press("Tab")
    expect(site.ada.page.get_by_role("link", name="Skip to the content")).to_be_focused()
    site.ada.page.keyboard.press("Enter")
    site.ada.page.keyboard.press("Tab")
    expect(site.ada.page.get_by_label("Name or address")).to_be_focused()


def test_pages_and_their_scripts_write_times_and_sizes_alike(site: Site) -> None:
    site.anybody.goes_to("/")
    now = datetime(2025, 6, 1, 12, tzinfo=UTC)
    seconds = [0, 1, 59, 60, 61, 3_599, 3_600, 86_400, 86_400 * 29, 86_400 * 31, 86_400 * 400, 86_400 * 4_000]
    sizes = [0, 1, 999, 1_000, 1_049, 99_949, 99_951, 999_499, 999_501, 123_456_789, 10**12, 10**18]
    written = site.anybody.page.evaluate(
        """async ([seconds, sizes]) => {
            const script = document.querySelector("script[type=module]").src;
            const { ago, number, size } = await import(new URL("format.js", script));
            return [seconds.map((count) => ago(0, count * 1000)), sizes.map(size), sizes.map(number)];
        }""",
        [seconds, sizes],
    )
    assert written[0] == [words.ago(now - timedelta(seconds=count), now) for count in seconds]
    assert written[1] == [words.size(count) for count in sizes]
    assert written[2] == [words.number(count) for count in sizes]


def test_the_command_of_a_key_is_one_that_a_shell_takes(site: Site) -> None:
    created(site.ada)
    key, command = site.ada.page.locator(".copyable code").all_inner_texts()
    assert shlex.split(command)[:2] == ["terratunnel", "client"]
    assert key in shlex.split(command)
