"""What a link promises: both kinds offer the same calls, and their queues are short."""

import inspect

import pytest

from terratunnel.mux import link
from terratunnel.mux.connection import MuxConnection
from terratunnel.mux.memory import MemoryLink
from terratunnel.mux.websocket import WebSocketLink


def calls(kind: type) -> list[str]:
    return sorted(name for name, _ in inspect.getmembers(kind, inspect.isroutine) if not name.startswith("_"))


@pytest.mark.parametrize("kind", [MemoryLink, WebSocketLink])
def test_every_kind_of_link_offers_what_a_connection_calls(kind: type) -> None:
    assert set(calls(link.Link)) <= set(calls(kind))


def test_a_connection_hears_what_a_link_tells() -> None:
    assert set(calls(link.LinkReceiver)) <= set(calls(MuxConnection))


def test_a_queue_wakes_its_source_before_it_is_empty_and_holds_a_few_messages_at_most() -> None:
    assert 0 < link.WRITE_LOW_BYTES < link.WRITE_HIGH_BYTES <= 1_048_576
    assert 0 < link.NOTSENT_LOWAT_BYTES <= 1_048_576
