"""The query box against hostile statements (security.md D1): no file, no secret, no change, and in time."""

import time
from pathlib import Path

import pytest

from terratunnel.server.control.sqlbrowser.answers import MAX_SQL_CHARS, QueryRefused
from terratunnel.server.control.sqlbrowser.browser import SqlBrowser
from terratunnel.server.storage.engine import Database
from terratunnel.testing.databases import PostgresCluster, SQLiteFiles
from tests.server.control.sqlbrowser.filled import SECRETS, everything, filled

# A second, and what a busy machine adds to a process that starts and a connection that opens.
AT_MOST_S = 1.0 + 1.0
FOREVER = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"

HOSTILE_TO_SQLITE = [
    "INSERT INTO users (auth_provider, provider_user_id, provider_username) VALUES ('github', '2', 'mallory')",
    "UPDATE api_keys SET is_active = 1",
    "DELETE FROM tunnel_audit_log",
    "REPLACE INTO users (id, auth_provider, provider_user_id, provider_username) VALUES (1, 'a', 'b', 'c')",
    "WITH d AS (SELECT id FROM users) DELETE FROM users WHERE id IN d",
    "DROP TABLE users",
    "CREATE TABLE mine AS SELECT * FROM api_keys",
    "CREATE TEMP TABLE mine AS SELECT key_hash FROM api_keys",
    "CREATE TEMP VIEW mine AS SELECT key_hash FROM api_keys",
    "CREATE TRIGGER mine AFTER INSERT ON users BEGIN DELETE FROM users; END",
    "CREATE VIRTUAL TABLE temp.mine USING fts5(a)",
    "ALTER TABLE users ADD COLUMN mine TEXT",
    "ATTACH '{file}' AS mine",
    "ATTACH '/etc/passwd' AS mine",
    "DETACH main",
    "VACUUM INTO '{file}'",
    "VACUUM",
    "PRAGMA writable_schema = ON",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA query_only = OFF",
    "PRAGMA temp_store_directory = '{folder}'",
    "SELECT * FROM pragma_table_info('users')",
    "SELECT load_extension('{file}')",
    "SELECT writefile('{file}', 'x')",
    "SELECT readfile('/etc/passwd')",
    "SELECT fts3_tokenizer('simple', x'00')",
    "SELECT key_hash FROM api_keys",
    "SELECT k.key_hash || '' AS x FROM (SELECT * FROM api_keys) AS k UNION SELECT token_hash FROM login_links",
    "SELECT group_concat(hex(key_hash)) FROM api_keys WHERE key_hash > ''",
    "SELECT json_group_array(json_object('a', \"KEY_HASH\")) FROM api_keys GROUP BY key_hash",
    "SELECT code_hash, user_code FROM device_logins ORDER BY code_hash",
    "SELECT key_hash FROM api_keys FULL JOIN (SELECT 'x' AS key_hash) USING (key_hash)",
    "SELECT * FROM api_keys NATURAL FULL OUTER JOIN (SELECT 'x' AS key_hash)",
    "SELECT key_hash FROM api_keys AS a FULL JOIN api_keys AS b -- '\n/* ' */ UsInG(key_hash)",
    "SELECT key_hash FROM api_keys AS a FULL JOIN api_keys AS [it's] \ufeffUSING (key_hash) WHERE 'x' <> ''",
    "SELECT count(*) FROM api_keys JOIN (SELECT '5ec4e7-0f-a-key' AS key_hash) USING (key_hash)",
    "SELECT a.key_hash, b.key_hash FROM api_keys AS a FULL JOIN api_keys AS b ON a.key_hash = b.key_hash",
    "SELECT first_value(key_hash) OVER (PARTITION BY key_hash), (SELECT key_hash) FROM api_keys",
    "SELECT sample FROM sqlite_stat4",
    "SELECT hex(data) FROM sqlite_dbpage",
    "SELECT 1; DELETE FROM users",
    "BEGIN IMMEDIATE",
    "COMMIT",
    f"{FOREVER} SELECT count(*) FROM n",
    f"{FOREVER} SELECT count(*) FROM (SELECT printf('%.*c', 90000, x) AS y FROM n ORDER BY y)",
    "SELECT count(*) FROM sqlite_master a, sqlite_master b, sqlite_master c, sqlite_master d, sqlite_master e, "
    "sqlite_master f, sqlite_master g, sqlite_master h WHERE a.sql || b.sql LIKE '%' || c.sql",
    "SELECT printf('%.*c', 2000000000, 'x')",
    "EXPLAIN DELETE FROM users",
]

