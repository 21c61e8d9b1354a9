"""The recorders write down what they hear, wait for it, and give credit back."""

import asyncio

from terratunnel.protocol.errors import GoAwayCode, ResetCode
from terratunnel.testing.clock import turns
from terratunnel.testing.links import join_in_memory
from terratunnel.testing.streams import Notes, OwnerRecorder, ReceiverRecorder, StreamRecorder

GET = [b"GET", b"/", b"Host", b"a"]


async def test_who_waits_is_woken_by_the_note_it_waits_for() -> None:
    notes = Notes()
    waiting = asyncio.ensure_future(notes.until_heard("b"))
    notes.note("a")
    await turns(2)
    assert not waiting.done()
    notes.note("b", 1)
    notes.note("b", 2)
    assert await waiting == ("b", 2)
    assert notes.names() == ["a", "b", "b"]


async def test_a_stream_recorder_knows_an_end_from_a_cut() -> None:
    ended, cut, by_data, by_head = StreamRecorder(), StreamRecorder(), StreamRecorder(hold=True), StreamRecorder()
    ended.end_received([])
    cut.reset_received(ResetCode.CANCELLED, "left")
    by_data.data_received(b"x", end=True)
    by_head.headers_received([b"204", b""], end=True, interim=False)
    assert [recorder.ended for recorder in (ended, cut, by_data, by_head)] == [True, False, True, True]
    assert all(recorder.over for recorder in (ended, cut, by_data, by_head))
    assert not StreamRecorder().over


async def test_credit_is_held_when_told_and_given_back_at_once_when_not() -> None:
    links = await join_in_memory().opened()
    ours = links.open(GET, end=False)
    await links.agent_owner.until(lambda: bool(links.agent_owner.streams))
    (theirs,) = links.agent_owner.streams
    assert theirs.stream is not None
    assert ours.stream is not None
    window = theirs.stream._state.window
    theirs.hold = True
    ours.stream.send_data(b"x" * 1000)
    await theirs.until_heard("data")
    assert (theirs.held_bytes, window.held) == (1000, 1000)
    theirs.release()
    assert (theirs.held_bytes, window.held) == (0, 0)
    ours.stream.send_data(b"y", end=True)
    await theirs.finish()
    assert theirs.body == b"x" * 1000 + b"y"


async def test_an_owner_recorder_keeps_the_streams_of_its_peer() -> None:
    links = await join_in_memory().opened()
    links.open(GET)
    await links.agent_owner.until_heard("stream")
    assert links.agent_owner.heard == [("opened",), ("stream", 1)]
    links.server.close_now(GoAwayCode.NORMAL, "done")
    await links.agent_owner.until_heard("closed")
    assert links.agent_owner.heard[-1] == ("closed", GoAwayCode.NORMAL, "done")
    assert links.agent_owner.streams[0].names() == ["headers", "reset"]


def test_an_owner_recorder_notes_capacity() -> None:
    owner = OwnerRecorder()
    owner.capacity_available(None)  # type: ignore[arg-type]
    assert owner.heard == [("capacity",)]


def test_a_receiver_recorder_notes_what_a_link_tells() -> None:
    receiver = ReceiverRecorder()
    receiver.message_received(b"m")
    receiver.pause_sending()
    receiver.resume_sending()
    receiver.link_lost("gone")
    assert receiver.messages == [b"m"]
    assert receiver.heard == [("message", b"m"), ("pause",), ("resume",), ("lost", "gone")]


def test_a_stream_recorder_notes_room() -> None:
    recorder = StreamRecorder()
    recorder.room_available()
    assert recorder.heard == [("room",)]
