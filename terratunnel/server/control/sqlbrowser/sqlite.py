"""Runs queries on a SQLite file, each in a process that may do nothing else. Used by the browser.

Rule: the process is ended when its time is over, also when SQLite itself does not notice.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Final

from terratunnel.server.control.sqlbrowser import answers, worker
from terratunnel.server.control.sqlbrowser.answers import Answer, QueryRefused
from terratunnel.server.storage.urls import sqlite_uri

# The limit counts from the first statement; a process on a busy machine takes a while to get there.
START_LIMIT_S: Final = 5.0
# Administrators are few; more at once would take the machine from the tunnels.
AT_ONCE: Final = 2
NEEDED_BY_WINDOWS: Final = ("SYSTEMROOT",)


class SqliteQueries:
    """The query box over a file."""

    def __init__(self, path: Path) -> None:
        self._uri = sqlite_uri(path, "ro")
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def query(self, sql: str) -> Answer:
        """Run one SELECT. Raises QueryRefused."""
        request = {
            "uri": self._uri,
            "sql": sql,
            "secret_columns": sorted(answers.SECRET_COLUMNS),
            "time_limit_s": answers.TIME_LIMIT_S,
            "too_long": answers.TOO_LONG,
            "max_rows": answers.MAX_ROWS,
            "max_columns": answers.MAX_COLUMNS,
            "max_chars": answers.MAX_ANSWER_CHARS,
        }
        async with self._turns:
            said = json.loads(await _ask(json.dumps(request).encode()))
        if "error" in said:
            raise QueryRefused(said["error"])
        rows = [[answers.cell(value) for value in row] for row in said["rows"]]
        return Answer(said["columns"], rows, said["truncated"])


async def _ask(request: bytes) -> bytes:
    # -I and -S: nothing of the environment, and a start within 20 ms.
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        worker.__file__,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: os.environ[name] for name in NEEDED_BY_WINDOWS if name in os.environ},
    )
    try:
        async with asyncio.timeout(START_LIMIT_S + answers.TIME_LIMIT_S):
            answer, _ = await process.communicate(request)
    except TimeoutError:
        raise QueryRefused(answers.TOO_LONG) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == -getattr(signal, "SIGALRM", 0):
        raise QueryRefused(answers.TOO_LONG)
    if process.returncode or not answer:
        raise QueryRefused("The query could not be run; it may need more memory than it may have.")
    return answer
