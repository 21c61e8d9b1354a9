"""Tables: what is listed, and how they are paged."""

from datetime import timedelta

import pytest
from sqlalchemy import delete

from terratunnel.server.control.sqlbrowser.answers import SECRET_COLUMNS
from terratunnel.server.control.sqlbrowser.tables import COUNTED, NotNumbered, Tables
from terratunnel.server.storage.audit import Audit, AuditRow
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.models import TunnelAuditLog
from tests.server.control.sqlbrowser.filled import NOW, filled


async def test_every_table_is_listed_the_guides_first(database: Database) -> None:
    async with filled(database):
        tables = await Tables(database).list()
    assert [table.name for table in tables][:4] == ["users", "tunnels", "api_keys", "tunnel_audit_log"]
    assert [(table.rows, table.more) for table in tables][:4] == [(1, False)] * 4
    assert not SECRET_COLUMNS & {column for table in tables for column in table.columns}


async def test_a_table_is_paged_newest_first(database: Database) -> None:
    async with filled(database):
        async with database.session() as session:
            rows = [AuditRow(NOW + timedelta(seconds=number), "connect", f"name-{number}") for number in range(5)]
            await Audit(session).add_many(rows)
        pages = [await Tables(database).page("tunnel_audit_log", number, 3) for number in (1, 2, 3)]
    found = [page for page in pages if page is not None]
    assert [[row[0] for row in page.rows] for page in found] == [[6, 5, 4], [3, 2, 1], []]
    assert [page.has_next for page in found] == [True, False, False]
    assert [page.table.rows for page in found] == [6, 6, 6]


async def test_a_page_begins_before_a_number_whatever_has_become_of_that_row(database: Database) -> None:
    async with filled(database):
        async with database.session() as session:
            await Audit(session).add_many([AuditRow(NOW, "connect") for _ in range(6)])
            await session.execute(delete(TunnelAuditLog).where(TunnelAuditLog.id.in_((3, 5))))
        tables, seen, before = Tables(database), [], None
        while True:
            page = await tables.page("tunnel_audit_log", 1, 2, before)
            assert page is not None
            seen.append([row[0] for row in page.rows])
            assert page.has_next is (page.next_before is not None)
            if page.next_before is None:
                break
            before = page.next_before
        second = await tables.page("tunnel_audit_log", 2, 2, before=7)
    assert seen == [[7, 6], [4, 2], [1]]
    assert second is not None
    assert [row[0] for row in second.rows] == [2, 1]


async def test_a_table_without_numbers_has_pages_only(database: Database) -> None:
    async with filled(database):
        page = await Tables(database).page("login_links", 1, 10)
        assert page is not None
        assert page.next_before is None
        with pytest.raises(NotNumbered, match="no numbers"):
            await Tables(database).page("login_links", 1, 10, before=1)


async def test_rows_have_every_column_but_the_secret_ones(database: Database) -> None:
    async with filled(database):
        page = await Tables(database).page("api_keys", 1, 10)
    assert page is not None
    assert "key_hash" not in page.table.columns
    assert dict(zip(page.table.columns, page.rows[0], strict=True))["key_prefix"] == "tt_abcde"


async def test_a_table_that_is_none_of_ours_is_not_there(database: Database) -> None:
    async with filled(database):
        assert await Tables(database).page("alembic_version", 1, 10) is None
        assert await Tables(database).page("users; DROP TABLE users", 1, 10) is None


async def test_a_long_table_is_counted_up_to_a_bound(database: Database) -> None:
    async with filled(database):
        async with database.session() as session:
            await Audit(session).add_many([AuditRow(NOW, "connect") for _ in range(COUNTED)])
        page = await Tables(database).page("tunnel_audit_log", 1, 1)
    assert page is not None
    assert (page.table.rows, page.table.more) == (COUNTED, True)
