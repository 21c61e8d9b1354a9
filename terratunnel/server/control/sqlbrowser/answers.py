"""What the query box answers, and the limits of it. Used by both kinds of database and by the table pages.

Rule: an answer fits a page and a JSON document, whatever the database holds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from terratunnel.errors import TerratunnelError

# security.md D1: nothing runs over a second, with stopping it. SQLite reads a million rows in about half of that.
TIME_LIMIT_S: Final = 0.9
TOO_LONG: Final = f"The query took longer than {TIME_LIMIT_S:g} s and was stopped."
MAX_ROWS: Final = 500
MAX_COLUMNS: Final = 100
MAX_CELL_CHARS: Final = 2_000
MAX_ANSWER_CHARS: Final = 1_000_000
MAX_SQL_CHARS: Final = 10_000
# What nobody sees: hashes of keys and links, and codes that let a laptop in.
SECRET_COLUMNS: Final = frozenset({"key_hash", "token_hash", "code_hash", "user_code", "jti"})

Cell = str | int | float | bool | None


class QueryRefused(TerratunnelError):
    """The query was not answered; the message says why, and anybody may read it."""


class BrowserUnavailable(TerratunnelError):
    """The query box cannot be used on this server; the message tells its operator what to do."""


@dataclass(frozen=True)
class Answer:
    """Rows, in their order; `truncated` when there were more than may be shown."""

    columns: list[str]
    rows: list[list[Cell]] = field(default_factory=list)
    truncated: bool = False


def cell(value: object) -> Cell:
    """Return a value as JSON and people can read it."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    text = f"x'{value.hex()}'" if isinstance(value, bytes) else str(value)
    return text if len(text) <= MAX_CELL_CHARS else text[:MAX_CELL_CHARS] + "…"


def size_of(row: Sequence[Cell]) -> int:
    """Return about how many characters a row has."""
    return sum(len(value) if isinstance(value, str) else 8 for value in row)
