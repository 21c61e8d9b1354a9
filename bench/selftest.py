"""The self-test: does the benchmark tell good from bad? Run by `python -m bench --self-test`.

A twin (two more nginx hops) must come out equal to two hops, and a careless relay in front of two hops must fail.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench import rows, subjects
from bench.figures import OURS, REFERENCE, Figure
from bench.lab import Lab, say

SELF_TEST_ROWS: Final = (rows.get, rows.post, rows.new, rows.bulk, rows.mixed, rows.slow)
# Two equal systems on a machine that others use too; half or double would be a fault of the benchmark.
TWIN_RANGE: Final = (0.6, 1.67)
# Tails swing between equal systems, and so does a single connection that queues behind four downloads.
TWIN_EQUALS: Final = (
    *("get/1", "get/16", "get/64", "post", "new", "bulk/1", "bulk/4", "bulk/up"),
    *("mixed/1/bulk", "mixed/16/served", "mixed/16/bulk", "slow/rate"),
)
CARELESS_FAILS: Final = (
    *("get/1", "get/16", "get/64", "post", "new", "bulk/1", "bulk/4", "bulk/up"),
    *("mixed/1/served", "mixed/1/bulk", "slow/p99", "slow/memory"),
)


def run(folder: Path, stack: ExitStack, cycles: int, seconds: int) -> list[str]:
    """Measure both controls in place of Terratunnel; returns what is wrong with the benchmark."""
    service = subjects.start_service(folder, stack)
    reference = subjects.hops(REFERENCE, 2, service, folder, stack)
    twin = subjects.hops("twin", 2, service, folder, stack)
    twin.name = OURS
    bad = subjects.careless(OURS, reference, folder, stack)
    wrong = []
    for name, subject in (("twin", twin), ("careless relay", bad)):
        say(f"-- {name} --")
        lab = Lab(folder, stack, service, {REFERENCE: reference, OURS: subject}, None, cycles, seconds)
        lab.start()
        for row in SELF_TEST_ROWS:
            row(lab)
        judge = _twin_complaint if name == "twin" else _careless_complaint
        wrong += [f"{name}: {text}" for figure in lab.figures.all.values() if (text := judge(figure))]
    return wrong


def _twin_complaint(figure: Figure) -> str:
    if figure.key not in TWIN_EQUALS:
        return ""
    low, high = TWIN_RANGE
    middle = statistics.median(figure.ratios() or [0.0])
    return "" if low <= middle <= high else f"{figure.title}: {middle:.2f} of an equal system"


def _careless_complaint(figure: Figure) -> str:
    return f"{figure.title} was accepted" if figure.key in CARELESS_FAILS and figure.verdict() in ("", "ok") else ""
