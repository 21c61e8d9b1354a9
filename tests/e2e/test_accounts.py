"""The whole journey of an account, in a real browser, against real processes of server, client and provider.

Sign-in → a tunnel → a key → a client → live on the page → a request → rotation → cut off → all of it in the log.
"""

import re
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, expect

from terratunnel.client.app import ExitStatus
from tests.e2e.support import provider as providers
from tests.e2e.support.browser import TIMEOUT_S, Visitor, chromium
from tests.e2e.support.lab import Lab, Tunnel, port_of
from tests.e2e.support.processes import Event, Program
from tests.e2e.support.upstream import RawUpstream

REASON = "The key of this tunnel was revoked: a new key has replaced it."
LABELS = {"github": "GitHub", "gitlab": "GitLab"}
NEED_A_KEY = {"REQUIRE_AUTH_FOR_TUNNELS": "true"}

NewVisitor = Callable[[str], Visitor]
SignIn = Callable[[Visitor, str], None]


@dataclass
class Site:
    """A server, and how somebody signs in there."""

    server: Program
    sign_in: SignIn

    @property
    def url(self) -> str:
        return str(self.server.wait("ready")["public_url"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def visitor(browser: Browser) -> Iterator[NewVisitor]:
    """Makes people; each has a browser profile of their own."""
    with ExitStack() as stack:

        def make(base_url: str) -> Visitor:
            made = Visitor(browser, base_url)
            stack.callback(made.leaves)
            return made

        yield make


@pytest.fixture(scope="module")
def site(module_lab: Lab) -> Site:
    """A server for all tests but the journeys."""
    return start_site(module_lab, "github")


def start_site(lab: Lab, kind: str) -> Site:
    """A server with a GitHub and a GitLab to sign in with."""
    provider = lab.own(providers.start(lab.folder))
    return Site(lab.server(env=NEED_A_KEY | providers.variables(provider)), with_provider(kind))


def with_provider(kind: str) -> SignIn:
    """Sign in as a person clicks."""

    def sign_in(visitor: Visitor, username: str) -> None:
        visitor.goes_to("/")
        visitor.clicks(f"Sign in with {LABELS[kind]}")
        visitor.clicks(f"Sign in as {username}")
        visitor.page.wait_for_url("/")

    return sign_in


def admin(lab: Lab, *arguments: str) -> list[Event]:
    """Run `terratunnel admin` beside the server, on the same database; what it answers."""
    program = lab.start("admin", "admin", *arguments, "--output", "json")
    assert program.wait_end() == 0, program.report()
    return program.events


def sign_in_link(lab: Lab, base_url: str, username: str) -> str:
    """Make a user at the command line, and a link that signs them in once."""
    admin(lab, "user", "create", username)
    (link,) = admin(lab, "login-link", username, "--public-url", base_url)
    return str(link["url"])


def with_link(lab: Lab, base_url: str) -> SignIn:
    """Sign in by a one-time link of the operator's."""

    def sign_in(visitor: Visitor, username: str) -> None:
        visitor.goes_to(sign_in_link(lab, base_url, username))
        visitor.sees("Your link works once.")
        assert "#" not in visitor.page.url, "the token would stay in the history"
        visitor.clicks("Sign in")
        visitor.page.wait_for_url("/")

    return sign_in


def new_key(visitor: Visitor, button: str, confirm: str) -> tuple[str, list[str]]:
    """Make a key on the pages; returns it, and the command that the page says to run."""
    visitor.goes_to("/")
    visitor.clicks(button)
    visitor.clicks(confirm)
    key, command = visitor.page.locator(".copyable code").all_inner_texts()
    assert re.fullmatch(r"tt_[\w-]{43}", key)
    program, *arguments = shlex.split(command)
    assert program == "terratunnel"
    assert key in arguments
    return key, arguments


def run(lab: Lab, arguments: list[str], upstream: RawUpstream) -> Program:
    """Run the page's command, with the port of this test's service in the place of 3000."""
    arguments = [upstream.url if argument == "http://localhost:3000" else argument for argument in arguments]
    return lab.start("client", *arguments, "--api-port", "0", "--output", "json")


def pass_a_request(tunnel: Tunnel, upstream: RawUpstream) -> None:
    """A request arrives at the service, and its answer at the visitor."""
    with tunnel.visit() as wire:
        wire.send(tunnel.get(b"/hook?a=1"))
        service = upstream.next()
        assert service.read_request().head.target == b"/hook?a=1"
        service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        assert wire.read_response().body == b"hi"


@pytest.fixture(params=["github", "gitlab", "one-time link"])
def any_site(request: pytest.FixtureRequest, lab: Lab) -> Site:
    """A server and each way to sign in."""
    if request.param != "one-time link":
        return start_site(lab, request.param)
    server = lab.server(env=NEED_A_KEY | {"TERRATUNNEL_LOCAL_ADMIN_USERS": "ada"})
    return Site(server, with_link(lab, str(server.wait("ready")["public_url"])))


def test_an_account_from_the_first_sign_in_to_the_audit_log(any_site: Site, lab: Lab, visitor: NewVisitor) -> None:
    grace, upstream = visitor(any_site.url), lab.upstream()
    any_site.sign_in(grace, "grace")
    card = grace.page.locator("[data-tunnel]")
    name = str(card.get_attribute("data-name"))
    expect(card.locator("[data-state]")).to_have_text("Not connected")

    old_key, command = new_key(grace, "Get a key", "Make the key")
    client = run(lab, command, upstream)
    grace.goes_to("/")
    expect(card.locator("code").filter(has_text=f"{old_key[:8]}…")).to_be_visible()
    tunnel = lab.join(any_site.server, client)
    assert tunnel.host == f"{name}.localhost:{tunnel.port}".encode()
    # By itself: the page is not loaded again.
    expect(card.locator("[data-state]")).to_have_text("Live")
    expect(card.locator("[data-field=local_endpoint]")).to_have_text(upstream.url)
    pass_a_request(tunnel, upstream)
    expect(card.locator("[data-field=requests]")).to_have_text("1")

    key, command = new_key(grace, "New key", "Replace the key")
    assert client.wait("refused", timeout_s=1.0)["reason"] == REASON
    assert client.wait_end() == ExitStatus.REFUSED
    late = lab.client(port_of(any_site.server), upstream.url, env={"TERRATUNNEL_API_KEY": old_key})
    assert late.wait_end() == ExitStatus.REFUSED
    tunnel = lab.join(any_site.server, run(lab, command, upstream))
    assert tunnel.host == f"{name}.localhost:{tunnel.port}".encode()
    pass_a_request(tunnel, upstream)

    ada = visitor(any_site.url)
    any_site.sign_in(ada, "ada")
    expect(ada.page.locator("[data-all-tunnels] tbody tr")).to_have_count(1)
    expect(ada.page.locator("[data-all-tunnels] [data-field=url]")).to_have_text(name)
    assert_in_the_log(ada, name, old_key[:8], key[:8])
    for program in (any_site.server, client):
        assert old_key not in program.report()
        assert key not in program.report()


def assert_in_the_log(admin: Visitor, name: str, old_prefix: str, prefix: str) -> None:
    """Everything that the journey did is in the pages of the audit log."""
    rows = [
        ("_created", name, "", ""),  # the tunnel, or the user with it
        ("login", "", "grace", ""),
        ("key_rotated", name, "grace", old_prefix),
        ("connect", name, "grace", "127.0.0.1"),
        ("disconnect", name, "grace", "a new key has replaced it"),
        ("key_rotated", name, "grace", prefix),
        ("refused", "", "", "401"),
        ("login", "", "ada", ""),
    ]
    until = time.monotonic() + TIMEOUT_S
    while True:
        admin.goes_to("/admin/audit")  # the log is written every half second
        shown = [line.inner_text() for line in admin.page.locator("tbody tr").all()]
        missing = [row for row in rows if not any(all(part in line for part in row) for line in shown)]
        if not missing:
            return
        assert time.monotonic() < until, f"not in the log: {missing}; it shows {shown}"


def test_an_account_by_command_line_alone(lab: Lab) -> None:
    server, upstream = lab.server(env=NEED_A_KEY), lab.upstream()
    (user,) = admin(lab, "user", "create", "grace")

    def connect(made: Event) -> Tunnel:
        client = lab.client(port_of(server), upstream.url, env={"TERRATUNNEL_API_KEY": str(made["api_key"])})
        return lab.join(server, client)

    first = connect(*admin(lab, "key", "create", "grace"))
    pass_a_request(first, upstream)
    rotated = admin(lab, "key", "rotate", "grace")  # by another process than the server
    refused = first.client.wait("refused", timeout_s=1.0)
    assert str(refused["reason"]).startswith("The key of this tunnel was revoked: ")
    assert first.client.wait_end() == ExitStatus.REFUSED
    second = connect(*rotated)
    assert first.host == second.host == f"{user['tunnel']}.localhost:{second.port}".encode()
    pass_a_request(second, upstream)
    second.client.stop()
    server.stop()
    happened = [event["event"] for event in admin(lab, "audit")]
    for event, count in (("user_created", 1), ("key_rotated", 2), ("connect", 2), ("disconnect", 2)):
        assert happened.count(event) == count, happened


# ---------------------------------------------------------------------- what fails, fails with a page


def test_a_state_that_is_not_the_browsers_own_signs_nobody_in(site: Site, visitor: NewVisitor) -> None:
    grace = visitor(site.url)
    grace.goes_to("/auth/github")
    state = parse_qs(urlsplit(grace.page.url).query)["state"][0]
    grace.goes_to(f"{site.url}/auth/github/callback?code=a-code&state={state[:-1]}{'A' if state[-1] != 'A' else 'B'}")
    grace.sees_error(400, "The sign-in was not begun in this browser, or too long ago; begin again.")
    assert not grace.is_signed_in


def test_a_callback_counts_once_and_in_the_browser_that_began_it(site: Site, visitor: NewVisitor) -> None:
    grace, mallory = visitor(site.url), visitor(site.url)
    callbacks: list[str] = []
    grace.page.on("request", lambda asked: callbacks.append(asked.url) if "/callback?" in asked.url else None)
    site.sign_in(grace, "grace")
    assert grace.is_signed_in
    for somebody in (mallory, grace):
        somebody.goes_to(callbacks[0])
        somebody.sees_error(400, "begin again")
    assert not mallory.is_signed_in


def test_who_says_no_at_the_provider_is_told_so(site: Site, visitor: NewVisitor) -> None:
    grace = visitor(site.url)
    grace.goes_to("/auth/gitlab")
    grace.clicks("Cancel")
    grace.sees_error(403, "GitLab did not let you in")
    assert not grace.is_signed_in


@pytest.mark.parametrize("elsewhere", ["https://a.example.com/", "//a.example.com", "/\\a.example.com", "/%09/a"])
def test_a_sign_in_leads_to_no_other_site(site: Site, visitor: NewVisitor, elsewhere: str) -> None:
    grace = visitor(site.url)
    for path in ("/auth/github", "/auth/login"):
        grace.goes_to(f"{path}?redirect_uri={elsewhere}")
        grace.sees_error(400, "redirect_uri is not a path of this site")


def test_a_sign_in_leads_back_to_the_page_that_asked_for_it(site: Site, visitor: NewVisitor) -> None:
    ada = visitor(site.url)
    ada.goes_to("/admin/audit?event=login")
    ada.clicks("Sign in with GitHub")
    ada.clicks("Sign in as ada")
    ada.page.wait_for_url("/admin/audit?event=login")
    expect(ada.page.get_by_role("heading", level=1)).to_have_text("Audit log")


def test_the_pages_of_administrators_are_for_nobody_else(site: Site, visitor: NewVisitor) -> None:
    grace = visitor(site.url)
    site.sign_in(grace, "grace")
    for path in ("/admin/audit", "/admin/users", "/admin/database", "/tunnels/new"):
        grace.goes_to(path)
        grace.sees_error(403, "Only administrators may do this.")


def test_a_link_works_once(lab: Lab, visitor: NewVisitor) -> None:
    server = lab.server(env=NEED_A_KEY)
    url = str(server.wait("ready")["public_url"])
    grace, mallory = visitor(url), visitor(url)
    link = sign_in_link(lab, url, "grace")
    grace.goes_to(link)
    grace.clicks("Sign in")
    grace.page.wait_for_url("/")
    mallory.goes_to(link)
    mallory.clicks("Sign in")
    mallory.sees_error(400, "This link is not valid: it was used, or is too old. Ask for a new one.")
    assert (grace.is_signed_in, mallory.is_signed_in) == (True, False)


def test_who_signs_out_is_out_with_every_copy_of_the_cookie(site: Site, visitor: NewVisitor) -> None:
    grace, thief = visitor(site.url), visitor(site.url)
    site.sign_in(grace, "grace")
    thief.copies_cookies_of(grace)
    assert thief.is_signed_in
    grace.clicks("Sign out")
    grace.sees("Sign in with GitHub")
    assert (grace.is_signed_in, thief.is_signed_in) == (False, False)


def test_the_demos_link_leads_to_its_live_tunnel(lab: Lab, visitor: NewVisitor) -> None:
    demo = lab.start("demo", "demo", "--port", "0", "--output", "json")
    link, online = str(demo.wait("sign_in")["url"]), demo.wait("online")
    you = visitor(link.partition("/auth/")[0])
    you.goes_to(link)
    you.clicks("Sign in")
    expect(you.page.locator("[data-own-tunnels] [data-state]")).to_have_text("Live")
    you.sees(str(online["url"]))
    new_key(you, "New key", "Replace the key")
    assert demo.wait("refused", timeout_s=1.0)["reason"] == REASON
    assert demo.wait_end() == ExitStatus.REFUSED
