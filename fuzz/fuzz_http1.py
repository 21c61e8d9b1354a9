"""Throws nearly-HTTP at both parsers: `python fuzz/fuzz_http1.py --seconds 10 --seed 1`. Used by `make fuzz`.
Rule: only BadMessage is raised, cuts mean nothing, memory is bounded, what is accepted is forwarded in one reading."""

import argparse
import random
import time
from typing import TypeAlias

from terratunnel.http1.errors import BadMessage
from terratunnel.http1.forwarding import check_request_items, check_response_items, request_items, response_items
from terratunnel.http1.parser import HeadLimits, RequestHead, RequestParser, ResponseHead, ResponseParser, Trailers
from terratunnel.http1.writer import request_head, response_head

Transcript: TypeAlias = list[tuple[object, ...]]

LIMITS = HeadLimits(max_head_bytes=512, max_fields=12)
SEEDS = (
    b"GET / HTTP/1.1\r\nHost: a.localhost:8000\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n",
    b"POST /p%2Fq?a=1+2 HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nCookie: a=b\r\n\r\nhello world",
    b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA\r\n0123456789\r\n0\r\nX:1\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, x\r\nUpgrade: websocket\r\nX: y\r\n\r\n\x81\x00",
    b"GET http://a/ HTTP/1.0\r\nHost: A\r\nConnection: keep-alive\r\nX-Forwarded-For: 1.1.1.1\r\nForwarded: b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nKeep-Alive: timeout=5\r\n\r\nhello",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00",
    b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\nuntil the end",
    b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nDate: now\r\n\r\n",
)
WORDS = (
    b"\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b":", b",", b";", b"0", b"5", b"-1", b"ffffffffffffffff", b"\xff",
    b"\x7f", b"chunked", b"gzip", b"Host: b\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
    b"HTTP/1.0", b"HTTP/2.0", b"Connection: close\r\n", b"Transfer-Encoding : chunked\r\n", b" folded\r\n",
    b"\r\n\r\n", b"x" * 600, b"A: b\r\n" * 13, b"#", b"http://", b"*", b"Upgrade: h2c\r\n",
)  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    chance = random.Random(chosen.seed)
    deadline = time.monotonic() + chosen.seconds
    tried = accepted = 0
    while time.monotonic() < deadline:
        tried += 1
        accepted += try_one(mutated(chance), chance)
    print(f"http1: {tried} inputs from seed {chosen.seed}, {accepted} with a head that was accepted, no failure")


def mutated(chance: random.Random) -> bytes:
    """One to three seeds, pipelined, with up to five mutations."""
    data = bytearray(b"".join(chance.choices(SEEDS, k=chance.choice((1, 1, 2, 3)))))
    for _ in range(chance.randrange(6)):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice((0, 0, 1, 2, 9)))
        data[start:end] = chance.choice(
            (b"", chance.choice(WORDS), chance.randbytes(1), bytes(data[start : start + 20]) * 2)
        )
    return bytes(data)


def try_one(data: bytes, chance: random.Random) -> int:
    """1 when some head of it was accepted. Raises when a law is broken; the message then holds the input."""
    method = chance.choice((b"GET", b"HEAD"))
    pieces = cut(data, chance)
    try:
        requests = read_requests([data])
        responses = read_response([data], method)
        assert read_requests(pieces) == requests, "a cut changed the requests"
        assert read_response(pieces, method) == responses, "a cut changed the response"
    except Exception as error:
        raise AssertionError(f"{error!r} with {data!r} in {pieces!r} for {method!r}") from error
    return int(requests[0][0] == "head" or responses[0][0] == "head")


def cut(data: bytes, chance: random.Random) -> list[bytes]:
    if chance.random() < 0.2:
        return [bytes([byte]) for byte in data]
    places = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(8)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def read_requests(pieces: list[bytes]) -> Transcript:
    parser = RequestParser(LIMITS)
    said: Transcript = []
    try:
        for piece in pieces:
            parser.receive_data(piece)
            while (event := parser.next_event()) is not None or parser.complete:
                if event is None:
                    parser.start_next()
                else:
                    note(said, event, b"")
            assert parser.buffered <= LIMITS.max_head_bytes, "more is held than a head may have"
    except BadMessage as error:
        assert parser.buffered == 0, "bytes are held after a refusal"
        return [*said, ("bad", error.status, error.reason)]
    return [*said, ("held", parser.buffered)]


def read_response(pieces: list[bytes], method: bytes) -> Transcript:
    parser = ResponseParser(LIMITS)
    parser.expect(method)
    said: Transcript = []
    try:
        for piece in pieces:
            parser.receive_data(piece)
            read_all(parser, said, method)
            assert parser.unexpected_data or parser.buffered <= LIMITS.max_head_bytes, (
                "more is held than a head may have"
            )
        parser.receive_eof()
        read_all(parser, said, method)
    except BadMessage as error:
        return [*said, ("bad", error.status, error.reason)]
    return [*said, ("held", parser.buffered)]


def read_all(parser: ResponseParser, said: Transcript, method: bytes) -> None:
    while (event := parser.next_event()) is not None:
        note(said, event, method)


def note(said: Transcript, event: RequestHead | ResponseHead | bytes | Trailers, method: bytes) -> None:
    if isinstance(event, bytes):
        earlier = said.pop()[1] if said[-1][0] == "data" else b""
        assert isinstance(earlier, bytes)
        said.append(("data", earlier + event))
    elif isinstance(event, Trailers):
        said.append(("end", *event.fields))
    elif isinstance(event, RequestHead):
        said.append(("head", event.method, event.target, event.host, event.keep_alive, event.has_body, *event.fields))
        check_forwarded(event)
    else:
        said.append(
            ("head", event.status, event.reason, event.keep_alive, event.has_body, event.upgrade, *event.fields)
        )
        check_answered(event, method)


def check_forwarded(head: RequestHead) -> None:
    items = request_items(head, b"2001:db8::1", b"http", b"id")
    check_request_items(items)
    written = request_head(items, b"")
    check_lines(written, items)
    parser = RequestParser(HeadLimits())
    parser.receive_data(written)
    again = parser.next_event()
    assert isinstance(again, RequestHead)
    assert [again.method, again.target, *flat(again)] == items, "what was written reads otherwise"


def check_answered(head: ResponseHead, method: bytes) -> None:
    items = response_items(head)
    meta = check_response_items(items, method)
    assert (meta.has_body, meta.upgrade) == (head.has_body, head.upgrade), "the edge would frame it otherwise"
    check_lines(response_head(items, b""), items)


def check_lines(written: bytes, items: list[bytes]) -> None:
    lines = len(items) // 2 + 1
    assert written.count(b"\r") == written.count(b"\n") == written.count(b"\r\n") == lines, "a field holds a line break"


def flat(head: RequestHead) -> list[bytes]:
    return [item for pair in head.fields for item in pair]


if __name__ == "__main__":
    main()
