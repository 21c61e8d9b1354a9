"""The local app of the demo: a page, an echo for webhooks and a stream of events. Used by `cli.demo`.

Rule: it shows what arrived and keeps nothing; what a visitor sent is never part of a page.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

MAX_EVENTS: Final = 60
EVENT_EVERY_S: Final = 1.0
# More of a body than this is counted and hashed, not echoed.
MAX_ECHO_CHARS: Final = 1_024

_PAGE: Final = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Hello from Terratunnel</title></head>
<body>
<h1>Hello from your laptop</h1>
<p>This page came from a sample app on this machine, through a Terratunnel server and back.</p>
<ul>
<li><code>POST /hook</code> answers with what it received: method, target, headers, and the SHA-256 of the body</li>
<li><a href="/events"><code>GET /events</code></a> sends an event every second, for a minute</li>
</ul>
</body>
</html>
"""


def sample_app(event_every_s: float = EVENT_EVERY_S) -> Starlette:
    """Return the application."""

    async def events(request: Request) -> Response:
        fields = {"Cache-Control": "no-store"}
        return StreamingResponse(_events(event_every_s), media_type="text/event-stream", headers=fields)

    return Starlette(
        routes=[
            Route("/", _hello),
            Route("/events", events),
            Route("/{path:path}", _Echo()),
        ]
    )


async def _hello(request: Request) -> Response:
    return HTMLResponse(_PAGE)


class _Echo:
    """Answers with what arrived. A class, because to the router a function knows a list of methods, and GET alone
    without one.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await _echo(Request(scope, receive))
        await response(scope, receive, send)


async def _echo(request: Request) -> Response:
    digest = hashlib.sha256()
    size = 0
    start = b""
    async for piece in request.stream():
        digest.update(piece)
        size += len(piece)
        start = (start + piece)[:MAX_ECHO_CHARS] if len(start) < MAX_ECHO_CHARS else start
    return JSONResponse(
        {
            "method": request.method,
            "target": _target(request),
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.headers.raw],
            "body_bytes": size,
            "body_sha256": digest.hexdigest(),
            "body_start": start.decode("utf-8", "replace"),
        }
    )


def _target(request: Request) -> str:
    path: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


async def _events(every_s: float) -> AsyncIterator[bytes]:
    for number in range(1, MAX_EVENTS + 1):
        data = json.dumps({"number": number, "of": MAX_EVENTS})
        yield f"id: {number}\nevent: tick\ndata: {data}\n\n".encode()
        await asyncio.sleep(every_s)
