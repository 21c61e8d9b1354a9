"""The JSON API of the client on 127.0.0.1: `/status` and `/health`. Used by `client.app`, and its server by the demo.

Rule: only this machine's own programs are answered (`security.md` L1): Host from a list, no foreign Origin, no CORS.
"""

import asyncio
import importlib
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

LOOPBACK: Final = "127.0.0.1"
_NAMES: Final = (LOOPBACK, "localhost", "[::1]")
_HTTP_PORT: Final = 80
_BACKLOG: Final = 128
# What serves the API is imported beside the first handshake, which it would hold up for a tenth of a second.
_MODULES: Final = (
    "uvicorn",
    "uvicorn.protocols.http.h11_impl",
    "starlette.applications",
    "starlette.responses",
    "starlette.routing",
)
_FIELDS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Status = dict[str, object]


def bind(port: int) -> socket.socket:
    """Return a listening socket on 127.0.0.1. Raises OSError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would let two programs have the port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((LOOPBACK, port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def port_of(sock: socket.socket) -> int:
    """Return the port a socket listens on."""
    return int(sock.getsockname()[1])


async def load() -> None:
    """Import what serves the API, without holding up the loop more than the interpreter's lock does."""
    await asyncio.to_thread(lambda: [importlib.import_module(name) for name in _MODULES])


class AppServer:
    """Serves an ASGI application on a bound socket in this loop. Signals are the command's business, logs are ours."""

    def __init__(self, app: "ASGIApp", sock: socket.socket) -> None:
        import uvicorn

        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=1,
        )
        config.load()
        self._sock: socket.socket = sock
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)

    async def start(self) -> None:
        """Begin to serve. `Server.serve` would take the signal handlers, and wake ten times a second for a Date."""
        await self._server.startup(sockets=[self._sock])

    async def close(self) -> None:
        """Answer what is under way and stop."""
        await self._server.shutdown(sockets=[self._sock])


def status_app(port: int, status: Callable[[], Status]) -> "Starlette":
    """Return the application. `status` returns the body of `/status`, with `connected` in it."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def show_status(request: "Request") -> "Response":
        return _guarded(request, port) or JSONResponse(status(), headers=_FIELDS)

    async def show_health(request: "Request") -> "Response":
        connected = bool(status()["connected"])
        body = {"status": "healthy" if connected else "unhealthy", "connected": connected}
        return _guarded(request, port) or JSONResponse(body, 200 if connected else 503, headers=_FIELDS)

    return Starlette(routes=[Route("/status", show_status), Route("/health", show_health)])


def _guarded(request: "Request", port: int) -> "Response | None":
    """Return the refusal of a request that a page of somebody else may have sent (DNS rebinding, cross-site)."""
    from starlette.responses import JSONResponse

    allowed = {f"{name}:{port}" for name in _NAMES} | ({*_NAMES} if port == _HTTP_PORT else set())
    hosts = request.headers.getlist("host")
    if len(hosts) != 1 or hosts[0].lower() not in allowed:
        sentence = f"This API is for programs on this machine; ask for http://{LOOPBACK}:{port}."
        return JSONResponse({"error": "forbidden_host", "message": sentence}, 403, headers=_FIELDS)
    origins = request.headers.getlist("origin")
    if any(origin.lower().removeprefix("http://") not in allowed for origin in origins):
        sentence = "Pages of other origins may not read this API."
        return JSONResponse({"error": "forbidden_origin", "message": sentence}, 403, headers=_FIELDS)
    return None
