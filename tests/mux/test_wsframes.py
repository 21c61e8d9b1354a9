"""WebSocket frames: ours against the `websockets` package, and every way a peer can break the rules."""

import importlib.util
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from websockets.frames import Frame
from websockets.frames import Opcode as TheirOpcode
from websockets.streams import StreamReader

from terratunnel import mux
from terratunnel.mux.wsframes import READ_BYTES, FrameReader, FrameWriter, Opcode, WebSocketError

MIB = 1_048_576
SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 100_000]


def theirs(opcode: int, payload: bytes, masked: bool, fin: bool = True) -> bytes:
    return Frame(TheirOpcode(opcode), payload, fin).serialize(mask=masked)


def parsed_by_them(data: bytes, masked: bool) -> Frame:
    stream = StreamReader()
    stream.feed_data(data)
    parsing = Frame.parse(stream.read_exact, mask=masked)
    with pytest.raises(StopIteration) as done:
        next(parsing)
    assert not stream.buffer
    frame = done.value.value
    assert isinstance(frame, Frame)
    return frame


def reader(masked: bool = True, limit: int = MIB) -> FrameReader:
    return FrameReader(masked, limit)


def fault(data: bytes, masked: bool = True, limit: int = MIB) -> WebSocketError:
    subject = reader(masked, limit)
    assert subject.receive_data(data) == []
    assert subject.error is not None
    return subject.error


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_a_frame_of_theirs_is_read(masked: bool, size: int) -> None:
    payload = os.urandom(size)
    subject = reader(masked)
    assert subject.receive_data(theirs(2, payload, masked)) == [(Opcode.BINARY, payload)]
    assert subject.error is None


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_a_frame_of_ours_is_read_by_them(masked: bool, size: int) -> None:
    payload = os.urandom(size)
    cut = size // 3
    parts: list[bytes | memoryview] = [payload[:cut], memoryview(payload)[cut:]]
    frame = parsed_by_them(b"".join(FrameWriter(masked).write(Opcode.BINARY, parts)), masked)
    assert (frame.fin, frame.opcode, bytes(frame.data)) == (True, TheirOpcode.BINARY, payload)


def test_every_frame_of_a_client_has_a_mask_of_its_own() -> None:
    writer = FrameWriter(masked=True)
    masks = {b"".join(writer.write(Opcode.BINARY, [b""]))[2:6] for _ in range(600)}
    assert len(masks) > 590


def test_a_server_writes_what_it_was_given_without_a_copy() -> None:
    payload = os.urandom(1000)
    assert FrameWriter(masked=False).write(Opcode.BINARY, [payload])[1] is payload


@pytest.mark.parametrize("masked", [True, False])
def test_a_frame_that_arrives_byte_by_byte_is_read_when_it_is_whole(masked: bool) -> None:
    subject = reader(masked)
    data = theirs(2, b"x" * 70_000, masked) + theirs(9, b"p", masked)
    found = [message for n in range(len(data)) for message in subject.receive_data(data[n : n + 1])]
    assert found == [(Opcode.BINARY, b"x" * 70_000), (Opcode.PING, b"p")]


@pytest.mark.parametrize("size", [10, 60_000, 70_000, READ_BYTES, READ_BYTES + 1, MIB])
@pytest.mark.parametrize("first", [1, 7, 20, 50_000])
def test_a_frame_of_any_size_that_comes_in_two_is_whole(size: int, first: int) -> None:
    subject = reader()
    payload = os.urandom(size)
    data = theirs(2, b"before", True) + theirs(2, payload, True) + theirs(2, b"after", True)
    found = subject.receive_data(data[:first]) + subject.receive_data(data[first:])
    assert found == [(Opcode.BINARY, b"before"), (Opcode.BINARY, payload), (Opcode.BINARY, b"after")]


def test_the_promise_of_a_large_frame_is_given_a_small_buffer() -> None:
    subject = reader()
    data = theirs(2, b"x" * MIB, True)
    assert subject.receive_data(data[:14]) == []
    assert len(subject.buffer()) < 65_536
    assert subject.receive_data(data[14:100_000]) == []
    assert len(subject.buffer()) == len(data) - 100_000
    assert subject.receive_data(data[100_000:]) == [(Opcode.BINARY, b"x" * MIB)]


def test_two_readers_with_halves_of_frames_do_not_mix_them_up() -> None:
    one, other = reader(), reader()
    of_one, of_other = theirs(2, b"1" * 1000, True), theirs(2, b"2" * 1000, True)
    assert one.receive_data(of_one[:500]) == other.receive_data(of_other[:500]) == []
    assert reader().receive_data(theirs(2, b"3" * 1000, True)) == [(Opcode.BINARY, b"3" * 1000)]
    assert one.receive_data(of_one[500:]) == [(Opcode.BINARY, b"1" * 1000)]
    assert other.receive_data(of_other[500:]) == [(Opcode.BINARY, b"2" * 1000)]


def test_a_buffer_given_back_is_used_again_and_never_by_two() -> None:
    halves = [reader() for _ in range(12)]
    frames = [theirs(2, bytes([n]) * 400_000, True) for n in range(12)]
    for _ in range(2):
        for subject, data in zip(halves, frames, strict=True):
            assert subject.receive_data(data[:300_000]) == []
        for n, (subject, data) in enumerate(zip(halves, frames, strict=True)):
            assert subject.receive_data(data[300_000:]) == [(Opcode.BINARY, bytes([n]) * 400_000)]


