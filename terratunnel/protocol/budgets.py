"""Budgets: how much work the peer may cause per second. Used by the multiplexer (spec §8).

A bucket that holds two seconds' worth and refills with time; what happens when it is empty is the caller's to say.
"""

from terratunnel.protocol.errors import GoAwayCode, LinkError


class RateBudget:
    """A token bucket: `take` tells whether there was a token, `spend` raises LinkError when there was none."""

    __slots__ = ("_at", "_full", "_name", "_rate", "_tokens")

    def __init__(self, name: str, rate_per_s: float, now: float) -> None:
        self._name: str = name
        self._rate: float = rate_per_s
        self._full: float = 2.0 * rate_per_s
        self._tokens: float = self._full
        self._at: float = now

    def spend(self, now: float) -> None:
        """Take one token; without one the link ends."""
        if not self.take(now):
            raise LinkError(GoAwayCode.BUDGET_EXCEEDED, f"{self._name}: more than {self._rate:g} per second")

    def take(self, now: float) -> bool:
        """Take one token if there is one."""
        if not self.has_token(now):
            return False
        self._tokens -= 1.0
        return True

    def has_token(self, now: float) -> bool:
        """Whether `take` would succeed now."""
        # Refilled at every look: a lazy refill would count the time in which the bucket was full already.
        tokens = self._tokens + (now - self._at) * self._rate
        self._at = now
        self._tokens = tokens if tokens < self._full else self._full
        return self._tokens >= 1.0
