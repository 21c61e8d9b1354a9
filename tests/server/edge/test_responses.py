"""Answers of the edge itself: one sentence, for programs or for browsers, never cached."""

import json

import pytest

from terratunnel.http1.parser import HeadLimits, RequestHead, RequestParser
from terratunnel.server.edge.responses import error_response, keep_alive_framing, phrase_of, wants_html, whole_response

STATUSES = (400, 404, 408, 413, 414, 431, 501, 502, 503, 504, 505)


def head_of(*fields: bytes, method: bytes = b"GET", version: bytes = b"HTTP/1.1") -> RequestHead:
    parser = RequestParser(HeadLimits())
    parser.receive_data(b"\r\n".join([b"%b / %b" % (method, version), b"Host: a", *fields, b"", b""]))
    head = parser.next_event()
    assert isinstance(head, RequestHead)
    return head


def split(response: bytes) -> tuple[list[bytes], bytes]:
    head, _, body = response.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), body


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_has_a_phrase(status: int) -> None:
    assert phrase_of(status)
    assert split(error_response(status, "So it is.", None, [], True))[0][0].startswith(b"HTTP/1.1 %d " % status)


def test_a_program_gets_json_of_one_sentence() -> None:
    lines, body = split(error_response(502, 'No "client".', head_of(b"Accept: application/json"), [], False, b"id"))
    assert lines[0] == b"HTTP/1.1 502 Bad Gateway"
    assert b"Content-Type: application/json" in lines
    assert b"Content-Length: %d" % len(body) in lines
    assert b"Cache-Control: no-store" in lines
    assert json.loads(body) == {"error": "bad_gateway", "status": 502, "message": 'No "client".'}


def test_a_browser_gets_a_page_in_which_nothing_runs() -> None:
    head = head_of(b"Accept: text/html,application/xhtml+xml;q=0.9")
    lines, body = split(error_response(504, "<script>alert(1)</script> & more", head, [], False, b"<id>"))
    assert b"Content-Type: text/html; charset=utf-8" in lines
    assert b"X-Content-Type-Options: nosniff" in lines
    assert b"<title>504 Gateway Timeout</title>" in body
    assert b"&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in body
    assert b"request &lt;id&gt;" in body
    assert b"<script" not in body


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ((), False),
        ((b"Accept: */*",), False),
        ((b"accept: TEXT/HTML",), True),
        ((b"Accept: application/json", b"Accept: text/html"), True),
    ],
)
def test_html_is_for_who_names_it(fields: tuple[bytes, ...], wanted: bool) -> None:
    assert wants_html(head_of(*fields)) is wanted


def test_who_could_not_be_read_gets_json() -> None:
    assert not wants_html(None)


def test_a_head_request_gets_the_length_and_no_body() -> None:
    lines, body = split(error_response(404, "Nothing.", head_of(method=b"HEAD"), [], False))
    assert body == b""
    assert any(line.startswith(b"Content-Length: ") and line != b"Content-Length: 0" for line in lines)


def test_extra_fields_come_with_it() -> None:
    lines, _ = split(whole_response(503, b"text/plain", b"x", None, [b"Retry-After", b"2"], True))
    assert b"Retry-After: 2" in lines
    assert lines[-1] == b"Connection: close"


def test_a_visitor_of_1_0_is_told_that_its_connection_is_kept() -> None:
    assert keep_alive_framing(head_of(version=b"HTTP/1.0")) == b"Connection: keep-alive\r\n"
    assert keep_alive_framing(head_of()) == b""
    assert keep_alive_framing(None) == b""
