"""The sending half alone: control before DATA, credit, pace, and what it says of the streams it served."""

from terratunnel.protocol.frames import HEADER_BYTES, Flag, FrameType, frame, split_frames
from terratunnel.protocol.outbox import LINK_GRANT_BYTES, MESSAGE_BYTES, PENDING_LOW_BYTES, Outbox
from terratunnel.protocol.pacing import START_BYTES
from terratunnel.protocol.scheduler import SMALL_EXCHANGE_BYTES
from terratunnel.protocol.streams import BODY, DONE, Stream
from terratunnel.protocol.windows import MAX_WINDOW, GrowthBudget, ReceiveWindow

PING = frame(FrameType.PING, 0, 0, b"12345678")


def stream(number: int, size: int, end: bytes | None = None, credit: int = MAX_WINDOW) -> Stream:
    made = Stream(number, credit, ReceiveWindow(1, 1, GrowthBudget(0), 0.0))
    made.sending = BODY
    if size:
        made.pending.append(b"x" * size)
    made.pending_bytes = size
    made.pending_end = end
    return made


def sent(outbox: Outbox, streams: int = 1) -> list[tuple[int, int, int, int]]:
    message = b"".join(outbox.next_message(streams))
    return [(kind, number, flags, len(payload)) for kind, flags, number, payload in split_frames(message)]


def test_control_goes_before_data_and_needs_no_credit() -> None:
    outbox = Outbox()
    outbox.schedule(stream(1, 5))
    outbox.queue_control(PING)
    assert sent(outbox) == [(FrameType.PING, 0, 0, 8), (FrameType.DATA, 1, 0, 5)]
    outbox.set_window(0)
    outbox.schedule(stream(3, 5))
    outbox.queue_control(PING)
    assert sent(outbox) == [(FrameType.PING, 0, 0, 8)]
    assert not outbox.has_output(1)


def test_more_control_than_a_message_holds_leaves_no_room_for_data() -> None:
    outbox = Outbox()
    count = MESSAGE_BYTES // len(PING) + 10
    for _ in range(count):
        outbox.queue_control(PING)
    outbox.schedule(stream(1, 5))
    first = sent(outbox)
    assert {kind for kind, *_ in first} == {FrameType.PING}
    rest = sent(outbox)
    assert len(first) + len(rest) == count + 1
    assert rest[-1] == (FrameType.DATA, 1, 0, 5)
    assert outbox.control_bytes == 0


def test_the_end_rides_on_the_last_data() -> None:
    outbox = Outbox()
    ending = stream(1, 5, end=b"")
    outbox.schedule(ending)
    assert sent(outbox) == [(FrameType.DATA, 1, Flag.END, 5)]
    assert (ending.sending, outbox.ended) == (DONE, [ending])


def test_an_end_without_bytes_needs_no_credit() -> None:
    outbox = Outbox()
    outbox.set_window(0)
    outbox.schedule(stream(1, 0, end=b""))
    assert sent(outbox) == [(FrameType.END, 1, 0, 0)]


def test_the_credit_of_the_stream_and_of_the_link_bound_what_is_sent() -> None:
    outbox = Outbox()
    outbox.set_window(30)
    outbox.schedule(stream(1, 100, credit=20))
    outbox.schedule(stream(3, 100))
    assert sent(outbox) == [(FrameType.DATA, 1, 0, 20), (FrameType.DATA, 3, 0, 10)]
    assert not outbox.has_output(2)


def test_bulk_waits_for_its_pace_beside_others_and_small_exchanges_do_not() -> None:
    outbox = Outbox()
    bulk = stream(1, 4 * START_BYTES)
    bulk.sent_bytes = SMALL_EXCHANGE_BYTES
    outbox.schedule(bulk)
    total = 0
    while outbox.has_output(2):
        total += sum(length for *_, length in sent(outbox, 2))
    assert START_BYTES <= total < START_BYTES + MESSAGE_BYTES
    assert outbox.is_competing(2)
    assert not outbox.is_competing(1)
    outbox.schedule(stream(3, 5))
    assert sent(outbox, 2)[0] == (FrameType.DATA, 3, 0, 5)
    assert outbox.has_output(1)


def test_little_in_flight_is_no_competition() -> None:
    outbox = Outbox()
    outbox.schedule(stream(1, LINK_GRANT_BYTES))
    outbox.next_message(2)
    assert not outbox.is_competing(2)


def test_a_source_that_paused_is_named_once_its_stream_has_drained() -> None:
    outbox = Outbox()
    waiting = stream(1, PENDING_LOW_BYTES + 1, credit=1)
    waiting.wants_room = True
    outbox.schedule(waiting)
    assert len(b"".join(outbox.next_message(1))) == HEADER_BYTES + 1
    assert outbox.writable == [waiting]
    assert not waiting.wants_room


def test_a_stream_that_was_reset_is_not_served() -> None:
    outbox = Outbox()
    gone = stream(1, 5)
    outbox.schedule(gone)
    outbox.remove(gone)
    assert not outbox.has_output(1)
