"""How much may be under way on a link while streams compete. Used by the multiplexer.

Link credit alone would let bulk fill every queue up to the peer, and a small exchange would wait behind all of it. So
while streams compete the sender measures the round trip under load, and keeps in flight only what adds little to the
shortest one (the idea of BBR and CoDel, with the link's own PING as the probe).
"""

from typing import Final

# What a queue may add to the round trip: little on a short path, a quarter of it on a long one, whose jitter is larger.
TARGET_DELAY_S: Final = 0.002
TARGET_SHARE: Final = 0.25
# One probe at a time, and this long between them.
PROBE_EVERY_S: Final = 0.010
# Below the floor the link would idle between two turns of a busy loop; the step fills 8 MiB within a second.
FLOOR_BYTES: Final = 262_144
STEP_BYTES: Final = 131_072
START_BYTES: Final = 524_288
# One late answer is jitter, several are a queue; and a path that has become longer is believed after a few idle probes.
DELAY_GAIN: Final = 0.25
AGING_GAIN: Final = 0.125


class Pacer:
    """The bound on bytes in flight; `ceiling` is the link's window."""

    __slots__ = ("_ceiling", "_delay_s", "limit", "round_trip_s")

    def __init__(self, ceiling: int) -> None:
        self._ceiling: int = ceiling
        self._delay_s: float = 0.0
        self.limit: int = min(START_BYTES, ceiling)
        self.round_trip_s: float = 0.0

    def set_ceiling(self, ceiling: int) -> None:
        """Take the peer's link window."""
        self._ceiling = ceiling
        self.limit = min(START_BYTES, ceiling)

    def measured(self, sample_s: float, loaded: bool) -> None:
        """Take a round trip; one that was measured while streams compete (`loaded`) moves the limit."""
        base = self.round_trip_s
        if base == 0.0 or sample_s < base:
            self.round_trip_s = base = sample_s
        elif not loaded:
            self.round_trip_s = base = base + (sample_s - base) * AGING_GAIN
        if loaded:
            self._delay_s += (sample_s - base - self._delay_s) * DELAY_GAIN
            self._move_limit(base)

    def _move_limit(self, base_s: float) -> None:
        if self._delay_s > max(TARGET_DELAY_S, base_s * TARGET_SHARE):
            self.limit = max(self.limit * 3 // 4, min(FLOOR_BYTES, self._ceiling))
        else:
            self.limit = min(self.limit + STEP_BYTES, self._ceiling)
