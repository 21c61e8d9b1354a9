"""The strict reading, clause by clause: requests of visitors and responses of the local service as transcripts."""

from collections.abc import Callable

import pytest

from terratunnel.errors import LocalProtocolError
from terratunnel.http1.errors import BadMessage
from terratunnel.http1.parser import HeadLimits, RequestHead, RequestParser, ResponseHead, ResponseParser, Trailers
from tests.http1.transcript import Entry, padded_get, request_transcript, response_transcript

HOST = b"Host: a\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST
SIMPLE_GET = ("request", b"GET", b"/", 1, ((b"Host", b"a"),), (None, False, False, True, None), ())
OK = b"HTTP/1.1 200 OK\r\n"


def one_by_one(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


def refused_request(data: bytes) -> int:
    """The status of the refusal that must come before any body byte, whether the bytes come at once or one by one."""
    at_once = request_transcript([data])
    assert request_transcript(one_by_one(data)) == at_once
    assert at_once[-1][0] == "bad"
    assert [entry[0] for entry in at_once[:-1] if entry[0] == "data"] == []
    status = at_once[-1][1]
    assert isinstance(status, int)
    return status


def refused_response(data: bytes) -> None:
    at_once = response_transcript([data], b"GET")
    assert response_transcript(one_by_one(data), b"GET") == at_once
    assert at_once[-1][0] == "bad"


# ---- security.md S1: request smuggling


@pytest.mark.parametrize("order", [1, -1])
def test_content_length_with_transfer_encoding_is_refused(order: int) -> None:
    fields = [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n"][::order]
    assert refused_request(GET + b"".join(fields) + b"\r\n") == 400
    refused_response(OK + b"".join(fields) + b"\r\n")


@pytest.mark.parametrize(
    "value",
    [b"gzip", b"chunked, chunked", b"gzip, chunked", b"chunked, gzip", b"identity", b"", b"chunked;x=y",
     b"xchunked", b"chunked,", b"chunked\x0b", b'"chunked"'],
)  # fmt: skip
def test_any_transfer_encoding_but_chunked_is_refused(value: bytes) -> None:
    assert refused_request(GET + b"Transfer-Encoding: " + value + b"\r\n\r\n") == 400
    refused_response(OK + b"Transfer-Encoding: " + value + b"\r\n\r\n")


def test_transfer_encoding_twice_is_refused() -> None:
    assert refused_request(GET + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n") == 400
    refused_response(OK + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n")


def test_transfer_encoding_in_http_1_0_is_refused() -> None:
    assert refused_request(b"GET / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n") == 400
    refused_response(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")


def test_content_length_twice_is_refused_even_when_equal() -> None:
    assert refused_request(GET + b"Content-Length: 3\r\n" * 2 + b"\r\n") == 400
    refused_response(OK + b"Content-Length: 3\r\ncontent-length: 3\r\n\r\n")


@pytest.mark.parametrize("value", [b"4, 4", b"+4", b"-4", b"4.0", b"0x4", b"", b"1" * 19, b"4 4", b"\xb2"])
def test_a_list_or_signed_or_other_content_length_is_refused(value: bytes) -> None:
    assert refused_request(GET + b"Content-Length: " + value + b"\r\n\r\n") == 400
    refused_response(OK + b"Content-Length: " + value + b"\r\n\r\n")


@pytest.mark.parametrize("fold", [b" ", b"\t", b" x: "])
def test_a_folded_field_is_refused(fold: bytes) -> None:
    assert refused_request(GET + b"A: b\r\n" + fold + b"c\r\n\r\n") == 400
    assert refused_request(b"GET / HTTP/1.1\r\n" + fold + HOST + b"\r\n") == 400
    refused_response(OK + b"A: b\r\n" + fold + b"c\r\n\r\n")


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\n" + HOST + b"\r\n",
        GET + b"A: b\nC: d\r\n\r\n",
        GET + b"A: b\n\r\n",
        b"\n" + GET + b"\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        GET + b"\n",
    ],
)
def test_a_bare_newline_is_refused_as_soon_as_it_is_seen(data: bytes) -> None:
    assert refused_request(data) == 400


@pytest.mark.parametrize("data", [OK + b"A: b\nC: d\r\n\r\n", b"HTTP/1.1 200 OK\n\n"])
def test_a_bare_newline_in_a_response_is_refused(data: bytes) -> None:
    refused_response(data)


@pytest.mark.parametrize("line", [b"A: b\rC: d", b"A\r: b", b"\rA: b", b"A: b\r"])
def test_a_bare_carriage_return_is_refused(line: bytes) -> None:
    assert refused_request(GET + line + b"\r\n\r\n") == 400
    refused_response(OK + line + b"\r\n\r\n")


def test_a_bare_carriage_return_in_a_first_line_is_refused() -> None:
    assert refused_request(b"GET /\r HTTP/1.1\r\n" + HOST + b"\r\n") == 400
    assert refused_request(b"GET / HTTP/1.1\r\r\n" + HOST + b"\r\n") == 400
    refused_response(b"HTTP/1.1 200 O\rK\r\n\r\n")


@pytest.mark.parametrize("space", [b" ", b"\t"])
def test_space_before_the_colon_is_refused(space: bytes) -> None:
    assert refused_request(GET + b"A" + space + b": b\r\n\r\n") == 400
    assert refused_request(GET + b"Content-Length" + space + b": 3\r\n\r\n") == 400
    refused_response(OK + b"Transfer-Encoding" + space + b": chunked\r\n\r\n")


@pytest.mark.parametrize("byte", [0, 1, 8, 11, 12, 27, 31, 127])
def test_a_control_character_in_a_name_or_value_is_refused(byte: int) -> None:
    control = bytes([byte])
    assert refused_request(GET + b"A: b" + control + b"\r\n\r\n") == 400
    assert refused_request(GET + b"A" + control + b": b\r\n\r\n") == 400
    refused_response(OK + b"A: " + control + b"b\r\n\r\n")
    refused_response(OK + control + b"A: b\r\n\r\n")


@pytest.mark.parametrize(
    "body",
    [
        b"x\r\n",
        b"\r\n",
        b"-1\r\n",
        b"0x1\r\n",
        b" 1\r\n",
        b"1;a=b\r\n",
        b"1;\r\n",
        b"1 \r\n",
        b"1\na\r\n",
        b"f" * 16 + b"\r\n",
    ],
)
def test_a_bad_chunk_size_or_extension_is_refused(body: bytes) -> None:
    assert refused_request(GET + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"a" * 20) == 400
    refused_response(OK + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"a" * 20)


@pytest.mark.parametrize("terminator", [b"\n0\r\n\r\n", b"ab\r\n", b"0\r\n\r\n", b"\r0\r\n\r\n"])
def test_a_bad_chunk_terminator_is_refused(terminator: bytes) -> None:
    assert request_transcript([GET + b"Transfer-Encoding: chunked\r\n\r\n1\r\na" + terminator])[-1][:2] == ("bad", 400)
    assert response_transcript([OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na" + terminator], b"GET")[-1][0] == "bad"


@pytest.mark.parametrize("fields", [b"", b"A: b\r\n", b"Host: a\r\nHost: a\r\n", b"Host: a\r\nHOST: b\r\n"])
@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_anything_but_exactly_one_host_is_refused(version: bytes, fields: bytes) -> None:
    assert refused_request(b"GET / " + version + b"\r\n" + fields + b"\r\n") == 400


@pytest.mark.parametrize(
    "host", [b"", b"a/../x?y", b"a b", b"u@a", b"a:x", b"a:", b"a,b", b"[::1", b"a#b", b"http://a"]
)
def test_a_host_that_is_no_host_and_port_is_refused(host: bytes) -> None:
    assert refused_request(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n") == 400


def test_an_absolute_target_whose_authority_is_not_host_is_refused() -> None:
    assert refused_request(b"GET http://b/ HTTP/1.1\r\n" + HOST + b"\r\n") == 400
    assert refused_request(b"GET http://a:80/ HTTP/1.1\r\n" + HOST + b"\r\n") == 400
    assert refused_request(b"GET http://a@b/ HTTP/1.1\r\n" + HOST + b"\r\n") == 400


def test_an_absolute_target_that_agrees_with_host_is_kept_raw() -> None:
    said = request_transcript([b"GET http://B.c:80/x%2F HTTP/1.1\r\nHost: b.C:80\r\n\r\n"])
    assert said[0][2] == b"http://B.c:80/x%2F"


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/1.2", b"HTTP/0.9", b"HTTP/3.0"])
def test_another_version_is_refused_with_505(version: bytes) -> None:
    assert refused_request(b"GET / " + version + b"\r\n" + HOST + b"\r\n") == 505
    refused_response(version + b" 200 OK\r\n\r\n")


def test_the_preface_of_http_2_is_refused_with_505() -> None:
    assert refused_request(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == 505


def test_framing_fields_in_trailers_are_dropped() -> None:
    trailers = b"Content-Length: 9\r\nTransfer-Encoding: gzip\r\nHost: evil\r\nX-Sum: 1\r\n"
    said = request_transcript([GET + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + trailers + b"\r\n"])
    assert said[1] == ("end", ((b"X-Sum", b"1"),))


def test_a_body_that_looks_like_a_request_is_a_body() -> None:
    smuggled = b"GET /admin HTTP/1.1\r\nHost: b\r\n\r\n"
    said = request_transcript([GET + b"Content-Length: %d\r\n\r\n" % len(smuggled) + smuggled])
    assert [entry[0] for entry in said] == ["request", "data", "end", "complete", "waiting"]


# ---- first lines


@pytest.mark.parametrize(
    "line",
    [b"GET /", b"GET", b"", b"GET  / HTTP/1.1", b" GET / HTTP/1.1", b"GET / HTTP/1.1 ", b"GET\t/\tHTTP/1.1",
     b"GET / x HTTP/1.1", b"G@T / HTTP/1.1", b"GET x HTTP/1.1", b"GET * HTTP/1.1", b"GET /\x00 HTTP/1.1",
     b"GET /#x HTTP/1.1", b"GET / http/1.1", b"\r\n\r\nGET / HTTP/1.1"],
)  # fmt: skip
def test_a_malformed_request_line_is_refused(line: bytes) -> None:
    assert refused_request(line + b"\r\n" + HOST + b"\r\n") == 400


def test_connect_is_501() -> None:
    assert refused_request(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n") == 501


def test_one_empty_line_before_a_request_is_passed_over() -> None:
    assert request_transcript([b"\r\n" + GET + b"\r\n"])[0] == SIMPLE_GET
    assert refused_request(b"\r\n\r\n" + GET + b"\r\n") == 400


# ---- requests


def test_a_request_without_body_is_its_head() -> None:
    assert request_transcript([GET + b"\r\n"]) == [SIMPLE_GET, ("complete",), ("waiting", 0)]
    assert request_transcript([GET + b"Content-Length: 0\r\n\r\n"])[1] == ("complete",)


def test_a_body_of_known_length_ends_with_an_event() -> None:
    said = request_transcript([GET + b"Content-Length: 5\r\n\r\nab", b"cde"])
    assert said[1:] == [("data", b"abcde"), ("end", ()), ("complete",), ("waiting", 0)]


def test_an_empty_chunked_body_has_an_end() -> None:
    said = request_transcript([GET + b"Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n"])
    assert said[1:3] == [("end", ()), ("complete",)]


def test_the_next_request_waits_until_it_is_asked_for() -> None:
    parser = RequestParser(HeadLimits())
    parser.receive_data((GET + b"\r\n") * 2)
    assert isinstance(parser.next_event(), RequestHead)
    assert parser.next_event() is None
    assert (parser.complete, parser.buffered) == (True, len(GET) + 2)
    parser.start_next()
    assert not parser.complete
    assert isinstance(parser.next_event(), RequestHead)


def test_going_on_before_the_end_is_our_bug() -> None:
    with pytest.raises(LocalProtocolError):
        RequestParser(HeadLimits()).start_next()


def test_equal_heads_on_one_connection_read_equal_and_others_differ() -> None:
    other = b"GET /b HTTP/1.1\r\nHost: b\r\n\r\n"
    said = request_transcript([GET + b"\r\n", GET + b"\r\n", other, b"POST /c HTTP/1.1\r\n" + HOST + b"\r\n"])
    heads = [entry for entry in said if entry[0] == "request"]
    assert heads[0] == heads[1] == SIMPLE_GET
    assert heads[2][4] == ((b"Host", b"b"),)
    assert heads[3][1:4] == (b"POST", b"/c", 1)


def test_the_version_belongs_to_what_is_remembered() -> None:
    said = request_transcript([GET + b"\r\n", b"GET / HTTP/1.0\r\n" + HOST + b"\r\n"])
    assert [entry[3] for entry in said if entry[0] == "request"] == [1, 0]


def test_a_remembered_host_is_held_against_each_absolute_target() -> None:
    said = request_transcript([GET + b"\r\n", b"GET http://b/ HTTP/1.1\r\n" + HOST + b"\r\n"])
    assert said[-1][:2] == ("bad", 400)


def test_a_very_long_head_is_read_though_not_remembered() -> None:
    said = request_transcript([padded_get(4000)] * 2)
    assert said[:2] == said[2:4]
    assert said[-1] == ("waiting", 0)


def test_an_idle_connection_remembers_no_very_long_head() -> None:
    parser = RequestParser(HeadLimits())
    for size in (1000, 4000):
        parser.receive_data(padded_get(size))
        assert isinstance(parser.next_event(), RequestHead)
        parser.start_next()
    assert 0 < len(parser._last) < 1000


# ---- responses


def response(data: bytes, method: bytes = b"GET", eof: bool = False) -> list[Entry]:
    return response_transcript([data], method, eof)


def test_a_response_of_known_length_ends_with_an_event() -> None:
    assert response(OK + b"Content-Length: 2\r\n\r\nhi")[1:] == [
        ("data", b"hi"),
        ("end", ()),
        ("waiting", True, 0, False),
    ]


def test_a_response_until_close_ends_with_the_connection() -> None:
    assert response(OK + b"\r\nhi")[1:] == [("data", b"hi"), ("waiting", False, 0, False)]
    assert response(OK + b"\r\nhi", eof=True)[1:] == [("data", b"hi"), ("end", ()), ("waiting", True, 0, False)]


def test_trailers_of_a_response_are_given() -> None:
    said = response(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\n")
    assert said[1:3] == [("data", b"hi"), ("end", ((b"A", b"b"),))]


@pytest.mark.parametrize("head", [OK + b"Content-Length: 5\r\n\r\n", b"HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n"])
def test_no_body_follows_head_or_304(head: bytes) -> None:
    said = response(head, b"HEAD" if head.startswith(OK) else b"GET")
    assert [entry[0] for entry in said] == ["response", "waiting"]
    assert said[1] == ("waiting", True, 0, False)


def test_interim_responses_come_before_the_final_one() -> None:
    said = response(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n"
    )
    assert [entry[1] for entry in said if entry[0] == "response"] == [100, 103, 200]
    assert said[-1] == ("waiting", True, 0, False)


def test_interim_responses_without_end_are_refused() -> None:
    said = response(b"HTTP/1.1 102 x\r\n\r\n" * 33)
    assert len(said) == 33
    assert said[-1][0] == "bad"


def test_after_a_switch_every_byte_is_opaque() -> None:
    head = b"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    parser = ResponseParser(HeadLimits())
    parser.expect(b"GET")
    parser.receive_data(head + b"\x81\x00")
    event = parser.next_event()
    assert isinstance(event, ResponseHead)
    assert (event.upgrade, parser.upgraded, parser.complete) == (b"websocket", True, True)
    assert parser.next_event() == b"\x81\x00"
    assert parser.next_event() is None
    parser.receive_data(OK + b"\r\n")
    assert parser.next_event() == OK + b"\r\n"
    parser.receive_eof()
    assert parser.next_event() is None


@pytest.mark.parametrize(
    "fields", [b"", b"Upgrade: websocket\r\n", b"Connection: upgrade\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n"]
)
def test_a_switch_must_name_its_protocol(fields: bytes) -> None:
    refused_response(b"HTTP/1.1 101 x\r\n" + fields + b"\r\n")


def test_bytes_that_answer_no_request_are_noticed() -> None:
    assert response(OK + b"Content-Length: 0\r\n\r\nHTTP/1.1")[-1] == ("waiting", True, 8, True)
    parser = ResponseParser(HeadLimits())
    parser.receive_data(OK)
    assert parser.unexpected_data
    with pytest.raises(LocalProtocolError):
        parser.expect(b"GET")


def test_one_connection_carries_one_response_after_the_other() -> None:
    parser = ResponseParser(HeadLimits())
    for body in (b"abc", b"abc", b"de"):
        parser.expect(b"GET")
        parser.receive_data(OK + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        head = parser.next_event()
        assert isinstance(head, ResponseHead)
        assert head.content_length == len(body)
        assert parser.next_event() == body
        assert isinstance(parser.next_event(), Trailers)
        assert (parser.complete, parser.unexpected_data) == (True, False)


def test_a_remembered_response_head_is_read_by_the_method_of_its_own_request() -> None:
    parser = ResponseParser(HeadLimits())
    has_body = []
    for method in (b"HEAD", b"GET"):
        parser.expect(method)
        parser.receive_data(OK + b"Content-Length: 1\r\n\r\n")
        head = parser.next_event()
        assert isinstance(head, ResponseHead)
        has_body.append(head.has_body)
    assert has_body == [False, True]


def test_expecting_before_the_end_is_our_bug() -> None:
    parser = ResponseParser(HeadLimits())
    parser.expect(b"GET")
    with pytest.raises(LocalProtocolError):
        parser.expect(b"GET")


def test_a_very_long_response_head_is_read_though_not_remembered() -> None:
    assert response(OK + b"A: " + b"x" * 4000 + b"\r\nContent-Length: 0\r\n\r\n")[0][0] == "response"


def test_a_response_head_beyond_the_limit_is_refused() -> None:
    refused_response(OK + b"A: " + b"x" * 17000)


# ---- the end of the connection


@pytest.mark.parametrize(
    "half",
    [b"", b"HTTP/1.1 2",
     b"HTTP/1.1 100 x\r\n\r\n", OK + b"Content-Length: 3\r\n\r\n", OK + b"Content-Length: 3\r\n\r\nab",
     OK + b"Transfer-Encoding: chunked\r\n\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
     OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"],
)  # fmt: skip
def test_half_a_response_at_the_end_is_refused(half: bytes) -> None:
    assert response(half, eof=True)[-1][:2] == ("bad", 502)


@pytest.mark.parametrize("half", [b"", b"HTTP/1.1 2", OK + b"Content-Length: 3\r\n\r\nab"])
def test_half_a_response_is_refused_at_the_end_when_all_of_it_was_fetched(half: bytes) -> None:
    parser = ResponseParser(HeadLimits())
    parser.expect(b"GET")
    if half:
        parser.receive_data(half)
    while parser.next_event() is not None:
        pass
    with pytest.raises(BadMessage, match="cut short"):
        parser.receive_eof()


def test_the_end_right_after_the_request_is_refused() -> None:
    parser = ResponseParser(HeadLimits())
    parser.expect(b"GET")
    with pytest.raises(BadMessage, match="cut short"):
        parser.receive_eof()


@pytest.mark.parametrize("half", [b"HTTP/1.1 2", OK + b"Content-Length: 3\r\n\r\nab"])
def test_what_came_before_the_end_is_given_first(half: bytes) -> None:
    parser = ResponseParser(HeadLimits())
    parser.expect(b"GET")
    parser.receive_data(half)
    parser.receive_eof()

    def drain() -> None:
        while parser.next_event() is not None:
            pass

    with pytest.raises(BadMessage, match="cut short"):
        drain()
    assert parser.next_event() is None


def test_a_whole_response_not_yet_fetched_survives_the_end() -> None:
    for head in (b"Content-Length: 2\r\n\r\n", b"\r\n"):
        parser = ResponseParser(HeadLimits())
        parser.expect(b"GET")
        parser.receive_data(OK + head + b"hi")
        parser.receive_eof()
        assert isinstance(parser.next_event(), ResponseHead)
        assert parser.next_event() == b"hi"
        assert isinstance(parser.next_event(), Trailers)
        assert parser.next_event() is None


def test_the_end_between_responses_is_ordinary() -> None:
    parser = ResponseParser(HeadLimits())
    parser.receive_eof()
    assert parser.next_event() is None


def test_the_end_after_the_last_data_still_ends_the_body() -> None:
    parser = ResponseParser(HeadLimits())
    parser.expect(b"GET")
    parser.receive_data(OK + b"Content-Length: 2\r\n\r\nhi")
    parser.next_event()
    assert parser.next_event() == b"hi"
    parser.receive_eof()
    assert isinstance(parser.next_event(), Trailers)


# ---- both


@pytest.mark.parametrize(
    "read", [lambda pieces: request_transcript(pieces), lambda pieces: response_transcript(pieces, b"GET", True)]
)
def test_nothing_at_all_is_read_as_nothing(read: Callable[[list[bytes]], list[Entry]]) -> None:
    assert read([]) == read([b"", b""])
