"""Notices that the machine slept. Used by `client.app`: a link that was asleep for long is dead at the server.

Rule: wall time is never asked, so a corrected clock disturbs nothing.
"""

import sys
import time
from collections.abc import Callable
from typing import Final

# The server drops a link it has not heard of for 15 s; a shorter sleep is left to the link's own pings.
SLEPT_S: Final = 10.0
CHECK_EVERY_S: Final = 1.0


def clock_with_sleep() -> float:
    """Return monotonic seconds that go on while the machine sleeps, where `time.monotonic` stands still meanwhile."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC)
    return time.monotonic()  # Windows: it goes on by itself, and the link notices


class SleepDetector:
    """Compares a clock that stops in sleep with one that does not; ask it every `every_s`."""

    def __init__(
        self,
        awake: Callable[[], float] = time.monotonic,
        always: Callable[[], float] = clock_with_sleep,
        every_s: float = CHECK_EVERY_S,
    ) -> None:
        self.every_s: float = every_s
        self._awake: Callable[[], float] = awake
        self._always: Callable[[], float] = always
        self._gap_s: float = always() - awake()

    def slept_s(self) -> float:
        """Return how long the machine slept since the last call, 0 for less than matters."""
        gap_s = self._always() - self._awake()
        slept_s = gap_s - self._gap_s
        if slept_s < SLEPT_S:
            return 0.0
        self._gap_s = gap_s
        return slept_s
