"""The audit log: nothing is lost, nothing waits for it, and nobody fills the disk with it."""

import asyncio
import json
from dataclasses import replace

import pytest

from terratunnel.server.actors import OPERATOR, Origin
from terratunnel.server.auditing import BATCH, MAX_REPEATERS, MAX_TEXT, MAX_WAITING, REPEAT_S, AuditLog, Event
from terratunnel.server.storage.audit import DELETE_BATCH, Audit
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.models import TunnelAuditLog
from terratunnel.testing.clock import Clock
from terratunnel.testing.databases import Databases
from tests.server.desk import ALICE, HERE, Desk

DAY_S = 86_400.0


async def stored(database: Database, count: int = 1_000) -> list[TunnelAuditLog]:
    """What the database holds, oldest first."""
    async with database.reading() as session:
        return (await Audit(session).list(page_size=count)).rows[::-1]


# ---------------------------------------------------------------------- what is written


async def test_an_event_is_stored_with_who_where_and_when(desk: Desk) -> None:
    async with desk:
        alice = replace(await desk.user(ALICE), key_id=None)
        desk.audit.record(Event.KEY_ROTATED, alice, subdomain="app", details={"key_prefix": "tt_abcde"})
        row = (await desk.audited())[-1]
        assert (row.event_type, row.user_id, row.username) == ("key_rotated", alice.id, "alice")
        assert (row.client_ip, row.user_agent, row.subdomain) == ("192.0.2.7", "a browser", "app")
        assert (row.hostname, row.local_endpoint, row.connection_id) == ("", "", "")
        assert row.timestamp.timestamp() == desk.clock.now
        assert row.additional_data == '{"key_prefix": "tt_abcde"}'


async def test_the_operator_is_named_and_is_no_user(desk: Desk) -> None:
    async with desk:
        desk.audit.record(Event.USER_CREATED, OPERATOR)
        row = (await desk.audited())[-1]
        assert (row.user_id, row.username, row.client_ip) == (None, "operator", None)


async def test_events_are_stored_in_their_order_however_many(desk: Desk) -> None:
    async with desk:
        for number in range(2 * BATCH + 1):
            desk.audit.record(Event.CONNECT, subdomain=f"n{number}")
        assert desk.audit.waiting == 2 * BATCH + 1
        await desk.audit.flush()
        assert desk.audit.waiting == 0
        rows = await stored(desk.database, 2 * BATCH + 10)
        assert [row.subdomain for row in rows] == [f"n{number}" for number in range(2 * BATCH + 1)]


async def test_two_who_store_at_once_store_each_event_once(desk: Desk) -> None:
    async with desk:
        for number in range(BATCH + 1):
            desk.audit.record(Event.CONNECT, subdomain=f"n{number}")
        await asyncio.gather(desk.audit.flush(), desk.audit.flush())
        assert [row.subdomain for row in await stored(desk.database)] == [f"n{number}" for number in range(BATCH + 1)]


async def test_what_strangers_send_is_cut_and_made_storable(desk: Desk) -> None:
    async with desk:
        desk.audit.record(
            Event.REFUSED, origin=Origin("192.0.2.1", "a" * 10_000), local_endpoint="\0http://\ud800x", hostname="\x1b"
        )
        row = (await desk.audited())[-1]
        assert row.user_agent == "a" * MAX_TEXT
        assert (row.local_endpoint, row.hostname) == ("http://x", "\x1b")


async def test_a_row_that_no_database_takes_does_not_hold_up_the_others(desk: Desk) -> None:
    async with desk:
        desk.audit.record(Event.CONNECT, subdomain="before")
        desk.audit.record(Event.CONNECT, connection_id=object())  # type: ignore[arg-type]
        desk.audit.record(Event.CONNECT, subdomain="after")
        assert [row.subdomain for row in await desk.audited()] == ["before", "after"]


# ---------------------------------------------------------------------- who knocks again and again


def knock(desk: Desk, address: str) -> None:
    desk.audit.record(Event.REFUSED, origin=Origin(address, "a client"), details={"reason": "no key"})


async def test_the_first_refusal_is_stored_and_those_of_its_minute_are_counted(desk: Desk) -> None:
    async with desk:
        for _ in range(500):
            knock(desk, "192.0.2.1")
        knock(desk, "192.0.2.2")
        assert [row.client_ip for row in await desk.audited()] == ["192.0.2.1", "192.0.2.2"]
        desk.clock.now += REPEAT_S
        rows = await desk.audited()
        assert [row.client_ip for row in rows] == ["192.0.2.1", "192.0.2.2", "192.0.2.1"]
        assert await desk.details() == {"reason": "no key", "times": 499}
        knock(desk, "192.0.2.1")
        assert len(await desk.audited()) == 4


