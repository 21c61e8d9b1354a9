"""An operator's lists: each row with what belongs to it, and connections with their ends."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from terratunnel.server.auditing import Event
from terratunnel.server.storage.api_keys import ApiKeys
from terratunnel.server.storage.audit import Audit, AuditRow
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.models import Tunnel, User
from terratunnel.server.storage.overview import CONNECT, DISCONNECT, Overview
from terratunnel.server.storage.tunnels import Tunnels
from terratunnel.server.storage.users import Profile, Users

NOW = datetime(2025, 6, 15, 15, 6, 40, tzinfo=UTC)


@dataclass
class Owner:
    user: User
    tunnels: list[Tunnel]


async def new_owner(database: Database, provider: str, name: str, *subdomains: str) -> Owner:
    async with database.session() as session:
        user = await Users(session).upsert_from_profile(Profile(provider, name, name))
        return Owner(user, [await Tunnels(session).create(user.id, subdomain) for subdomain in subdomains])


async def happened(database: Database, *events: tuple[str, str, str]) -> None:
    """Note events, one a second: kind, subdomain, connection."""
    rows = [
        AuditRow(NOW + timedelta(seconds=second), kind, subdomain, connection_id=connection_id)
        for second, (kind, subdomain, connection_id) in enumerate(events)
    ]
    async with database.session() as session:
        await Audit(session).add_many(rows)


def test_the_kinds_of_events_are_those_of_the_audit_log() -> None:
    assert (Event.CONNECT.value, Event.DISCONNECT.value) == (CONNECT, DISCONNECT)


async def test_users_come_with_the_names_of_their_tunnels(database: Database) -> None:
    async with database:
        await new_owner(database, "github", "ann", "one", "two")
        await new_owner(database, "local", "bob")
        async with database.reading() as session:
            found = await Overview(session).users()
        assert [(user.provider_username, names) for user, names in found] == [("ann", ["one", "two"]), ("bob", [])]


async def test_a_name_is_found_whatever_its_case_and_at_each_provider(database: Database) -> None:
    async with database:
        for provider, name in (("github", "Ann"), ("gitlab", "ann"), ("github", "bob")):
            await new_owner(database, provider, name)
        async with database.reading() as session:
            overview = Overview(session)
            both = await overview.users_named("aNN")
            assert [(user.auth_provider, user.provider_username) for user in both] == [
                ("github", "Ann"),
                ("gitlab", "ann"),
            ]
            assert [user.provider_username for user in await overview.users_named("ann", "gitlab")] == ["ann"]
            assert await overview.users_named("ann", "local") == []
            assert await overview.users_named("an%") == []


async def test_tunnels_come_with_their_newest_active_key_or_none(database: Database) -> None:
    async with database:
        ann = await new_owner(database, "github", "ann", "one", "two")
        bob = await new_owner(database, "github", "bob", "three")
        one, two = ann.tunnels
        async with database.session() as session:
            keys = ApiKeys(session)
            await keys.replace(one.id, ann.user.id, "hash-1", "tt_aaaaa")
            newer = await keys.replace(one.id, ann.user.id, "hash-2", "tt_bbbbb")
            ended = await keys.replace(two.id, ann.user.id, "hash-3", "tt_ccccc")
            await keys.deactivate(ended.id)
        async with database.reading() as session:
            overview = Overview(session)
            everything = await overview.tunnels()
            of_bob = await overview.tunnels(bob.user.id)
        shown = [
            (tunnel.subdomain, user.provider_username, key.id if key else None) for tunnel, user, key in everything
        ]
        assert shown == [("one", "ann", newer.id), ("two", "ann", None), ("three", "bob", None)]
        assert [tunnel.subdomain for tunnel, _, _ in of_bob] == ["three"]


async def test_keys_come_with_their_tunnel_newest_first(database: Database) -> None:
    async with database:
        ann = await new_owner(database, "github", "ann", "one")
        bob = await new_owner(database, "github", "bob", "two")
        async with database.session() as session:
            for owner, number in ((ann, 1), (bob, 2), (ann, 3)):
                await ApiKeys(session).replace(owner.tunnels[0].id, owner.user.id, f"hash-{number}", f"tt_{number}")
        async with database.reading() as session:
            everything = await Overview(session).keys()
            of_ann = await Overview(session).keys(ann.user.id)
        assert [(key.key_prefix, key.is_active, tunnel and tunnel.subdomain) for key, _, tunnel in everything] == [
            ("tt_3", True, "one"),
            ("tt_2", True, "two"),
            ("tt_1", False, "one"),
        ]
        assert [(key.key_prefix, user.provider_username) for key, user, _ in of_ann] == [
            ("tt_3", "ann"),
            ("tt_1", "ann"),
        ]


async def test_a_connection_lasts_until_its_end_was_noted(database: Database) -> None:
    async with database:
        await happened(
            database,
            (CONNECT, "app", "1"),
            (CONNECT, "other", "2"),
            (CONNECT, "app", "3"),  # takes over, so the older one ends after it
            (DISCONNECT, "app", "1"),
            ("refused", "", ""),
        )
        async with database.reading() as session:
            found = await Overview(session).connections(None, 10)
        assert [(each.row.connection_id, each.ended_at, each.lost) for each in found] == [
            ("3", None, False),
            ("2", None, False),
            ("1", NOW + timedelta(seconds=3), False),
        ]


async def test_a_connection_whose_server_was_killed_is_lost_once_its_tunnel_is_back(database: Database) -> None:
    async with database:
        await happened(database, (CONNECT, "app", "1"), (CONNECT, "app", "2"))
        async with database.reading() as session:
            found = await Overview(session).connections("app", 10)
        assert [(each.row.connection_id, each.ended_at, each.lost) for each in found] == [
            ("2", None, False),
            ("1", None, True),
        ]


async def test_connections_are_those_of_one_tunnel_and_so_many_at_most(database: Database) -> None:
    async with database:
        await happened(database, *[(CONNECT, name, name + number) for number in "12" for name in ("app", "other")])
        async with database.reading() as session:
            overview = Overview(session)
            assert [each.row.connection_id for each in await overview.connections("other", 10)] == ["other2", "other1"]
            assert [each.row.connection_id for each in await overview.connections(None, 1)] == ["other2"]
            assert await overview.connections("nobodys", 10) == []
