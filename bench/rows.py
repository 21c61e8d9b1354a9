"""The rows: each runs its loads interleaved over the subjects and records figures with their floors.

Used by `bench.__main__`. The rows that only concern Terratunnel are in `bench.own_rows`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bench import loads
from bench.figures import OURS, REFERENCE, at_least, at_most, ratio, ratio_at_most
from bench.lab import ONE_HOP, Lab
from bench.subjects import Subject

HOPS: Final = (ONE_HOP, REFERENCE, OURS)
GET_FLOORS: Final = {1: 0.50, 16: 0.50, 64: 0.70}
PACED_RATE: Final = 200.0
SLOW_READERS: Final = 50
SLOW_READER_RATE: Final = 200_000.0
# Rows whose tail needs more arrivals than a burst of throughput.
PACED_BURSTS: Final = 3


def get(lab: Lab) -> None:
    """Small GETs on 1, 16 and 64 connections."""
    for connections, floor in GET_FLOORS.items():
        figure = lab.figures.add(f"get/{connections}", f"small GET, {connections} conn.", "req/s", ratio(floor))

        def load(subject: Subject, connections: int = connections) -> Mapping[str, float]:
            return {"rate": loads.wrk(subject.target, connections, lab.seconds).rate}

        lab.interleave("get", {"rate": figure}, load)


def post(lab: Lab) -> None:
    """Small posts, as webhooks are."""
    figure = lab.figures.add("post", "1 KiB POST, 16 conn.", "req/s", ratio(0.50))
    lab.interleave(
        "post", {"rate": figure}, lambda s: {"rate": loads.wrk(s.target, 16, lab.seconds, post_bytes=1024).rate}
    )


def new(lab: Lab) -> None:
    """A connection for each request."""
    figure = lab.figures.add("new", "new connection each, 16 at once", "req/s", ratio(0.50))
    lab.interleave("new", {"rate": figure}, lambda s: {"rate": loads.wrk(s.target, 16, lab.seconds, close=True).rate})


def bulk(lab: Lab) -> None:
    """100 MB bodies: one download, four at once, one upload."""
    one = lab.figures.add("bulk/1", "100 MB, one download", "MB/s", ratio(0.55))
    four = lab.figures.add("bulk/4", "100 MB, four at once", "MB/s", ratio(0.55))
    up = lab.figures.add("bulk/up", "100 MB, one upload", "MB/s", ratio(0.65))
    lab.interleave("bulk", {"rate": one}, lambda s: {"rate": loads.download(s.target, 1, lab.seconds).rate})
    lab.interleave("bulk", {"rate": four}, lambda s: {"rate": loads.download(s.target, 4, lab.seconds).rate})
    lab.interleave("bulk", {"rate": up}, lambda s: {"rate": loads.upload(s.upload, lab.seconds).rate})


def mixed(lab: Lab) -> None:
    """Small GETs at 200/s beside four unlimited downloads, on one kept-alive connection and on sixteen."""
    for connections in (1, 16):
        _mixed(lab, connections)


def _mixed(lab: Lab, connections: int) -> None:
    key, title = f"mixed/{connections}", f"GET 200/s on {connections} conn. under 4 downloads"
    made = {
        "served": lab.figures.add(f"{key}/served", f"{title}: served", "req/s", at_least(190)),
        "p50": lab.figures.add(f"{key}/p50", f"{title}: p50", "ms"),
        "p99": lab.figures.add(f"{key}/p99", f"{title}: p99", "ms", ratio_at_most(0.25)),
        "fair": lab.figures.add(f"{key}/fair", f"{title}: min/max of the 4", "", at_least(0.9)),
        "bulk": lab.figures.add(f"{key}/bulk", f"{title}: downloads", "MB/s", ratio(0.55)),
        "late": lab.figures.add(f"{key}/late", f"{title}: the sender's own lateness, p99", "ms"),
    }

    def load(subject: Subject) -> Mapping[str, float]:
        small, downloads = loads.mixed(subject.target, connections, PACED_RATE, PACED_BURSTS * lab.seconds)
        paced = {"served": small.served, "p50": small.p50_ms, "p99": small.p99_ms, "late": small.late_p99_ms}
        return paced | {"fair": downloads.fairness, "bulk": downloads.rate}

    lab.interleave("mixed", made, load, HOPS)


def slow(lab: Lab) -> None:
    """Fifty slow visitors: what others feel, and what it costs in memory."""
    title = f"{SLOW_READERS} readers at 0.2 MB/s"
    made = {
        "p99": lab.figures.add("slow/p99", f"{title}: p99 of others", "ms", ratio_at_most(1.0)),
        "settled": lab.figures.add("slow/settled", f"{title}: p99 of others, later two thirds", "ms"),
        "memory": lab.figures.add("slow/memory", f"{title}: largest process", "MB", at_most(100)),
        "rate": lab.figures.add("slow/rate", f"{title}: slowest got", "MB/s"),
    }

    def load(subject: Subject) -> Mapping[str, float]:
        seconds = PACED_BURSTS * lab.seconds
        others, readers = loads.slow(subject.target, SLOW_READERS, SLOW_READER_RATE, PACED_RATE, seconds)
        memory = max((process.peak_kib() for process in subject.processes), default=0) * 1024 / 1e6
        paced = {"p99": others.p99_ms, "settled": others.settled_p99_ms}
        return paced | {"memory": memory, "rate": min(readers.counts) / readers.seconds / 1e6}

    lab.interleave("slow", made, load, HOPS)


def half(lab: Lab) -> None:
    """Open-loop latency at half of the subject's own maximum."""
    made = {
        "rate": lab.figures.add("half/rate", "half of the maximum, 16 conn.: rate", "req/s"),
        "p99": lab.figures.add("half/p99", "half of the maximum, 16 conn.: p99", "ms"),
        "late": lab.figures.add("half/late", "half of the maximum, 16 conn.: the sender's own lateness, p99", "ms"),
    }

    def load(subject: Subject) -> Mapping[str, float]:
        rate = loads.wrk(subject.target, 16, lab.seconds).rate / 2
        result = loads.paced(subject.target, 16, rate, 2 * lab.seconds)
        return {"rate": rate, "p99": result.p99_ms, "late": result.late_p99_ms}

    lab.interleave("half", made, load, HOPS)


def cpu(lab: Lab) -> None:
    """CPU of each process per small GET on 16 connections."""
    for name in HOPS:
        if name in lab.subjects:
            for process in lab.subjects[name].processes:
                lab.figures.add(f"cpu/{name}/{process.label}", f"CPU per GET: {name}, {process.label}", "µs")
    total = lab.figures.add("cpu/sum", "CPU per GET, all processes between", "µs")

    def load(subject: Subject) -> Mapping[str, float]:
        before = [process.cpu_s() for process in subject.processes]
        count = loads.wrk(subject.target, 16, lab.seconds).count
        used = [(p.cpu_s() - b) / count * 1e6 for p, b in zip(subject.processes, before, strict=True)]
        for process, value in zip(subject.processes, used, strict=True):
            lab.figures.all[f"cpu/{subject.name}/{process.label}"].record(subject.name, value)
        return {"sum": sum(used)}

    lab.interleave("cpu", {"sum": total}, load, HOPS)
