"""Laws of forwarding, attacked by hypothesis over real sockets.

Whatever a service and a visitor do, in whatever order: the visitor sees a prefix of what the service meant to say, a
clean end only after all of it, and when both are gone nothing is left over.
"""

import asyncio
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from terratunnel.forwarding.pool import UpstreamTimeouts
from terratunnel.protocol.errors import ResetCode
from terratunnel.protocol.settings import Settings
from terratunnel.testing.clock import Clock, ClockLoop, settled, turns
from terratunnel.testing.services import Caller, ScriptedService
from terratunnel.testing.streams import StreamRecorder
from tests.forwarding.rig import Rig

SMALL = Settings(initial_stream_window=300, max_stream_window=1_200, chunk_size=64)
BODY = bytes(range(256)) * 3


@dataclass(frozen=True)
class Answer:
    """What a service means to say, and whether the end of the connection is the end of the body."""

    text: bytes
    body: bytes
    until_close: bool = False


ANSWERS = [
    Answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY, BODY),
    Answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n300\r\n" + BODY + b"\r\n0\r\nX: y\r\n\r\n", BODY),
    Answer(b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", b"no"),
    Answer(b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    Answer(b"HTTP/1.0 200 OK\r\n\r\n" + BODY, BODY, until_close=True),
    Answer(b"HTTP/1.1 101 Switch\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n" + BODY, BODY, until_close=True),
]


@dataclass(frozen=True)
class Service:
    """How one connection goes: what is read before the answer, how the answer is cut, and how it ends."""

    reads_first: int
    pieces: tuple[int, ...]
    ending: str

    async def __call__(self, caller: Caller, answer: Answer) -> bool:
        """Play; returns whether all was said and ended well."""
        try:
            await caller.head()
            if self.reads_first:
                await caller.read(self.reads_first)
        except asyncio.IncompleteReadError:
            return False
        position = 0
        for size in self.pieces:
            caller.send(answer.text[position : position + size])
            position += size
            await turns(2)
        if self.ending == "finish":
            caller.send(answer.text[position:])
            position = len(answer.text)
        if self.ending == "reset":
            await settled()
            caller.reset()
        elif self.ending == "wait" or not answer.until_close:
            await caller.gone()
        return position >= len(answer.text) and self.ending == "finish"


services = st.builds(
    Service,
    st.sampled_from([0, 0, 1, 50]),
    st.lists(st.integers(0, 400), max_size=4).map(tuple),
    st.sampled_from(["finish", "finish", "close", "reset", "wait"]),
)
moves = st.lists(
    st.one_of(
        st.sampled_from([0, 1, 100, 150, 400]),
        st.sampled_from(["end", "reset", "release", "turn", "settle", "second", "minute"]),
    ),
    max_size=12,
)


async def visit(rig: Rig, clock: Clock, visitor: list[int | str], fields: list[bytes], hold: bool) -> StreamRecorder:
    """A visitor who does these things and leaves in the end, if nothing has ended by then."""
    recorder = rig.send(b"POST", fields, end=False, hold=hold)
    assert recorder.stream is not None
    for move in visitor:
        if isinstance(move, int):
            recorder.stream.send_data(b"u" * move)
        elif move == "end":
            recorder.stream.send_end([])
        elif move == "reset":
            recorder.stream.reset(ResetCode.CANCELLED)
            break
        elif move == "release":
            recorder.release()
        elif move == "turn":
            await turns()
        elif move == "settle":
            await settled()
        else:
            await clock.advance({"second": 1.1, "minute": 61}[move], step=1.1)
    await settled()
    recorder.release()
    await settled()
    await settled()
    if recorder.stream.can_send or not recorder.over:
        recorder.stream.reset(ResetCode.CANCELLED)
    await settled()
    return recorder


async def attack(
    clock: Clock, answer: Answer, service: Service, visitor: list[int | str], fields: list[bytes], hold: bool
) -> None:
    said: list[bool] = []

    async def script(caller: Caller) -> None:
        said.append(await service(caller, answer))

    timeouts = UpstreamTimeouts(first_byte_s=30)
    async with Rig(script, clock, timeouts, SMALL, threshold=500, service=ScriptedService(script)) as rig:
        recorder = await visit(rig, clock, visitor, fields, hold)
        assert rig.forwarder.under_way == 0
        assert len(rig.finished) == 1
        assert rig.pool.connections == rig.pool.idle
    assert answer.body.startswith(recorder.body)
    if recorder.ended:
        assert recorder.body == answer.body or answer.until_close
        if answer.until_close:
            assert service.ending != "reset"
    if said == [True] and "reset" not in visitor and recorder.ended:
        assert recorder.body == answer.body
    assert rig.pool.connections == 0


@settings(max_examples=150)
@given(
    st.sampled_from(ANSWERS),
    services,
    moves,
    st.sampled_from([[], [b"Content-Length", b"500"], [b"Upgrade", b"x"], [b"Expect", b"100-continue"]]),
    st.booleans(),
)
def test_whatever_both_sides_do_nothing_is_invented_and_nothing_left_over(
    answer: Answer, service: Service, visitor: list[int | str], fields: list[bytes], hold: bool
) -> None:
    clock = Clock()
    with asyncio.Runner(loop_factory=lambda: ClockLoop(clock)) as runner:
        runner.run(attack(clock, answer, service, visitor, fields, hold))
