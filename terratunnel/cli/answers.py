"""What a command has to say: rows as an aligned table or as JSON, a sentence or an event. Used by the commands.

Rule: what strangers chose (names, user agents) reaches a terminal escaped.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import click

from terratunnel.cli import options
from terratunnel.logs import escape

Row = Mapping[str, object]

_GAP: Final = "  "
_NOTHING: Final = "-"


@dataclass(frozen=True)
class Answer:
    """Rows for a program; for a person a table of some columns, or the sentence when there are none."""

    rows: Sequence[Row] = ()
    columns: Sequence[str] = ()
    sentence: str = ""
    status: int = field(default=0)

    def show(self, output: str) -> None:
        """Write it to stdout."""
        if output == options.JSON:
            lines: Iterable[str] = (json.dumps(row, default=_json) for row in self.rows)
        elif self.columns and self.rows:
            lines = table(self.columns, self.rows)
        else:
            lines = (escape(line) for line in self.sentence.splitlines())
        for line in lines:
            click.echo(line)


def say(sentence: str, output: str, event: str = "", **fields: object) -> None:
    """Write a sentence for a person, or its event for a program, which hears nothing of one without."""
    if output != options.JSON:
        print("\n".join(map(escape, sentence.splitlines())), flush=True)
    elif event:
        print(json.dumps({"event": event, **fields}), flush=True)


def table(columns: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Return the lines of a table with a head."""
    cells = [[column.replace("_", " ").upper() for column in columns]]
    cells += [[text_of(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (_GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)
    return [line.rstrip() for line in lines]


def text_of(value: Any) -> str:
    """Return a value as a person reads it."""
    if value is None or value == "" or value == []:
        return _NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
    if isinstance(value, list):
        return " ".join(map(text_of, value))
    return escape(json.dumps(value) if isinstance(value, dict) else str(value))


def _json(value: object) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)
