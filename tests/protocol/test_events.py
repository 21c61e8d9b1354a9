"""Events are small objects: what they were given, and no dictionary each."""

import pytest

from terratunnel.protocol.errors import GoAwayCode, ResetCode
from terratunnel.protocol.events import (
    DataReceived,
    EndReceived,
    Event,
    GoAwayReceived,
    HeadersReceived,
    LinkOpened,
    StreamReset,
)
from terratunnel.protocol.streams import Stream
from terratunnel.protocol.windows import GrowthBudget, ReceiveWindow

STREAM = Stream(1, 0, ReceiveWindow(1, 1, GrowthBudget(0), 0.0))


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (
            HeadersReceived(STREAM, [b"GET"], True, False, True),
            {"stream": STREAM, "items": [b"GET"], "end": True, "interim": False, "opened": True},
        ),
        (DataReceived(STREAM, b"x", False), {"stream": STREAM, "data": b"x", "end": False}),
        (EndReceived(STREAM, [b"a", b"b"]), {"stream": STREAM, "trailers": [b"a", b"b"]}),
        (
            StreamReset(STREAM, ResetCode.STOPPED, "why"),
            {"stream": STREAM, "code": ResetCode.STOPPED, "reason": "why"},
        ),
        (GoAwayReceived(GoAwayCode.NORMAL, "bye"), {"code": GoAwayCode.NORMAL, "reason": "bye"}),
        (LinkOpened(), {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_event_holds_what_it_was_given_and_nothing_else(event: Event, fields: dict[str, object]) -> None:
    assert {name: getattr(event, name) for name in fields} == fields
    assert not hasattr(event, "__dict__")
