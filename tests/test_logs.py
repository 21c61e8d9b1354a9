"""Lines are batched, escaped, and never stand in the way of a request."""

import io
import logging
from collections.abc import Callable, Iterator

import pytest

from terratunnel import logs
from terratunnel.logs import EventFormatter, LineWriter, Timestamps, escape, redacted


class Timer:
    """A timer that fires when the test says so."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Timers:
    def __init__(self) -> None:
        self.made: list[Timer] = []

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        assert delay == logs.FLUSH_AFTER_S
        self.made.append(Timer(callback))
        return self.made[-1]


class CountingFile(io.StringIO):
    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


@pytest.fixture
def own_loggers() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("terratunnel")
    before = root.handlers, root.level, ours.level
    yield
    root.handlers, level, own_level = before
    root.setLevel(level)
    ours.setLevel(own_level)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"/hook?a=1", "/hook?a=1"),
        ("/caf\u00e9", "/caf\u00e9"),
        ("/café".encode(), "/café"),
        (b"/\x1b[2J\r\n", "/\\x1b[2J\\x0d\\x0a"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2028\u00a0", "\\u2028\\xa0"),
        ("\U000e0041", "\\U000e0041"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"", ""),
    ],
)
def test_what_a_terminal_could_obey_is_escaped(value: bytes | str, expected: str) -> None:
    assert escape(value) == expected


def test_lines_are_written_in_one_go_by_the_timer() -> None:
    file, timers = CountingFile(), Timers()
    writer = LineWriter(file, timers.call_later)
    writer.write("one")
    writer.write("two")
    assert file.writes == 0
    assert len(timers.made) == 1
    timers.made[0].callback()
    assert file.getvalue() == "one\ntwo\n"
    assert file.writes == 1


def test_many_lines_do_not_wait_for_the_timer() -> None:
    file, timers = CountingFile(), Timers()
    writer = LineWriter(file, timers.call_later)
    for _ in range(64):
        writer.write("x" * 1024)
    assert file.writes == 1
    assert timers.made[0].cancelled


def test_closing_writes_the_rest_and_nothing_twice() -> None:
    file, timers = CountingFile(), Timers()
    writer = LineWriter(file, timers.call_later)
    writer.write("last")
    writer.close()
    writer.close()
    assert file.getvalue() == "last\n"
    assert file.writes == 1


def test_a_closed_file_loses_lines_and_raises_nothing() -> None:
    file, timers = CountingFile(), Timers()
    writer = LineWriter(file, timers.call_later)
    file.close()
    writer.write("lost")
    writer.close()


def test_the_time_is_formatted_once_a_second() -> None:
    times = iter([1000.2, 1000.9, 1001.0])
    stamps = Timestamps(lambda: next(times))
    first, second, third = stamps.now(), stamps.now(), stamps.now()
    assert first is second
    assert third != first
    assert len(first) == len("[12:34:56]")


def test_a_record_is_one_line_however_it_is_filled() -> None:
    record = logging.LogRecord("terratunnel.mux.link", logging.WARNING, "", 0, "lost reason=%s", ("a\nb",), None)
    assert EventFormatter().format(record)[10:] == " WARNING mux.link: lost reason=a\\x0ab"


def test_a_traceback_keeps_its_lines_and_loses_its_controls() -> None:
    try:
        raise ValueError("\x1b[2J")
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "failed", (), (type(error), error, error.__traceback__))
    text = EventFormatter().format(record)
    assert text.splitlines()[-1] == "ValueError: \\x1b[2J"
    assert "\x1b" not in text


@pytest.mark.usefixtures("own_loggers")
def test_our_level_is_not_that_of_other_packages() -> None:
    stream = io.StringIO()
    logs.configure("DEBUG", stream)
    logging.getLogger("terratunnel.x").debug("ours level=debug")
    logging.getLogger("other").info("theirs")
    assert [line[11:] for line in stream.getvalue().splitlines()] == ["DEBUG x: ours level=debug"]


# ---------------------------------------------------------------------- secrets


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (b"/auth/github/callback?code=abc&state=def", b"/auth/github/callback?code=***&state=***"),
        (b"/x?a=1&access_token=abc&b=2", b"/x?a=1&access_token=***&b=2"),
        (b"/x?API_KEY=abc#top", b"/x?API_KEY=***#top"),
        (
            b"/x?X-Amz-Signature=abc&password=&client_secret=x=y",
            b"/x?X-Amz-Signature=***&password=***&client_secret=***",
        ),
        (b"/x?sig=%00\x1b", b"/x?sig=***"),
    ],
)
def test_secrets_in_a_query_are_left_out(target: bytes, shown: bytes) -> None:
    assert redacted(target) == shown


@pytest.mark.parametrize(
    "target", [b"/token/code=abc", b"/x?", b"/x?a=1&zip_code=2", b"/x?status=1", b"/x?token", b"*"]
)
def test_what_is_no_secret_is_shown(target: bytes) -> None:
    assert redacted(target) == target
