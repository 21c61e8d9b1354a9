"""Log records, and lines written in batches. Used by every process; configured once by the command line.

Rule: nothing from the network reaches a terminal or a file unescaped, and no line costs a system call of its own.
"""

import logging
import re
import sys
import time
from collections.abc import Callable
from typing import Final, Protocol, TextIO

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
# A tenth of a second is not seen by somebody who watches; 64 KiB is one write to a pipe on Linux.
FLUSH_AFTER_S: Final = 0.1
FLUSH_AT_CHARS: Final = 65_536
# What OAuth callbacks, signed links and careless clients put into a query (security.md L2).
_SECRETS: Final = re.compile(
    rb"([?&](?:[^=&#?]*(?:token|secret|passw(?:or)?d|key|signature)|code|state|sig)=)[^&#]*", re.IGNORECASE
)


class TimerHandle(Protocol):
    """What `loop.call_later` returns."""

    def cancel(self) -> None:
        """Do not call any more."""


CallLater = Callable[[float, Callable[[], None]], TimerHandle]


def escape(value: bytes | str) -> str:
    """Return text in which control, bidirectional and other unprintable characters are `\\x1b` or `\\u202e`."""
    if isinstance(value, bytes):
        text = value.decode("ascii") if value.isascii() else value.decode("utf-8", "backslashreplace")
    else:
        text = value
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(ord(char)) for char in text)


def _escaped(code: int) -> str:
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def redacted(target: bytes) -> bytes:
    """Return a request's target in which values of the query that are secrets by their names are `***`."""
    return _SECRETS.sub(rb"\1***", target) if b"?" in target else target


class Timestamps:
    """The time of day as `[12:34:56]`, formatted once a second."""

    __slots__ = ("_clock", "_second", "_text")

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock: Callable[[], float] = clock
        self._second: int = -1
        self._text: str = ""

    def now(self) -> str:
        """Return the local time of day in brackets."""
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._text = time.strftime("[%H:%M:%S]", time.localtime(second))
        return self._text


class LineWriter:
    """Collects lines and writes them in one go. A file that fails (disk full, pipe closed) loses lines only."""

    __slots__ = ("_call_later", "_chars", "_file", "_lines", "_timer")

    def __init__(self, file: TextIO, call_later: CallLater) -> None:
        self._file: TextIO = file
        self._call_later: CallLater = call_later
        self._lines: list[str] = []
        self._chars: int = 0
        self._timer: TimerHandle | None = None

    def write(self, line: str) -> None:
        """Take one line, without its newline; it must be escaped already."""
        self._lines.append(line)
        self._chars += len(line)
        if self._chars >= FLUSH_AT_CHARS:
            self.flush()
        elif self._timer is None:
            self._timer = self._call_later(FLUSH_AFTER_S, self.flush)

    def flush(self) -> None:
        """Write what was collected."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._lines:
            return
        self._lines.append("")
        text = "\n".join(self._lines)
        self._lines = []
        self._chars = 0
        try:
            self._file.write(text)
            self._file.flush()
        except (OSError, ValueError):  # ValueError: the file was closed
            pass

    def close(self) -> None:
        """Write what is left; the file stays open, it is not ours."""
        self.flush()


class EventFormatter(logging.Formatter):
    """`[12:34:56] WARNING mux.connection: link_broken code=DEAD reason=…`, every line escaped."""

    def __init__(self) -> None:
        super().__init__()
        self._stamps = Timestamps()

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and the lines of a traceback below it."""
        name = record.name.removeprefix("terratunnel.")
        lines = [f"{self._stamps.now()} {record.levelname} {name}: {escape(record.getMessage())}"]
        if record.exc_info and record.exc_info[0] is not None:
            lines += [escape(line) for line in self.formatException(record.exc_info).splitlines()]
        return "\n".join(lines)


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send our records of `level` and above to `stream` (stderr), other packages' from WARNING on."""
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(EventFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("terratunnel").setLevel(level)
