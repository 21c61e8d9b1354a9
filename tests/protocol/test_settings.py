"""Settings: what one side announces, and how the other reads it."""

import pytest

from terratunnel.protocol.errors import GoAwayCode, LinkError
from terratunnel.protocol.frames import SETTING
from terratunnel.protocol.settings import DEFAULTS, Setting, Settings, read_settings
from terratunnel.protocol.windows import MAX_WINDOW


def test_what_is_announced_are_the_limits_of_the_peer() -> None:
    assert Settings().announced() == DEFAULTS
    changed = Settings(initial_stream_window=1, initial_link_window=2, max_streams=3)
    assert changed.announced() == {
        Setting.INITIAL_STREAM_WINDOW: 1,
        Setting.INITIAL_LINK_WINDOW: 2,
        Setting.MAX_STREAMS: 3,
    }


def test_a_frame_of_settings_is_read_in_order_known_or_not() -> None:
    assert read_settings(SETTING.pack(3, 5) + SETTING.pack(900, MAX_WINDOW)) == [(3, 5), (900, MAX_WINDOW)]
    assert read_settings(b"") == []


@pytest.mark.parametrize(
    ("payload", "reason"),
    [(b"\0\1\0\0\0", "cut short"), (SETTING.pack(2, MAX_WINDOW + 1), f"setting 2 is over {MAX_WINDOW}")],
)
def test_settings_from_a_broken_peer_are_refused(payload: bytes, reason: str) -> None:
    with pytest.raises(LinkError, match=reason) as caught:
        read_settings(payload)
    assert caught.value.code is GoAwayCode.PROTOCOL_ERROR
