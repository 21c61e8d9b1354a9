"""`admin user` and `admin key`: what they do to a real database, and to the client of a real server."""

import time
from pathlib import Path

import pytest

from terratunnel.server.tunnels import hash_of
from tests.cli.office import admin, refusal, row, rows, text
from tests.cli.program import program

# ---------------------------------------------------------------------- users


def test_a_user_is_made_with_a_tunnel_and_told_how_they_come_in(db_path: Path) -> None:
    assert text("user", "list").startswith("There are no users; make one with: terratunnel admin user create ")
    said = text("user", "create", "Alice", "--email", "alice@example.com")
    assert said.startswith("The user Alice has the tunnel ")
    assert "terratunnel admin login-link Alice" in said
    found = row("user", "list")
    assert (found["provider"], found["username"], found["email"]) == ("local", "Alice", "alice@example.com")
    assert found["active"] is True
    assert found["tunnels"][0] in said
    head, line = text("user", "list").splitlines()
    assert head.split() == ["ID", "PROVIDER", "USERNAME", "EMAIL", "ACTIVE", "CREATED", "AT", "TUNNELS"]
    assert line.split()[:5] == ["1", "local", "Alice", "alice@example.com", "yes"]


def test_the_groups_are_found_in_the_plural_as_well(db_path: Path) -> None:
    assert row("users", "create", "alice")["username"] == "alice"
    assert row("tunnels", "list")["user"] == "alice"
    assert admin("nonsense").exit_code == 2


def test_a_user_who_exists_or_has_no_name_is_not_made(db_path: Path) -> None:
    text("user", "create", "alice")
    assert refusal("user", "create", "ALICE") == "There is a user ALICE already."
    assert "letters, digits" in refusal("user", "create", "al ice")


def test_a_user_is_disabled_and_enabled(db_path: Path) -> None:
    text("user", "create", "alice")
    assert text("user", "disable", "Alice") == "The user alice is disabled.\n"
    assert row("user", "list")["active"] is False
    assert "enable them with" in refusal("login-link", "alice")
    assert row("user", "enable", "local/alice") == {"id": 1, "username": "alice", "active": True}
    assert row("user", "list")["active"] is True
    assert refusal("user", "disable", "bob") == "There is no user bob; see: terratunnel admin user list"


@pytest.mark.parametrize("typed", ["", "n\n"])
def test_a_user_is_deleted_only_when_it_is_meant(typed: str, db_path: Path) -> None:
    name = row("user", "create", "alice")["tunnel"]
    result = admin("user", "delete", "alice", typed=typed)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Delete the user with their tunnels and keys?" in result.stderr
    assert row("user", "list")["username"] == "alice"
    assert text("user", "delete", "alice", "--yes") == f"The user alice is deleted, with {name}.\n"
    assert rows("user", "list") == rows("tunnel", "list") == []


def test_who_says_yes_is_asked_no_more(db_path: Path) -> None:
    text("user", "create", "alice")
    assert admin("user", "delete", "alice", typed="y\n").exit_code == 0
    assert rows("user", "list") == []


# ---------------------------------------------------------------------- keys


def test_a_key_is_shown_once_and_kept_as_its_hash(db_path: Path) -> None:
    tunnel = row("user", "create", "alice")["tunnel"]
    made = row("key", "create", "alice", "--name", "laptop")
    assert made["api_key"].startswith(made["key_prefix"])
    assert (made["user"], made["tunnel"], made["expires_at"]) == ("alice", tunnel, None)
    (listed,) = rows("key", "list", "alice")
    assert (listed["key_prefix"], listed["name"], listed["active"]) == (made["key_prefix"], "laptop", True)
    assert made["api_key"] not in text("key", "list") + text("audit", "--output", "json")
    stored = b"".join(path.read_bytes() for path in db_path.parent.glob("terratunnel.db*"))
    assert hash_of(made["api_key"]).encode() in stored
    assert made["api_key"].encode() not in stored


def test_a_tunnel_that_has_a_key_keeps_it_unless_it_is_rotated(db_path: Path) -> None:
    text("user", "create", "alice")
    first = row("key", "create", "alice")
    assert "terratunnel admin key rotate alice" in refusal("key", "create", "alice")
    said = text("key", "rotate", "alice", "--expires-in-days", "1").splitlines()
    assert said[0].endswith(", which is shown this once:")
    newer, older = rows("key", "list")
    assert (newer["active"], older["active"], older["id"]) == (True, False, first["id"])
    assert said[1].startswith(newer["key_prefix"])
    assert newer["expires_at"] > newer["created_at"]


def test_of_several_tunnels_one_has_to_be_named(db_path: Path) -> None:
    first = row("user", "create", "alice")["tunnel"]
    second = row("tunnel", "create", "alice")["tunnel"]
    assert f"say which with --tunnel: {first}, {second}" in refusal("key", "create", "alice")
    assert row("key", "create", "alice", "--tunnel", second)["tunnel"] == second
    assert refusal("key", "rotate", "alice", "--tunnel", "nobodys") == "alice has no tunnel nobodys."


def test_a_user_without_a_tunnel_gets_no_key(db_path: Path) -> None:
    name = row("user", "create", "alice")["tunnel"]
    text("tunnel", "delete", name, "--yes")
    assert refusal("key", "create", "alice") == "alice has no tunnel."


def test_a_key_is_revoked_by_its_id(db_path: Path) -> None:
    text("user", "create", "alice")
    made = row("key", "create", "alice")
    assert text("key", "revoke", str(made["id"])) == f"The key {made['id']} is revoked.\n"
    assert row("key", "list")["active"] is False
    assert refusal("key", "revoke", "99") == "There is no such key."
    assert admin("key", "revoke", "tt_abcde").exit_code == 2
    assert row("key", "create", "alice")["id"] > made["id"]


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
