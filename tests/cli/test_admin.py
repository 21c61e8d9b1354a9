"""`admin` as a whole: its groups, and what it does to the client of a real server."""

import time
from pathlib import Path

import pytest

from tests.cli.office import admin, row, rows, text
from tests.cli.program import program


def test_the_groups_are_found_in_the_plural_as_well(db_path: Path) -> None:
    assert row("users", "create", "alice")["username"] == "alice"
    assert row("tunnels", "list")["user"] == "alice"
    assert admin("nonsense").exit_code == 2


@pytest.mark.parametrize("how", [("key", "rotate", "alice"), ("user", "disable", "alice")])
def test_the_client_of_a_running_server_is_cut_off_within_a_second(how: tuple[str, ...], db_path: Path) -> None:
    text("user", "create", "alice")
    key = row("key", "create", "alice")["api_key"]
    with program("server", "--host", "127.0.0.1", "--port", "0", "--output", "json") as running:
        url = f"ws://127.0.0.1:{running.event('ready')['port']}"
        arguments = ("--server-url", url, "--local-endpoint", "http://127.0.0.1:9", "--api-port", "0")
        with program("client", *arguments, "--output", "json", TERRATUNNEL_API_KEY=key) as client:
            client.event("online")
            text(*how)
            since = time.monotonic()
            status, _, err = client.end()
            # A second for the server to see it, and what a loaded machine takes to end a process.
            assert time.monotonic() - since < 2.0
            assert status != 0
            assert "The key of this tunnel was revoked" in err
    (connected,) = rows("connection", "list")  # what the server noted, once it has ended
    assert (connected["state"], connected["user"], connected["user_agent"][:12]) == ("ended", "alice", "terratunnel/")
