"""One run: the subjects, the cycles, and what every burst leaves behind (figures, memory peaks, CPU, failures).

Used by `bench.rows`, built by `bench.__main__`. Bursts of one cycle follow each other; the order turns with each cycle.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench import subjects
from bench.errors import BenchError
from bench.figures import OURS, REFERENCE, Figure, Figures
from bench.processes import busy_share
from bench.product import Product
from bench.subjects import Service, Subject

ONE_HOP: Final = "one hop"
DIRECT: Final = "direct"
# Of all cores, before anything of ours runs; above it a warning is due.
BUSY_SHARE: Final = 0.1
COLUMNS: Final = (DIRECT, ONE_HOP, REFERENCE, OURS)
Load = Callable[[Subject], Mapping[str, float]]


@dataclass(slots=True)
class Memory:
    """Resident memory of one process: idle, and the peak in each row."""

    idle_kib: int
    peaks_kib: dict[str, int] = field(default_factory=dict)

    def above_idle_kib(self) -> int:
        """The highest peak over idle in any row; `slow` has its own promise."""
        peaks = [peak for row, peak in self.peaks_kib.items() if row != "slow"]
        return max(peaks, default=self.idle_kib) - self.idle_kib


@dataclass(slots=True)
class Lab:
    """Everything a row needs. `product` is None in the self-test, where a control stands in for Terratunnel."""

    folder: Path
    stack: ExitStack
    service: Service
    subjects: dict[str, Subject]
    product: Product | None
    cycles: int
    seconds: int
    figures: Figures = field(default_factory=Figures)
    memory: dict[tuple[str, str], Memory] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    busy_before: float = 0.0

    def start(self) -> None:
        """Check that every subject carries the bytes, then note idle memory."""
        for subject in self.subjects.values():
            for process in subject.processes:
                self.memory[subject.name, process.label] = Memory(process.rss_kib())
            subjects.verify(subject, self.service)

    def interleave(self, row: str, made: Mapping[str, Figure], load: Load, names: Iterable[str] = COLUMNS) -> None:
        """Run one load on every subject in every cycle and record what it returns under the same keys."""
        present = [self.subjects[name] for name in names if name in self.subjects]
        for cycle in range(self.cycles):
            turn = cycle % len(present)
            for subject in present[turn:] + present[:turn]:
                values = self._burst(row, subject, load)
                for key, figure in made.items():
                    figure.record(subject.name, values.get(key))
        say(f"{row}: " + "; ".join(f"{f.title} {_brief(f)}" for f in made.values()))

    def _burst(self, row: str, subject: Subject, load: Load) -> Mapping[str, float]:
        for process in subject.processes:
            process.reset_peak()
        try:
            return load(subject)
        except BenchError as error:
            self.failures.append(f"{row}, {subject.name}: {error}")
            return {}
        finally:
            for process in subject.processes:
                peaks = self.memory[subject.name, process.label].peaks_kib
                peaks[row] = max(peaks.get(row, 0), process.peak_kib())


def build(folder: Path, stack: ExitStack, product: Product, cycles: int, seconds: int) -> Lab:
    """The lab of a normal run."""
    busy = busy_share()
    if busy > BUSY_SHARE:
        say(f"this machine is {busy:.0%} busy with other work: ratios will swing")
    service = subjects.start_service(folder, stack)
    present = [
        subjects.direct(service),
        subjects.hops(ONE_HOP, 1, service, folder, stack),
        subjects.hops(REFERENCE, 2, service, folder, stack),
        product.subject(service, folder, stack),
    ]
    return Lab(folder, stack, service, {s.name: s for s in present}, product, cycles, seconds, busy_before=busy)


def say(text: str) -> None:
    """Progress, on stderr: stdout is the report."""
    print(text, file=sys.stderr, flush=True)


def _brief(figure: Figure) -> str:
    medians = {name: figure.median(name) for name in figure.values}
    return ", ".join(f"{name} {'failed' if value is None else format(value, '.4g')}" for name, value in medians.items())
