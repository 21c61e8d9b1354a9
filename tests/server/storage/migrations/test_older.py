"""What the older program stored is all there after the migration, and every key that worked goes on working."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import coolname
import pytest

from terratunnel.server.storage.api_keys import ApiKeys
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.errors import MigrationRefused
from terratunnel.server.storage.migrate import MigrationReport, migrate
from terratunnel.server.storage.urls import database_url
from tests.server.storage import older

Rows = list[dict[str, object]]


class Older:
    """A database of the older program, changed by statements and then migrated."""

    def __init__(self, path: Path, shape: str = "of the guide") -> None:
        older.make(path, shape)
        self.path = path
        self.url = database_url(str(path))

    def run(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path)) as database:
            for statement in statements:
                database.execute(statement)
            database.commit()

    def rows(self, query: str) -> Rows:
        with closing(sqlite3.connect(self.path)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(query)]

    async def migrated(self) -> MigrationReport:
        return await migrate(self.url)

    async def name_of_key(self, key_hash: str) -> str | None:
        async with Database(self.url) as database, database.reading() as session:
            found = await ApiKeys(session).by_hash(key_hash)
        return found[1].subdomain if found and found[0].is_active else None


@pytest.fixture
def guide(tmp_path: Path) -> Older:
    return Older(tmp_path / "older.db")


@pytest.mark.parametrize("shape", older.SHAPES)
async def test_no_row_column_or_id_is_lost(tmp_path: Path, shape: str) -> None:
    database = Older(tmp_path / "older.db", shape)
    tables = [row["name"] for row in database.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    before = {table: database.rows(f"SELECT * FROM {table} ORDER BY id") for table in tables}
    await database.migrated()
    for table, rows in before.items():
        after = {row["id"]: row for row in database.rows(f"SELECT * FROM {table}")}
        for row in rows:
            kept = {name: value for name, value in row.items() if name != "tunnel_id" and "T03" not in str(value)}
            assert kept.items() <= after[row["id"]].items()


@pytest.mark.parametrize("shape", older.SHAPES)
async def test_every_key_that_worked_works(tmp_path: Path, shape: str) -> None:
    database = Older(tmp_path / "older.db", shape)
    await database.migrated()
    names = [await database.name_of_key(f"hash-{key}") for key in (4, 5, 9)]
    assert names[0] is None
    assert None not in names[1:]
    if shape not in ("the oldest", "without users.tunnel_subdomain"):
        assert names[1:] == ["happy-panda-dancing", "gentle-tiger-swimming"]


@pytest.mark.parametrize("shape", ["of the guide", "without tunnels", "without api_keys.tunnel_id"])
async def test_a_legacy_name_becomes_a_tunnel(tmp_path: Path, shape: str) -> None:
    database = Older(tmp_path / "older.db", shape)
    report = await database.migrated()
    tunnels = database.rows("SELECT user_id, subdomain, is_active FROM tunnels ORDER BY user_id")
    assert [(row["user_id"], row["subdomain"], row["is_active"]) for row in tunnels] == [
        (3, "happy-panda-dancing", 1),
        (7, "gentle-tiger-swimming", 1),
    ]
    assert report.notes == ()


async def test_a_key_without_any_tunnel_gets_a_new_name_which_is_said(tmp_path: Path) -> None:
    database = Older(tmp_path / "older.db", "the oldest")
    report = await database.migrated()
    rows = database.rows("SELECT user_id, subdomain FROM tunnels ORDER BY user_id")
    assert [row["user_id"] for row in rows] == [3, 7]
    assert list(report.notes) == [
        f"user {row['user_id']} had a key and no tunnel; it serves {row['subdomain']} now" for row in rows
    ]
    users = database.rows("SELECT tunnel_subdomain FROM users ORDER BY id")
    assert [row["tunnel_subdomain"] for row in users] == [row["subdomain"] for row in rows]


async def test_a_new_name_is_nobody_s(tmp_path: Path) -> None:
    coolname.replace_random(random.Random(7))
    expected = coolname.generate_slug(3)
    database = Older(tmp_path / "older.db", "without users.tunnel_subdomain")
    database.run("UPDATE tunnels SET subdomain = '" + expected + "'")
    coolname.replace_random(random.Random(7))
    await database.migrated()
    assert await database.name_of_key("hash-5") == expected
    assert await database.name_of_key("hash-9") not in (None, expected)


async def test_a_user_whose_keys_all_ended_gets_no_tunnel(tmp_path: Path) -> None:
    database = Older(tmp_path / "older.db", "the oldest")
    database.run("UPDATE api_keys SET is_active = 0 WHERE user_id = 7")
    await database.migrated()
    assert [row["user_id"] for row in database.rows("SELECT user_id FROM tunnels")] == [3]
    assert database.rows("SELECT tunnel_id FROM api_keys WHERE user_id = 7") == [{"tunnel_id": None}]


async def test_a_key_stays_with_the_tunnel_it_was_made_for(guide: Older) -> None:
    guide.run(
        "INSERT INTO tunnels (id, user_id, subdomain) VALUES (8, 3, 'second-name')",
        "UPDATE api_keys SET tunnel_id = 8 WHERE id = 5",
    )
    await guide.migrated()
    assert await guide.name_of_key("hash-5") == "second-name"


async def test_a_loose_key_is_tied_to_the_tunnel_of_the_legacy_name(guide: Older) -> None:
    guide.run(
        "INSERT INTO tunnels (id, user_id, subdomain) VALUES (1, 7, 'first-name'), (8, 7, 'gentle-tiger-swimming')"
    )
    await guide.migrated()
    assert await guide.name_of_key("hash-9") == "gentle-tiger-swimming"


@pytest.mark.parametrize("tunnel", [99, 2])
async def test_a_key_tied_to_no_tunnel_of_its_user_is_tied_anew(guide: Older, tunnel: int) -> None:
    guide.run(f"UPDATE api_keys SET tunnel_id = {tunnel} WHERE id = 9")
    await guide.migrated()
    assert await guide.name_of_key("hash-9") == "gentle-tiger-swimming"


async def test_a_name_of_two_users_stays_with_the_one_whose_tunnel_it_is(guide: Older) -> None:
    guide.run("UPDATE tunnels SET subdomain = 'gentle-tiger-swimming'")
    report = await guide.migrated()
    assert "the name gentle-tiger-swimming was of the users 3 and 7; user 3 keeps it" in report.notes
    assert await guide.name_of_key("hash-5") == "gentle-tiger-swimming"
    assert await guide.name_of_key("hash-9") not in (None, "gentle-tiger-swimming")


async def test_a_name_that_two_users_share_is_the_older_one_s(tmp_path: Path) -> None:
    database = Older(tmp_path / "older.db", "the oldest")
    # How an even older program got the column: added to what was there, so nothing kept it unique.
    database.run("ALTER TABLE users ADD COLUMN tunnel_subdomain TEXT", "UPDATE users SET tunnel_subdomain = 'both'")
    report = await database.migrated()
    assert report.notes[0] == "the name both was of the users 3 and 7; user 3 keeps it"
    assert await database.name_of_key("hash-5") == "both"
    assert await database.name_of_key("hash-9") not in (None, "both")


async def test_names_are_compared_as_in_dns(tmp_path: Path) -> None:
    database = Older(tmp_path / "older.db", "without tunnels")
    database.run("UPDATE users SET tunnel_subdomain = ' Happy-Panda ' WHERE id = 3")
    await database.migrated()
    assert await database.name_of_key("hash-5") == "happy-panda"


@pytest.mark.parametrize("name", ["NULL", "''", "'  '"])
async def test_an_empty_legacy_name_is_none(tmp_path: Path, name: str) -> None:
    database = Older(tmp_path / "older.db", "without tunnels")
    database.run(
        "DELETE FROM api_keys", "DELETE FROM users WHERE id = 7", f"UPDATE users SET tunnel_subdomain = {name}"
    )
    await database.migrated()
    assert database.rows("SELECT * FROM tunnels") == []
    assert database.rows("SELECT tunnel_subdomain FROM users") == [{"tunnel_subdomain": None}]


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("'2025-01-02 03:04:05'", "2025-01-02 03:04:05"),
        ("'2025-01-02 03:04:05.6'", "2025-01-02 03:04:05.6"),
        ("'2025-01-02T03:04:05.678901'", "2025-01-02 03:04:05.678901"),
        ("'2025-01-02T03:04:05+02:00'", "2025-01-02 01:04:05"),
        ("'2025-01-02 03:04:05.1-05:00'", "2025-01-02 08:04:05.100000"),
        ("'2025-01-02T03:04:05Z'", "2025-01-02 03:04:05"),
        ("1735787045", "2025-01-02 03:04:05"),
        ("1735787045.5", "2025-01-02 03:04:05.500000"),
        ("NULL", None),
    ],
)
async def test_every_way_to_write_a_time_becomes_one(guide: Older, stored: str, shown: str | None) -> None:
    guide.run(f"UPDATE api_keys SET expires_at = {stored} WHERE id = 9")
    await guide.migrated()
    assert guide.rows("SELECT expires_at FROM api_keys WHERE id = 9") == [{"expires_at": shown}]


@pytest.mark.parametrize("stored", ["'soon'", "1e300", "X'00'"])
async def test_a_time_that_cannot_be_read_is_refused_and_named(guide: Older, stored: str) -> None:
    guide.run(f"UPDATE api_keys SET expires_at = {stored} WHERE id = 9")
    before = guide.path.read_bytes()
    with pytest.raises(MigrationRefused, match="expires_at of row 9 of api_keys, cannot be read"):
        await guide.migrated()
    assert guide.path.read_bytes() == before


async def test_what_was_left_empty_is_filled(guide: Older) -> None:
    guide.run(
        "UPDATE users SET created_at = NULL, updated_at = NULL, is_active = NULL WHERE id = 7",
        "UPDATE tunnel_audit_log SET timestamp = NULL, event_type = NULL WHERE id = 2",
    )
    await guide.migrated()
    (user,) = guide.rows("SELECT created_at, updated_at, is_active FROM users WHERE id = 7")
    (line,) = guide.rows("SELECT timestamp, event_type FROM tunnel_audit_log WHERE id = 2")
    assert user["created_at"]
    assert user["updated_at"]
    assert user["is_active"] == 0
    assert line["timestamp"]
    assert line["event_type"] == "connect"


async def test_what_a_deleted_user_left_goes_as_the_foreign_keys_say(guide: Older) -> None:
    guide.run("INSERT INTO tunnels (user_id, subdomain) VALUES (7, 'bobs')", "DELETE FROM users WHERE id = 7")
    guide.run("UPDATE tunnel_audit_log SET user_id = 7, api_key_id = 9 WHERE id = 2")
    report = await guide.migrated()
    assert report.notes == (
        "1 rows of tunnels were of users who are gone, and went too",
        "1 rows of api_keys were of users who are gone, and went too",
    )
    assert guide.rows("SELECT user_id, api_key_id FROM tunnel_audit_log WHERE id = 2") == [
        {"user_id": None, "api_key_id": None}
    ]
    assert guide.rows("PRAGMA foreign_key_check") == []


async def test_what_somebody_added_by_hand_stays(guide: Older) -> None:
    guide.run(
        """ALTER TABLE users ADD COLUMN "their ""own" TEXT""",
        """UPDATE users SET "their ""own" = 'kept' WHERE id = 3""",
        "CREATE TABLE notes (user_id INTEGER REFERENCES users(id), note TEXT)",
        "INSERT INTO notes VALUES (3, 'hello')",
        "CREATE VIEW active_keys AS SELECT * FROM api_keys WHERE is_active = 1",
        "CREATE INDEX ix_tunnels_user_id ON users (email)",
    )
    await guide.migrated()
    assert guide.rows('SELECT "their ""own" AS own FROM users ORDER BY id') == [{"own": "kept"}, {"own": None}]
    assert guide.rows("SELECT note FROM notes JOIN users ON users.id = notes.user_id") == [{"note": "hello"}]
    assert len(guide.rows("SELECT * FROM active_keys")) == 2
