"""Frames as bytes, and what a message that is cut short is worth."""

import pytest

from terratunnel.protocol.errors import GoAwayCode, LinkError
from terratunnel.protocol.frames import (
    HEADER,
    HEADER_BYTES,
    MAX_REASON_BYTES,
    Flag,
    FrameType,
    decode_reason,
    encode_reason,
    frame,
    split_frames,
)


def test_a_frame_is_twelve_bytes_and_its_payload() -> None:
    assert frame(FrameType.DATA, Flag.END, 7, b"hi") == bytes.fromhex("00000002 00000007 02 01 0000") + b"hi"
    assert HEADER.size == HEADER_BYTES == len(frame(FrameType.PING, 0, 0, b""))


def test_a_message_is_split_into_its_frames() -> None:
    message = frame(1, 5, 3, b"abc") + frame(200, 255, 2**32 - 1, b"") + frame(4, 0, 1, b"d")
    assert list(split_frames(message)) == [(1, 5, 3, b"abc"), (200, 255, 2**32 - 1, b""), (4, 0, 1, b"d")]
    assert list(split_frames(b"")) == []


@pytest.mark.parametrize("kept", [1, 11, 12, 16])
def test_a_message_that_is_cut_short_is_the_peers_error(kept: int) -> None:
    with pytest.raises(LinkError, match="ends inside a frame") as caught:
        list(split_frames(frame(2, 0, 1, b"hello")[:kept]))
    assert caught.value.code is GoAwayCode.PROTOCOL_ERROR


def test_the_reserved_bytes_are_ignored() -> None:
    assert list(split_frames(HEADER.pack(1, 1, 2, 0, 0xFFFF) + b"x")) == [(2, 0, 1, b"x")]


def test_a_reason_is_cut_at_a_characters_end() -> None:
    assert encode_reason("fin") == b"fin"
    assert encode_reason("é" * 600) == "é".encode() * 512
    assert encode_reason("x" + "é" * 600) == b"x" + "é".encode() * 511


def test_a_reason_that_is_not_unicode_is_replaced() -> None:
    assert encode_reason("\ud800") == b"?"
    assert decode_reason(b"ok \xff") == "ok \ufffd"
    assert decode_reason(b"x" * 5000) == "x" * MAX_REASON_BYTES
