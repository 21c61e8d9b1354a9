"""Links in memory: a joined pair. Used by the server to reach its own pages, and by tests.

Delivery is by the event loop's next turn, in order, as from a socket.
"""

import asyncio

from terratunnel.mux.link import LinkReceiver


class MemoryLink:
    """One end of a pair; give it its receiver with `attach` before the loop turns."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._other: MemoryLink | None = None
        self._receiver: LinkReceiver | None = None

    @classmethod
    def pair(cls) -> tuple["MemoryLink", "MemoryLink"]:
        """Return two joined ends."""
        one, other = cls(), cls()
        one._other = other
        other._other = one
        return one, other

    def attach(self, receiver: LinkReceiver) -> None:
        """Name who hears from this end."""
        self._receiver = receiver

    def send_message(self, parts: list[bytes | memoryview]) -> None:
        """Hand a message to the other end on the next turn."""
        if self._other is not None:
            self._loop.call_soon(self._other._deliver, b"".join(parts))

    def close(self, code: int, reason: str) -> None:
        """Close both ends after what was sent."""
        if self._other is not None:
            self._loop.call_soon(self._other._lose, reason)
            self._loop.call_soon(self._lose, reason)

    def abort(self) -> None:
        """Close both ends; what is on its way still arrives, as it would from a kernel's buffer."""
        self.close(1006, "the link was dropped")

    def _deliver(self, message: bytes) -> None:
        if self._receiver is not None:
            self._receiver.message_received(message)

    def _lose(self, reason: str) -> None:
        receiver, self._receiver, self._other = self._receiver, None, None
        if receiver is not None:
            receiver.link_lost(reason)
