"""Queries on Postgres: the role that runs them, and what becomes of servers that may not make one."""

from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from terratunnel.server.control.sqlbrowser.answers import MAX_CELL_CHARS, BrowserUnavailable, QueryRefused
from terratunnel.server.control.sqlbrowser.postgres import PostgresQueries
from terratunnel.server.storage.engine import Database
from terratunnel.server.storage.errors import StorageUnavailable
from terratunnel.testing.databases import PostgresCluster
from tests.server.control.sqlbrowser.filled import filled


def queries_on(database: Database) -> PostgresQueries:
    return PostgresQueries(database.location.dsn, database.location.shown)


async def test_every_column_is_shown_but_the_secret_ones(postgres: PostgresCluster) -> None:
    async with filled(Database(postgres.new())) as database:
        queries = queries_on(database)
        answer = await queries.query("SELECT id, key_prefix, is_active, name FROM api_keys")
        assert (answer.columns, answer.rows) == (
            ["id", "key_prefix", "is_active", "name"],
            [[1, "tt_abcde", True, None]],
        )
        with pytest.raises(QueryRefused, match="never shown: code_hash, jti, key_hash, token_hash, user_code"):
            await queries.query("SELECT * FROM api_keys")


async def test_a_long_value_is_cut_before_it_is_sent(postgres: PostgresCluster) -> None:
    async with filled(Database(postgres.new())) as database:
        answer = await queries_on(database).query("SELECT repeat('x', 5000)")
    assert answer.rows == [["x" * MAX_CELL_CHARS + "…"]]


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("SELEC 1", 'Postgres says: syntax error at or near "SELEC".'),
        ("SELECT 1; SELECT 2", "cannot insert multiple commands"),
        ("DELETE FROM users", "takes one SELECT"),
        ("SELECT 1) AS a, (SELECT 2", "syntax error"),
        ("SELECT most_common_vals FROM pg_stats", "column::text"),
        ("SELECT " + "1," * 100 + "1", "more than 100 columns"),
    ],
)
async def test_a_query_that_cannot_be_run_is_refused_with_a_sentence(
    postgres: PostgresCluster, sql: str, sentence: str
) -> None:
    async with filled(Database(postgres.new())) as database:
        with pytest.raises(QueryRefused) as refused:
            await queries_on(database).query(sql)
    assert sentence in str(refused.value)


async def test_rows_are_bounded(postgres: PostgresCluster) -> None:
    async with filled(Database(postgres.new())) as database:
        answer = await queries_on(database).query("SELECT * FROM generate_series(1, 1000)")
        assert (len(answer.rows), answer.truncated) == (500, True)
        wide = await queries_on(database).query("SELECT repeat('x', 2000) FROM generate_series(1, 9000)")
        assert wide.truncated


ACTIVE = "SELECT query FROM pg_stat_activity WHERE application_name = 'terratunnel query box' AND state = 'active'"


@pytest.mark.parametrize("forever", ["pg_sleep(99)::text", "(SELECT count(*) FROM generate_series(1, 1e12))::text"])
async def test_a_query_that_lifts_its_own_time_limit_is_stopped_in_the_database_as_well(
    postgres: PostgresCluster, forever: str
) -> None:
    """The limit is set in the first rows that are fetched, and holds for the next ones."""
    lifted = (
        "SELECT set_config('statement_timeout', '0', false), CASE WHEN n > 60 THEN {} END FROM generate_series(1, 99) n"
    )
    async with filled(Database(postgres.new())) as database:
        with pytest.raises(QueryRefused, match="took longer"):
            await queries_on(database).query(lifted.format(forever))
        async with database.reading() as session:
            assert (await session.execute(text(ACTIVE))).all() == []


async def test_two_nodes_use_one_database(postgres: PostgresCluster) -> None:
    """Each sets the role's password to its own; the other one notices."""
    async with filled(Database(postgres.new())) as database:
        first, second = queries_on(database), queries_on(database)
        for queries in (first, second, first):
            assert (await queries.query("SELECT 1")).rows == [[1]]


async def test_a_server_that_may_make_no_role_says_what_to_do(postgres: PostgresCluster) -> None:
    database = Database(postgres.new())
    name = urlsplit(database.location.dsn).path[1:]
    postgres.run("CREATE ROLE plain LOGIN PASSWORD 'plain'")
    postgres.run(f"GRANT ALL ON DATABASE {name} TO plain")
    plain = PostgresQueries(database.location.dsn.replace("://postgres:@", "://plain:plain@"), "plain")
    with pytest.raises(BrowserUnavailable, match="CREATEROLE"):
        await plain.query("SELECT 1")


async def test_a_database_that_is_gone_is_said() -> None:
    gone = PostgresQueries("postgresql://postgres@127.0.0.1:1/gone", "gone")
    with pytest.raises(StorageUnavailable):
        await gone.query("SELECT 1")
