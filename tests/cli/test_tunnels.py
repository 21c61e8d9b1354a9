"""`admin tunnel` and `admin connection`: names, and who was connected as them."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from terratunnel.cli.desk import desk
from terratunnel.server.auditing import Event
from terratunnel.server.storage.audit import Audit, AuditRow
from terratunnel.server.storage.urls import database_url
from tests.cli.office import admin, refusal, row, rows, text

NOON = datetime(2025, 6, 15, 12, 0, tzinfo=UTC)


def test_an_operator_reserves_more_names_than_a_user_may(db_path: Path) -> None:
    first = row("user", "create", "alice")["tunnel"]
    made = row("tunnel", "create", "alice", "--name", "staging")
    assert (made["user"], made["name"]) == ("alice", "staging")
    said = text("tunnel", "create", "alice")
    third = rows("tunnel", "list", "alice")[2]["tunnel"]
    assert f"terratunnel admin key create alice --tunnel {third}" in said
    assert [each["tunnel"] for each in rows("tunnel", "list")] == [first, made["tunnel"], third]
    assert refusal("tunnel", "create", "bob").startswith("There is no user bob")


def test_tunnels_are_listed_with_their_keys(db_path: Path) -> None:
    tunnel = row("user", "create", "alice")["tunnel"]
    text("user", "create", "bob")
    key = row("key", "create", "alice")
    one, other = rows("tunnel", "list")
    assert (one["tunnel"], one["user"], one["key_id"], one["key_prefix"]) == (
        tunnel,
        "alice",
        key["id"],
        key["key_prefix"],
    )
    assert (other["user"], other["key_id"]) == ("bob", None)
    assert text("tunnel", "list", "bob").splitlines()[1].split()[2:] == ["bob", "-", "yes", "-", "-", "-"]
    text("user", "disable", "bob")
    assert row("tunnel", "list", "bob")["active"] is False


def test_a_deleted_tunnel_takes_its_key_along(db_path: Path) -> None:
    tunnel = row("user", "create", "alice")["tunnel"]
    text("key", "create", "alice")
    assert admin("tunnel", "delete", tunnel, typed="n\n").exit_code == 1
    assert text("tunnel", "delete", tunnel, "--yes") == f"The tunnel {tunnel} is deleted.\n"
    assert rows("tunnel", "list") == rows("key", "list") == []
    assert refusal("tunnel", "delete", tunnel, "--yes").startswith(f"There is no tunnel {tunnel}")


async def note(db_path: Path) -> None:
    """What servers noted of three connections, a second apart."""
    events = [(Event.CONNECT, "app", "1"), (Event.CONNECT, "app", "2"), (Event.CONNECT, "other", "3")]
    events += [(Event.DISCONNECT, "app", "2")]
    noted = [
        AuditRow(NOON + timedelta(seconds=second), kind.value, name, connection_id=number, client_ip="192.0.2.1")
        for second, (kind, name, number) in enumerate(events)
    ]
    async with desk(database_url(str(db_path))) as at, at.database.session() as session:
        await Audit(session).add_many(noted)


def test_connections_are_open_ended_or_lost(db_path: Path) -> None:
    assert text("connection", "list") == "No client has connected.\n"
    asyncio.run(note(db_path))
    found = rows("connection", "list")
    assert [(each["tunnel"], each["connection_id"], each["state"]) for each in found] == [
        ("other", "3", "open"),
        ("app", "2", "ended"),
        ("app", "1", "lost"),
    ]
    assert found[1]["ended_at"] == "2025-06-15T12:00:03+00:00"
    head, *lines = text("connection", "list", "--tunnel", "app", "--limit", "1").splitlines()
    assert head.split()[:2] == ["TUNNEL", "STATE"]
    assert [line.split()[:4] for line in lines] == [["app", "ended", "2025-06-15", "12:00:01Z"]]
