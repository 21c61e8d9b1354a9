"""The program as a process of its own: started, read line by line, asked to end.

Used by tests/cli. Rule: every wait has a limit, and what was started is ended.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LIMIT_S = 30.0
END_S = 10.0


class Program:
    """One running `terratunnel`."""

    def __init__(self, *arguments: str, **variables: str) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | variables
        self._process = subprocess.Popen(
            [sys.executable, "-m", "terratunnel", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # Reading has no limit of its own: whoever hangs is ended, and the reader sees the end.
        self._watchdog = threading.Timer(LIMIT_S, self._process.kill)
        self._watchdog.start()
        self.seen: list[str] = []

    def line_with(self, text: str) -> str:
        """Read stdout up to a line that holds the text."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.seen.append(line.rstrip("\n"))
            if text in line:
                return self.seen[-1]
        raise AssertionError(f"no {text!r} in {self.seen}, {self.rest()}")

    def event(self, name: str) -> dict[str, Any]:
        """Read stdout up to an event of `--output json`."""
        found = json.loads(self.line_with(f'"event": "{name}"'))
        assert isinstance(found, dict)
        return found

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> None:
        self._process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Wait for the end; returns status, what is left of stdout, and stderr."""
        out, err = self._process.communicate() if self._process.returncode is None else ("", "")
        self._watchdog.cancel()
        return self._process.returncode, out, err

    def close_stdout(self) -> None:
        """Listen no more."""
        assert self._process.stdout is not None
        self._process.stdout.close()

    def end_without_stdout(self) -> tuple[int, str]:
        """Wait for the end; returns status and stderr."""
        assert self._process.stderr is not None
        err = self._process.stderr.read()
        self._process.wait()
        self._watchdog.cancel()
        return self._process.returncode, err

    def rest(self) -> tuple[int, str, str]:
        """End it: twice asked, it does not wait for what is under way."""
        for _ in range(2):
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        return self.end()


@contextmanager
def program(*arguments: str, **variables: str) -> Iterator[Program]:
    """Start the program; it is gone at the end."""
    started = Program(*arguments, **variables)
    try:
        yield started
    finally:
        started.rest()


def run(*arguments: str, **variables: str) -> tuple[int, str, str]:
    """Run the program to its end."""
    with program(*arguments, **variables) as started:
        return started.end()
