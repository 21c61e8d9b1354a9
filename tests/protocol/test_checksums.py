"""Chunks and their checksums: what comes out is what went in, or nothing does."""

from hashlib import sha256

import pytest

from terratunnel.protocol.checksums import ChunkReader, ChunkWriter
from terratunnel.protocol.errors import GoAwayCode, LinkError
from terratunnel.protocol.frames import CHECKSUM


def test_a_checksum_holds_the_index_and_the_sum_of_the_chunk() -> None:
    writer = ChunkWriter(100)
    writer.add(b"hello, ")
    writer.add(memoryview(b"world"))
    assert (writer.size, writer.room) == (12, 88)
    assert writer.close_chunk() == CHECKSUM.pack(0, sha256(b"hello, world").digest())
    assert (writer.index, writer.size, writer.room) == (1, 0, 100)


def test_a_chunk_comes_out_when_its_checksum_matches() -> None:
    writer, reader = ChunkWriter(100), ChunkReader()
    for chunk in (b"one", b"two"):
        writer.add(chunk)
        reader.add(chunk)
        assert reader.holds_data
        assert reader.verify(writer.close_chunk()) == [chunk]
        assert not reader.holds_data
    assert (reader.index, reader.received) == (2, 6)


def test_nothing_comes_out_when_a_byte_is_wrong() -> None:
    writer, reader = ChunkWriter(100), ChunkReader()
    writer.add(b"hello")
    reader.add(b"hellp")
    assert reader.verify(writer.close_chunk()) is None


def test_small_pieces_are_joined_and_keep_their_order() -> None:
    pieces = [b"a", b"b", b"c", b"D" * 5000, b"e", b"E" * 5000, b"f"]
    writer, reader = ChunkWriter(100_000), ChunkReader()
    for piece in pieces:
        writer.add(piece)
        reader.add(piece)
    assert reader.verify(writer.close_chunk()) == [b"a", b"bc", b"D" * 5000, b"e", b"E" * 5000, b"f"]


def test_a_window_of_tiny_pieces_is_held_in_few_objects() -> None:
    reader = ChunkReader()
    for _ in range(100_000):
        reader.add(b"ab")
    chunk = reader.verify(CHECKSUM.pack(0, sha256(b"ab" * 100_000).digest()))
    assert chunk is not None
    assert len(chunk) == 2


def test_the_index_goes_round() -> None:
    writer, reader = ChunkWriter(100), ChunkReader()
    writer.index = reader.index = 2**32 - 1
    for chunk in (b"last", b"first"):
        writer.add(chunk)
        reader.add(chunk)
        assert reader.verify(writer.close_chunk()) == [chunk]
    assert writer.index == reader.index == 1


@pytest.mark.parametrize(
    ("payload", "held", "reason"),
    [
        (b"\0" * 35, b"x", "holds 36 bytes"),
        (b"\0" * 37, b"x", "holds 36 bytes"),
        (CHECKSUM.pack(1, b""), b"x", "for chunk 1 came where chunk 0 was due"),
        (CHECKSUM.pack(0, sha256().digest()), b"", "for chunk 0 came where chunk 0 was due"),
    ],
    ids=["short", "long", "gap", "empty chunk"],
)
def test_a_malformed_checksum_is_the_peers_error(payload: bytes, held: bytes, reason: str) -> None:
    reader = ChunkReader()
    if held:
        reader.add(held)
    with pytest.raises(LinkError, match=reason) as caught:
        reader.verify(payload)
    assert caught.value.code is GoAwayCode.PROTOCOL_ERROR
