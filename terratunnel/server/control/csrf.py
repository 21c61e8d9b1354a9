"""Whether a change was asked for by a page of ours. Used before every change that a session makes, and before what
is costly.

Rule (security.md A1): a tunnel's page is a sibling, so SameSite does not hold it off; the Origin has to be ours and the
token the session's. Calls by key need neither: no browser sends a key by itself.
"""

import hmac
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request

from terratunnel.errors import TerratunnelError

_NOT_OURS: Final = "This was not asked for by a page of this server; open {} and try again."


class CsrfRefused(TerratunnelError):
    """The change was not asked for by a page of ours."""

    status = 403


def check_origin(request: Request, base_url: str) -> None:
    """Raise CsrfRefused unless the browser says that the request comes from our own pages."""
    origin = request.headers.get("origin")
    if origin is None and request.headers.get("sec-fetch-site") == "same-origin":
        return
    if origin != origin_of(base_url):
        raise CsrfRefused(_NOT_OURS.format(base_url))


def check_link(request: Request, base_url: str) -> None:
    """Raise CsrfRefused where the browser says that a page of others asks, as a link or as part of it."""
    origin = request.headers.get("origin")
    elsewhere = request.headers.get("sec-fetch-site") in ("same-site", "cross-site")
    if elsewhere or (origin is not None and origin != origin_of(base_url)):
        raise CsrfRefused(_NOT_OURS.format(base_url))


def check_token(given: str | None, expected: str) -> None:
    """Raise CsrfRefused unless the form or the header has the session's token."""
    if not given or not hmac.compare_digest(given.encode(), expected.encode()):
        raise CsrfRefused("The page was too old for this change; open it again and repeat what you did.")


def origin_of(url: str) -> str:
    """Return the origin of a URL as browsers write it."""
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}[parts.scheme]
    port = "" if parts.port in (None, default) else f":{parts.port}"
    return f"{parts.scheme}://{parts.hostname}{port}"
