"""What a person and a program read."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from terratunnel.client.console import MAX_TARGET_CHARS, Events, Lines, Online

TUNNEL = Online(
    "http://my-app.localhost:8000", "my-app.localhost", "http://localhost:3000", "http://127.0.0.1:8081/status"
)
ESCAPE_CODES = "\x1b[2J"


@dataclass
class Exchange:
    """An exchange that is over."""

    method: bytes = b"POST"
    target: bytes = b"/hook"
    status: int = 200
    duration_s: float = 0.0123
    error: str = ""
    fields: list[bytes] = field(default_factory=list)

    @property
    def items(self) -> list[bytes]:
        return [self.method, self.target, *self.fields]


class Timer:
    def cancel(self) -> None:
        """Nothing runs here."""


def never(delay: float, callback: Callable[[], None]) -> Timer:
    return Timer()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines(file: io.StringIO, clock: Clock) -> Lines:
    return Lines(file, never, clock)


@pytest.fixture
def events(file: io.StringIO) -> Events:
    return Events(file, never)


def shown(file: io.StringIO) -> list[str]:
    """Lines without their time."""
    return [line[11:] if line.startswith("[") else line for line in file.getvalue().splitlines()]


def written(file: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.getvalue().splitlines()]


def test_a_request_is_one_line(lines: Lines, file: io.StringIO) -> None:
    lines.exchange_finished(Exchange())
    lines.close()
    assert shown(file) == ["POST /hook -> 200 12ms"]
    assert file.getvalue()[0] == "["
    assert file.getvalue()[9:11] == "] "


def test_request_lines_wait_for_their_batch(lines: Lines, file: io.StringIO) -> None:
    lines.exchange_finished(Exchange())
    assert file.getvalue() == ""


def test_a_failure_says_why(lines: Lines, file: io.StringIO) -> None:
    lines.exchange_finished(Exchange(status=0, error="The local service cannot be reached."))
    lines.exchange_finished(Exchange(status=200, error="the visitor left"))
    lines.exchange_finished(Exchange(method=b"", target=b"", status=0, error="The request is malformed."))
    lines.close()
    assert shown(file) == [
        "POST /hook -> - 12ms The local service cannot be reached.",
        "POST /hook -> 200 12ms the visitor left",
        "- - -> - 12ms The request is malformed.",
    ]


def test_nothing_from_the_network_moves_the_cursor(lines: Lines, file: io.StringIO) -> None:
    hostile = Exchange(b"G\x1b", b"/\x1b[2J\xe2\x80\xae", 200, 0.0, ESCAPE_CODES)
    lines.exchange_finished(hostile)
    lines.connecting(ESCAPE_CODES)
    lines.online(Online(ESCAPE_CODES, ESCAPE_CODES, ESCAPE_CODES, ESCAPE_CODES))
    lines.online(Online(ESCAPE_CODES, ESCAPE_CODES, ESCAPE_CODES, ESCAPE_CODES))
    lines.reconnecting(1.0, ESCAPE_CODES)
    lines.notice(ESCAPE_CODES)
    lines.closed(ESCAPE_CODES, False)
    assert "\x1b" not in file.getvalue()
    assert "\u202e" not in file.getvalue()
    assert shown(file)[0] == "G\\x1b /\\x1b[2J\\u202e -> 200 0ms \\x1b[2J"


def test_an_endless_target_is_cut_for_a_person(lines: Lines, file: io.StringIO) -> None:
    lines.exchange_finished(Exchange(target=b"/" + b"x" * 16_000))
    lines.close()
    assert len(shown(file)[0]) < MAX_TARGET_CHARS + 30
    assert "… -> 200" in shown(file)[0]


def test_the_first_screen_says_what_leads_where(lines: Lines, file: io.StringIO) -> None:
    lines.connecting("ws://localhost:8000")
    lines.online(TUNNEL)
    text = file.getvalue()
    assert "Connecting to ws://localhost:8000" in text
    assert all(part in text for part in (TUNNEL.url, TUNNEL.local_endpoint, TUNNEL.status_url, "Ctrl-C"))


def test_a_client_without_an_api_shows_no_address_of_it(lines: Lines, file: io.StringIO) -> None:
    lines.online(Online(TUNNEL.url, TUNNEL.hostname, TUNNEL.local_endpoint, ""))
    assert "Status" not in file.getvalue()


def test_coming_back_is_one_line(lines: Lines, file: io.StringIO) -> None:
    lines.online(TUNNEL)
    before = len(shown(file))
    lines.reconnecting(0.0, "The link is gone.")
    lines.connecting("ws://localhost:8000")
    lines.online(TUNNEL)
    lines.online(Online("http://new.localhost:8000", "new.localhost", TUNNEL.local_endpoint, ""))
    assert shown(file)[before:] == [
        "The link is gone. Trying again.",
        f"Online again: {TUNNEL.url}",
        "Online again, with a new URL: http://new.localhost:8000",
    ]


def test_an_outage_is_not_told_at_every_try(lines: Lines, file: io.StringIO, clock: Clock) -> None:
    for clock.now in range(25):
        lines.reconnecting(1.25, "Connection refused.")
        lines.connecting("ws://localhost:8000")
    lines.reconnecting(1.25, "Name or service not known.")
    assert shown(file) == [
        *["Connection refused. Trying again in 1.2 s."] * 3,
        "Name or service not known. Trying again in 1.2 s.",
    ]


def test_an_end_that_the_command_reports_is_not_told_twice(lines: Lines, file: io.StringIO) -> None:
    lines.refused("The server refuses this client.")
    lines.closed("The server cannot be reached.", True)
    lines.closed("The tunnel is closed.", False)
    assert shown(file) == ["The tunnel is closed."]


def test_a_program_reads_the_states(events: Events, file: io.StringIO) -> None:
    events.connecting("ws://localhost:8000")
    events.online(TUNNEL)
    events.reconnecting(1.25, "gone")
    events.refused("no key")
    events.closed("over", True)
    assert written(file) == [
        {"event": "connecting", "server_url": "ws://localhost:8000"},
        {
            "event": "online",
            "url": TUNNEL.url,
            "hostname": TUNNEL.hostname,
            "local_endpoint": TUNNEL.local_endpoint,
            "status_url": TUNNEL.status_url,
        },
        {"event": "reconnecting", "in_s": 1.25, "reason": "gone"},
        {"event": "refused", "reason": "no key"},
        {"event": "closed", "reason": "over"},
    ]


def test_a_program_reads_requests_whole(events: Events, file: io.StringIO) -> None:
    fields = [b"Host", b"x", b"X-Request-Id", b"theirs", b"X-REQUEST-ID", b"abc"]
    events.exchange_finished(Exchange(target=b"/\xff\n" + b"x" * 5000, fields=fields))
    events.exchange_finished(Exchange(status=0, error="cannot be reached"))
    events.notice("Port 8081 is taken.")
    events.close()
    first, second, third = written(file)
    assert first == {
        "event": "request",
        "method": "POST",
        "target": "/\xff\n" + "x" * 5000,
        "status": 200,
        "duration_ms": 12.3,
        "request_id": "abc",
        "error": None,
    }
    assert (second["status"], second["error"], second["request_id"]) == (None, "cannot be reached", None)
    assert third == {"event": "notice", "message": "Port 8081 is taken."}
