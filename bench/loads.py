"""The loads as functions: run one against an address, return what it counted.

Used by `bench.rows`. Every load is a process of its own; one that saw an error raises BenchError, it is never a figure.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any, Final

from bench.errors import BenchError
from bench.nginx import FILE_BYTES
from bench.processes import REPOSITORY

# Time for a load process to start, so that all of one burst begin together.
LEAD_S: Final = 0.4
PATIENCE_S: Final = 20.0
_WRK_SCRIPT: Final = str(REPOSITORY / "bench" / "load" / "wrk.lua")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a visitor goes: a loopback port and the Host that names the tunnel."""

    port: int
    host: str


@dataclass(frozen=True, slots=True)
class Requests:
    """What wrk counted in one burst."""

    count: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.count / self.seconds


@dataclass(frozen=True, slots=True)
class Bulk:
    """Bytes of each connection in one burst."""

    counts: list[int]
    seconds: float

    @property
    def rate(self) -> float:
        """MB/s of all connections together."""
        return sum(self.counts) / self.seconds / 1e6

    @property
    def fairness(self) -> float:
        """The slowest connection's share of the fastest one's."""
        return min(self.counts) / max(1, *self.counts)


@dataclass(frozen=True, slots=True)
class Paced:
    """What the open-loop sender saw in one burst."""

    served: float
    p50_ms: float
    p99_ms: float
    settled_p99_ms: float
    late_p99_ms: float


def wrk(address: Address, connections: int, seconds: int, close: bool = False, post_bytes: int = 0) -> Requests:
    """Closed loop at full speed with one thread."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", _WRK_SCRIPT]
    command += ["-H", f"Host: {address.host}", *(["-H", "Connection: close"] if close else [])]
    command += [f"http://127.0.0.1:{address.port}/", *(["--", "POST", str(post_bytes)] if post_bytes else [])]
    result = _finish(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    if result["errors"] or not result["requests"]:
        raise BenchError(f"wrk saw {result['errors']} errors in {result['requests']} requests")
    return Requests(result["requests"], result["seconds"], result["p50_ms"], result["p99_ms"])


def download(address: Address, connections: int, seconds: float) -> Bulk:
    """Unlimited downloads of the 100 MB file, from the first request on."""
    start = time.monotonic() + LEAD_S
    return _bulk(_finish(_spawn_download(address, connections, start, start, start + seconds)))


def upload(address: Address, seconds: float) -> Bulk:
    """100 MB uploads one after the other until the time is over; the last one is finished."""
    start = time.monotonic() + LEAD_S
    options = ["--path", "/upload", "--size", str(FILE_BYTES)]
    return _bulk(_finish(_spawn("upload", address, start, start + seconds, *options)))


def paced(address: Address, connections: int, rate: float, seconds: float) -> Paced:
    """Small GETs at fixed arrival times with nothing else going on."""
    start = time.monotonic() + LEAD_S
    return _paced(_finish(_spawn_paced(address, connections, rate, start, start + seconds)))


def mixed(address: Address, connections: int, rate: float, seconds: float) -> tuple[Paced, Bulk]:
    """Paced small GETs while four downloads that began half a second earlier take all they can."""
    begin = time.monotonic() + LEAD_S
    start, until = begin + 0.5, begin + 0.5 + seconds
    readers = _spawn_download(address, 4, begin, start, until)
    sender = _spawn_paced(address, connections, rate, start, until)
    results = _finish_all([readers, sender])
    return _paced(results[1]), _bulk(results[0])


def slow(address: Address, readers: int, reader_rate: float, rate: float, seconds: float) -> tuple[Paced, Bulk]:
    """Paced small GETs while slow readers, who come as the measurement begins, hold their downloads open."""
    start = time.monotonic() + LEAD_S
    until = start + seconds
    options = ["--path", "/file", "--connections", str(readers), "--rate", str(reader_rate)]
    visitors = _spawn("slow", address, start, until, *options)
    sender = _spawn_paced(address, 16, rate, start, until)
    results = _finish_all([visitors, sender])
    return _paced(results[1]), _bulk(results[0])


def _spawn_download(address: Address, n: int, start: float, count_from: float, until: float) -> subprocess.Popen[bytes]:
    options = ["--path", "/file", "--connections", str(n), "--count-from", repr(count_from)]
    return _spawn("download", address, start, until, *options)


def _spawn_paced(address: Address, n: int, rate: float, start: float, until: float) -> subprocess.Popen[bytes]:
    return _spawn("paced", address, start, until, "--connections", str(n), "--rate", str(rate))


def _spawn(program: str, address: Address, start: float, until: float, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"bench.load.{program}", "--port", str(address.port), "--host", address.host]
    command += ["--start", repr(start), "--until", repr(until), *options]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _finish_all(loads: list[subprocess.Popen[bytes]]) -> list[dict[str, Any]]:
    try:
        return [_finish(load) for load in loads]
    finally:
        for load in loads:
            load.kill()


def _finish(load: subprocess.Popen[bytes]) -> dict[str, Any]:
    try:
        output, errors = load.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"the load did not end within {PATIENCE_S:.0f} s") from error
    finally:
        load.kill()
        load.wait()
    lines = output.decode().strip().splitlines()
    if load.returncode or not lines:
        raise BenchError(errors.decode(errors="replace").strip().rpartition("\n")[2] or "the load printed nothing")
    result: dict[str, Any] = json.loads(lines[-1])
    return result


def _bulk(result: dict[str, Any]) -> Bulk:
    return Bulk(result["bytes"], result["seconds"])


def _paced(result: dict[str, Any]) -> Paced:
    return Paced(**result)
