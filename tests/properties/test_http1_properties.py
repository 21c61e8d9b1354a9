"""Laws of the HTTP/1.1 reading: cuts mean nothing, what is written reads back, and nothing slips through a field."""

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import TypeAlias

import h11
from hypothesis import given
from hypothesis import strategies as st

from terratunnel.http1.errors import BadMessage
from terratunnel.http1.fields import Fields
from terratunnel.http1.forwarding import (
    check_request_items,
    check_response_items,
    check_trailer_items,
    request_items,
    response_items,
    trailer_items,
)
from terratunnel.http1.parser import HeadLimits, RequestHead, RequestParser, ResponseHead, ResponseParser, Trailers
from terratunnel.http1.writer import CHUNKED, chunk_parts, last_chunk, request_head, response_head
from tests.http1.transcript import request_transcript, response_transcript

TOKEN = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Names with a meaning of their own, in heads or in trailers.
MEANT = b"host connection te upgrade expect forwarded age date vary range cookie trailer expires location".split()

tokens = st.text(TOKEN, min_size=1, max_size=12).map(str.encode)
names = tokens.filter(
    lambda name: not name.lower().startswith((b"content-", b"transfer-", b"keep-", b"proxy-", b"x-"))
).filter(lambda name: name.lower() not in MEANT)
values = st.binary(max_size=20).map(
    lambda value: bytes(byte for byte in value if (byte >= 32 and byte != 127) or byte == 9).strip(b" \t")
)
fields = st.lists(st.tuples(names, values), max_size=8).map(lambda pairs: [item for pair in pairs for item in pair])
targets = st.text("abz09/%?&=+~;,@:\u00ff", max_size=20).map(lambda text: b"/" + text.encode("latin-1"))
bodies = st.lists(st.binary(max_size=40), max_size=4)

# Sentences that are nearly HTTP: right parts, wrong parts, and bytes that belong nowhere.
good_request_lines = [
    b"GET / HTTP/1.1\r\n", b"POST /a%2F?b HTTP/1.1\r\n", b"GET /\xff HTTP/1.0\r\n", b"OPTIONS * HTTP/1.1\r\n",
    b"GET http://a/x HTTP/1.1\r\n", b"\r\nGET / HTTP/1.1\r\n",
]  # fmt: skip
bad_request_lines = [b"GET / HTTP/2.0\r\n", b"CONNECT a:1 HTTP/1.1\r\n", b"G\x00 / HTTP/1.1\r\n", b"GET /\r\n"]
good_status_lines = [
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200\r\n", b"HTTP/1.1 204 \xe9\r\n", b"HTTP/1.1 100 Continue\r\n",
    b"HTTP/1.1 304 x\r\n", b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: y\r\n",
]  # fmt: skip
bad_status_lines = [b"HTTP/2 200\r\n", b"HTTP/1.1 20 x\r\n"]
good_lines = [
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close, x\r\n",
    b"Connection: Upgrade\r\n", b"Upgrade: y\r\n", b"Connection: keep-alive\r\n", b"X: \xff\t y \r\n", b"V:\r\n",
    b"Expect: 100-continue\r\n", b"X-Forwarded-For: 1.1.1.1\r\n", b'Forwarded: for="\r\n', b"X-Request-Id: r\r\n",
    b"TE: trailers\r\n",
]  # fmt: skip
bad_lines = [
    b"content-length: +5\r\n", b" folded\r\n", b"Y : z\r\n", b"Z: a\rb\r\n", b"W: a\nb\r\n", b"no colon\r\n",
    b"Host: b\r\n",
]  # fmt: skip
rests = [
    b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n", b"0\r\nA: b\r\nHost: c\r\n\r\n", b"5;x\r\nhello\r\n",
    b"2\r\nabc\r\n0\r\n\r\n", b"3\r\nab", b"\n", b"\r", b"5\r\nhello\n0\r\n\r\n",
]  # fmt: skip


