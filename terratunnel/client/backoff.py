"""When to try the server again. Used by `client.app`; pure: time and chance are handed in.

Rule: the first retry of an outage is immediate, the next ones are quick for a minute and rare after, and a server that
accepts a link only to drop it counts as one outage.
"""

from collections.abc import Callable
from typing import Final

# Two seconds are promised from the return of a server to the return of its client; the handshake needs some of them.
QUICK_MAX_S: Final = 1.6
QUICK_FOR_S: Final = 60.0
SLOW_MAX_S: Final = 30.0
FIRST_DELAY_S: Final = 0.2
# A link that lived through two pings has shown that the server is well.
STABLE_AFTER_S: Final = 10.0


class Backoff:
    """Counts the tries of one outage. `random` returns numbers in [0, 1)."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random: Callable[[], float] = random
        self._began_at: float | None = None
        self._online_at: float | None = None
        self._ceiling_s: float = 0.0

    def link_opened(self, now: float) -> None:
        """The client is online."""
        self._online_at = now

    def next_delay(self, now: float) -> float:
        """Return how long to wait after a link was lost or could not be opened."""
        if self._online_at is not None and now - self._online_at >= STABLE_AFTER_S:
            self._began_at = None
        self._online_at = None
        if self._began_at is None:
            self._began_at = now
            self._ceiling_s = 0.0
            return 0.0
        limit = QUICK_MAX_S if now - self._began_at < QUICK_FOR_S else SLOW_MAX_S
        self._ceiling_s = min(limit, max(FIRST_DELAY_S, self._ceiling_s * 2))
        # Half of it is chance, so that a thousand clients do not come back in the same moment.
        return self._ceiling_s * (0.5 + 0.5 * self._random())
