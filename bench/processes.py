"""Processes under measurement: start, CPU seconds, resident memory, end.

Used by `bench.subjects`. Reads /proc, so Linux only; ends only what it started.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.errors import BenchError

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
REPOSITORY: Final = Path(__file__).resolve().parent.parent


class Process:
    """One started command. `pid` is the process that does the work, which for nginx is the worker."""

    def __init__(
        self,
        label: str,
        command: Sequence[str],
        folder: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.label = label
        self.log = folder / f"{label.replace(' ', '-')}.log"
        self.started = time.monotonic()
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd=cwd or folder
            )
        self.pid = self._popen.pid

    def follow_child(self) -> None:
        """Measure the only child instead: nginx's worker rather than its master."""
        children = Path(f"/proc/{self._popen.pid}/task/{self._popen.pid}/children").read_text(encoding="ascii").split()
        self.pid = int(children[0])

    def check_alive(self) -> None:
        """Raise with the end of its output when the process is gone."""
        if self._popen.poll() is not None:
            tail = self.log.read_text(encoding="utf-8", errors="replace")[-600:]
            raise BenchError(f"{self.label} ended with status {self._popen.returncode}: {tail}")

    def cpu_s(self) -> float:
        """User and system time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def rss_kib(self) -> int:
        """Resident memory now."""
        return _kib_field(Path(f"/proc/{self.pid}/smaps_rollup"), "Rss:")

    def reset_peak(self) -> None:
        """Forget the highest resident memory so far (5: proc(5), clear_refs)."""
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")

    def peak_kib(self) -> int:
        """Highest resident memory since `reset_peak`."""
        return _kib_field(Path(f"/proc/{self.pid}/status"), "VmHWM:")

    def stop(self) -> None:
        """Ask it to end, then insist. A worker whose master had to be killed is killed too."""
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.wait(5)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
            if self.pid != self._popen.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)


def free_port() -> int:
    """A loopback port that is free at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def busy_share(seconds: float = 1.0) -> float:
    """How much of all cores was in use during the next moments."""
    before = _cpu_ticks()
    time.sleep(seconds)
    total, idle = (after - first for after, first in zip(_cpu_ticks(), before, strict=True))
    return 1 - idle / total


def _cpu_ticks() -> tuple[int, int]:
    fields = [int(field) for field in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    return sum(fields), fields[3] + fields[4]


def _kib_field(path: Path, name: str) -> int:
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise BenchError(f"{path} has no {name}")
