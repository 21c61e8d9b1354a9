"""Drives the parsers and writes down what they say, for tests and the fuzz target. Rule: a transcript is plain data,
so two readings can be compared; neighbouring slices of a body are one, since where they are cut means nothing."""

from collections.abc import Iterable
from typing import TypeAlias

from terratunnel.http1.errors import BadMessage
from terratunnel.http1.parser import HeadLimits, RequestHead, RequestParser, ResponseHead, ResponseParser, Trailers

Entry: TypeAlias = tuple[object, ...]
Event: TypeAlias = RequestHead | ResponseHead | bytes | Trailers


def request_head(data: bytes) -> RequestHead:
    """The head of a request that must be good."""
    parser = RequestParser(HeadLimits())
    parser.receive_data(data)
    head = parser.next_event()
    assert isinstance(head, RequestHead)
    return head


def response_head(data: bytes, method: bytes = b"GET") -> ResponseHead:
    """The head of a response that must be good."""
    parser = ResponseParser(HeadLimits())
    parser.expect(method)
    parser.receive_data(data)
    head = parser.next_event()
    assert isinstance(head, ResponseHead)
    return head


def padded_get(size: int) -> bytes:
    """A request whose head is exactly so long, in fields of legal length."""
    get = b"GET / HTTP/1.1\r\nHost: a\r\nA: "
    return get + b"x" * (size - len(get) - 4) + b"\r\n\r\n"


def request_transcript(pieces: Iterable[bytes], limits: HeadLimits | None = None) -> list[Entry]:
    """All messages of one visitor, pipelined or not, up to the first refusal."""
    parser = RequestParser(limits or HeadLimits())
    said: list[Entry] = []
    try:
        for piece in pieces:
            parser.receive_data(piece)
            _read_requests(parser, said)
    except BadMessage as error:
        said.append(("bad", error.status, error.reason))
        assert parser.next_event() is None
        assert parser.buffered == 0
        return said
    said.append(("waiting", parser.buffered))
    return said


def response_transcript(pieces: Iterable[bytes], method: bytes, eof: bool = False) -> list[Entry]:
    """One response and what follows it."""
    parser = ResponseParser(HeadLimits())
    parser.expect(method)
    said: list[Entry] = []
    try:
        for piece in pieces:
            parser.receive_data(piece)
            _read_response(parser, said)
        if eof:
            parser.receive_eof()
            _read_response(parser, said)
    except BadMessage as error:
        said.append(("bad", error.status, error.reason))
        assert parser.next_event() is None
        assert parser.buffered == 0
        return said
    said.append(("waiting", parser.complete, parser.buffered, parser.unexpected_data))
    return said


def _read_requests(parser: RequestParser, said: list[Entry]) -> None:
    while True:
        event = parser.next_event()
        if event is not None:
            _write_down(event, said)
        elif parser.complete:
            said.append(("complete",))
            parser.start_next()
        else:
            return


def _read_response(parser: ResponseParser, said: list[Entry]) -> None:
    while (event := parser.next_event()) is not None:
        _write_down(event, said)


def _write_down(event: Event, said: list[Entry]) -> None:
    if isinstance(event, bytes):
        assert event
        if said and said[-1][0] == "data":
            event = said.pop()[1] + event  # type: ignore[operator] # the second part of "data" is bytes
        said.append(("data", event))
    elif isinstance(event, Trailers):
        said.append(("end", tuple(event.fields)))
    elif isinstance(event, RequestHead):
        said.append(("request", event.method, event.target, event.minor_version, *_facts(event)))
    else:
        said.append(("response", event.status, event.reason, event.minor_version, event.until_close, *_facts(event)))


def _facts(head: RequestHead | ResponseHead) -> Entry:
    framing = (head.content_length, head.chunked, head.has_body, head.keep_alive, head.upgrade)
    return (tuple(head.fields), framing, head.section.nominated)
