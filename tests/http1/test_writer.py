"""What is written is HTTP/1.1, byte for byte."""

import pytest

from terratunnel.http1 import writer
from terratunnel.http1.writer import CHUNKED, CLOSE, chunk_parts, last_chunk, request_head, response_head


def test_a_request_head_is_its_items_and_one_framing_line() -> None:
    written = request_head([b"GET", b"/p%2Fq?", b"Host", b"a", b"x-B", b""], CHUNKED)
    assert written == b"GET /p%2Fq? HTTP/1.1\r\nHost: a\r\nx-B: \r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_request_head_may_have_no_fields() -> None:
    assert request_head([b"GET", b"/"], writer.NO_FRAMING) == b"GET / HTTP/1.1\r\n\r\n"


def test_a_response_head_is_always_http_1_1() -> None:
    items = [b"200", b"OK", b"Set-Cookie", b"a", b"Set-Cookie", b"b"]
    assert (
        response_head(items, CLOSE) == b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nConnection: close\r\n\r\n"
    )


def test_an_empty_reason_keeps_its_space() -> None:
    assert response_head([b"204", b""], b"") == b"HTTP/1.1 204 \r\n\r\n"


@pytest.mark.parametrize("count", [1, 63, 64, 65, 500])
def test_a_head_may_have_any_number_of_fields(count: int) -> None:
    fields = [b"A", b"%b"] * count
    assert request_head([b"GET", b"/", *fields], b"") == b"GET / HTTP/1.1\r\n" + b"A: %b\r\n" * count + b"\r\n"
    assert response_head([b"200", b"", *fields], b"") == b"HTTP/1.1 200 \r\n" + b"A: %b\r\n" * count + b"\r\n"


def test_framing_lines_are_lines() -> None:
    lines = (writer.CHUNKED, writer.CLOSE, writer.KEEP_ALIVE, writer.UPGRADE, writer.NO_BODY)
    assert all(line.endswith(b"\r\n") and b": " in line for line in lines)


def test_a_chunk_says_its_size() -> None:
    data = b"x" * 300
    parts = chunk_parts(data)
    assert b"".join(parts) == b"12c\r\n" + data + b"\r\n"
    assert parts[1] is data


def test_no_data_is_no_chunk() -> None:
    assert chunk_parts(b"") == []


def test_the_last_chunk_may_bring_trailers() -> None:
    assert last_chunk([]) == writer.LAST_CHUNK == b"0\r\n\r\n"
    assert last_chunk([b"A", b"b", b"C", b"d"]) == b"0\r\nA: b\r\nC: d\r\n\r\n"
