"""What the mux connection needs of a link, and what it gives back. Implemented by `websocket` and `memory`.

A link carries whole binary messages in order, or it is lost; it never drops or repeats one.
"""

from typing import Final, Protocol

# The kernel's queue and ours are kept short: what waits there can no longer be overtaken by a small exchange.
WRITE_HIGH_BYTES: Final = 262_144
WRITE_LOW_BYTES: Final = 65_536
NOTSENT_LOWAT_BYTES: Final = 524_288


class Link(Protocol):
    """One way to the peer."""

    def send_message(self, parts: list[bytes | memoryview]) -> None:
        """Send the joined parts as one message; nothing happens on a lost link."""

    def close(self, code: int, reason: str) -> None:
        """Send what is queued and close in good order."""

    def abort(self) -> None:
        """Drop the link at once."""


class LinkReceiver(Protocol):
    """Who hears from a link: the mux connection."""

    def message_received(self, message: bytes) -> None:
        """Take one message."""

    def link_lost(self, reason: str) -> None:
        """The link is gone; called once, and nothing after it."""

    def pause_sending(self) -> None:
        """The link's queue is full."""

    def resume_sending(self) -> None:
        """The link's queue has drained."""
