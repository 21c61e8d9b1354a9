"""Field lines: what is a name, what is a value, what is remembered."""

import pytest

from terratunnel.http1 import fields
from terratunnel.http1.errors import BadMessage
from terratunnel.http1.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    HOST,
    ORDINARY,
    X_FORWARDED_FOR,
    framing_places,
    is_token,
    kind_of,
    length_of,
    read_block,
    split_line,
    tokens,
)


def refusal_of(line: bytes) -> str:
    with pytest.raises(BadMessage) as refused:
        read_block(b"A: b\r\n" + line, 100)
    assert refused.value.status == 400
    return refused.value.reason


def test_a_block_keeps_order_case_and_repeats() -> None:
    block = read_block(b"B: 1\r\na: 2\r\nB: 3", 100)
    assert block.items == [b"B", b"1", b"a", b"2", b"B", b"3"]


def test_a_block_knows_its_special_lines_and_their_places() -> None:
    block = read_block(b"X: 1\r\nHOST: a\r\nY: 2\r\nconnection: close", 100)
    assert [line.kind for line in block.special] == [HOST, CONNECTION]
    assert block.places == [2, 6]


def test_an_empty_block_has_no_fields() -> None:
    assert read_block(b"", 0).items == []


def test_too_many_fields_are_431() -> None:
    assert len(read_block(b"A: b\r\n" * 99 + b"A: b", 100).items) == 200
    with pytest.raises(BadMessage) as refused:
        read_block(b"A: b\r\n" * 100 + b"A: b", 100)
    assert refused.value.status == 431


def test_white_space_around_a_value_is_no_part_of_it() -> None:
    assert split_line(b"A:b")[:2] == (b"A", b"b")
    assert split_line(b"A: \t b \t c\t ")[:2] == (b"A", b"b \t c")
    assert split_line(b"A:")[:2] == (b"A", b"")


def test_a_value_may_hold_colons_and_bytes_above_ascii() -> None:
    assert split_line(b"A: \xff:\x80\xe9")[1] == b"\xff:\x80\xe9"


@pytest.mark.parametrize("byte", [*range(9), *range(10, 32), 127])
def test_a_control_character_in_a_value_is_refused(byte: int) -> None:
    assert "control" in refusal_of(b"A: x" + bytes([byte]) + b"y")


@pytest.mark.parametrize("byte", [*range(33), 127, 128, 255, *b'"(),/;<=>?@[\\]{}'])
def test_a_name_that_is_no_token_is_refused(byte: int) -> None:
    assert "character" in refusal_of(b"A" + bytes([byte]) + b"c: d")


def test_a_name_of_every_token_character_is_taken() -> None:
    name = b"!#$%&'*+-.^_`|~09AZaz"
    assert split_line(name + b": x") == (name, b"x", ORDINARY)
    assert is_token(name)
    assert not is_token(b"")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (b" folded", "colon"),
        (b" a: b", "folded"),
        (b"\ta: b", "folded"),
        (b"A : b", "White space"),
        (b": b", "no name"),
    ],
)
def test_a_refusal_says_what_is_wrong_with_the_line(line: bytes, word: str) -> None:
    assert word in refusal_of(line)


def test_a_known_name_without_colon_is_refused_too() -> None:
    read_block(b"Known: x", 1)
    assert "colon" in refusal_of(b"Known")


@pytest.mark.parametrize(
    ("value", "number"),
    [(b"0", 0), (b"007", 7), (b"9" * 18, 10**18 - 1), (b"9" * 19, -1), (b"", -1), (b"+1", -1), (b"-1", -1),
     (b"1, 1", -1), (b"0x1", -1), (b"1 ", -1), (b"1_0", -1), ("٣".encode(), -1)],
)  # fmt: skip
def test_a_length_is_digits_and_nothing_else(value: bytes, number: int) -> None:
    assert length_of(value) == number


def test_a_comma_list_is_split_and_lower_cased() -> None:
    assert tokens(b" Close ,\t,TE,") == [b"close", b"te"]
    assert tokens(b"") == []


@pytest.mark.parametrize(
    ("value", "timeout"),
    [(b"timeout=5, max=100", 5), (b"max=1,Timeout = 75", 75), (b"timeout=x", -1), (b"max=100", -1), (b"timeout", -1)],
)
def test_keep_alive_tells_its_timeout(value: bytes, timeout: int) -> None:
    assert read_block(b"Keep-Alive: " + value, 1).special[0].number == timeout


def test_the_kind_of_a_name_does_not_depend_on_its_case() -> None:
    assert kind_of(b"CONTENT-length") == CONTENT_LENGTH
    assert kind_of(b"content-LENGTH") == kind_of(b"content-LENGTH") == CONTENT_LENGTH
    assert kind_of(b"X-Mine") == ORDINARY
    with pytest.raises(BadMessage):
        kind_of(b"a b")


def test_framing_places_are_where_a_list_frames_or_routes() -> None:
    assert kind_of(b"X-Forwarded-For") == X_FORWARDED_FOR
    items = [b"GET", b"/", b"Accept", b"*/*", b"HOST", b"a", b"X-Forwarded-For", b"::1", b"te", b"x"]
    assert framing_places(items, 2) == framing_places(items, 2) == [4, 8]
    with pytest.raises(BadMessage):
        framing_places([b"bad name", b"x"], 0)


def test_public_lines_are_remembered_and_secret_or_long_ones_are_not() -> None:
    fields._remembered.clear()
    read_block(b"Accept: */*\r\nAuthorization: Basic c2VjcmV0\r\nCookie: a=b\r\nX-Api-Key: k", 100)
    read_block(b"Accept: " + b"x" * 300, 100)
    assert list(fields._remembered) == [b"Accept: */*"]


def test_what_is_remembered_is_bounded() -> None:
    for n in range(3000):
        read_block(b"User-Agent: %d\r\nX-%d: y" % (n, n), 100)
    assert 0 < len(fields._remembered) <= 1024
    assert 0 < len(fields._names) <= 1024
    assert len(fields._harmless_names) <= 1024
    assert kind_of(b"n" * 300) == ORDINARY
    assert b"n" * 300 not in fields._names
