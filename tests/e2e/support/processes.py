"""Real processes of the program: started, watched by their JSON events, ended. Used by the lab.

Rule: nothing is waited for but events and the end, each with a limit; what was started is ended.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[3]
EVENT_TIMEOUT_S: Final = 15.0
_OURS: Final = (
    *("TERRATUNNEL_", "REQUIRE_AUTH", "STREAMING_", "DEFAULT_CHUNK", "JWT_", "XDG_", "PYTHON"),
    *("GITHUB_", "GITLAB_"),  # also of the CI system that runs this
)

Event = dict[str, Any]


def clean_environment(folder: Path, extra: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of a process: nothing of ours from outside, a home of its own, and what the test adds."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return kept | {"PYTHONPATH": str(ROOT), "HOME": str(folder)} | (extra or {})


class Program:
    """`python -m terratunnel …`, or another command. Lines of stdout that are JSON objects are its events."""

    def __init__(self, label: str, command: list[str], folder: Path, env: dict[str, str] | None = None) -> None:
        self.label = label
        self.events: list[Event] = []
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._log = folder / f"{label}.{len(list(folder.iterdir()))}.log"
        with self._log.open("wb") as log:
            self.popen = subprocess.Popen(
                command,
                cwd=folder,
                env=clean_environment(folder, env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
            )
        self._reader = threading.Thread(target=self._read_stdout, daemon=True)
        self._reader.start()

    @classmethod
    def terratunnel(cls, label: str, *arguments: str, folder: Path, env: dict[str, str] | None = None) -> "Program":
        """Start the program from this checkout."""
        return cls(label, [sys.executable, "-m", "terratunnel", *arguments], folder, env)

    @property
    def log(self) -> str:
        """What it wrote to stderr so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def rss_kib(self) -> int:
        """Resident memory now."""
        return _kib_field(Path(f"/proc/{self.popen.pid}/smaps_rollup"), "Rss:")

    @property
    def peak_kib(self) -> int:
        """Highest resident memory since `reset_peak`."""
        return _kib_field(Path(f"/proc/{self.popen.pid}/status"), "VmHWM:")

    def reset_peak(self) -> None:
        """Forget the highest resident memory so far (5: proc(5), clear_refs)."""
        Path(f"/proc/{self.popen.pid}/clear_refs").write_text("5", encoding="ascii")

    def named(self, name: str, **values: object) -> list[Event]:
        """The events so far of a name, and with these values."""
        wanted = {"event": name, **values}.items()
        return [event for event in self.events if wanted <= event.items()]

    def wait(self, name: str, count: int = 1, timeout_s: float = EVENT_TIMEOUT_S, **values: object) -> Event:
        """The `count`-th event of a name, and with these values, as soon as it is there."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or len(self.named(name, **values)) >= count, timeout_s)
        found = self.named(name, **values)
        if len(found) < count:
            raise AssertionError(f"{self.label}: no {name!r} event number {count} {values}; {self.report()}")
        return found[count - 1]

    def wait_line(self, text: str, timeout_s: float = EVENT_TIMEOUT_S) -> str:
        """The first line of stdout that holds the text."""

        def found() -> list[str]:
            return [line for line in self.lines if text in line]

        with self._changed:
            self._changed.wait_for(lambda: self._ended or found(), timeout_s)
        if not found():
            raise AssertionError(f"{self.label}: no line with {text!r}; {self.report()}")
        return found()[0]

    def wait_log(self, text: str, timeout_s: float = EVENT_TIMEOUT_S) -> str:
        """The first line of stderr that holds the text. A file tells nobody that it grew, so it is looked at."""
        waiting = threading.Event()
        for _ in range(int(timeout_s / 0.02)):
            for line in self.log.splitlines():
                if text in line:
                    return line
            waiting.wait(0.02)
        raise AssertionError(f"{self.label}: no {text!r} in its log; {self.report()}")

    def wait_end(self, timeout_s: float = EVENT_TIMEOUT_S) -> int:
        """Its exit status."""
        status = self.popen.wait(timeout_s)
        self._reader.join(timeout_s)
        return status

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.popen.send_signal(number)

    def kill(self) -> None:
        """End it without a word, and wait for that."""
        self.popen.kill()
        self.wait_end()

    def stop(self) -> None:
        """Ask it to end at once, then insist."""
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self.popen.poll() is None:
                self.popen.send_signal(number)
                try:
                    self.wait_end(0.5)
                except subprocess.TimeoutExpired:
                    continue
        if self.popen.stdout is not None:
            self.popen.stdout.close()

    def report(self) -> str:
        """All that is known of it, for a failed test."""
        lines = "\n".join(self.lines[-100:])
        return f"status {self.popen.poll()}\n-- stdout\n{lines}\n-- stderr\n{self.log[-10_000:]}"

    def _read_stdout(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                if line.startswith("{"):
                    self.events.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def _kib_field(path: Path, name: str) -> int:
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise AssertionError(f"{path} has no {name}")