HOSTILE_TO_POSTGRES = [
    "INSERT INTO users (auth_provider, provider_user_id, provider_username) VALUES ('github', '2', 'mallory')",
    "UPDATE api_keys SET is_active = true",
    "DELETE FROM tunnel_audit_log",
    "WITH d AS (DELETE FROM users RETURNING id) SELECT * FROM d",
    "TRUNCATE users CASCADE",
    "DROP TABLE users CASCADE",
    "CREATE TABLE mine AS SELECT id FROM api_keys",
    "SELECT id INTO mine FROM api_keys",
    "CREATE TEMP TABLE mine (a int)",
    "COPY users TO '{file}'",
    "COPY (SELECT 1) TO PROGRAM 'touch {file}'",
    "SELECT lo_export(lo_create(0), '{file}')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT key_hash FROM api_keys",
    "SELECT * FROM api_keys",
    "SELECT row_to_json(k)::text FROM api_keys AS k",
    "SELECT k FROM api_keys AS k WHERE k IS NOT NULL ORDER BY k",
    "SELECT (k).key_hash, hashtext(k::text), pg_column_size(k) FROM api_keys AS k",
    "SELECT key_hash FROM api_keys FULL JOIN (SELECT 'x' AS key_hash) AS x USING (key_hash)",
    "SELECT * FROM api_keys NATURAL JOIN users",
    "SELECT ts_rewrite('a'::tsquery, 'SELECT key_hash::tsquery, key_hash::tsquery FROM api_keys')::text",
    "SELECT token_hash FROM login_links UNION SELECT user_code FROM device_logins",
    "SELECT set_config('role', 'none', false), query_to_xml('SELECT key_hash FROM api_keys', true, true, '')::text",
    "SELECT set_config('session_authorization', 'postgres', false), table_to_xml('api_keys', true, true, '')::text",
    "SELECT ts_stat('SELECT key_hash::tsvector FROM api_keys')::text",
    "SELECT most_common_vals::text, histogram_bounds::text FROM pg_stats WHERE attname = 'key_hash'",
    "SELECT rolpassword FROM pg_authid",
    "SET ROLE postgres",
    "RESET ROLE",
    "SET SESSION AUTHORIZATION postgres",
    "SET statement_timeout = 0",
    "SELECT set_config('transaction_read_only', 'off', false), set_config('statement_timeout', '0', true), pg_sleep(9)",
    "DO $$ BEGIN PERFORM pg_sleep(9); END $$",
    "SELECT pg_sleep(9)",
    "SELECT set_config('statement_timeout', '0', false), CASE WHEN n > 30 THEN pg_sleep(99)::text END "
    "FROM generate_series(1, 100) AS n",
    "SELECT set_config('statement_timeout', '0', false), CASE WHEN n > 30 THEN "
    "(SELECT count(*) FROM generate_series(1, 100000000000)) END FROM generate_series(1, 100) AS n",
    f"{FOREVER} SELECT count(*) FROM n",
    "SELECT count(*) FROM generate_series(1, 1000000000)",
    "SELECT repeat('x', 1000000000) FROM generate_series(1, 100)",
    "SELECT nextval(pg_get_serial_sequence('users', 'id'))",
    "SELECT setval(pg_get_serial_sequence('users', 'id'), 99)",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()",
    "SELECT pg_reload_conf()",
    "SELECT 1; DELETE FROM users",
    "SELECT 1) AS answer; DELETE FROM users; SELECT * FROM (SELECT 1",
    "COMMIT",
    "LOCK TABLE users",
    "SELECT id FROM users FOR UPDATE",
    "CREATE FUNCTION mine() RETURNS int AS 'SELECT 1' LANGUAGE sql",
    "NOTIFY mine",
]


async def withstands(database: Database, statement: str, folder: Path) -> None:
    """Run a statement; whatever the answer is, it must be harmless."""
    target = folder / "written"
    async with filled(database):
        browser = SqlBrowser(database)
        await browser.query("SELECT 1")  # a role is made once
        before, files = await everything(database), sorted(folder.iterdir())
        started = time.monotonic()
        try:
            shown = str(await browser.query(statement.format(file=target, folder=folder)))
        except QueryRefused as refused:
            shown = str(refused)
        assert time.monotonic() - started < AT_MOST_S
        assert await everything(database) == before
    assert sorted(folder.iterdir()) == files
    assert "root:" not in shown
    for secret in SECRETS:
        assert secret not in shown
        assert secret.encode().hex().upper() not in shown.upper()
    assert "SCRAM-SHA-256$" not in shown


@pytest.mark.parametrize("statement", HOSTILE_TO_SQLITE)
async def test_sqlite_withstands(sqlite: SQLiteFiles, tmp_path: Path, statement: str) -> None:
    await withstands(Database(sqlite.new()), statement, tmp_path)


@pytest.mark.parametrize("statement", HOSTILE_TO_POSTGRES)
async def test_postgres_withstands(postgres: PostgresCluster, tmp_path: Path, statement: str) -> None:
    await withstands(Database(postgres.new()), statement, tmp_path)


def test_there_are_thirty_hostile_statements_for_each() -> None:
    assert min(len(set(HOSTILE_TO_SQLITE)), len(set(HOSTILE_TO_POSTGRES))) >= 30


async def test_an_answer_says_how_long_it_took(database: Database) -> None:
    async with filled(database):
        timed = await SqlBrowser(database).query("  SELECT provider_username FROM users ; ")
    assert timed.answer.rows == [["ann"]]
    assert timed.duration_ms >= 0


@pytest.mark.parametrize("sql", ["", "  ;", "\0", "SELECT '" + "x" * MAX_SQL_CHARS + "'"])
async def test_what_is_no_query_is_refused(database: Database, sql: str) -> None:
    with pytest.raises(QueryRefused, match="Write one SELECT"):
        await SqlBrowser(database).query(sql)