async def test_refusals_of_two_keys_from_one_address_are_both_stored(desk: Desk) -> None:
    async with desk:
        alice = await desk.user(ALICE)
        tunnel_id = await desk.tunnel_id(alice)
        keys = [(await desk.accounts.rotate_key(alice, tunnel_id)).api_key.id for _ in range(2)]
        for key in (*keys, *keys):
            desk.audit.record(Event.REFUSED, origin=HERE, api_key_id=key)
        rows = [row for row in await desk.audited() if row.event_type == "refused"]
        assert [row.api_key_id for row in rows] == keys


async def test_more_addresses_than_we_remember_are_counted_together(desk: Desk) -> None:
    async with desk:
        for number in range(MAX_REPEATERS + 100):
            knock(desk, f"address {number}")
        assert desk.audit.waiting == MAX_REPEATERS + 1
        await desk.audit.flush()
        desk.clock.now += REPEAT_S
        assert await desk.details() == {"reason": "no key", "times": 99}


async def test_connections_are_never_counted_together(desk: Desk) -> None:
    async with desk:
        for _ in range(10):
            desk.audit.record(Event.CONNECT, origin=HERE)
        assert len(await desk.audited()) == 10


# ---------------------------------------------------------------------- its end, and outages


async def test_nothing_is_lost_at_the_end(database: Database, clock: Clock) -> None:
    async with database:
        audit = AuditLog(database, 0, clock)
        audit.start()
        audit.record(Event.CONNECT)
        for _ in range(3):
            audit.record(Event.REFUSED, origin=HERE)
        await audit.close()
        assert [row.event_type for row in await stored(database)] == ["connect", "refused", "refused"]


async def test_while_the_database_is_away_events_wait_for_it(databases: Databases, clock: Clock) -> None:
    database = Database(databases.empty(), clock)
    audit = AuditLog(database, 0, clock)
    audit.record(Event.CONNECT, subdomain="app")
    assert not await audit._writer.run_once()
    assert audit.waiting == 1
    audit._database = back = Database(databases.new(), clock)
    async with back:
        assert await audit._writer.run_once()
        assert [row.subdomain for row in await stored(back)] == ["app"]
    await database.close()


async def test_what_was_too_much_is_counted_when_the_database_is_back(desk: Desk) -> None:
    async with desk:
        for _ in range(MAX_WAITING + 7):
            desk.audit.record(Event.CONNECT)
        assert desk.audit.waiting == MAX_WAITING
        desk.audit._waiting.clear()  # as if they were stored, which takes a while
        await desk.audit.flush()
        assert (await desk.audited())[-1].event_type == "events_lost"
        assert await desk.details() == {"count": 7}


async def test_what_cannot_be_stored_at_the_end_is_said(
    databases: Databases, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(databases.empty(), clock)
    audit = AuditLog(database, 0, clock)
    audit.record(Event.CONNECT)
    await audit.close()
    await database.close()
    assert "audit_events_lost count=1" in caplog.text


# ---------------------------------------------------------------------- retention


@pytest.mark.parametrize(("days", "kept"), [(0.0, ["old", "new"]), (30.0, ["new"])])
async def test_what_is_older_than_the_retention_is_deleted(
    days: float, kept: list[str], database: Database, clock: Clock
) -> None:
    async with database:
        audit = AuditLog(database, days, clock)
        audit.record(Event.CONNECT, subdomain="old")
        clock.now += 31 * DAY_S
        audit.record(Event.CONNECT, subdomain="new")
        await audit.flush()
        await audit.purge()
        assert [row.subdomain for row in await stored(database)] == kept


async def test_a_server_that_stops_does_not_wait_for_all_of_a_purge(database: Database, clock: Clock) -> None:
    async with database:
        audit = AuditLog(database, 30.0, clock)
        for _ in range(2 * DELETE_BATCH + 1):
            audit.record(Event.CONNECT)
        await audit.flush()
        clock.now += 31 * DAY_S
        await audit.close()
        await audit.purge()
        assert len(await stored(database, 3 * DELETE_BATCH)) == DELETE_BATCH + 1


async def test_details_are_json(desk: Desk) -> None:
    async with desk:
        desk.audit.record(Event.DATABASE_QUERY, details={"query": "select 'ü'", "when": desk.audit.now()})
        row = (await desk.audited())[-1]
        assert json.loads(row.additional_data or "")["query"] == "select 'ü'"
