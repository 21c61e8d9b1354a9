"""Answers one query on a SQLite file, in a process of its own. Run by `sqlite`, by path; it imports nothing of ours.

Rule (security.md D1): the authorizer lets SELECT through and nothing else, the kernel lets the process write no file,
and both end it after its time. The request is JSON on stdin, the answer is JSON on stdout.
"""

import json
import math
import re
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from typing import Any

# Functions that compute. Not here: load_extension, fts3_tokenizer, and whatever else SQLite was built with.
FUNCTION_NAMES = """
abs char changes coalesce concat concat_ws format glob hex ifnull iif instr length like likelihood likely lower
ltrim max min nullif octet_length printf quote random round rtrim sign soundex sqlite_version substr substring
total_changes trim typeof unhex unicode unlikely upper
avg count group_concat string_agg sum total
date datetime julianday strftime time timediff unixepoch current_date current_time current_timestamp
row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value
json json_array json_array_length json_error_position json_extract json_object json_patch json_quote json_remove
json_type json_valid json_group_array json_group_object -> ->>
acos asin atan atan2 ceil ceiling cos degrees exp floor ln log log10 log2 mod pi pow power radians sin sqrt tan
trunc
"""
FUNCTIONS = frozenset(FUNCTION_NAMES.split())
MEMORY_BYTES = 400_000_000
# Of one value, and so of what one step of a query can take long over; the longest in our tables are user agents.
MAX_VALUE_BYTES = 100_000
STEPS_BETWEEN_CHECKS = 1_000
# SQLite asks the authorizer about no column that a join names by USING or NATURAL, and a FULL JOIN shows those columns.
UNASKED = re.compile(r"(?<![a-z0-9_$])(?:using|natural)(?![a-z0-9_$])", re.ASCII | re.IGNORECASE)
# What holds no keyword, read as SQLite reads it (sqlite.org/lang_keywords.html, sqlite.org/lang_comment.html).
QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^]]*\]|--[^\n]*|/\*.*?(?:\*/|$)""", re.DOTALL)
GRACE_S = 0.05
LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: MAX_VALUE_BYTES,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 0,
}


def main() -> None:
    """Answer the request on stdin."""
    request = json.loads(sys.stdin.buffer.read())
    confine()
    try:
        answer = answer_to(request)
    except MemoryError:
        answer = {"error": "The query needs more memory than it may have."}
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        answer = {"error": sentence_of(error)}
    sys.stdout.buffer.write(json.dumps(answer).encode())


def confine() -> None:
    """Give up, for ever, what a query does not need."""
    try:
        import resource
    except ImportError:  # Windows: the authorizer and the parent's clock have to do
        return
    for what, value in (
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, MEMORY_BYTES),
    ):
        hard = resource.getrlimit(what)[1]
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(what, (limit, limit))
        except (OSError, ValueError):  # macOS sets no limit on memory
            continue


def answer_to(request: dict[str, Any]) -> dict[str, Any]:
    """Open the file, lock the connection down, and run the query."""
    if UNASKED.search(QUOTED.sub(" ", request["sql"])):
        raise ValueError("The query box takes no NATURAL JOIN and no USING; write the join as: JOIN … ON a.id = b.id.")
    connection = sqlite3.connect(request["uri"], uri=True, timeout=0.5, isolation_level=None)
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    connection.execute("PRAGMA query_only=ON")
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.execute("PRAGMA trusted_schema=OFF")
    tables = readable_tables(connection)
    for limit, value in LIMITS.items():
        connection.setlimit(limit, value)
    connection.set_authorizer(authorizer(tables, frozenset(request["secret_columns"])))
    start_clock(connection, request["time_limit_s"])
    try:
        return collect(connection.execute(request["sql"]), request)
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            raise ValueError(request["too_long"]) from error
        raise


def readable_tables(connection: sqlite3.Connection) -> frozenset[str]:
    """Return the tables that may be read: those of the file, and the list of them; no virtual ones, and none of
    SQLite's own, because its statistics hold samples of what is indexed.
    """
    query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND sql NOT LIKE 'create virtual%'"
    names = {row[0].lower() for row in connection.execute(query)}
    return frozenset({name for name in names if not name.startswith("sqlite_")} | {"sqlite_master"})


def authorizer(tables: frozenset[str], secrets: frozenset[str]) -> Callable[..., int]:
    """Return what decides on each thing that a statement wants to do."""

    def authorize(action: int, one: str | None, two: str | None, database: str | None, trigger: str | None) -> int:
        if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION:
            return sqlite3.SQLITE_OK if (two or "").lower() in FUNCTIONS else sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_READ and not two:
            return sqlite3.SQLITE_OK  # no column: rows are only counted, maybe those of a WITH
        if action == sqlite3.SQLITE_READ and (one or "").lower() in tables:
            # IGNORE reads NULL, so that SELECT * goes on working.
            return sqlite3.SQLITE_IGNORE if (two or "").lower() in secrets else sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    return authorize


def start_clock(connection: sqlite3.Connection, seconds: float) -> None:
    """Stop the query when its time is over, and the process when a single step of it goes on beyond that."""
    deadline = time.monotonic() + seconds
    connection.set_progress_handler(lambda: int(time.monotonic() > deadline), STEPS_BETWEEN_CHECKS)
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds + GRACE_S)


def collect(cursor: sqlite3.Cursor, request: dict[str, Any]) -> dict[str, Any]:
    """Take as many rows as may be shown."""
    columns = [str(column[0]) for column in cursor.description or ()]
    if len(columns) > request["max_columns"]:
        raise ValueError(f"The query has more than {request['max_columns']} columns.")
    rows: list[list[Any]] = []
    left = request["max_chars"]
    for row in cursor:
        if len(rows) == request["max_rows"] or left <= 0:
            return {"columns": columns, "rows": rows, "truncated": True}
        rows.append([plain(value) for value in row])
        left -= sum(len(value) if isinstance(value, str) else 8 for value in rows[-1])
    return {"columns": columns, "rows": rows, "truncated": False}


def plain(value: object) -> object:
    """Return a value that JSON has."""
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def sentence_of(error: Exception) -> str:
    """Return what went wrong."""
    text = str(error)
    if "not authorized" in text or "prohibited" in text or "authorizer" in text:
        return "The query box only reads: one SELECT over the tables and functions that it knows."
    if "one statement" in text:
        return "The query box takes one statement at a time."
    return text if text.endswith(".") else f"SQLite says: {text}."


if __name__ == "__main__":
    main()
