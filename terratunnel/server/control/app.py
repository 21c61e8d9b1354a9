"""The pages and the API as one application. Built by `server.app` over its services; it sees requests that the edge has
checked.

Rule: every route is in a router of `api` or `pages`, and the test of who may do what knows each of them.
"""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware import Middleware
from starlette.routing import Route

from terratunnel import __version__
from terratunnel.server.control import problems
from terratunnel.server.control.api import admin as admin_api
from terratunnel.server.control.api import auth, device
from terratunnel.server.control.api import database as database_api
from terratunnel.server.control.api import tunnels as tunnels_api
from terratunnel.server.control.middleware import Frame
from terratunnel.server.control.pages import admin, database, home, signing_in, tunnels
from terratunnel.server.control.site import Site
from terratunnel.server.services import Services

OPENAPI_PATH: Final = "/api/openapi.json"
API: Final = (auth.router, device.router, tunnels_api.router, admin_api.router, database_api.router)
PAGES: Final = (home.router, signing_in.router, tunnels.router, admin.router, database.router)


def build_app(services: Services) -> FastAPI:
    """Return the application."""
    site = Site.over(services)
    app = FastAPI(
        title="Terratunnel",
        version=__version__,
        openapi_url=OPENAPI_PATH,
        docs_url=None,
        redoc_url=None,
        middleware=[Middleware(Frame, secure=services.config.is_secure)],
    )
    app.state.site = site
    app.router.routes.append(Route("/static/{version}/{name}", site.files.serve))
    for router in (*API, *PAGES):
        app.include_router(router)
    problems.install(app)
    app.openapi = _Document(app, services.sessions.cookie)  # type: ignore[method-assign]
    return app


class _Document:
    """The OpenAPI document, made when it is first asked for. Anybody may read it: it is the same on every server."""

    def __init__(self, app: FastAPI, cookie: str) -> None:
        self._app = app
        self._cookie = cookie

    def __call__(self) -> dict[str, Any]:
        """Return it."""
        if self._app.openapi_schema is None:
            document = get_openapi(
                title=self._app.title,
                version=self._app.version,
                description="Accounts, keys and tunnels of this server.",
                routes=self._app.routes,
            )
            document["components"]["securitySchemes"]["session"]["name"] = self._cookie
            self._app.openapi_schema = document
        return self._app.openapi_schema
