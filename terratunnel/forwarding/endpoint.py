"""Where a service listens: what a person writes, and what a connection needs. Used by pool and options.

Rule: what cannot be used is refused with a sentence that says what to write instead.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from terratunnel.errors import TerratunnelError


class EndpointError(TerratunnelError):
    """A local endpoint that cannot be used; the sentence says why and what to write instead."""


@dataclass(frozen=True)
class Endpoint:
    """Where a service listens. `path` is set for a unix socket."""

    host: str
    port: int
    tls: bool = False
    path: str | None = None
    text: str = ""

    def __str__(self) -> str:
        return self.text


def parse_endpoint(text: str) -> Endpoint:
    """Return the endpoint for `http://host:port`, `https://…` or `unix:/path`; raises EndpointError."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path:
            raise EndpointError(f"The local endpoint {text!r} names no socket; write unix:/path/to/socket.")
        return Endpoint("localhost", 0, path=path, text=text)
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as error:
        raise EndpointError(
            f"The local endpoint {text!r} is not a URL ({error}); write http://localhost:3000."
        ) from error
    if url.scheme not in ("http", "https") or not url.hostname or port == 0:
        raise EndpointError(f"The local endpoint {text!r} is not http://host:port, https://host:port or unix:/path.")
    if url.path not in ("", "/") or url.query or url.fragment or "@" in url.netloc:
        raise EndpointError(f"The local endpoint {text!r} may hold a scheme, a host and a port only.")
    tls = url.scheme == "https"
    return Endpoint(url.hostname, port or (443 if tls else 80), tls, None, f"{url.scheme}://{url.netloc}")
