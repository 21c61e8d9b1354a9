"""Times, sizes and numbers for people."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from terratunnel.server.control.words import ago, details, iso, number, size, utc

NOW = datetime(2025, 6, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "just now"),
        (0.4, "just now"),
        (1, "1 second ago"),
        (59.9, "59 seconds ago"),
        (60, "1 minute ago"),
        (3_599, "59 minutes ago"),
        (7_200, "2 hours ago"),
        (86_400, "1 day ago"),
        (40 * 86_400, "1 month ago"),
        (400 * 86_400, "1 year ago"),
        (4_000 * 86_400, "11 years ago"),
    ],
)
def test_how_long_ago_something_was_is_said_in_its_largest_unit(seconds: float, said: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == said


def test_a_moment_is_written_in_utc() -> None:
    moment = datetime(2025, 6, 1, 14, 5, 6, 700, tzinfo=timezone(timedelta(hours=2)))
    assert utc(moment) == "2025-06-01 12:05:06 UTC"
    assert iso(moment) == "2025-06-01T12:05:06Z"


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (98_765, "98.8 kB"),
        (99_960, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (123_456_789, "123 MB"),
        (10**15 * 5_000, "5000 PB"),
    ],
)
def test_a_size_has_three_digits_at_most(count: int, said: str) -> None:
    assert size(count) == said


def test_thousands_are_apart() -> None:
    assert number(1_234_567) == "1,234,567"


@pytest.mark.parametrize(
    ("noted", "said"),
    [
        (None, ""),
        ("", ""),
        ('{"status": 401, "reason": "no key"}', "status: 401, reason: no key"),
        ('{"new_key_id": 3, "tunnels": ["a", "b"]}', "new key id: 3, tunnels: a, b"),
        ("[1]", "[1]"),
        ("of the older program", "of the older program"),
    ],
)
def test_what_is_noted_beside_an_event_is_readable(noted: str | None, said: str) -> None:
    assert details(noted) == said
