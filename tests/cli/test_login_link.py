"""`admin login-link`: a link to the right pages, which signs in once."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cli.office import admin, refusal, row, text
from tests.cli.program import program
from tests.cli.visitor import Browser


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        ((), "http://localhost:8000/auth/link#"),
        (("--port", "9000"), "http://localhost:9000/auth/link#"),
        (("--domain", "Tunnel.example.com."), "https://tunnel.example.com/auth/link#"),
        (("--domain", "x.org", "--public-url", "https://x.org:8443/"), "https://x.org:8443/auth/link#"),
    ],
)
def test_a_link_leads_to_the_pages_of_its_server(arguments: tuple[str, ...], start: str, db_path: Path) -> None:
    text("user", "create", "alice")
    link = text("login-link", "alice", *arguments)
    assert link.startswith(start)
    assert len(link.rpartition("#")[2].strip()) >= 43


def test_the_servers_variables_are_enough(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text("user", "create", "alice")
    monkeypatch.setenv("TERRATUNNEL_DOMAIN", "tunnel.example.com")
    assert text("login-link", "alice").startswith("https://tunnel.example.com/auth/link#")
    monkeypatch.setenv("TERRATUNNEL_PUBLIC_URL", "https://pages.example.com")
    found = row("login-link", "alice", "--minutes", "1")
    assert found["url"].startswith("https://pages.example.com/auth/link#")
    assert found["username"] == "alice"


def test_a_link_that_cannot_be_is_one_sentence(db_path: Path) -> None:
    assert refusal("login-link", "alice").startswith("There is no user alice")
    assert "public URL 'nowhere'" in refusal("login-link", "alice", "--public-url", "nowhere")
    assert admin("login-link", "alice", "--minutes", "0").exit_code == 2


def test_it_signs_in_at_a_running_server_and_does_so_once(db_path: Path) -> None:
    with program("server", "--host", "127.0.0.1", "--port", "0", "--output", "json") as server:
        port = server.event("ready")["port"]
        text("user", "create", "alice")
        link = text("login-link", "alice", "--port", str(port)).strip()
        assert urlsplit(link).port == port
        browser = Browser(port)
        browser.open_link(link)
        assert browser.me()["username"] == "alice"
        assert Browser(port).use_link(link) == 400


def test_a_port_that_nobody_listens_on_makes_no_link(db_path: Path) -> None:
    text("user", "create", "alice")
    assert "name the one on which the server listens" in refusal("login-link", "alice", "--port", "0")
    assert text("login-link", "alice", "--port", "0", "--domain", "x.org").startswith("https://x.org/auth/link#")
