"""Where an operator works: the right database, of this version, or a sentence; and everything is audited."""

import sqlite3
from pathlib import Path

import pytest

from terratunnel.cli.desk import AdminError, desk
from terratunnel.server.storage.urls import database_url, locate
from terratunnel.server.storage.users import Profile
from terratunnel.testing.databases import PostgresCluster, SQLiteFiles
from tests.cli.office import refusal, row, rows, text


def test_a_database_that_is_not_there_is_not_made_by_a_slip(tmp_path: Path) -> None:
    said = refusal("user", "create", "alice", "--db-path", "typo.db")
    assert said.startswith("There is no database typo.db; name the server's with --db-path, or make one with: ")
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_the_system_refuses_is_one_sentence() -> None:
    for command in (("user", "list"), ("database", "check")):
        said = refusal(*command, "--db-path", "x" * 300)
        assert said == f"The database {'x' * 300} cannot be opened (File name too long)."


def test_it_is_the_servers_database_by_option_variable_or_url(
    db_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = db_path.rename(tmp_path / "other.db")
    assert "There is no database terratunnel.db" in refusal("user", "list")
    assert row("user", "create", "alice", "--db-path", "other.db")["username"] == "alice"
    monkeypatch.setenv("TERRATUNNEL_DB_PATH", str(other))
    assert row("user", "list")["username"] == "alice"
    monkeypatch.setenv("TERRATUNNEL_DATABASE_URL", database_url(str(other)))
    assert row("user", "list", "--db-path", "typo.db")["username"] == "alice"


def test_a_postgres_is_worked_on_like_a_file(postgres: PostgresCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRATUNNEL_DATABASE_URL", postgres.empty())
    assert "terratunnel admin database migrate" in refusal("user", "create", "alice")
    assert row("database", "migrate")["changed"] is True
    tunnel = row("user", "create", "alice")["tunnel"]
    key = row("key", "create", "alice", "--expires-in-days", "1")
    assert row("key", "rotate", "alice")["id"] > key["id"]
    assert [each["active"] for each in rows("key", "list", "Alice")] == [True, False]
    assert row("tunnel", "list")["tunnel"] == tunnel
    assert text("login-link", "alice").startswith("http://localhost:8000/auth/link#")
    assert [each["event"] for each in rows("audit", "--tunnel", tunnel)] == [
        "key_rotated",
        "key_rotated",
        "user_created",
    ]
    assert rows("connection", "list") == []
    found = row("database", "check")
    assert (found["dialect"], found["is_current"], found["problems"]) == ("postgresql", True, [])
    assert row("user", "delete", "alice", "--yes")["deleted_tunnels"] == [tunnel]


def test_a_postgres_that_does_not_answer_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRATUNNEL_DATABASE_URL", "postgresql://me:hush@127.0.0.1:1/tunnels")
    said = refusal("user", "list")
    assert said.startswith("The database does not answer; try again in a moment. (127.0.0.1/tunnels: ")
    assert "hush" not in said


def test_a_database_of_another_version_is_migrated_first(sqlite: SQLiteFiles, tmp_path: Path) -> None:
    empty = locate(sqlite.empty()).path
    assert empty is not None
    sqlite3.connect(empty).close()
    said = refusal("user", "list", "--db-path", str(empty))
    assert (
        said == f"The database {empty} is not of this version; bring it here with: terratunnel admin database migrate"
    )


def test_what_is_no_database_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "terratunnel.db").write_bytes(b"not a database, and longer than the head of one " * 50)
    assert "terratunnel.db" in refusal("user", "list")


def test_what_the_operator_does_is_audited(db_path: Path) -> None:
    made = row("user", "create", "alice")
    found = row("audit")
    assert (found["event"], found["user"], found["user_id"]) == ("user_created", "operator", None)
    assert (found["tunnel"], found["details"]) == (made["tunnel"], {"id": made["id"], "user": "alice"})


def test_names_of_the_configuration_are_not_given_away(db_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRATUNNEL_STATIC_KEYS", "sesame")
    assert "Entry 1 of TERRATUNNEL_STATIC_KEYS" in refusal("user", "create", "alice")


async def test_a_name_that_two_providers_know_has_to_be_told_apart(db_path: Path) -> None:
    async with desk(database_url(str(db_path))) as at:
        for provider in ("github", "gitlab"):
            await at.accounts.sign_in(Profile(provider, "1", "alice"))
        assert (await at.user("gitlab/alice")).auth_provider == "gitlab"
        with pytest.raises(AdminError, match="say which: github/alice or gitlab/alice"):
            await at.user("alice")


async def test_a_tunnel_is_found_by_its_name(db_path: Path) -> None:
    async with desk(database_url(str(db_path))) as at:
        alice = await at.accounts.sign_in(Profile("github", "1", "alice"))
        name = (await at.accounts.tunnels_of(alice))[0].tunnel.subdomain
        assert (await at.tunnel(name.upper())).subdomain == name
        with pytest.raises(AdminError, match="There is no tunnel nobodys; see: terratunnel admin tunnel list"):
            await at.tunnel("nobodys")
        user = await at.user("alice")
        assert (await at.tunnel_of(user, None)).subdomain == name


def test_lists_are_empty_at_first(db_path: Path) -> None:
    assert rows("user", "list") == rows("key", "list") == rows("tunnel", "list") == rows("audit") == []
    assert text("audit") == "Nothing of the kind has happened.\n"
