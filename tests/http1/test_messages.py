"""Half messages: how long they may grow, what they cost, and what is known of them."""

import time

import pytest

from terratunnel.http1.errors import BadMessage
from terratunnel.http1.parser import HeadLimits, RequestHead, RequestParser
from tests.http1.transcript import padded_get, request_transcript

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"


def refusal_of(data: bytes) -> int:
    """The status of the refusal, whether the bytes come at once or one by one."""
    at_once = request_transcript([data])
    assert request_transcript([bytes([byte]) for byte in data]) == at_once
    assert at_once[-1][0] == "bad"
    status = at_once[-1][1]
    assert isinstance(status, int)
    return status


def test_a_head_of_16_kib_is_taken_and_one_byte_more_is_431() -> None:
    assert request_transcript([padded_get(16384) + b"body"])[0][0] == "request"
    assert refusal_of(padded_get(16385)) == 431


def test_a_head_that_never_ends_is_431_at_the_limit() -> None:
    parser = RequestParser(HeadLimits())
    parser.receive_data(GET)
    assert parser.next_event() is None
    parser.receive_data(b"A: " + b"x" * 20000)
    with pytest.raises(BadMessage) as refused:
        parser.next_event()
    assert refused.value.status == 431


def test_a_request_line_beyond_the_limit_is_414() -> None:
    assert refusal_of(b"GET /" + b"x" * 17000) == 414
    assert refusal_of(b"\r\nGET /" + b"x" * 17000) == 414


def test_more_than_100_fields_are_431() -> None:
    assert request_transcript([GET + b"A: b\r\n" * 99 + b"\r\n"])[0][0] == "request"
    assert refusal_of(GET + b"A: b\r\n" * 100 + b"\r\n") == 431


def test_limits_are_the_callers() -> None:
    limits = HeadLimits(max_head_bytes=40, max_fields=2)
    assert request_transcript([GET + b"A: b\r\n\r\n"], limits)[0][0] == "request"
    assert request_transcript([GET + b"A: b\r\nA: b\r\n\r\n"], limits)[0][:2] == ("bad", 431)
    assert request_transcript([GET + b"A: " + b"b" * 30], limits)[0][:2] == ("bad", 431)


def test_a_head_that_trickles_in_costs_no_more_than_its_length() -> None:
    def seconds_for(size: int) -> float:
        parser = RequestParser(HeadLimits(max_head_bytes=1 << 22))
        data = padded_get(size)
        start = time.process_time()
        for n in range(0, size, 8):
            parser.receive_data(data[n : n + 8])
            event = parser.next_event()
        assert isinstance(event, RequestHead)
        return time.process_time() - start

    assert min(seconds_for(160_000) for _ in range(3)) < 100 * min(seconds_for(10_000) for _ in range(3))


def test_pipelined_requests_cost_no_more_than_their_number() -> None:
    def seconds_for(count: int) -> float:
        parser = RequestParser(HeadLimits())
        parser.receive_data((GET + b"\r\n") * count)
        start = time.process_time()
        for _ in range(count):
            assert isinstance(parser.next_event(), RequestHead)
            parser.start_next()
        assert parser.buffered == 0
        return time.process_time() - start

    assert min(seconds_for(16_000) for _ in range(3)) < 100 * min(seconds_for(1_000) for _ in range(3))


def test_half_a_head_is_held_until_it_is_whole() -> None:
    parser = RequestParser(HeadLimits())
    parser.receive_data(b"GET / HT")
    assert parser.next_event() is None
    assert (parser.buffered, parser.complete) == (8, False)
    parser.receive_data(b"TP/1.1\r\nHost: a\r\n\r\n")
    assert parser.next_event() is not None
    assert (parser.buffered, parser.complete) == (0, True)


def test_nothing_comes_after_a_refusal() -> None:
    parser = RequestParser(HeadLimits())
    parser.receive_data(b"nonsense\r\n\r\n")
    with pytest.raises(BadMessage):
        parser.next_event()
    parser.receive_data(GET + b"\r\n")
    assert parser.next_event() is None
    assert (parser.complete, parser.buffered) == (False, 0)


def test_what_follows_an_upgrade_is_taken_raw() -> None:
    parser = RequestParser(HeadLimits())
    parser.receive_data(GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00")
    head = parser.next_event()
    assert isinstance(head, RequestHead)
    assert head.upgrade == b"websocket"
    parser.receive_data(b"\x82")
    assert parser.take_buffered() == b"\x81\x00\x82"
    assert parser.buffered == 0


def test_body_slices_are_handed_on_as_they_came() -> None:
    parser = RequestParser(HeadLimits())
    parser.receive_data(GET + b"Content-Length: 100000\r\n\r\n")
    assert isinstance(parser.next_event(), RequestHead)
    data = b"x" * 65536
    parser.receive_data(data)
    assert parser.next_event() is data
    assert parser.next_event() is None
