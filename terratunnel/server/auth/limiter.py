"""How often an address may do what costs us or somebody else something. Used by the sign-in.

Rule: memory is bounded; when too many addresses come at once, the newest share one allowance.
"""

from collections.abc import Callable
from typing import Final

MAX_ADDRESSES: Final = 10_000


class Limiter:
    """At most `most` times in each window of `window_s` seconds, for each address."""

    def __init__(self, most: int, window_s: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._window_s = window_s
        self._clock = clock
        self._ends_at = 0.0
        self._counts: dict[str, int] = {}

    def take(self, address: str) -> bool:
        """Whether an address may do it once more now."""
        now = self._clock()
        if now >= self._ends_at:
            self._ends_at = now + self._window_s
            self._counts.clear()
        if address not in self._counts and len(self._counts) >= MAX_ADDRESSES:
            address = ""
        count = self._counts.get(address, 0)
        if count >= self._most:
            return False
        self._counts[address] = count + 1
        return True
