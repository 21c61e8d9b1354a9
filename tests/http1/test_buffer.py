"""The buffer gives bytes back in order, uncopied where it can, and looks at none of them twice."""

from terratunnel.http1.buffer import Buffer

END = b"\r\n\r\n"


def filled(*pieces: bytes) -> Buffer:
    buffer = Buffer()
    for piece in pieces:
        buffer.feed(piece)
    return buffer


def test_a_chunk_read_whole_is_the_very_object_that_came() -> None:
    data = b"x" * 1000
    assert filled(data).take(1000) is data


def test_take_gives_at_most_what_is_asked_and_then_the_rest() -> None:
    buffer = filled(b"abcdef", b"ghi")
    assert [buffer.take(4), buffer.take(4), buffer.take(9), buffer.take(9)] == [b"abcd", b"ef", b"ghi", b""]


def test_later_bytes_wait_behind_earlier_ones() -> None:
    buffer = filled(b"ab", b"cd")
    assert buffer.take(9) == b"ab"
    buffer.feed(b"ef")
    assert len(buffer) == 4
    assert buffer.take(9) == b"cdef"


def test_take_until_gives_what_stands_before_the_marker() -> None:
    buffer = filled(b"one\r\n\r\ntwo\r\n\r\n")
    assert buffer.take_until(END, 99) == b"one"
    assert buffer.take_until(END, 99) == b"two"
    assert buffer.take_until(END, 99) is None


def test_a_marker_may_come_in_any_parts() -> None:
    buffer = Buffer()
    for piece in (b"on", b"e\r", b"\n", b"\r", b""):
        buffer.feed(piece)
        assert buffer.take_until(END, 99) is None
    assert buffer.waiting() == len(buffer) == 6
    buffer.feed(b"\nrest")
    assert buffer.take_until(END, 99) == b"one"
    assert buffer.take(99) == b"rest"
    assert buffer.waiting() == 0


def test_a_marker_may_lie_in_what_came_later() -> None:
    buffer = filled(b"a\r\n\r\nb", b"c\r\n\r\nd")
    assert buffer.take_until(END, 99) == b"a"
    assert buffer.take_until(END, 99) == b"bc"
    assert buffer.take_all() == b"d"


def test_a_marker_beyond_the_limit_is_not_found() -> None:
    assert filled(b"a" * 6 + END).take_until(END, 10) == b"aaaaaa"
    buffer = filled(b"a" * 7 + END)
    assert buffer.take_until(END, 10) is None
    assert buffer.waiting() >= 10


def test_skip_reads_past_what_is_expected_and_here() -> None:
    buffer = filled(b"\r\n\r\n")
    assert buffer.skip(b"\r\n")
    assert buffer.skip(b"\r\n")
    assert not buffer.skip(b"\r\n")
    assert not filled(b"\r").skip(b"\r\n")
    partial = filled(b"\r")
    partial.take_until(b"\r\n", 9)
    partial.feed(b"\n")
    assert not partial.skip(b"\n")
    assert partial.take_until(b"\r\n", 9) == b""


def test_a_bare_newline_is_found_once_and_across_pieces() -> None:
    buffer = filled(b"a\r")
    for piece, found in [(b"\nb\r", False), (b"\n", False), (b"\n", True), (b"x\r\n", False)]:
        buffer.take_until(b"END", 99)
        buffer.feed(piece)
        buffer.take_until(b"END", 99)
        assert buffer.has_bare_newline(99) is found


def test_a_bare_newline_beyond_the_limit_is_not_looked_for() -> None:
    buffer = filled(b"abc\nd")
    buffer.take_until(END, 99)
    assert not buffer.has_bare_newline(3)


def test_take_all_gives_everything_in_order_and_leaves_nothing() -> None:
    buffer = filled(b"ab")
    buffer.take_until(END, 99)
    buffer.feed(b"cd")
    buffer.feed(b"ef")
    assert buffer.take_all() == b"abcdef"
    assert len(buffer) == 0
    assert buffer.take_all() == b""
