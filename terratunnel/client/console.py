"""What the client tells a person, or a program (`--output json`, one event a line). Used by `client.app`.

Rule: it only watches. Lines are escaped and written in batches; nothing here raises or waits.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol, TextIO

from terratunnel.logs import CallLater, LineWriter, Timestamps, escape

# A target may be 16 KiB long; the line of a person is cut, the event of a program is not.
MAX_TARGET_CHARS: Final = 300
# In an outage the same sentence is repeated to a person this often, not at every try.
REPEAT_AFTER_S: Final = 10.0


class State(Enum):
    """What the client is doing."""

    CONNECTING = "connecting"
    ONLINE = "online"
    RECONNECTING = "reconnecting"
    REFUSED = "refused"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Online:
    """A tunnel that can be visited."""

    url: str
    hostname: str
    local_endpoint: str
    status_url: str


class Exchange(Protocol):
    """What is told of an exchange that is over (`forwarding.Exchange`)."""

    @property
    def items(self) -> list[bytes]: ...
    @property
    def status(self) -> int: ...
    @property
    def error(self) -> str: ...
    @property
    def method(self) -> bytes: ...
    @property
    def target(self) -> bytes: ...
    @property
    def duration_s(self) -> float: ...


class Display(Protocol):
    """Where the client says what happens."""

    def exchange_finished(self, exchange: Exchange) -> None:
        """An exchange is over, well or not."""

    def connecting(self, server_url: str) -> None:
        """A link is being opened."""

    def online(self, tunnel: Online) -> None:
        """Visitors are served."""

    def reconnecting(self, in_s: float, reason: str) -> None:
        """There is no link; the next try follows."""

    def refused(self, reason: str) -> None:
        """The server does not want this client: final."""

    def closed(self, reason: str, failed: bool) -> None:
        """The client ends; the command says a failure on stderr as well."""

    def notice(self, sentence: str) -> None:
        """Something a person should know, and nothing to act on for a program."""

    def close(self) -> None:
        """Write what is left."""


class Lines:
    """For a person: `[12:34:56] POST /hook -> 200 12ms`, and a sentence when the state changes."""

    def __init__(self, file: TextIO, call_later: CallLater, clock: Callable[[], float] = time.monotonic) -> None:
        self._writer: LineWriter = LineWriter(file, call_later)
        self._stamps: Timestamps = Timestamps()
        self._clock: Callable[[], float] = clock
        self._tunnel: Online | None = None
        self._trouble: str = ""
        self._told_at: float = 0.0

    def exchange_finished(self, exchange: Exchange) -> None:
        """Write the line of an exchange."""
        error = f" {escape(exchange.error)}" if exchange.error else ""
        what = f"{escape(exchange.method) or '-'} {_short(escape(exchange.target)) or '-'}"
        took = f"{exchange.duration_s * 1000:.0f}ms"
        self._writer.write(f"{self._stamps.now()} {what} -> {exchange.status or '-'} {took}{error}")

    def connecting(self, server_url: str) -> None:
        """Say it once; tries that follow a failure were announced with it."""
        if self._tunnel is None and not self._trouble:
            self._say(f"Connecting to {escape(server_url)}")

    def online(self, tunnel: Online) -> None:
        """Show the first screen, or what changed since."""
        if self._tunnel is None:
            for line in self.first_screen(tunnel):
                self._writer.write(line)
            self._writer.flush()
        else:
            changed = "" if tunnel.url == self._tunnel.url else ", with a new URL"
            self._say(f"Online again{changed}: {escape(tunnel.url)}")
        self._tunnel = tunnel
        self._trouble = ""

    def reconnecting(self, in_s: float, reason: str) -> None:
        """Say why, and when the next try is; not again and again."""
        now = self._clock()
        if reason == self._trouble and now - self._told_at < REPEAT_AFTER_S:
            return
        self._trouble = reason
        self._told_at = now
        again = f"Trying again in {in_s:.1f} s." if in_s >= 0.05 else "Trying again."
        self._say(f"{escape(reason)} {again}")

    def refused(self, reason: str) -> None:
        """Nothing: the command ends with this sentence on stderr."""

    def closed(self, reason: str, failed: bool) -> None:
        """Say why it ends, where the command will not."""
        if not failed:
            self._say(escape(reason))

    def notice(self, sentence: str) -> None:
        """Say it."""
        self._say(escape(sentence))

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()

    def first_screen(self, tunnel: Online) -> list[str]:
        """Return what is shown when the tunnel is there for the first time."""
        lines = ["", f"  Public URL   {escape(tunnel.url)}", f"  Forwards to  {escape(tunnel.local_endpoint)}"]
        if tunnel.status_url:
            lines.append(f"  Status       {escape(tunnel.status_url)}")
        return [*lines, "", "Each request is shown below. Ctrl-C ends the tunnel.", ""]

    def _say(self, sentence: str) -> None:
        self._writer.write(f"{self._stamps.now()} {sentence}")
        self._writer.flush()


class Events:
    """For a program: one JSON object a line, ASCII only, so nothing has to be escaped again."""

    def __init__(self, file: TextIO, call_later: CallLater) -> None:
        self._writer: LineWriter = LineWriter(file, call_later)

    def exchange_finished(self, exchange: Exchange) -> None:
        """Write a request event; bytes are Latin-1, `status` is null when there was no response."""
        self._write(
            event="request",
            method=exchange.method.decode("latin-1"),
            target=exchange.target.decode("latin-1"),
            status=exchange.status or None,
            duration_ms=round(exchange.duration_s * 1000, 3),
            request_id=_request_id(exchange.items),
            error=exchange.error or None,
        )

    def connecting(self, server_url: str) -> None:
        """Write the state."""
        self._state(State.CONNECTING, server_url=server_url)

    def online(self, tunnel: Online) -> None:
        """Write the state and the tunnel."""
        self._state(
            State.ONLINE,
            url=tunnel.url,
            hostname=tunnel.hostname,
            local_endpoint=tunnel.local_endpoint,
            status_url=tunnel.status_url or None,
        )

    def reconnecting(self, in_s: float, reason: str) -> None:
        """Write the state."""
        self._state(State.RECONNECTING, in_s=round(in_s, 3), reason=reason)

    def refused(self, reason: str) -> None:
        """Write the state."""
        self._state(State.REFUSED, reason=reason)

    def closed(self, reason: str, failed: bool) -> None:
        """Write the state."""
        self._state(State.CLOSED, reason=reason)

    def notice(self, sentence: str) -> None:
        """Write a sentence."""
        self._write(event="notice", message=sentence)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()

    def _state(self, state: State, **fields: str | float | None) -> None:
        self._write(event=state.value, **fields)
        self._writer.flush()

    def _write(self, **fields: str | float | None) -> None:
        self._writer.write(json.dumps(fields))


def _short(text: str) -> str:
    return text if len(text) <= MAX_TARGET_CHARS else text[: MAX_TARGET_CHARS - 1] + "…"


def _request_id(items: list[bytes]) -> str | None:
    """Return the id of a request (`[method, target, name, value, …]`), which is mostly among its last fields."""
    for index in range(len(items) - 2, 1, -2):
        if items[index].lower() == b"x-request-id":
            return items[index + 1].decode("latin-1")
    return None
