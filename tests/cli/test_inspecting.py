"""`admin audit` and `admin database`: what has happened, and how the database is."""

import sqlite3
from pathlib import Path

from tests.cli.office import admin, refusal, row, rows, text
from tests.server.storage import older


def fill() -> tuple[str, int]:
    """A user with a key; return their tunnel and the key's id."""
    tunnel = row("user", "create", "alice")["tunnel"]
    key_id = row("key", "create", "alice")["id"]
    text("key", "revoke", str(key_id))
    text("user", "disable", "alice")
    return tunnel, key_id


def kinds(*arguments: str) -> list[str]:
    return [each["event"] for each in rows("audit", *arguments)]


def test_what_has_happened_is_read_newest_first_and_by_filters(db_path: Path) -> None:
    tunnel, _ = fill()
    assert kinds() == ["user_disabled", "key_revoked", "key_rotated", "user_created"]
    assert kinds("--limit", "2") == ["user_disabled", "key_revoked"]
    assert kinds("--tunnel", tunnel) == ["key_revoked", "key_rotated", "user_created"]
    assert kinds("--event", "user_created") == ["user_created"]
    assert kinds("--key", "1") == ["key_revoked", "key_rotated"]
    assert kinds("--user", "alice") == []
    assert len(kinds("--since", "2025-01-01")) == 4
    assert kinds("--until", "2025-01-01T00:00:00") == kinds("--since", "2100-01-01 00:00:00") == []
    table = text("audit").splitlines()
    assert table[0].split() == ["TIME", "EVENT", "USER", "TUNNEL", "KEY", "ID", "ADDRESS", "DETAILS"]
    assert "operator" in table[1]


def test_a_kind_of_event_or_a_time_that_is_none_is_wrong_usage(db_path: Path) -> None:
    result = admin("audit", "--event", "konnect")
    assert result.exit_code == 2
    assert "'konnect' is none of connect, disconnect" in result.stderr
    assert admin("audit", "--since", "yesterday").exit_code == 2
    assert refusal("audit", "--user", "bob").startswith("There is no user bob")


def test_details_of_the_older_program_are_shown_as_they_are(db_path: Path) -> None:
    with sqlite3.connect(db_path) as connection:
        connection.execute(
            "INSERT INTO tunnel_audit_log (subdomain, hostname, local_endpoint, connection_id, additional_data, "
            "event_type) VALUES ('app', '', '', '', 'any text', 'something')"
        )
    found = row("audit")
    assert (found["event"], found["details"]) == ("something", "any text")
    assert text("audit").rstrip().endswith("any text")


def test_a_sound_database_is_counted(db_path: Path) -> None:
    fill()
    said = text("database", "check")
    assert said.startswith("terratunnel.db is sound and of this version (")
    assert "        1 users\n" in said
    found = row("database", "check")
    assert (found["is_current"], found["problems"], found["counts"]["api_keys"]) == (True, [], 1)


def test_a_damaged_database_is_status_1_and_named(tmp_path: Path) -> None:
    (tmp_path / "terratunnel.db").write_bytes(b"SQLite format 3\0" + b"rubbish" * 1_000)
    result = admin("database", "check")
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.startswith("Something is wrong with terratunnel.db:\n  ")
    assert admin("database", "check", "--output", "json").exit_code == 1


def test_checking_makes_no_database(tmp_path: Path) -> None:
    assert refusal("database", "check").startswith("There is no database terratunnel.db")
    assert list(tmp_path.iterdir()) == []


def test_migrating_makes_a_database_once(tmp_path: Path) -> None:
    first = row("database", "migrate")
    assert (first["changed"], first["from_revision"], first["backup"]) == (True, None, None)
    again = row("database", "migrate")
    assert (again["changed"], again["from_revision"]) == (False, first["to_revision"])
    assert text("database", "migrate").endswith("nothing had to be done.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["terratunnel.db"]


def test_a_database_of_the_older_program_is_copied_first(tmp_path: Path) -> None:
    older.make(tmp_path / "terratunnel.db")
    assert "is sound, but not of this version; run: terratunnel admin database migrate" in text("database", "check")
    said = text("database", "migrate")
    assert "terratunnel.db is now of this version" in said
    (backup,) = tmp_path.glob("terratunnel.db.backup-*")
    assert backup.name in said
