"""Calls of a server's JSON API, one at a time, without any package of a server. Used by `cli.login`.

Rule: what comes back is bounded and checked, and whatever goes wrong is one sentence.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from terratunnel import __version__
from terratunnel.errors import TerratunnelError

if TYPE_CHECKING:
    import http.client

TIMEOUT_S: Final = 20.0
# What the API answers has a few hundred bytes.
MAX_ANSWER_BYTES: Final = 65_536


class CallFailed(TerratunnelError):
    """The server did not do it; `status` is 0 when it could not be asked at all."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Reply:
    """A good answer."""

    status: int
    fields: Mapping[str, Any]

    def text(self, name: str) -> str:
        """Return a text of it. Raises CallFailed."""
        value = self.fields.get(name)
        if not isinstance(value, str) or not value or not value.isprintable():
            raise CallFailed(f"The server's answer has no {name}; is it a terratunnel server of this version?")
        return value

    def number(self, name: str, least: float, most: float) -> float:
        """Return a number of it, within bounds. Raises CallFailed."""
        value = self.fields.get(name)
        if not isinstance(value, (int, float)):
            raise CallFailed(f"The server's answer has no {name}; is it a terratunnel server of this version?")
        return min(max(value, least), most)


def call(server_url: str, method: str, path: str, body: Mapping[str, object] | None = None, key: str = "") -> Reply:
    """Ask the server at a URL. Raises CallFailed, or ConfigError for a URL that is none."""
    connection = _connection(server_url)
    fields = {"Accept": "application/json", "User-Agent": f"terratunnel/{__version__}"}
    if body is not None:
        fields["Content-Type"] = "application/json"
    if key:
        fields["Authorization"] = f"Bearer {key}"
    try:
        status, data = _exchange(connection, method, path, json.dumps(body) if body is not None else None, fields)
    except (OSError, ValueError) as error:
        raise CallFailed(
            f"The server at {server_url} cannot be reached: {_why(error)}. Name yours with --server-url."
        ) from error
    finally:
        connection.close()
    return _reply(server_url, status, data)


def _exchange(
    connection: "http.client.HTTPConnection", method: str, path: str, body: str | None, fields: dict[str, str]
) -> tuple[int, bytes]:
    import http.client

    try:
        connection.request(method, path, body, fields)
        response = connection.getresponse()
        return response.status, response.read(MAX_ANSWER_BYTES)
    except http.client.HTTPException as error:
        raise ValueError("it does not answer as a web server does") from error


def _why(error: Exception) -> str:
    from terratunnel.client.link import why

    return why(error).rstrip(".")


def _connection(server_url: str) -> "http.client.HTTPConnection":
    import http.client
    import ssl

    from terratunnel.client.config import parse_server_url

    address = parse_server_url(server_url)
    if address.tls:
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(address.host, address.port, timeout=TIMEOUT_S, context=context)
    return http.client.HTTPConnection(address.host, address.port, timeout=TIMEOUT_S)


def _reply(server_url: str, status: int, data: bytes) -> Reply:
    try:
        answer = json.loads(data)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        hint = "it may be behind https" if 300 <= status < 400 else "is it a terratunnel server?"
        raise CallFailed(
            f"What answers at {server_url} does not speak for terratunnel (status {status}); {hint}", status
        )
    if status >= 300:
        message = answer.get("message")
        said = message if isinstance(message, str) and message else f"It answered with status {status}."
        raise CallFailed(f"The server says: {said}", status)
    return Reply(status, answer)
