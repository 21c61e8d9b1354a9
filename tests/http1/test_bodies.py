"""Bodies of each framing, read from a buffer that fills as it likes."""

import pytest

from terratunnel.http1.bodies import Body, ChunkedBody, Trailers, UntilCloseBody
from terratunnel.http1.buffer import Buffer
from terratunnel.http1.errors import BadMessage


def read(body: Body, *pieces: bytes) -> list[object]:
    """Slices as they come, trailers as their list of fields."""
    buffer = Buffer()
    said: list[object] = []
    for piece in pieces:
        buffer.feed(piece)
        while (event := body.next_event(buffer)) is not None:
            if isinstance(event, Trailers):
                return [*said, event.fields, buffer.take_all()]
            said.append(event)
    return said


def chunked(max_bytes: int = 16384, max_fields: int = 100) -> ChunkedBody:
    return ChunkedBody(max_bytes, max_fields)


def refusal_of(*pieces: bytes, max_bytes: int = 16384, max_fields: int = 100) -> BadMessage:
    with pytest.raises(BadMessage) as refused:
        read(chunked(max_bytes, max_fields), *pieces)
    return refused.value


def test_a_body_of_known_length_ends_with_its_last_byte() -> None:
    assert read(Body(5), b"abc", b"deNEXT") == [b"abc", b"de", [], b"NEXT"]


def test_a_body_until_close_ends_when_the_connection_does() -> None:
    body = UntilCloseBody()
    assert read(body, b"abc", b"de") == [b"abc", b"de"]
    assert not body.is_whole()
    body.receive_eof()
    assert body.is_whole()
    assert read(body, b"f") == [b"f", [], b""]


def test_a_body_of_known_length_does_not_end_with_the_connection() -> None:
    body = Body(1)
    body.receive_eof()
    assert not body.is_whole()


def test_chunks_give_their_data_and_nothing_else() -> None:
    assert read(chunked(), b"3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\nNEXT") == [b"abc", b"0123456789", [], b"NEXT"]


def test_a_chunk_may_come_in_slices() -> None:
    assert read(chunked(), b"6\r", b"\nab", b"cd", b"ef\r", b"\n0\r\n", b"\r\n") == [b"ab", b"cd", b"ef", [], b""]


def test_chunked_is_never_whole_without_its_last_chunk() -> None:
    body = chunked()
    read(body, b"1\r\na\r\n")
    body.receive_eof()
    assert not body.is_whole()


def test_trailers_are_given_with_the_end() -> None:
    assert read(chunked(), b"0\r\nA: b\r\n", b"a:c\r\n\r\n") == [[(b"A", b"b"), (b"a", b"c")], b""]


@pytest.mark.parametrize(
    "name",
    [b"Content-Length", b"transfer-encoding", b"HOST", b"Connection", b"TE", b"Trailer", b"Authorization",
     b"Set-Cookie", b"Upgrade", b"Keep-Alive", b"Content-Type", b"X-Forwarded-For", b"Expect"],
)  # fmt: skip
def test_fields_that_frame_route_or_authenticate_are_dropped_from_trailers(name: bytes) -> None:
    assert read(chunked(), b"0\r\nA: b\r\n" + name + b": 5\r\n\r\n") == [[(b"A", b"b")], b""]


@pytest.mark.parametrize("size", [b"", b"g", b"-1", b"+1", b"0x1", b" 1", b"1 ", b"1_0", b"1\n", b"\xb2", b"\r"])
def test_a_chunk_size_that_is_no_plain_number_is_refused(size: bytes) -> None:
    assert refusal_of(size + b"\r\na\r\n0\r\n\r\n").status == 400


@pytest.mark.parametrize("extension", [b";", b";a", b";a=b", b'; a="b\r\n"'])
def test_chunk_extensions_are_refused(extension: bytes) -> None:
    assert refusal_of(b"1" + extension + b"\r\na\r\n0\r\n\r\n").status == 400


def test_a_chunk_size_is_at_most_15_digits() -> None:
    assert read(chunked(), b"0" * 14 + b"1\r\na\r\n") == [b"a"]
    assert refusal_of(b"0" * 15 + b"1\r\na\r\n").status == 400
    assert refusal_of(b"f" * 17).status == 400


@pytest.mark.parametrize("rest", [b"\n0\r\n\r\n", b"xx0\r\n\r\n", b"b\r\n0\r\n\r\n", b"\rx", b"\n\n"])
def test_a_chunk_must_end_where_it_says(rest: bytes) -> None:
    assert refusal_of(b"1\r\na" + rest).status == 400


@pytest.mark.parametrize("trailer", [b"a b: c", b" folded: x", b"nocolon", b"A: b\rc", b"A: b\nC: d"])
def test_a_malformed_trailer_is_refused(trailer: bytes) -> None:
    assert refusal_of(b"0\r\n" + trailer + b"\r\n\r\n").status == 400


def test_trailers_keep_to_the_limits_of_heads() -> None:
    assert len(read(chunked(max_fields=2), b"0\r\n" + b"A: b\r\n" * 2 + b"\r\n")) == 2
    assert refusal_of(b"0\r\n" + b"A: b\r\n" * 3 + b"\r\n", max_fields=2).status == 431
    assert refusal_of(b"0\r\n" + b"A: b\r\n" * 9, max_bytes=20).status == 431
    assert refusal_of(b"0\r\n" + b"A" * 20, max_bytes=20).status == 431


def test_trailers_show_themselves() -> None:
    assert repr(Trailers([(b"A", b"b")])) == "<Trailers [(b'A', b'b')]>"
