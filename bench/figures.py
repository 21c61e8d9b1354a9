"""Figures: what a row yields, what it must reach, and the verdict over the cycles of a run.

Used by `bench.rows` (which records) and `bench.report` (which prints). The floors are those of the tunnel issue.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

REFERENCE: Final = "two hops"
OURS: Final = "terratunnel"


class Against(Enum):
    """What a floor is compared with."""

    REFERENCE = "the ratio to two hops in the same cycle"
    NOTHING = "the value itself"


@dataclass(frozen=True, slots=True)
class Floor:
    """A limit, and on which side of it is good. Without a limit the figure is for information."""

    limit: float | None = None
    against: Against = Against.REFERENCE
    at_least: bool = True

    def met_by(self, value: float) -> bool:
        """Is the value on the good side?"""
        return self.limit is None or (value >= self.limit if self.at_least else value <= self.limit)

    def __str__(self) -> str:
        if self.limit is None:
            return "-"
        return f"{'ratio ' if self.against is Against.REFERENCE else ''}{'≥' if self.at_least else '≤'} {self.limit:g}"


def ratio(limit: float) -> Floor:
    """At least this share of two hops."""
    return Floor(limit)


def ratio_at_most(limit: float) -> Floor:
    """At most this multiple of two hops."""
    return Floor(limit, at_least=False)


def at_least(limit: float) -> Floor:
    """At least this value."""
    return Floor(limit, Against.NOTHING)


def at_most(limit: float) -> Floor:
    """At most this value."""
    return Floor(limit, Against.NOTHING, at_least=False)


@dataclass(slots=True)
class Figure:
    """One line of the table: for each subject one value per cycle, None where the burst failed."""

    key: str
    title: str
    unit: str
    floor: Floor = field(default_factory=Floor)
    values: dict[str, list[float | None]] = field(default_factory=dict)

    def record(self, subject: str, value: float | None) -> None:
        """Add the value of the next cycle."""
        self.values.setdefault(subject, []).append(value)

    def median(self, subject: str) -> float | None:
        """The median of the cycles that worked."""
        good = [value for value in self.values.get(subject, []) if value is not None]
        return statistics.median(good) if good else None

    def ratios(self, subject: str = OURS) -> list[float]:
        """Same-cycle ratios to two hops; a failed burst is the worst there is, a failed reference no cycle."""
        pairs = zip(self.values.get(subject, []), self.values.get(REFERENCE, []), strict=False)
        worst = 0.0 if self.floor.at_least else float("inf")
        return [worst if ours is None else ours / theirs for ours, theirs in pairs if theirs]

    def judged(self, subject: str = OURS) -> list[float]:
        """The numbers that the floor is held against."""
        if self.floor.against is Against.REFERENCE:
            return self.ratios(subject)
        worst = 0.0 if self.floor.at_least else float("inf")
        return [worst if value is None else value for value in self.values.get(subject, [])]

    def verdict(self, subject: str = OURS) -> str:
        """ok, below, or nothing when there is no floor or no measurement."""
        judged = self.judged(subject)
        if self.floor.limit is None or not judged:
            return ""
        return "ok" if self.floor.met_by(statistics.median(judged)) else "**below**"


class Figures:
    """All figures of a run in order of first use."""

    def __init__(self) -> None:
        self.all: dict[str, Figure] = {}

    def add(self, key: str, title: str, unit: str, floor: Floor | None = None) -> Figure:
        """The figure with this key, made when it is new."""
        return self.all.setdefault(key, Figure(key, title, unit, floor or Floor()))
