"""What holds for every answer and every request of the pages. Used by `app`, outermost.

Rule: a page runs no script but our files, is framed by nobody and kept by no cache; a body has a bound.
"""

from typing import Final

from fastapi import HTTPException
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The longest form is a query of 10,000 characters, three bytes each when it is encoded.
MAX_BODY_BYTES: Final = 65_536
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
# Referrer-Policy is not no-referrer: with that, browsers send `Origin: null` with our own forms (Fetch §3.2).
FIELDS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
HSTS: Final = "max-age=31536000"


class Frame:
    """Adds the fields, bounds the body, and answers HEAD as GET; the server that runs us leaves the body away."""

    def __init__(self, app: ASGIApp, secure: bool) -> None:
        self._app = app
        self._fields = FIELDS | ({"Strict-Transport-Security": HSTS} if secure else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._fields.items():
                    headers.setdefault(name, value)
            await send(message)

        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        await self._app({**scope, "method": method}, _bounded(receive), framed)


def _bounded(receive: Receive) -> Receive:
    left = MAX_BODY_BYTES

    async def bounded() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            # The one error that FastAPI does not take for a body that it cannot read.
            raise HTTPException(413, f"The body is longer than {MAX_BODY_BYTES} bytes")
        return message

    return bounded
