"""Flow-control windows. Used by streams and the multiplexer. Counts bytes; never touches them.

A receive window starts small and doubles when half of it is used up in less than two round trips: then the window,
and not the reader, is what holds the sender back (the rule of rust-yamux). All growth on a link comes from one
`GrowthBudget`, and returns to it with the end of the direction.
"""

from typing import Final

from terratunnel.errors import LocalProtocolError

MAX_WINDOW: Final = 2**31 - 1
# On a short path the round trip is that of two busy event loops, not that of the wire.
BUSY_TURN_S: Final = 0.010


class GrowthBudget:
    """Bytes by which the windows of a link may exceed their initial sizes, together."""

    __slots__ = ("left",)

    def __init__(self, total: int) -> None:
        self.left: int = total

    def take(self, amount: int) -> bool:
        """Take `amount` if it is there."""
        if amount > self.left:
            return False
        self.left -= amount
        return True

    def give_back(self, amount: int) -> None:
        """Return what a window had taken."""
        self.left += amount


class ReceiveWindow:
    """How much the peer may send. Invariant: `available`, `due` and `held` are not negative and add to `capacity`."""

    __slots__ = ("_budget", "_granted_at", "_initial", "_step", "available", "capacity", "ceiling", "closed", "due")

    def __init__(self, capacity: int, ceiling: int, budget: GrowthBudget, now: float, step: int = MAX_WINDOW) -> None:
        self.capacity: int = capacity
        self.available: int = capacity
        self.due: int = 0
        self.ceiling: int = ceiling
        self.closed: bool = False
        self._initial: int = capacity
        self._step: int = step
        self._budget: GrowthBudget = budget
        self._granted_at: float = now

    @property
    def held(self) -> int:
        """Bytes that arrived and are not handed on yet."""
        return self.capacity - self.available - self.due

    def receive(self, size: int) -> bool:
        """Count `size` bytes that arrived; False when the peer had no credit for them."""
        if size > self.available:
            return False
        self.available -= size
        return True

    def consume(self, size: int, now: float, round_trip_s: float) -> int:
        """Count `size` bytes as handed on; returns the credit to announce now, 0 while that is not worth a frame."""
        if self.closed:
            return 0
        if size > self.capacity - self.available - self.due:
            raise LocalProtocolError(f"{size} bytes handed on where {self.held} were held")
        self.due += size
        if self.due * 2 < self.capacity and self.due < self._step:
            return 0
        if now - self._granted_at < max(2 * round_trip_s, BUSY_TURN_S):
            self._grow()
        self._granted_at = now
        grant = self.due
        self.due = 0
        self.available += grant
        return grant

    def close(self) -> None:
        """The peer sends no more: give no more credit, and growth back to the link."""
        self.closed = True
        self._budget.give_back(self.capacity - self._initial)
        self._initial = self.capacity

    def _grow(self) -> None:
        wanted = min(self.capacity * 2, self.ceiling) - self.capacity
        if wanted > 0 and self._budget.take(wanted):
            self.capacity += wanted
            self.due += wanted
