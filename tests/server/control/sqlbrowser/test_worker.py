"""The process that runs one query: what it may do, whatever it is asked. Here it is run as the parent runs it."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from terratunnel.server.control.sqlbrowser import worker
from terratunnel.server.storage.urls import locate, sqlite_uri
from terratunnel.testing.databases import SQLiteFiles

LIMITS = {"time_limit_s": 0.4, "too_long": "Too long.", "max_rows": 3, "max_columns": 4, "max_chars": 1_000}


@pytest.fixture
def path(sqlite: SQLiteFiles) -> Path:
    found = locate(sqlite.new()).path
    assert found is not None
    return found


def ask(path: Path, sql: str, **limits: object) -> dict[str, object]:
    request = {"uri": sqlite_uri(path, "ro"), "sql": sql, "secret_columns": ["key_hash"], **LIMITS, **limits}
    done = run(json.dumps(request).encode())
    assert done.returncode == 0
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def run(request: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-I", "-S", worker.__file__]
    return subprocess.run(command, input=request, capture_output=True, timeout=20, check=False)


def test_a_select_is_answered(path: Path) -> None:
    assert ask(path, "SELECT 1 AS a, 'x' AS b, x'00ff' AS c, 9e999 AS d") == {
        "columns": ["a", "b", "c", "d"],
        "rows": [[1, "x", "x'00ff'", "inf"]],
        "truncated": False,
    }


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM users WHERE lower(name) LIKE 'a%' GROUP BY email ORDER BY 1",
        "WITH n(x) AS (VALUES (1), (2)) SELECT sum(x), group_concat(x) FROM n",
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 9) SELECT count(*) FROM n",
        "SELECT json_extract(additional_data, '$.reason') FROM tunnel_audit_log",
        "SELECT date('now'), strftime('%Y', created_at), row_number() OVER (ORDER BY id) FROM users",
        "SELECT name, sql FROM sqlite_master",
        "SELECT 'using', 1 AS \"natural\", 2 AS [using], 3 AS using_it -- NATURAL\n/* USING */ FROM users",
    ],
)
def test_what_people_ask_works(path: Path, sql: str) -> None:
    assert "rows" in ask(path, sql)


def test_rows_and_characters_are_bounded(path: Path) -> None:
    many = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT {} FROM n"
    assert ask(path, many.format("x"))["rows"] == [[1], [2], [3]]
    assert ask(path, many.format("x"))["truncated"] is True
    assert len(str(ask(path, many.format("printf('%.*c', 700, 'x')"), max_rows=50)["rows"])) < 2_000
    assert ask(path, "SELECT 1, 2, 3, 4, 5") == {"error": "The query has more than 4 columns."}


def test_a_text_that_is_none_is_shown_as_far_as_it_goes(path: Path) -> None:
    assert ask(path, "SELECT CAST(x'41ff42' AS TEXT)")["rows"] == [["A\ufffdB"]]


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("SELEC 1", 'SQLite says: near "SELEC": syntax error.'),
        ("SELECT 1; SELECT 2", "The query box takes one statement at a time."),
        ("DELETE FROM users", "The query box only reads"),
        ("SELECT load_extension('x')", "The query box only reads"),
        ("SELECT * FROM sqlite_dbpage", "no such table: sqlite_dbpage"),
        ("SELECT * FROM pragma_database_list", "The query box only reads"),
        ("SELECT 1 FROM users AS a JOIN users AS b USING (id)", "write the join as: JOIN … ON a.id = b.id."),
        ("SELECT 1 FROM users NATURAL JOIN tunnels", "write the join as: JOIN … ON a.id = b.id."),
    ],
)
def test_a_query_that_cannot_be_run_is_refused_with_a_sentence(path: Path, sql: str, sentence: str) -> None:
    error = ask(path, sql)["error"]
    assert isinstance(error, str)
    assert sentence in error or "only reads" in error


def test_samples_that_sqlite_has_taken_of_an_index_are_not_read(path: Path) -> None:
    """ANALYZE takes them, where SQLite is built with STAT4."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("CREATE TABLE sqlite_stat4 (tbl, idx, sample)")
        connection.execute("INSERT INTO sqlite_stat4 VALUES ('api_keys', 'uq_api_keys_key_hash', 'a secret')")
    assert "only reads" in str(ask(path, "SELECT sample FROM sqlite_stat4")["error"])


def test_a_query_that_runs_on_is_stopped(path: Path) -> None:
    forever = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    assert ask(path, forever) == {"error": "Too long."}


def confined(code: str) -> str:
    """What Python says when it runs some code in a confined process."""
    code = f"import runpy; runpy.run_path({worker.__file__!r})['confine'](); {code}"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a limit of POSIX systems")
def test_a_process_that_may_write_nothing_writes_nothing(tmp_path: Path) -> None:
    assert "File too large" in confined(f"open('{tmp_path}/x', 'wb', 0).write(b'x')")
    assert (tmp_path / "x").read_bytes() == b""


@pytest.mark.skipif(sys.platform != "linux", reason="others set no limit on memory")
def test_memory_is_bounded() -> None:
    assert "MemoryError" in confined(f"bytearray({worker.MEMORY_BYTES})")
