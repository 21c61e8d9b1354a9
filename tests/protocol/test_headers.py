"""Blocks: byte strings in, the same byte strings out, and every way a block can be wrong."""

import pytest

from terratunnel.errors import LocalProtocolError
from terratunnel.protocol.errors import GoAwayCode, LinkError
from terratunnel.protocol.headers import MAX_ITEM_BYTES, decode_block, encode_block


def decode(block: bytes) -> list[bytes]:
    return decode_block(block, 65_536, 1_024)


def test_a_block_is_a_count_the_lengths_and_the_strings() -> None:
    assert encode_block([b"GET", b"", b"/x"]) == bytes.fromhex("0003 0003 0000 0002") + b"GET/x"
    assert encode_block([]) == b"\0\0"


@pytest.mark.parametrize(
    "items", [[], [b""], [b"", b"", b""], [b"a" * 65_000], [bytes(range(256))] * 3, [b"x"] * 1_024]
)
def test_a_block_comes_back_as_it_was(items: list[bytes]) -> None:
    assert decode(encode_block(items)) == items


def test_no_bytes_are_an_empty_block() -> None:
    assert decode(b"") == []


@pytest.mark.parametrize("items", [[b"x" * (MAX_ITEM_BYTES + 1)], [b""] * 65_536], ids=["long string", "many strings"])
def test_a_block_that_cannot_be_written_is_our_error(items: list[bytes]) -> None:
    with pytest.raises(LocalProtocolError, match="65,535 strings"):
        encode_block(items)


@pytest.mark.parametrize(
    ("block", "code", "reason"),
    [
        (b"\0", GoAwayCode.PROTOCOL_ERROR, "shorter than its own table"),
        (b"\0\1", GoAwayCode.PROTOCOL_ERROR, "shorter than its own table"),
        (b"\0\2\0\0\0", GoAwayCode.PROTOCOL_ERROR, "shorter than its own table"),
        (b"\0\1\0\2x", GoAwayCode.PROTOCOL_ERROR, "not as long as its strings"),
        (b"\0\1\0\2xyz", GoAwayCode.PROTOCOL_ERROR, "not as long as its strings"),
        (b"\0\0z", GoAwayCode.PROTOCOL_ERROR, "not as long as its strings"),
        (b"\0\2\xff\xff\0\1" + b"x" * 9, GoAwayCode.PROTOCOL_ERROR, "not as long as its strings"),
        (b"\4\1", GoAwayCode.BUDGET_EXCEEDED, "block items: 1025 where 1024 are allowed"),
        (b"\0" * 65_537, GoAwayCode.BUDGET_EXCEEDED, "block size: 65537 bytes where 65536 are allowed"),
    ],
)
def test_a_block_from_a_broken_peer_is_refused(block: bytes, code: GoAwayCode, reason: str) -> None:
    with pytest.raises(LinkError, match=reason) as caught:
        decode(block)
    assert caught.value.code is code
