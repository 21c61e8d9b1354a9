"""Checked bodies: SHA-256 over each chunk, on the way out and on the way in. Used by streams and the multiplexer.

Spec §6: the receiver passes a chunk on only after its checksum matched, so a wrong byte never reaches a visitor.
"""

from hashlib import sha256
from typing import Final

from terratunnel.protocol.errors import GoAwayCode, LinkError
from terratunnel.protocol.frames import CHECKSUM

# Indices take four bytes and go round: an upgraded connection may live long and send a chunk per message.
_INDEX_MASK: Final = 0xFFFF_FFFF
# Pieces below this are joined as they arrive: each object costs 40 bytes more than it holds.
_SMALL_PIECE_BYTES: Final = 4_096


class ChunkWriter:
    """Sums what is sent until the multiplexer closes the chunk."""

    __slots__ = ("_hash", "index", "limit", "size")

    def __init__(self, limit: int) -> None:
        self.limit: int = limit
        self.index: int = 0
        self.size: int = 0
        self._hash = sha256()

    @property
    def room(self) -> int:
        """Bytes that may still go into this chunk."""
        return self.limit - self.size

    def add(self, data: bytes | memoryview) -> None:
        """Count `data` into the chunk."""
        self._hash.update(data)
        self.size += len(data)

    def close_chunk(self) -> bytes:
        """Return the CHECKSUM payload for the chunk and begin the next."""
        payload = CHECKSUM.pack(self.index, self._hash.digest())
        self.index = (self.index + 1) & _INDEX_MASK
        self.size = 0
        self._hash = sha256()
        return payload


class ChunkReader:
    """Holds what arrives until its checksum does; the stream's receive window bounds what it holds."""

    __slots__ = ("_hash", "_held", "_small", "index", "received")

    def __init__(self) -> None:
        self.index: int = 0
        self.received: int = 0
        self._held: list[bytes | memoryview] = []
        self._small: bytearray = bytearray()
        self._hash = sha256()

    @property
    def holds_data(self) -> bool:
        """Whether bytes wait for their checksum."""
        return bool(self._held)

    def add(self, data: bytes | memoryview) -> None:
        """Hold `data`, which is not empty."""
        self._hash.update(data)
        if self._held and len(data) < _SMALL_PIECE_BYTES:
            self._small += data
            return
        self._join_small()
        self._held.append(data)

    def verify(self, payload: bytes) -> list[bytes | memoryview] | None:
        """Return the chunk's bytes, or None when they are not what was sent; raises LinkError for a malformed frame."""
        if len(payload) != CHECKSUM.size:
            raise LinkError(GoAwayCode.PROTOCOL_ERROR, "a CHECKSUM frame holds 36 bytes")
        index, digest = CHECKSUM.unpack(payload)
        if index != self.index or not self._held:
            raise LinkError(
                GoAwayCode.PROTOCOL_ERROR, f"a CHECKSUM for chunk {index} came where chunk {self.index} was due"
            )
        if self._hash.digest() != digest:
            return None
        self._join_small()
        held = self._held
        self.index = (self.index + 1) & _INDEX_MASK
        self.received += sum(map(len, held))
        self._held = []
        self._hash = sha256()
        return held

    def _join_small(self) -> None:
        if self._small:
            self._held.append(bytes(self._small))
            self._small = bytearray()
