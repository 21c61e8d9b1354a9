"""The access log has the guide's form, and nothing from the internet reaches a terminal as it is."""

import io
import re

import pytest

from terratunnel.logs import LineWriter, TimerHandle
from terratunnel.server.edge.access_log import AccessLog


class NoTimer:
    def cancel(self) -> None: ...


def never(_: float, __: object) -> TimerHandle:
    return NoTimer()


def line_of(method: bytes, target: bytes, status: int, duration_s: float) -> str:
    file = io.StringIO()
    lines = LineWriter(file, never)
    AccessLog(lines).write(method, target, status, duration_s)
    assert file.getvalue() == ""
    lines.flush()
    return file.getvalue()


def test_a_line_has_the_form_of_the_guide() -> None:
    assert re.fullmatch(r"\[\d\d:\d\d:\d\d\] POST /hook -> 200 12ms\n", line_of(b"POST", b"/hook", 200, 0.0124))


def test_an_exchange_that_was_cut_before_its_status_has_none() -> None:
    assert line_of(b"GET", b"/", 0, 1.5).endswith("GET / -> - 1500ms\n")


@pytest.mark.parametrize(
    ("target", "shown"),
    [(b"/\x1b[2J", r"/\x1b[2J"), (b"/\r\n[00:00:00] GET", r"/\x0d\x0a[00:00:00] GET"), ("/é‮".encode(), r"/é\u202e")],
)
def test_what_could_play_tricks_is_escaped(target: bytes, shown: str) -> None:
    assert f" {shown} -> 200 " in line_of(b"GET", target, 200, 0.0)


def test_what_is_secret_in_a_query_is_left_out() -> None:
    line = line_of(b"GET", b"/auth/github/callback?code=abc&state=def", 303, 0.0)
    assert " GET /auth/github/callback?code=***&state=*** -> 303 " in line
