"""`demo`: everything in one process, from its first screen to its end."""

import http.client
import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from terratunnel.cli.demo import demo_screen
from terratunnel.cli.main import main
from terratunnel.client.console import Online
from tests.cli.program import program, run

TUNNEL = Online(
    "http://my-app.localhost:8000", "my-app.localhost", "http://127.0.0.1:3000", "http://127.0.0.1:8081/status"
)

SIGN_IN = "http://localhost:8000/auth/link#a-token"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else has."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


def post(url: str, body: bytes) -> dict[str, object]:
    host = url.removeprefix("http://")
    connection = http.client.HTTPConnection("127.0.0.1", int(host.rpartition(":")[2]), timeout=20)
    connection.request("POST", "/hook?a=1", body, {"Host": host})
    found = json.loads(connection.getresponse().read())
    connection.close()
    assert isinstance(found, dict)
    return found


def test_the_first_screen_has_lines_that_work() -> None:
    text = "\n".join(demo_screen(TUNNEL, True, SIGN_IN))
    assert "curl -d 'hello' http://my-app.localhost:8000/hook" in text
    assert "curl --resolve my-app.localhost:8000:127.0.0.1 http://my-app.localhost:8000/" in text
    assert TUNNEL.status_url in text
    assert f"  Sign in      {SIGN_IN}" in text


def test_ones_own_app_is_not_taken_for_the_sample() -> None:
    text = "\n".join(demo_screen(Online(TUNNEL.url, TUNNEL.hostname, TUNNEL.local_endpoint, ""), False, SIGN_IN))
    assert "/hook" not in text
    assert "your app" in text
    assert "Status" not in text


def test_a_demo_works_and_ends_cleanly(tmp_path: Path) -> None:
    with program("demo", "--port", "0") as started:
        url = started.line_with("Public URL").split()[-1]
        answer = post(url, b"hello")
        assert (answer["method"], answer["target"], answer["body_start"]) == ("POST", "/hook?a=1", "hello")
        assert "] POST /hook?a=1 -> 200 " in started.line_with("POST")
        started.interrupt()
        status, out, err = started.end()
        assert status == 0
        assert out.endswith("The tunnel is closed.\n")
        assert "Traceback" not in err
    assert list(tmp_path.glob("terratunnel-demo-*")) == []


def test_a_demo_speaks_to_programs() -> None:
    with program("demo", "--port", "0", "--output", "json") as started:
        online = started.event("online")
        post(str(online["url"]), b"hello")
        assert started.event("request")["status"] == 200
        started.interrupt(signal.SIGTERM)
        started.event("closed")
        assert started.end()[0] == 0


def test_its_link_signs_in_to_pages_that_show_the_tunnel_as_ones_own() -> None:
    with program("demo", "--port", "0", "--output", "json") as started:
        base_url, _, token = str(started.event("sign_in")["url"]).partition("/auth/link#")
        online = started.event("online")
        cookie = sign_in(base_url, token)
        status, page = get(base_url, "/", cookie)
        assert status == 200
        assert str(online["url"]) in page
        assert "<title>All tunnels" in page
        assert get(base_url, "/admin/audit", cookie)[0] == 200


def sign_in(base_url: str, token: str) -> str:
    """Use a one-time link; the session's cookie."""
    connection = http.client.HTTPConnection("127.0.0.1", int(base_url.rpartition(":")[2]), timeout=20)
    fields = {"Host": base_url.removeprefix("http://"), "Origin": base_url}
    fields["Content-Type"] = "application/x-www-form-urlencoded"
    connection.request("POST", "/auth/link", f"token={token}", fields)
    response = connection.getresponse()
    assert response.status == 303
    cookie = response.headers["Set-Cookie"].partition(";")[0]
    connection.close()
    return cookie


def get(base_url: str, path: str, cookie: str) -> tuple[int, str]:
    """Status and text of a page, for whoever is signed in."""
    connection = http.client.HTTPConnection("127.0.0.1", int(base_url.rpartition(":")[2]), timeout=20)
    connection.request("GET", path, headers={"Host": base_url.removeprefix("http://"), "Cookie": cookie})
    response = connection.getresponse()
    page = response.read().decode()
    connection.close()
    return response.status, page


def test_ones_own_app_stands_behind_it(taken: int) -> None:
    endpoint = f"http://127.0.0.1:{taken}"
    with program("demo", "--port", "0", "--local-endpoint", endpoint, "--output", "json") as started:
        assert started.event("online")["local_endpoint"] == endpoint


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(taken: int) -> None:
    status, out, err = run("--log-level", "ERROR", "demo", "--port", str(taken))
    assert (status, out) == (1, "")
    assert err.startswith(f"Error: The server cannot listen on 127.0.0.1:{taken} (Address already in use)")


def test_two_demos_run_side_by_side() -> None:
    with program("demo", "--output", "json") as first, program("demo", "--output", "json") as second:
        one, other = first.event("online"), second.event("online")
        assert one["url"].rpartition(":")[2] != other["url"].rpartition(":")[2]
        assert one["status_url"] != other["status_url"]


def test_a_bad_endpoint_is_found_before_anything_starts() -> None:
    result = CliRunner().invoke(main, ["demo", "--local-endpoint", "nonsense"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: The local endpoint 'nonsense' ")
