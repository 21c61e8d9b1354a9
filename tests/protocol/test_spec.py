"""The specification and the code say the same: every table of `docs/spec/protocol.md`, every vector, every limit.

Rule: nothing is copied here. What is compared is read from the page on one side and from the code on the other.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from terratunnel.protocol import frames, multiplexer, outbox, pacing, scheduler
from terratunnel.protocol.errors import GoAwayCode, LinkError, ResetCode
from terratunnel.protocol.frames import CHECKSUM, GOAWAY, SETTING, U32, Flag, FrameType, frame, split_frames
from terratunnel.protocol.headers import decode_block, encode_block
from terratunnel.protocol.settings import DEFAULTS, Setting, Settings
from terratunnel.protocol.streams import TRANSITIONS, Input, State
from tests.protocol.pair import REQUEST, Pair, frames_of, headers, hear, lone, message_of

SPEC = (Path(__file__).parents[2] / "docs" / "spec" / "protocol.md").read_text(encoding="utf-8")
Json = list[Any]


def table(heading: str) -> list[list[str]]:
    """The rows of the table whose heading row begins so."""
    lines = SPEC.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows: list[list[str]] = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def vectors(name: str) -> list[str]:
    """The lines of a block of vectors."""
    found = re.search(rf"```{name}\n(.*?)\n```", SPEC, re.DOTALL)
    assert found is not None
    return found[1].splitlines()


def number(text: str) -> int:
    return int(text.split()[0].replace(",", ""))


# ---------------------------------------------------------------------- tables


@pytest.mark.parametrize(
    ("heading", "enum"),
    [
        ("type | name", FrameType),
        ("flag | name", Flag),
        ("code | RESET code", ResetCode),
        ("code | GOAWAY code", GoAwayCode),
        ("identifier | SETTINGS name", Setting),
    ],
)
def test_the_names_and_numbers_are_those_of_the_code(heading: str, enum: type[Flag]) -> None:
    assert {row[1]: int(row[0]) for row in table(heading)} == {each.name: each.value for each in enum}


def test_the_defaults_of_the_settings_are_those_of_the_code() -> None:
    assert {row[1]: int(row[2]) for row in table("identifier | SETTINGS name")} == {
        setting.name: value for setting, value in DEFAULTS.items()
    }


def test_the_transitions_are_those_of_the_code() -> None:
    written = {(State[state], Input[what]): State[after] for state, what, after in table("state | input | next state")}
    assert written == TRANSITIONS


def test_the_budgets_are_those_of_the_code() -> None:
    settings = Settings()
    assert {row[0]: number(row[1]) for row in table("budget | default | counts")} == {
        "streams opened": settings.max_opens_per_s,
        "resets": settings.max_resets_per_s,
        "control frames": settings.max_control_per_s,
        "small frames": settings.max_small_data_per_s,
        "unread answers": multiplexer.MAX_CONTROL_BYTES,
        "block size": settings.max_block_bytes,
        "block items": settings.max_block_items,
    }


@pytest.mark.parametrize("row", table("type | name"), ids=lambda row: row[1])
def test_a_frame_belongs_where_its_row_says(row: list[str]) -> None:
    kind, stream = FrameType[row[1]], row[2]
    for stream_id, allowed in ((0, stream in ("0", "≥ 0")), (1, stream in ("> 0", "≥ 0"))):
        assert belongs(kind, stream_id) == allowed


def belongs(kind: FrameType, stream_id: int) -> bool:
    agent = lone()
    hear(agent, headers(1, REQUEST))
    try:
        hear(agent, frame(kind, 0, stream_id, b""))
    except LinkError as error:
        return not re.search("needs a stream|belongs to the link", error.reason)
    return True


@pytest.mark.parametrize(
    ("sentence", "value"),
    [
        (r"accept\s+messages\s+up\s+to\s+([\d,]+)\s+bytes", frames.MAX_MESSAGE_BYTES),
        (r"the first frame that takes it to ([\d,]+)\s+bytes", outbox.MESSAGE_BYTES),
        (r"Reasons are at most ([\d,]+) bytes", frames.MAX_REASON_BYTES),
        (r"small exchanges \(less than ([\d,]+) bytes", scheduler.SMALL_EXCHANGE_BYTES),
        (r"in slices of ([\d,]+)\s+bytes", scheduler.SLICE_CONTENDED_BYTES),
        (r"a turn after each ([\d,]+) bytes", scheduler.SMALL_AHEAD_BYTES),
        (r"than adds (\d+) ms to the shortest", 1_000 * pacing.TARGET_DELAY_S),
        (r"a PING every (\d+) ms", 1_000 * pacing.PROBE_EVERY_S),
        (r"no more bulk in flight .*?moves its bound between\s+([\d,]+) bytes", pacing.FLOOR_BYTES),
        (r"return link credit when ([\d,]+) bytes", outbox.LINK_GRANT_BYTES),
        (r"the configured chunk size \(([\d,]+)\)", Settings().chunk_size),
        (r"does not make it smaller than ([\d,]+)\)", multiplexer.MIN_CHUNK_BYTES),
        (r"a window below\s+([\d,]+) bytes", 2 * multiplexer.MIN_CHUNK_BYTES),
        (r"a PING at the opening and every (\d+) s", Settings().ping_after_s),
        (r"heard\s+nothing for (\d+) s", Settings().dead_after_s),
        (r"DATA of less than ([\d,]+) bytes", multiplexer.SMALL_DATA_BYTES),
        (r"above ([\d,]+) no stream is opened", multiplexer.CONTROL_HIGH_BYTES),
    ],
)
def test_a_number_in_a_sentence_is_that_of_the_code(sentence: str, value: float) -> None:
    assert [number(found) for found in re.findall(sentence, SPEC, re.DOTALL)] == [value]


# ---------------------------------------------------------------------- vectors


def written(payload: str) -> bytes:
    return payload.encode("latin-1")


def read(payload: bytes) -> str:
    return payload.decode("latin-1")


def encode(said: Json) -> bytes:
    """One frame from the form of the vectors: `[type, stream, [flags], payload…]`."""
    name, stream_id, flag_names, *rest = said
    flags = sum(Flag[flag] if isinstance(flag, str) else flag for flag in flag_names)
    kind: int = FrameType[name] if isinstance(name, str) else name
    return frame(kind, flags, stream_id, encode_payload(name, rest))


def encode_payload(name: str | int, rest: Json) -> bytes:
    match name:
        case "HEADERS" | "END":
            return encode_block([written(item) for item in rest[0]]) if rest else b""
        case "CHECKSUM":
            return CHECKSUM.pack(rest[0], bytes.fromhex(rest[1]))
        case "RESET":
            return U32.pack(ResetCode[rest[0]] if isinstance(rest[0], str) else rest[0]) + str(rest[1]).encode()
        case "WINDOW":
            return U32.pack(rest[0])
        case "SETTINGS":
            pairs = [
                (Setting[key] if key in Setting.__members__ else int(key), value) for key, value in rest[0].items()
            ]
            return b"".join(SETTING.pack(*pair) for pair in pairs)
        case "GOAWAY":
            return GOAWAY.pack(rest[0], GoAwayCode[rest[1]]) + str(rest[2]).encode()
        case "DATA":
            return written(rest[0])
    return bytes.fromhex(rest[0])


def decode(kind: int, flags: int, stream_id: int, payload: bytes) -> Json:
    """The form of the vectors from one frame."""
    known = kind in set(FrameType)
    names: Json = [flag.name for flag in Flag if flags & flag]
    unknown = flags & ~sum(Flag)
    name = FrameType(kind).name if known else kind
    return [name, stream_id, names + [unknown] if unknown else names, *decode_payload(name, payload)]


def decode_payload(name: str | int, payload: bytes) -> Json:
    match name:
        case "HEADERS" | "END":
            return [[read(item) for item in decode_block(payload, 65_536, 1_024)]] if payload else []
        case "CHECKSUM":
            index, digest = CHECKSUM.unpack(payload)
            return [index, digest.hex()]
        case "RESET":
            (code,) = U32.unpack_from(payload)
            return [ResetCode(code).name if code in set(ResetCode) else code, payload[4:].decode()]
        case "WINDOW":
            return list(U32.unpack(payload))
        case "SETTINGS":
            pairs = list(SETTING.iter_unpack(payload))
            return [{Setting(key).name if key in set(Setting) else str(key): value for key, value in pairs}]
        case "GOAWAY":
            last_id, code = GOAWAY.unpack_from(payload)
            return [last_id, GoAwayCode(code).name, payload[8:].decode()]
        case "DATA":
            return [read(payload)]
    return [payload.hex()]


def speak(pair: Pair, sender: str, said: Json) -> None:
    """Let one end say a frame by its public calls; what it says by itself (SETTINGS, PONG, …) needs none."""
    side = pair.server if sender == "server" else pair.agent
    name, stream_id, flags, *rest = said
    if name == "HEADERS" and sender == "server":
        assert side.open_stream(pair.now).id == stream_id
    if name == "GOAWAY":
        side.go_away(GoAwayCode[rest[1]], rest[2])
        return
    stream = next((each for each in side.streams() if each.id == stream_id), None)
    if stream is None:
        return
    match name:
        case "HEADERS":
            items = [written(item) for item in rest[0]]
            side.send_headers(stream, items, "END" in flags, "CHECKED" in flags, "INTERIM" in flags)
        case "DATA":
            side.send_data(stream, written(rest[0]), "END" in flags)
        case "END":
            side.send_end(stream, [written(item) for item in rest[0]] if rest else [])
        case "RESET":
            side.reset_stream(stream, ResetCode[rest[0]], rest[1])


LINES = [line.split(" ", 2) for line in vectors("conversation")]
ACCEPTED = [line.split(" ", 1) for line in vectors("accepted")]
REFUSED = [line.split(" ", 1) for line in vectors("refused")]


@pytest.mark.parametrize(("written_hex", "form"), [line[-2:] for line in LINES + ACCEPTED])
def test_a_vector_is_built_and_read(written_hex: str, form: str) -> None:
    said = json.loads(form)
    assert b"".join(map(encode, said)).hex() == written_hex
    assert [decode(*each) for each in split_frames(bytes.fromhex(written_hex))] == said


def test_two_multiplexers_hold_the_conversation_byte_for_byte() -> None:
    opening = json.loads(LINES[0][2])[0][3]
    stream_window, link_window, max_streams = (opening[setting.name] for setting in Setting)
    settings = Settings(stream_window, link_window, max_streams, max_stream_window=stream_window)
    pair = Pair(settings, settings, opened=False)
    for sender, written_hex, form in LINES:
        for said in json.loads(form):
            speak(pair, sender, said)
        source, sink, name = (
            (pair.server, pair.agent, "agent") if sender == "server" else (pair.agent, pair.server, "server")
        )
        message = message_of(source)
        assert message.hex() == written_hex
        pair.deliver(sink, name, message)
    assert pair.server.open_streams == pair.agent.open_streams == 0
    assert not pair.server.has_output
    assert not pair.agent.has_output


def test_the_vectors_hold_every_frame_and_every_flag() -> None:
    said = [each for line in LINES for each in json.loads(line[2])]
    assert {each[0] for each in said} == set(FrameType.__members__)
    assert {flag for each in said for flag in each[2]} == set(Flag.__members__)


@pytest.mark.parametrize(("written_hex", "form"), ACCEPTED)
def test_a_receiver_takes_what_newer_peers_say(written_hex: str, form: str) -> None:
    agent = lone()
    hear(agent, headers(1, REQUEST))
    hear(agent, bytes.fromhex(written_hex))
    assert all(kind in (FrameType.WINDOW, FrameType.PONG) for kind, _, _, _ in frames_of(agent))


@pytest.mark.parametrize(("written_hex", "code"), REFUSED)
def test_a_receiver_ends_the_link_for_what_breaks_a_rule(written_hex: str, code: str) -> None:
    agent = lone()
    hear(agent, headers(1, REQUEST))
    with pytest.raises(LinkError) as caught:
        hear(agent, bytes.fromhex(written_hex))
    assert caught.value.code.name == code