def mostly(good: list[bytes], bad: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.integers(0, 11).flatmap(lambda n: st.sampled_from(good if n else bad))


def message(first_lines: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    some_lines = st.lists(mostly(good_lines, bad_lines), max_size=5, unique=True).map(b"".join)
    pieces = st.tuples(first_lines, some_lines, st.just(b"\r\n"), st.sampled_from(rests))
    return pieces.map(b"".join)


def with_host(data: bytes) -> bytes:
    return re.sub(rb"(HTTP/1..\r\n)", rb"\1Host: a\r\n", data, count=1)


requests = st.lists(message(mostly(good_request_lines, bad_request_lines)).map(with_host), min_size=1, max_size=3).map(
    b"".join
)
responses = st.lists(message(mostly(good_status_lines, bad_status_lines)), min_size=1, max_size=2).map(b"".join)
cuts = st.lists(st.integers(0, 400), max_size=8)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    return [data[start:end] for start, end in pairwise(sorted({0, len(data), *(p for p in places if p < len(data))}))]


@given(requests, cuts)
def test_any_cut_of_requests_reads_the_same(data: bytes, places: list[int]) -> None:
    assert request_transcript(cut(data, places)) == request_transcript([data])


@given(responses, cuts, st.sampled_from([b"GET", b"HEAD"]), st.booleans())
def test_any_cut_of_a_response_reads_the_same(data: bytes, places: list[int], method: bytes, eof: bool) -> None:
    assert response_transcript(cut(data, places), method, eof) == response_transcript([data], method, eof)


@given(requests)
def test_one_byte_at_a_time_reads_the_same(data: bytes) -> None:
    assert request_transcript(bytes([byte]) for byte in data) == request_transcript([data])


@given(tokens.filter(lambda method: method != b"CONNECT"), targets, fields)
def test_a_written_request_reads_back_as_it_was(method: bytes, target: bytes, extra: list[bytes]) -> None:
    items = [method, target, b"Host", b"a", *extra]
    check_request_items(items)
    head = read_request(request_head(items, b""))
    assert (head.method, head.target) == (method, target)
    assert [item for pair in head.fields for item in pair] == items[2:]


@given(st.integers(200, 999), values, fields)
def test_a_written_response_reads_back_as_it_was(status: int, reason: bytes, extra: list[bytes]) -> None:
    items = [b"%d" % status, reason, *extra]
    check_response_items(items, b"GET")
    head = read_response(response_head(items, b""))
    assert (head.status, head.reason) == (status, reason)
    assert [item for pair in head.fields for item in pair] == extra


@given(bodies, fields)
def test_written_chunks_read_back_as_they_were(pieces: list[bytes], trailers: list[bytes]) -> None:
    check_trailer_items(trailers)
    parser = RequestParser(HeadLimits())
    parser.receive_data(request_head([b"PUT", b"/", b"Host", b"a"], CHUNKED))
    assert isinstance(parser.next_event(), RequestHead)
    parser.receive_data(b"".join(part for piece in pieces for part in chunk_parts(piece)) + last_chunk(trailers))
    received = b""
    while isinstance(event := parser.next_event(), bytes):
        received += event
    assert received == b"".join(pieces)
    assert isinstance(event, Trailers)
    assert trailer_items(event) == trailers
    assert (parser.complete, parser.buffered) == (True, 0)


@given(requests)
def test_whatever_is_accepted_is_forwarded_in_one_reading(data: bytes) -> None:
    try:
        head = read_request(data)
    except BadMessage:
        return
    items = request_items(head, b"::1", b"http", b"id")
    meta = check_request_items(items)
    assert (meta.method, meta.host) == (head.method, head.host)
    written = request_head(items, b"")
    assert written.count(b"\r") == written.count(b"\n") == written.count(b"\r\n") == len(items) // 2 + 1
    again = read_request(written)
    assert [again.method, again.target, *(item for pair in again.fields for item in pair)] == items


@given(responses, st.sampled_from([b"GET", b"HEAD"]))
def test_whatever_is_accepted_is_answered_in_one_reading(data: bytes, method: bytes) -> None:
    try:
        head = read_response(data, method)
    except BadMessage:
        return
    items = response_items(head)
    meta = check_response_items(items, method)
    assert (meta.status, meta.upgrade) == (head.status, head.upgrade)
    assert meta.has_body == head.has_body
    written = response_head(items, b"")
    assert written.count(b"\r") == written.count(b"\n") == written.count(b"\r\n") == len(items) // 2 + 1


@given(
    st.lists(st.one_of(tokens, values, st.binary(max_size=6), st.sampled_from([b"Host", b"a", b"/", b"1"])), max_size=8)
)
def test_whatever_the_link_brings_is_refused_or_reads_back(items: list[bytes]) -> None:
    try:
        check_request_items(items)
    except BadMessage:
        return
    head = read_request(request_head(items, b""))
    stripped = [item.strip(b" \t") for item in items]
    assert [head.method, head.target, *(item for pair in head.fields for item in pair)] == stripped


@given(requests)
def test_where_h11_accepts_as_well_it_reads_the_same(data: bytes) -> None:
    ours, theirs = first_request(data), h11_first_request(data)
    if not ours or not theirs:
        return
    assert ours[:3] == theirs[:3]
    if len(ours) == len(theirs) == 5:
        assert ours[3] == theirs[3]
        assert set(ours[4]) <= set(theirs[4])  # h11 keeps even Host in trailers


def read_request(data: bytes) -> RequestHead:
    parser = RequestParser(HeadLimits(max_head_bytes=1 << 20))
    parser.receive_data(data)
    head = parser.next_event()
    if head is None:
        raise BadMessage(400, "not a whole head")
    assert isinstance(head, RequestHead)
    return head


def read_response(data: bytes, method: bytes = b"GET") -> ResponseHead:
    parser = ResponseParser(HeadLimits(max_head_bytes=1 << 20))
    parser.expect(method)
    parser.receive_data(data)
    head = parser.next_event()
    if head is None:
        raise BadMessage(502, "not a whole head")
    assert isinstance(head, ResponseHead)
    return head


Reading: TypeAlias = tuple[()] | tuple[bytes, bytes, Fields] | tuple[bytes, bytes, Fields, bytes, Fields]


def first_request(data: bytes) -> Reading:
    """Method, target and fields of the first request, and its body and trailers when it is whole and good."""
    parser = RequestParser(HeadLimits())
    parser.receive_data(data)
    reading: Reading = ()
    body = b""
    try:
        while (event := parser.next_event()) is not None:
            if isinstance(event, RequestHead):
                reading = (event.method, event.target, event.fields)
            elif isinstance(event, bytes):
                body += event
            elif reading:
                return (*reading[:3], body, event.fields)
    except BadMessage:
        return reading
    return (*reading[:3], b"", []) if reading and parser.complete else reading


def h11_first_request(data: bytes) -> Reading:
    """The same, as h11 reads it."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    reading: Reading = ()
    body = b""
    try:
        while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                reading = (bytes(event.method), bytes(event.target), h11_fields(event.headers))
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and reading:
                return (*reading[:3], body, h11_fields(event.headers))
    except h11.RemoteProtocolError:
        return reading
    return reading


def h11_fields(headers: Iterable[tuple[bytes, bytes]]) -> Fields:
    raw = headers.raw_items() if isinstance(headers, h11._headers.Headers) else headers
    return [(bytes(name), bytes(value)) for name, value in raw]
