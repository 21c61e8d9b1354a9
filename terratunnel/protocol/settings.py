"""What one side of a link allows the other, and its own tuning. Used by the multiplexer; filled from the configuration.

Values under "announced" travel in the SETTINGS frame (spec §7); the rest is local. Each default names its origin.
"""

from dataclasses import dataclass
from enum import IntEnum

from terratunnel.protocol.errors import GoAwayCode, LinkError
from terratunnel.protocol.frames import SETTING
from terratunnel.protocol.windows import MAX_WINDOW


class Setting(IntEnum):
    """Identifiers in a SETTINGS frame."""

    INITIAL_STREAM_WINDOW = 1
    INITIAL_LINK_WINDOW = 2
    MAX_STREAMS = 3


DEFAULTS = {
    Setting.INITIAL_STREAM_WINDOW: 262_144,
    Setting.INITIAL_LINK_WINDOW: 8_388_608,
    Setting.MAX_STREAMS: 256,
}


@dataclass(frozen=True)
class Settings:
    """Limits and tuning of one side of a link. Sizes in bytes, times in seconds, rates per second."""

    # Announced. yamux starts streams at 256 KiB; the window of the link is a bound, what is in flight is paced below.
    initial_stream_window: int = DEFAULTS[Setting.INITIAL_STREAM_WINDOW]
    initial_link_window: int = DEFAULTS[Setting.INITIAL_LINK_WINDOW]
    max_streams: int = DEFAULTS[Setting.MAX_STREAMS]

    # Growth of receive windows: 4 MiB carries 80 MB/s over 50 ms; all growth together is bounded per link.
    max_stream_window: int = 4_194_304
    window_growth_budget: int = 16_777_216

    # Checked bodies (spec §6).
    chunk_size: int = 524_288

    # Liveness: cloudflared and ngrok use 5 s and 15 s as well.
    ping_after_s: float = 5.0
    dead_after_s: float = 15.0

    # Budgets (spec §8): twenty times what one busy laptop serves.
    max_opens_per_s: float = 20_000.0
    max_resets_per_s: float = 2_000.0
    max_control_per_s: float = 20_000.0
    # DATA below 1 KiB: a hundred thousand a second keep a fifth of a core busy, and no honest sender makes as many.
    max_small_data_per_s: float = 100_000.0
    max_block_bytes: int = 65_536
    max_block_items: int = 1_024

    def announced(self) -> dict[int, int]:
        """Return what the SETTINGS frame says, by identifier."""
        return {
            Setting.INITIAL_STREAM_WINDOW: self.initial_stream_window,
            Setting.INITIAL_LINK_WINDOW: self.initial_link_window,
            Setting.MAX_STREAMS: self.max_streams,
        }


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Return what a SETTINGS frame says, `(identifier, value)` each; raises LinkError when it is malformed."""
    if len(payload) % SETTING.size:
        raise LinkError(GoAwayCode.PROTOCOL_ERROR, "a SETTINGS frame that is cut short")
    found: list[tuple[int, int]] = []
    for identifier, value in SETTING.iter_unpack(payload):
        if value > MAX_WINDOW:
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, f"setting {identifier} is over {MAX_WINDOW}")
        found.append((int(identifier), int(value)))
    return found
