"""Budgets: how much work the peer may cause per second. Used by the multiplexer (spec §8).

A bucket that holds two seconds' worth and refills with time; over it, the link ends.
"""

from terratunnel.protocol.errors import GoAwayCode, LinkError


class RateBudget:
    """A token bucket. `spend` raises LinkError when it is empty."""

    __slots__ = ("_at", "_name", "_rate", "_tokens")

    def __init__(self, name: str, rate_per_s: float, now: float) -> None:
        self._name = name
        self._rate: float = rate_per_s
        self._tokens: float = 2 * rate_per_s
        self._at: float = now

    def spend(self, now: float) -> None:
        """Take one token."""
        tokens = self._tokens - 1.0
        if tokens < 0.0:
            tokens = min(tokens + (now - self._at) * self._rate, 2 * self._rate - 1.0)
            self._at = now
            if tokens < 0.0:
                raise LinkError(GoAwayCode.BUDGET_EXCEEDED, f"{self._name}: more than {self._rate:g} per second")
        self._tokens = tokens
