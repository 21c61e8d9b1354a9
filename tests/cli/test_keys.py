"""`admin key`: what it does to a real database."""

from pathlib import Path

from terratunnel.server.tunnels import hash_of
from tests.cli.office import admin, refusal, row, rows, text


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
    assert refusal("key", "create", "alice").endswith(f"key rotate alice --tunnel {first['tunnel']}")
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
