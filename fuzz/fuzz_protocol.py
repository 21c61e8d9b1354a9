"""Throws nearly-valid messages at both ends: `python fuzz/fuzz_protocol.py --seconds 10 --seed 1`. Used by `make fuzz`.
Rule: only LinkError is raised, what is sent stays well-formed and within credit, and no peer makes memory grow."""

import argparse
import random
import time
import tracemalloc
from collections import Counter
from typing import TypeAlias

from terratunnel.protocol.errors import LinkError, ResetCode
from terratunnel.protocol.events import DataReceived, Event, HeadersReceived
from terratunnel.protocol.frames import HEADER, U32, FrameType, frame, split_frames
from terratunnel.protocol.multiplexer import MAX_CONTROL_BYTES, Multiplexer
from terratunnel.protocol.settings import Settings
from terratunnel.protocol.streams import BODY, HEAD, Stream

Frame: TypeAlias = tuple[int, int, int, bytes]

SETTINGS = Settings(initial_stream_window=2_000, initial_link_window=6_000, max_streams=8, chunk_size=500)
HEAD_ITEMS = [b"GET", b"/", b"Host", b"a"]
NUMBERS = (0, 1, 2, 3, 5, 7, 8, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
# What one victim may hold however long the attack goes on: windows, a queue of answers, Python's own objects.
MAX_BYTES = 24 * 1_048_576
PUMP_ROUNDS = 60


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    chance = random.Random(chosen.seed)
    deadline = time.monotonic() + chosen.seconds
    ends: Counter[str] = Counter()
    tried = 0
    while time.monotonic() < deadline:
        tried += 1
        opener = chance.random() < 0.5
        messages = [mutated(message, chance) for message in conversation(not opener, chance)]
        ends[attack(opener, messages, chance)] += 1
        if tried % 100 == 0:
            pump(opener, messages, chance)
    outcomes = ", ".join(f"{count} {name}" for name, count in ends.most_common())
    print(f"protocol: {tried} transcripts from seed {chosen.seed}, no failure: {outcomes}")


# ---------------------------------------------------------------------- valid transcripts


class App:
    """Uses one end at random, within the contract of the multiplexer."""

    def __init__(self, opener: bool, chance: random.Random) -> None:
        self.multiplexer: Multiplexer = Multiplexer(opener, SETTINGS, 0.0)
        self.chance: random.Random = chance

    def act(self, now: float) -> None:
        """Do a few things."""
        if self.multiplexer.can_open and self.chance.random() < 0.5:
            self.send_head(self.multiplexer.open_stream(now))
        for stream in self.multiplexer.streams():
            if self.chance.random() < 0.6:
                self.use(stream)

    def use(self, stream: Stream) -> None:
        chance, multiplexer = self.chance, self.multiplexer
        if chance.random() < 0.05:
            multiplexer.reset_stream(stream, chance.choice(list(ResetCode)), "chance")
        elif stream.sending == HEAD:
            self.send_head(stream)
        elif stream.sending == BODY and stream.pending_end is None:
            if chance.random() < 0.2:
                multiplexer.send_end(stream, chance.choice(([], [b"Trailer", b"x"])))
            elif multiplexer.has_room(stream):
                multiplexer.send_data(stream, bytes(chance.choice((1, 50, 1_500, 3_000))), end=chance.random() < 0.2)

    def send_head(self, stream: Stream) -> None:
        """An answer may be interim."""
        opener = stream.id & 1 == self.multiplexer.next_id & 1
        interim = not opener and self.chance.random() < 0.2
        end, checked = self.chance.random() < 0.2, self.chance.random() < 0.4
        self.multiplexer.send_headers(stream, HEAD_ITEMS, end and not interim, checked and not interim, interim)

    def hear(self, message: bytes, now: float) -> None:
        """Receive; bytes are handed on now, or never."""
        for event in self.multiplexer.receive_message(message, now):
            self.handle(event, now)

    def handle(self, event: Event, now: float) -> None:
        if isinstance(event, DataReceived) and self.chance.random() < 0.8:
            self.multiplexer.consume(event.stream, len(event.data), now)
        elif isinstance(event, HeadersReceived) and event.opened:
            self.use(event.stream)

    def say(self) -> bytes:
        return b"".join(self.multiplexer.next_message())


def conversation(opener: bool, chance: random.Random) -> list[bytes]:
    """What one end says in a valid exchange of messages with the other."""
    speaker, listener = App(opener, chance), App(not opener, chance)
    said: list[bytes] = []
    for turn in range(chance.randrange(2, 12)):
        for app, other in ((speaker, listener), (listener, speaker)):
            if turn:
                app.act(float(turn))
            message = app.say()
            if message:
                other.hear(message, float(turn))
                said += [message] if app is speaker else []
    return said


# ---------------------------------------------------------------------- mutations


def mutated(message: bytes, chance: random.Random) -> bytes:
    """A message with its frames shuffled, changed, doubled or dropped, or with bytes flipped; most stay as they are."""
    if chance.random() < 0.7:
        return message
    frames = list(split_frames(message))
    for _ in range(chance.randrange(1, 4)):
        place = chance.randrange(len(frames) + 1)
        frames[place : place + chance.randrange(2)] = chance.choice((changed, doubled, invented))(frames, chance)
    data = bytearray(b"".join(frame(*each) for each in frames))
    if data and chance.random() < 0.2:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    if chance.random() < 0.05:
        del data[chance.randrange(len(data) + 1) :]
    return bytes(data)


def changed(frames: list[Frame], chance: random.Random) -> list[Frame]:
    """One of the frames with a field that is not its own."""
    if not frames:
        return []
    kind, flags, stream_id, payload = chance.choice(frames)
    number = U32.pack(chance.choice(NUMBERS))
    return [
        chance.choice(
            (
                (chance.randrange(13), flags, stream_id, payload),
                (kind, chance.randrange(256), stream_id, payload),
                (kind, flags, chance.choice(NUMBERS), payload),
                (kind, flags, stream_id, payload[: chance.randrange(len(payload) + 1)]),
                (kind, flags, stream_id, number + payload[4:]),
                (kind, flags, stream_id, payload * 2),
            )
        )
    ]


def doubled(frames: list[Frame], chance: random.Random) -> list[Frame]:
    return chance.choices(frames, k=chance.randrange(1, 20)) if frames else []


def invented(frames: list[Frame], chance: random.Random) -> list[Frame]:
    """A frame made of likely numbers."""
    payload = b"".join(U32.pack(chance.choice(NUMBERS)) for _ in range(chance.randrange(4)))
    return [(chance.randrange(12), chance.randrange(8), chance.choice(NUMBERS), payload)]


# ---------------------------------------------------------------------- the attack and its oracle


def attack(opener: bool, messages: list[bytes], chance: random.Random) -> str:
    """Let a victim hear the messages; says how it ended. Raises when a law is broken, with the input."""
    victim = App(opener, random.Random(chance.random()))
    ledger = Ledger()
    try:
        for turn, message in enumerate(messages):
            ledger.heard(message)
            if not survives(victim, message, float(turn)):
                ledger.said(drained(victim))
                return "broke a rule"
            ledger.said(drained(victim))
            check_bounds(victim.multiplexer)
    except Exception as error:
        raise AssertionError(f"{error!r} with {[message.hex() for message in messages]}") from error
    return "heard to the end"


def survives(victim: App, message: bytes, now: float) -> bool:
    try:
        victim.hear(message, now)
        victim.act(now)
    except LinkError as error:
        for event in victim.multiplexer.undelivered:
            victim.handle(event, now)
        victim.multiplexer.go_away(error.code, error.reason)
        return False
    return True


def drained(victim: App) -> bytes:
    """Everything the victim says; a message at a time is bounded, and so is all of it together."""
    said = b""
    while message := victim.say():
        said += message
        assert len(said) < MAX_CONTROL_BYTES + 1_048_576
    return said


class Ledger:
    """Credit that was given, and what may still follow on each stream."""

    def __init__(self) -> None:
        self.credit: Counter[int] = Counter()
        self.sent: Counter[int] = Counter()
        self.over: set[int] = set()

    def heard(self, message: bytes) -> None:
        """Add up credit as generously as the message can be read."""
        position = 0
        while position + HEADER.size + 4 <= len(message):
            length, stream_id, kind, _, _ = HEADER.unpack_from(message, position)
            if kind == FrameType.WINDOW:
                self.credit[stream_id] += U32.unpack_from(message, position + HEADER.size)[0]
            elif kind == FrameType.SETTINGS:
                self.credit[0] += 2**32
            position += HEADER.size + length

    def said(self, message: bytes) -> None:
        """Check what the victim said."""
        for kind, _, stream_id, payload in split_frames(message):
            assert stream_id == 0 or stream_id not in self.over, "something followed a reset"
            if kind == FrameType.RESET:
                self.over.add(stream_id)
            elif kind == FrameType.DATA:
                self.sent[0] += len(payload)
                self.sent[stream_id] += len(payload)
                assert self.sent[0] <= self.credit[0]
                assert self.credit[0] >= 2**32 or self.sent[stream_id] <= self.credit[stream_id]


def check_bounds(multiplexer: Multiplexer) -> None:
    streams = multiplexer.streams()
    assert len(streams) <= SETTINGS.max_streams
    for stream in streams:
        assert stream.send_credit >= 0
        assert 0 <= stream.window.held <= stream.window.capacity <= SETTINGS.max_stream_window


def pump(opener: bool, messages: list[bytes], chance: random.Random) -> None:
    """Repeat the messages to a victim that neither reads nor is read from; memory must not follow."""
    victim = App(opener, random.Random(chance.random()))
    tracemalloc.start()
    try:
        for turn in range(PUMP_ROUNDS):
            for message in messages if turn == 0 else messages[1:]:
                if not survives(victim, message, float(turn)):
                    return
            current, _ = tracemalloc.get_traced_memory()
            assert current < MAX_BYTES, f"{current} bytes held after {turn} rounds of {[m.hex() for m in messages]}"
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    main()
