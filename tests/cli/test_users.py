"""`admin user`: what it does to a real database."""

from pathlib import Path

import pytest

from tests.cli.office import admin, refusal, row, rows, text


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
