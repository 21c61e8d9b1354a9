"""Whose turn it is: round-robin, small exchanges first, bulk never starved."""

from terratunnel.protocol.scheduler import (
    SLICE_ALONE_BYTES,
    SLICE_CONTENDED_BYTES,
    SMALL_AHEAD_BYTES,
    SMALL_EXCHANGE_BYTES,
    Scheduler,
)
from terratunnel.protocol.streams import Stream
from terratunnel.protocol.windows import GrowthBudget, ReceiveWindow


def stream(stream_id: int, sent_bytes: int = 0) -> Stream:
    made = Stream(stream_id, 0, ReceiveWindow(1, 1, GrowthBudget(0), 0.0))
    made.sent_bytes = sent_bytes
    return made


def queue(*streams: Stream) -> Scheduler:
    scheduler = Scheduler()
    for each in streams:
        scheduler.add(each)
    return scheduler


def drain(scheduler: Scheduler) -> list[int]:
    found = []
    while (taken := scheduler.next_stream()) is not None:
        found.append(taken.id)
    return found


def test_streams_of_a_class_take_turns() -> None:
    scheduler = queue(stream(1), stream(3), stream(5))
    assert bool(scheduler)
    assert drain(scheduler) == [1, 3, 5]
    assert not scheduler


def test_small_exchanges_go_ahead_of_bulk() -> None:
    assert drain(queue(stream(1, SMALL_EXCHANGE_BYTES), stream(3, SMALL_EXCHANGE_BYTES - 1))) == [3, 1]


def test_a_stream_is_queued_once() -> None:
    twice = stream(1)
    scheduler = queue(twice, twice)
    assert drain(scheduler) == [1]
    scheduler.add(twice)
    assert drain(scheduler) == [1]


def test_a_turn_that_was_interrupted_goes_on_first() -> None:
    interrupted = stream(3)
    interrupted.turn_left = 1
    assert drain(queue(stream(1), interrupted, stream(5))) == [3, 1, 5]


def test_a_removed_stream_leaves_nothing_behind() -> None:
    small, bulk, other = stream(1), stream(3, SMALL_EXCHANGE_BYTES), stream(5)
    scheduler = queue(small, bulk)
    for each in (small, bulk, other):
        scheduler.remove(each)
        assert not each.queued
    assert not scheduler
    assert drain(scheduler) == []


def test_a_stream_alone_has_the_larger_slice() -> None:
    scheduler = queue(stream(1), stream(3, SMALL_EXCHANGE_BYTES))
    scheduler.next_stream()
    assert scheduler.slice_bytes() == SLICE_CONTENDED_BYTES
    scheduler.next_stream()
    assert scheduler.slice_bytes() == SLICE_ALONE_BYTES


def test_bulk_has_a_turn_after_so_much_that_is_small() -> None:
    bulk = stream(1, SMALL_EXCHANGE_BYTES)
    scheduler = queue(bulk, stream(3), stream(5), stream(7))
    assert scheduler.next_stream() is not bulk
    scheduler.count(SMALL_AHEAD_BYTES)
    assert scheduler.next_stream() is bulk
    scheduler.add(bulk)
    assert drain(scheduler) == [5, 7, 1]


def test_what_is_sent_while_no_bulk_waits_is_not_held_against_small_exchanges() -> None:
    scheduler = queue(stream(1))
    scheduler.count(SMALL_AHEAD_BYTES)
    scheduler.add(stream(3, SMALL_EXCHANGE_BYTES))
    assert drain(scheduler) == [1, 3]
