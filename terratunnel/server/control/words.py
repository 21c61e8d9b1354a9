"""Times, sizes and numbers as people read them. Used by the templates; the pages' own module says it the same way.

Rule: a page shows how long ago something was, and the exact time in UTC beside it.
"""

import json
from datetime import UTC, datetime
from typing import Final

_STEPS: Final = ((60, "second"), (60, "minute"), (24, "hour"), (30, "day"), (12, "month"))
_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")


def ago(moment: datetime, now: datetime) -> str:
    """Return how long ago a moment was, in its largest unit."""
    count = (now - moment).total_seconds()
    if count < 1:
        return "just now"
    for size, unit in _STEPS:
        if count < size:
            return _counted(int(count), unit)
        count /= size
    return _counted(int(count), "year")


def utc(moment: datetime) -> str:
    """Return a moment to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def iso(moment: datetime) -> str:
    """Return a moment as programs read it."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def size(count: int) -> str:
    """Return a number of bytes with three digits at most."""
    value = float(count)
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1_000
    return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.1f} {unit}"


def number(count: int) -> str:
    """Return a number with its thousands apart."""
    return f"{count:,}"


def details(text: str | None) -> str:
    """Return what the audit log notes beside an event, as `name: value` pairs; as it stands when it is none of ours."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return text or ""
    if not isinstance(found, dict):
        return text or ""
    return ", ".join(f"{name.replace('_', ' ')}: {_plain(value)}" for name, value in found.items())


def _plain(value: object) -> str:
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}{'s' if count != 1 else ''} ago"
