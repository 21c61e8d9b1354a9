"""`login`, `logout` and `whoami` against a real server, approved by somebody who is signed in there."""

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from terratunnel.cli.main import main
from tests.cli.office import row, text
from tests.cli.program import ROOT, program, run
from tests.cli.visitor import Browser

SERVER = ("server", "--host", "127.0.0.1", "--port", "0", "--output", "json")


@pytest.fixture
def port(db_path: Path) -> Iterator[int]:
    """A server with a user alice."""
    text("user", "create", "alice")
    with program(*SERVER) as server:
        yield server.event("ready")["port"]


def alice(port: int) -> Browser:
    """Alice, signed in."""
    browser = Browser(port)
    browser.open_link(text("login-link", "alice", "--port", str(port)).strip())
    return browser


def log_in(port: int, *options: str) -> dict[str, str]:
    """Log in at a server; return what a program reads."""
    with program("login", "--server-url", f"ws://127.0.0.1:{port}", *options, "--output", "json") as login:
        code = login.event("approve")["user_code"]
        assert alice(port).approve(code) == 200
        found = login.event("logged_in")
        assert login.end()[0] == 0
    return found


def ask(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="terratunnel")


def kept(tmp_path: Path) -> Path:
    return tmp_path / "config" / "terratunnel" / "credentials.json"


def test_a_login_is_approved_kept_and_used_by_the_client(port: int, tmp_path: Path) -> None:
    found = log_in(port)
    assert (found["username"], found["server_url"]) == ("alice", f"ws://127.0.0.1:{port}")
    assert stat.S_IMODE(kept(tmp_path).stat().st_mode) == 0o600
    (key,) = [each["api_key"] for each in json.loads(kept(tmp_path).read_text())["servers"].values()]
    assert key not in str(found)
    said = ask("whoami").stdout
    assert said == f"You are alice (local) at ws://127.0.0.1:{port}; your tunnel is {found['tunnel_url']}\n"
    assert json.loads(ask("whoami", "--output", "json").stdout)["provider"] == "local"
    with program("http", "127.0.0.1:9", "--api-port", "0", "--output", "json") as client:
        assert client.event("online")["url"] == found["tunnel_url"]