def test_fragments_are_put_together_around_a_control_frame() -> None:
    subject = reader()
    data = theirs(2, b"one ", True, fin=False) + theirs(9, b"", True) + theirs(0, b"two ", True, fin=False)
    assert subject.receive_data(data) == [(Opcode.PING, b"")]
    assert subject.receive_data(theirs(0, b"three", True)) == [(Opcode.BINARY, b"one two three")]
    assert subject.receive_data(theirs(2, b"next", True)) == [(Opcode.BINARY, b"next")]


def test_a_message_of_exactly_the_limit_passes() -> None:
    subject = reader(limit=1000)
    assert subject.receive_data(theirs(2, b"x" * 1000, True)) == [(Opcode.BINARY, b"x" * 1000)]
    assert subject.receive_data(theirs(2, b"x" * 600, True, fin=False) + theirs(0, b"x" * 400, True)) == [
        (Opcode.BINARY, b"x" * 1000)
    ]


def test_a_message_over_the_limit_is_refused_at_its_head() -> None:
    assert fault(theirs(2, b"x" * 1001, True)[:8], limit=1000).code == 1009


def test_fragments_over_the_limit_together_are_refused() -> None:
    assert fault(theirs(2, b"x" * 600, True, fin=False) + theirs(0, b"x" * 401, True), limit=1000).code == 1009


def test_a_length_no_message_can_have_is_refused() -> None:
    assert fault(b"\x82\xff" + b"\xff" * 8 + b"mask").code == 1009


def test_more_fragments_than_anybody_needs_are_refused() -> None:
    data = theirs(2, b"", True, fin=False) + theirs(0, b"", True, fin=False) * 1023
    assert fault(data).code == 1009


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"\xc2\x80mask", 1002, id="an extension's bit"),
        pytest.param(theirs(2, b"x", False), 1002, id="no mask from a client"),
        pytest.param(b"\x83\x80mask", 1002, id="an unknown opcode"),
        pytest.param(b"\x8b\x80mask", 1002, id="an unknown control opcode"),
        pytest.param(b"\x89\xfe\x00\x7emask", 1002, id="a long control frame"),
        pytest.param(b"\x09\x80mask", 1002, id="a fragmented control frame"),
        pytest.param(theirs(1, b"hello", True), 1003, id="text"),
        pytest.param(theirs(0, b"x", True), 1002, id="a continuation of nothing"),
        pytest.param(theirs(2, b"x", True, fin=False) + theirs(2, b"y", True), 1002, id="a message inside a message"),
    ],
)
def test_a_broken_rule_has_its_close_code(data: bytes, code: int) -> None:
    assert fault(data).code == code


def test_a_mask_from_a_server_is_refused() -> None:
    assert fault(theirs(2, b"x", True), masked=False).code == 1002


def test_what_came_before_a_fault_is_handed_on_and_nothing_after_it() -> None:
    subject = reader()
    good = theirs(2, b"good", True)
    assert subject.receive_data(good + b"\xc2\x80mask" + good) == [(Opcode.BINARY, b"good")]
    assert subject.error is not None
    assert str(subject.error) == subject.error.reason
    assert subject.receive_data(good) == []


def test_a_frame_in_very_many_pieces_comes_out_whole() -> None:
    subject = reader()
    data = theirs(2, b"ab" * 4000, True)
    found = [message for n in range(0, len(data), 2) for message in subject.receive_data(data[n : n + 2])]
    assert found == [(Opcode.BINARY, b"ab" * 4000)]


def test_without_the_compiled_mask_the_frames_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.speedups", None)
    source = Path(mux.__path__[0], "wsframes.py")
    spec = importlib.util.spec_from_file_location("wsframes_without_speedups", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.apply_mask.__module__ == "websockets.utils"
    data = b"".join(module.FrameWriter(True).write(Opcode.BINARY, [b"hello"]))
    assert module.FrameReader(True, MIB).receive_data(data) == [(Opcode.BINARY, b"hello")]


@pytest.mark.parametrize("make", [lambda: FrameReader(True, 5), lambda: FrameWriter(True)])
def test_no_attribute_is_made_up(make: Callable[[], object]) -> None:
    with pytest.raises(AttributeError):
        make().invented = 1  # type: ignore[attr-defined]


def test_readers_in_two_threads_share_no_memory() -> None:
    """Each loop reads while the other runs: the interpreter's lock is free during a read."""
    mine, whole = FrameReader(False, 1_000), Frame(TheirOpcode.BINARY, b"mine").serialize(mask=False)
    mine.buffer()[: len(whole)] = whole

    def in_another_thread() -> list[tuple[int, bytes]]:
        theirs, other = FrameReader(False, 1_000), Frame(TheirOpcode.BINARY, b"other").serialize(mask=False)
        theirs.buffer()[: len(other)] = other
        return theirs.received(len(other))

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(in_another_thread).result() == [(2, b"other")]
    assert mine.received(len(whole)) == [(2, b"mine")]
