"""The access log: one line for each exchange in the guide's form, `[12:34:56] POST /hook -> 200 12ms`.

Used by the edge. Lines are collected and written in batches; bytes from the internet are escaped, and secrets left out.
"""

from terratunnel.logs import LineWriter, Timestamps, escape, redacted


class AccessLog:
    """Writes through a LineWriter, which batches and flushes."""

    def __init__(self, lines: LineWriter) -> None:
        self._lines: LineWriter = lines
        self._stamps: Timestamps = Timestamps()

    def write(self, method: bytes, target: bytes, status: int, duration_s: float) -> None:
        """Note one exchange; status 0 is one that was cut before it had any."""
        stamp = self._stamps.now()
        request = f"{escape(method)} {escape(redacted(target))}"
        self._lines.write(f"{stamp} {request} -> {status or '-'} {duration_s * 1000:.0f}ms")