def test_the_browser_is_opened_at_the_page_for_a_person(port: int, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    opener = tmp_path / "browser"
    opener.write_text(f'#!/bin/sh\nprintf "%s\\n" "$1" > {opened}\n')
    opener.chmod(0o700)
    with program("login", "--server-url", f"http://127.0.0.1:{port}", BROWSER=f"{opener} %s") as login:
        url = login.line_with("Approve this login at ").rpartition(" ")[2]
        code = login.line_with("shows the code").partition("the code ")[2].partition(";")[0]
        assert url == f"http://localhost:{port}/auth/device?code={code}"
        alice(port).approve(code)
        assert login.line_with("You are logged in at").endswith(f"the key is kept in {kept(tmp_path)}.")
        assert login.line_with("terratunnel http 3000").startswith("Your service gets http://")
        assert login.end()[0] == 0
    assert opened.read_text() == f"{url}\n"


CODES = {"device_code": "secret", "user_code": "BCDF-GHJK", "expires_in_s": 600, "interval_s": 1}
PAGE = {"verification_url_complete": "http://localhost/auth/device?code=BCDF-GHJK"}


@contextmanager
def scripted(*answers: tuple[int, dict[str, object]]) -> Iterator[tuple[str, list[str]]]:
    """A server that gives these answers, one after the other; yields its URL and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            status, body = answers[len(asked)]
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_a_server_that_is_away_for_a_moment_is_asked_again(tmp_path: Path) -> None:
    good: dict[str, object] = {"api_key": "tt_new", "tunnel_url": "http://happy-panda.localhost"}
    busy: dict[str, object] = {"message": "Busy."}
    with scripted((200, {**CODES, **PAGE}), (503, busy), (200, good), (200, {"username": "alice"})) as (url, asked):
        result = ask("login", "--server-url", url, "--no-browser")
    assert result.exit_code == 0, result.output
    token = "/api/auth/device/token"
    assert asked == ["/api/auth/device", token, token, "/api/auth/me"]
    assert "tt_new" not in result.output
    assert "tt_new" in kept(tmp_path).read_text()


@pytest.mark.parametrize("page", ["file:///etc/passwd", "javascript:alert(1)", "http://a\x1b[2J", None])
def test_a_page_that_is_no_page_of_the_web_is_not_opened(page: object, tmp_path: Path) -> None:
    with scripted((200, {**CODES, "verification_url_complete": page})) as (url, _):
        result = CliRunner().invoke(main, ["login", "--server-url", url], env={"BROWSER": f"touch {tmp_path}/%s"})
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: The server's ")


def test_a_login_that_nobody_approves_in_time_is_over() -> None:
    waiting: tuple[int, dict[str, object]] = (202, {"state": "authorization_pending"})
    with scripted((200, {**CODES, **PAGE, "expires_in_s": 0}), waiting, waiting) as (url, _):
        result = ask("login", "--server-url", url, "--no-browser")
    assert result.exit_code == 1
    assert result.stderr == "Error: Nobody approved this login in time; start again with: terratunnel login\n"


def test_a_login_that_is_declined_is_one_sentence_and_keeps_nothing(port: int, tmp_path: Path) -> None:
    with program("login", "--server-url", f"http://127.0.0.1:{port}", "--no-browser") as login:
        code = login.line_with("shows the code").partition("the code ")[2].partition(";")[0]
        alice(port).approve(code, "deny")
        status, _, err = login.end()
    assert status == 1
    assert err.startswith("Error: The server says: This login is over: it was declined or used")
    assert err.count("\n") == 1
    assert not kept(tmp_path).exists()


def test_logging_out_forgets_the_key(port: int, tmp_path: Path) -> None:
    log_in(port)
    said = ask("logout").stdout
    assert said.startswith(f"The key of ws://127.0.0.1:{port} is forgotten here. It works until you make a new one")
    assert ask("whoami").stderr == (
        "Error: You are not logged in; do so with: terratunnel login --server-url https://tunnel.example.com\n"
    )
    again = ask("logout", "--server-url", f"http://127.0.0.1:{port}")
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr.startswith(f"Error: You are not logged in at http://127.0.0.1:{port}; ")


def test_a_key_that_was_revoked_says_how_to_get_another(port: int) -> None:
    log_in(port)
    text("key", "revoke", str(row("key", "list", "alice")["id"]))
    result = ask("whoami")
    assert result.exit_code == 1
    assert "The API key was revoked" in result.stderr
    assert result.stderr.endswith(f"Log in again with: terratunnel login --server-url ws://127.0.0.1:{port}\n")


def test_a_server_that_is_not_there_or_none_is_one_sentence() -> None:
    for url, words in (("http://127.0.0.1:1", "cannot be reached: Connection refused"), ("nonsense", "is not like")):
        result = ask("login", "--server-url", url, "--no-browser")
        assert (result.exit_code, result.stdout) == (1, "")
        assert words in result.stderr
        assert result.stderr.count("\n") == 1


def test_no_login_begins_that_could_not_be_kept(port: int, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir(exist_ok=True)
    (tmp_path / "config" / "terratunnel").touch()
    status, out, err = run("login", "--server-url", f"http://127.0.0.1:{port}", "--no-browser")
    assert (status, out) == (1, "")
    assert "for your keys cannot be made" in err


def test_an_interrupted_login_ends_without_a_traceback(port: int) -> None:
    with program("login", "--server-url", f"http://127.0.0.1:{port}", "--no-browser") as login:
        login.line_with("Waiting")
        login.interrupt()
        status, _, err = login.end()
    assert (status, err.strip()) == (1, "Aborted!")


def test_the_commands_of_a_client_need_no_package_of_a_server() -> None:
    code = "import sys; import terratunnel.cli.login, terratunnel.cli.calling, terratunnel.client.credentials; "
    code += "import terratunnel.client.app; print(*sorted(sys.modules))"
    assert _modules(code) & {"sqlalchemy", "alembic", "fastapi", "httpx", "authlib", "terratunnel.server"} == set()


def _modules(code: str) -> set[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30)
    return set(found.stdout.split())
