"""The report: where and what was measured, the table, memory, failures, and the same as JSON.

Used by `bench.__main__`. Writes markdown to stdout; a ratio is always `median [min-max]` of same-cycle ratios.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from bench.figures import OURS, REFERENCE, Against, Figure
from bench.lab import DIRECT, ONE_HOP, Lab, Memory
from bench.processes import REPOSITORY

MEMORY_LIMIT_KIB: Final = 48 * 1024


def setting(lab: Lab) -> dict[str, str]:
    """Commit, versions, machine and command of this run."""
    machine = f"{os.cpu_count()} cores, {_cpu_model()}, Linux {platform.release()}"
    facts = {
        "commit": _commit(),
        "command": shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
        "cycles": f"{lab.cycles} of {lab.seconds} s bursts, interleaved",
        "machine": f"{machine}, {lab.busy_before:.0%} busy before the start",
        "nginx": _output("nginx", "-v").rpartition("/")[2],
        "wrk": _output("wrk", "-v").partition(" [")[0].rpartition(" ")[2],
        "load": f"Python {platform.python_version()}",
    }
    if lab.product is not None:
        facts["terratunnel"] = f"{'compiled' if lab.product.compiled else 'pure'}, {_versions(lab.product.python)}"
    return facts


def markdown(lab: Lab, facts: Mapping[str, str]) -> str:
    """The whole report."""
    lines = [f"- {name}: {value}" for name, value in facts.items()]
    lines += ["", *_table(lab)]
    if lab.memory:
        lines += ["", *_memory(lab)]
    if lab.failures:
        lines += ["", "Failed bursts (each counts as the worst value):", *(f"- {failure}" for failure in lab.failures)]
    return "\n".join(lines)


def as_json(lab: Lab, facts: Mapping[str, str]) -> str:
    """Every value of every cycle."""
    figures = [
        {"key": f.key, "title": f.title, "unit": f.unit, "floor": str(f.floor), "values": f.values}
        | {"ratios": f.ratios(), "verdict": f.verdict()}
        for f in lab.figures.all.values()
    ]
    memory = [
        {"subject": subject, "process": label, "idle_kib": m.idle_kib, "peak_kib": m.peaks_kib}
        for (subject, label), m in lab.memory.items()
    ]
    whole: dict[str, Any] = {"setting": dict(facts), "figures": figures, "memory": memory, "failures": lab.failures}
    return json.dumps(whole, indent=1)


def all_met(lab: Lab) -> bool:
    """Is every floor reached that was measured?"""
    below = [figure for figure in lab.figures.all.values() if figure.verdict() not in ("", "ok")]
    heavy = [m for (subject, _), m in lab.memory.items() if subject == OURS and m.above_idle_kib() > MEMORY_LIMIT_KIB]
    return not (below or heavy or lab.failures)


def _table(lab: Lab) -> Iterator[str]:
    yield f"| figure | floor | ours / {REFERENCE} | ours | {REFERENCE} | {ONE_HOP} | {DIRECT} | verdict |"
    yield "|---|---|---|---|---|---|---|---|"
    for figure in lab.figures.all.values():
        cells = [_value(figure, name) for name in (OURS, REFERENCE, ONE_HOP, DIRECT)]
        title = f"{figure.title}, {figure.unit}" if figure.unit else figure.title
        yield f"| {title} | {figure.floor} | {_spread(figure)} | {' | '.join(cells)} | {figure.verdict()} |"


def _spread(figure: Figure) -> str:
    ratios = figure.ratios()
    if not ratios or figure.floor.against is Against.NOTHING:
        return ""
    return f"{statistics.median(ratios):.2f} [{min(ratios):.2f}-{max(ratios):.2f}]"


def _value(figure: Figure, name: str) -> str:
    if name not in figure.values:
        return ""
    value = figure.median(name)
    if value is None:
        return "failed"
    if figure.floor.against is Against.NOTHING and figure.floor.limit is not None and name == OURS:
        judged = sorted(figure.judged())
        return f"{_short(value)} [{_short(judged[0])}-{_short(judged[-1])}]"
    return _short(value)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _memory(lab: Lab) -> Iterator[str]:
    yield "| memory (MiB) | idle | above idle, highest row | row | with 50 slow readers | verdict |"
    yield "|---|---|---|---|---|---|"
    for (subject, label), memory in lab.memory.items():
        idle = f"{memory.idle_kib / 1024:.1f}"
        yield f"| {subject}, {label} | {idle} | {_peak(memory)} | {_memory_verdict(subject, memory)} |"


def _peak(memory: Memory) -> str:
    rows = {row: peak for row, peak in memory.peaks_kib.items() if row != "slow"}
    row = max(rows, key=lambda name: rows[name], default="-")
    slow = memory.peaks_kib.get("slow")
    return f"{memory.above_idle_kib() / 1024:.1f} | {row} | {'-' if slow is None else f'{slow / 1024:.1f}'}"


def _memory_verdict(subject: str, memory: Memory) -> str:
    if subject != OURS:
        return ""
    return "ok" if memory.above_idle_kib() <= MEMORY_LIMIT_KIB else "**below**"


def _commit() -> str:
    short = _output("git", "-C", str(REPOSITORY), "rev-parse", "--short", "HEAD")
    changed = _output("git", "-C", str(REPOSITORY), "status", "--porcelain", "--untracked-files=no")
    return f"{short}{' with uncommitted changes' if changed else ''}"


def _versions(python: str) -> str:
    code = (
        "import platform, importlib.metadata as m\n"
        "print('Python', platform.python_version(), *(f'{n} {m.version(n)}' for n in ('uvloop', 'websockets')))"
    )
    return _output(python, "-c", code)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.machine()


def _output(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return (result.stdout or result.stderr).strip()
