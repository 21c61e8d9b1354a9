"""Queries on SQLite: the parent's side of the process that runs them."""

import asyncio
from pathlib import Path

import pytest

from terratunnel.server.control.sqlbrowser import answers
from terratunnel.server.control.sqlbrowser.answers import MAX_CELL_CHARS, QueryRefused
from terratunnel.server.control.sqlbrowser.sqlite import SqliteQueries
from terratunnel.server.storage.engine import Database
from terratunnel.testing.databases import SQLiteFiles
from tests.server.control.sqlbrowser.filled import filled


async def test_secret_columns_read_as_nothing(sqlite: SQLiteFiles) -> None:
    async with filled(Database(sqlite.new())) as database:
        assert database.location.path is not None
        answer = await SqliteQueries(database.location.path).query("SELECT * FROM api_keys WHERE is_active = 1")
    assert answer.rows[0][answer.columns.index("key_prefix")] == "tt_abcde"
    assert answer.rows[0][answer.columns.index("key_hash")] is None


async def test_a_long_value_is_cut(sqlite: SQLiteFiles) -> None:
    async with filled(Database(sqlite.new())) as database:
        assert database.location.path is not None
        answer = await SqliteQueries(database.location.path).query("SELECT printf('%.*c', 5000, 'x')")
    assert answer.rows == [["x" * MAX_CELL_CHARS + "…"]]


async def test_a_step_that_does_not_end_takes_its_process_with_it(sqlite: SQLiteFiles) -> None:
    """One comparison of two texts, so SQLite never asks whether it should stop."""
    slow = "WITH s(a) AS (SELECT printf('%.*c', 99000, 'a')) SELECT {} FROM s"
    once = "instr(a, substr(a, 1, 49000) || 'b' || substr(a, 1, 100))"
    async with filled(Database(sqlite.new())) as database:
        assert database.location.path is not None
        with pytest.raises(QueryRefused, match=answers.TOO_LONG):
            await SqliteQueries(database.location.path).query(slow.format(" + ".join([once] * 90)))


async def test_a_file_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(QueryRefused, match="unable to open database file"):
        await SqliteQueries(tmp_path / "gone.db").query("SELECT 1")


async def test_whoever_does_not_wait_takes_the_query_along(sqlite: SQLiteFiles) -> None:
    forever = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    async with filled(Database(sqlite.new())) as database:
        assert database.location.path is not None
        queries = SqliteQueries(database.location.path)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queries.query(forever), 0.1)
        assert (await queries.query("SELECT 1")).rows == [[1]]
