"""Received bytes not yet read. Used by the parsers and body readers; nobody else holds bytes.
Rule: a chunk that is read whole is handed on uncopied, every byte is copied and searched a bounded number of times."""

from typing import Final

_NEWLINE: Final = b"\n"
_CRLF: Final = b"\r\n"


class Buffer:
    """`_data` from `_pos` on is read first, then `_later`; `_data` is empty when all of it is read.
    `_partial` is the unfinished thing that `take_until` awaits."""

    __slots__ = ("_checked", "_data", "_later", "_partial", "_pos", "_searched")

    def __init__(self) -> None:
        self._data: bytes = b""
        self._pos: int = 0
        self._later: bytearray = bytearray()
        self._partial: bytearray = bytearray()
        self._searched: int = 0  # no marker begins before this place in _partial
        self._checked: int = 0  # no bare newline before this place in _partial

    def __len__(self) -> int:
        return len(self._data) - self._pos + len(self._later) + len(self._partial)

    def feed(self, data: bytes) -> None:
        if not self._data and not self._later:
            self._data = data
        else:
            self._later += data

    def take(self, limit: int) -> bytes:
        """Up to `limit` of the next bytes; b"" when there are none."""
        data = self._data
        start = self._pos
        if not data:
            if not self._later:
                return b""
            data = self._next_data()
        if start == 0 and len(data) <= limit:
            self._data = b""
            return data
        end = start + limit
        self._move_to(end)
        return data[start:end]

    def take_until(self, marker: bytes, limit: int) -> bytes | None:
        """What stands before the marker, which is read too. None while the marker has not come; once `waiting()`
        reaches `limit` it can no longer come within the limit."""
        if not self._partial:
            data = self._data
            start = self._pos
            end = data.find(marker, start, start + limit)
            if end >= 0:
                self._move_to(end + len(marker))
                return data[start:end]
        return self._take_partial(marker, limit)

    def skip(self, expected: bytes) -> bool:
        """Read past `expected` when it is what comes next and all of it is here."""
        if self._partial or not self._data.startswith(expected, self._pos):
            return False
        self._move_to(self._pos + len(expected))
        return True

    def waiting(self) -> int:
        """Bytes of the unfinished thing that `take_until` awaits."""
        return len(self._partial)

    def has_bare_newline(self, limit: int) -> bool:
        """Whether a LF without CR stands in the first `limit` bytes of the unfinished thing. Searches a byte once."""
        checked = self._checked
        self._checked = min(len(self._partial), limit)
        newlines = self._partial.count(_NEWLINE, checked, limit)
        return newlines > 0 and newlines != self._partial.count(_CRLF, max(0, checked - 1), limit)

    def take_all(self) -> bytes:
        """Everything, in order; the buffer is empty afterwards."""
        start = self._pos
        everything = bytes(self._partial) + self._data[start:] + bytes(self._later)
        self._data = b""
        self._pos = 0
        self._later.clear()
        self._end_partial()
        return everything

    def _move_to(self, pos: int) -> None:
        if pos < len(self._data):
            self._pos = pos
        else:
            self._data = b""
            self._pos = 0

    def _next_data(self) -> bytes:
        data = bytes(self._later)
        self._later.clear()
        self._data = data
        return data

    def _take_partial(self, marker: bytes, limit: int) -> bytes | None:
        partial = self._partial
        start = self._pos
        partial += self._data[start:]
        partial += self._later
        self._data = b""
        self._pos = 0
        self._later.clear()
        end = partial.find(marker, self._searched, limit)
        if end < 0:
            self._searched = max(0, len(partial) - len(marker) + 1)
            return None
        taken = bytes(partial[:end])
        after = end + len(marker)
        self._data = bytes(partial[after:])
        self._end_partial()
        return taken

    def _end_partial(self) -> None:
        self._partial.clear()
        self._searched = 0
        self._checked = 0
