"""The log: stored in order whatever became of whom it names, read backwards by pages, and forgotten in batches."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, text

from terratunnel.server.storage.api_keys import ApiKeys
from terratunnel.server.storage.audit import DELETE_BATCH, Audit, AuditFilters, AuditRow
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.models import TunnelAuditLog
from terratunnel.server.storage.tunnels import Tunnels
from terratunnel.server.storage.users import Profile, Users

NOW = datetime(2025, 6, 15, 15, 6, 40, tzinfo=UTC)


async def add(database: Database, *rows: AuditRow) -> None:
    async with database.session() as session:
        await Audit(session).add_many(rows)


async def listed(database: Database, filters: AuditFilters | None = None) -> list[str]:
    async with database.reading() as session:
        return [row.connection_id for row in (await Audit(session).list(filters)).rows]


async def new_key(database: Database) -> tuple[int, int]:
    """Return the ids of a user and of their key."""
    async with database.session() as session:
        user = await Users(session).upsert_from_profile(Profile("github", "1", "ann"))
        tunnel = await Tunnels(session).create(user.id, "name")
        return user.id, (await ApiKeys(session).replace(tunnel.id, user.id, "hash", "tt_abcde")).id


async def test_a_row_comes_back_as_it_was(database: Database) -> None:
    async with database:
        user, key = await new_key(database)
        await add(
            database,
            AuditRow(
                *(NOW, "connect", "name", "name.example.com", "http://localhost:3000", "c-1", "192.0.2.1", "agent/1"),
                *(user, "ann", key, '{"a": 1}'),
            ),
        )
        async with database.reading() as session:
            (row,) = (await Audit(session).list()).rows
    assert (row.timestamp, row.event_type, row.subdomain) == (NOW, "connect", "name")
    assert (row.hostname, row.local_endpoint) == ("name.example.com", "http://localhost:3000")
    assert (row.connection_id, row.client_ip, row.user_agent) == ("c-1", "192.0.2.1", "agent/1")
    assert (row.user_id, row.username, row.api_key_id, row.additional_data) == (user, "ann", key, '{"a": 1}')


async def test_a_row_about_somebody_who_is_gone_is_stored_without_the_id(database: Database) -> None:
    async with database:
        await add(database, AuditRow(NOW, "logout", user_id=99, username="ann", api_key_id=98))
        async with database.reading() as session:
            (row,) = (await Audit(session).list()).rows
    assert (row.user_id, row.api_key_id, row.username) == (None, None, "ann")


async def test_rows_written_while_their_user_is_deleted_are_all_there(database: Database) -> None:
    async def delete(user: int) -> None:
        async with database.session() as session:
            await Users(session).delete(user)

    async with database:
        user, key = await new_key(database)
        row = AuditRow(NOW, "connect", user_id=user, api_key_id=key)
        await asyncio.gather(
            *(add(database, row) for _ in range(5)), delete(user), *(add(database, row) for _ in "12345")
        )
        assert len(await listed(database)) == 10


async def test_nothing_to_store_is_nothing(database: Database) -> None:
    async with database:
        await add(database)
        assert await listed(database) == []


async def test_rows_are_in_the_order_of_their_times(database: Database) -> None:
    async with database:
        for seconds in (2, 0, 1, 2):
            time = NOW + timedelta(seconds=seconds)
            await add(database, AuditRow(time, "connect", connection_id=str(seconds)))
        pages: list[str] = []
        before = None
        async with database.reading() as session:
            for _ in range(4):
                page = await Audit(session).list(before=before, page_size=1)
                pages += [row.connection_id for row in page.rows]
                before = page.next_before
    assert pages == ["2", "2", "1", "0"]
    assert before is None


async def test_nothing_comes_after_a_row_that_was_forgotten(database: Database) -> None:
    async with database:
        await add(database, AuditRow(NOW, "connect"))
        async with database.reading() as session:
            assert (await Audit(session).list(before=99)).rows == []


async def test_pages_go_backwards_and_end(database: Database) -> None:
    async with database:
        await add(database, *(AuditRow(NOW, "connect", connection_id=str(number)) for number in range(7)))
        seen, before = [], None
        async with database.reading() as session:
            while True:
                page = await Audit(session).list(before=before, page_size=3)
                seen.append("".join(row.connection_id for row in page.rows))
                before = page.next_before
                if before is None:
                    break
    assert seen == ["654", "321", "0"]


async def test_a_page_that_is_just_full_is_the_last(database: Database) -> None:
    async with database:
        await add(database, *(AuditRow(NOW, "connect") for _ in range(3)))
        async with database.reading() as session:
            page = await Audit(session).list(page_size=3)
    assert len(page.rows) == 3
    assert page.next_before is None


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (AuditFilters(), "dcba"),
        (AuditFilters(event_type="refused"), "d"),
        (AuditFilters(subdomain="one"), "ba"),
        (AuditFilters(subdomain="one", event_type="connect"), "a"),
        (AuditFilters(since=NOW + timedelta(hours=1)), "dcb"),
        (AuditFilters(until=NOW + timedelta(hours=1)), "a"),
        (AuditFilters(since=NOW + timedelta(hours=1), until=NOW + timedelta(hours=2)), "b"),
        (AuditFilters(user_id=99), ""),
        (AuditFilters(api_key_id=99), ""),
    ],
)
async def test_filters_are_joined_by_and(database: Database, filters: AuditFilters, found: str) -> None:
    rows = [("a", "connect", "one"), ("b", "disconnect", "one"), ("c", "connect", "two"), ("d", "refused", "")]
    async with database:
        for hours, (name, event, subdomain) in enumerate(rows):
            await add(database, AuditRow(NOW + timedelta(hours=hours), event, subdomain, connection_id=name))
        assert "".join(await listed(database, filters)) == found


async def test_what_a_user_and_a_key_did_is_found(database: Database) -> None:
    async with database:
        user, key = await new_key(database)
        await add(database, AuditRow(NOW, "login", connection_id="a", user_id=user))
        await add(database, AuditRow(NOW, "connect", connection_id="b", user_id=user, api_key_id=key))
        assert await listed(database, AuditFilters(user_id=user)) == ["b", "a"]
        assert await listed(database, AuditFilters(api_key_id=key)) == ["b"]


async def test_old_rows_are_forgotten(database: Database) -> None:
    async with database:
        for days in range(4):
            await add(database, AuditRow(NOW + timedelta(days=days), "connect", connection_id=str(days)))
        async with database.session() as session:
            assert await Audit(session).delete_before(NOW + timedelta(days=2)) == 2
            assert await Audit(session).delete_before(NOW + timedelta(days=2)) == 0
        assert await listed(database) == ["3", "2"]


async def test_many_old_rows_are_forgotten_batch_by_batch_the_oldest_first(database: Database) -> None:
    row = {"hostname": "", "local_endpoint": "", "connection_id": "", "subdomain": ""}
    async with database:
        async with database.session() as session:
            times = (NOW + timedelta(seconds=second) for second in range(DELETE_BATCH + 10))
            await session.execute(insert(TunnelAuditLog), [row | {"timestamp": time} for time in times])
        async with database.session() as session:
            assert await Audit(session).delete_before(NOW + timedelta(days=1)) == DELETE_BATCH
        async with database.reading() as session:
            left = (await Audit(session).list()).rows
            assert min(found.timestamp for found in left) == NOW + timedelta(seconds=DELETE_BATCH)
        async with database.session() as session:
            assert await Audit(session).delete_before(NOW + timedelta(days=1)) == 10


@pytest.mark.parametrize(
    "condition",
    ["1", "subdomain = 'one'", "event_type = 'refused' AND timestamp > '2025'", "user_id = 1", "api_key_id = 1"],
)
async def test_a_filtered_page_is_read_from_an_index_in_its_order(database: Database, condition: str) -> None:
    if database.dialect != "sqlite":
        return  # Postgres decides by the rows that are there
    after = "(timestamp, id) < (SELECT timestamp, id FROM tunnel_audit_log WHERE id = 7)"
    order = "ORDER BY timestamp DESC, id DESC LIMIT 51"
    query = f"EXPLAIN QUERY PLAN SELECT * FROM tunnel_audit_log WHERE {condition} AND {after} {order}"
    async with database, database.reading() as session:
        plan = " ".join(row.detail for row in await session.execute(text(query)))
    assert "USING INDEX ix_tunnel_audit_log_" in plan
    assert "TEMP B-TREE" not in plan
