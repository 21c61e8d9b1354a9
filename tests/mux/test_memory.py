"""The link in memory: a joined pair that behaves as a socket does, one turn of the loop later."""

from terratunnel.mux.memory import MemoryLink
from terratunnel.testing.clock import turns
from terratunnel.testing.streams import ReceiverRecorder


def attached() -> tuple[MemoryLink, MemoryLink, ReceiverRecorder, ReceiverRecorder]:
    one, other = MemoryLink.pair()
    one_hears, other_hears = ReceiverRecorder(), ReceiverRecorder()
    one.attach(one_hears)
    other.attach(other_hears)
    return one, other, one_hears, other_hears


async def test_messages_arrive_whole_in_order_and_never_at_once() -> None:
    one, other, one_hears, other_hears = attached()
    one.send_message([b"a", memoryview(b"b")])
    one.send_message([b"c"])
    other.send_message([b"d"])
    assert (one_hears.heard, other_hears.heard) == ([], [])
    await turns()
    assert other_hears.messages == [b"ab", b"c"]
    assert one_hears.messages == [b"d"]


async def test_close_reaches_both_ends_after_what_was_sent() -> None:
    one, other, one_hears, other_hears = attached()
    one.send_message([b"last"])
    one.close(1000, "done")
    other.close(1000, "me too")
    await turns(2)
    assert other_hears.heard == [("message", b"last"), ("lost", "done")]
    assert one_hears.heard == [("lost", "done")]


async def test_a_lost_link_takes_nothing_more() -> None:
    one, other, one_hears, other_hears = attached()
    one.abort()
    other.send_message([b"crossed"])
    await turns()
    one.send_message([b"x"])
    one.close(1000, "")
    one.abort()
    other.send_message([b"y"])
    await turns(2)
    assert other_hears.heard == [("lost", "the link was dropped")]
    assert one_hears.heard == [("lost", "the link was dropped")]


async def test_what_arrives_at_an_end_that_nobody_holds_is_dropped() -> None:
    one, other = MemoryLink.pair()
    one.send_message([b"x"])
    one.close(1000, "")
    await turns(2)
    other.send_message([b"y"])
