"""Errors as answers: one sentence, as JSON or as a page. Installed by `app`.

Rule: what went wrong is said as it was raised; a stranger's text in it is escaped, and a bug says nothing of itself.
"""

from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from terratunnel.errors import TerratunnelError
from terratunnel.server.auth.authenticator import Refused
from terratunnel.server.auth.oauth import SignInFailed
from terratunnel.server.control.csrf import CsrfRefused
from terratunnel.server.control.deps import NotSignedIn, site_of
from terratunnel.server.control.schemas import Problem
from terratunnel.server.control.sqlbrowser.answers import BrowserUnavailable, QueryRefused
from terratunnel.server.control.sqlbrowser.tables import NotNumbered
from terratunnel.server.control.throttle import TooManyTries
from terratunnel.server.storage.errors import StorageUnavailable
from terratunnel.server.tunnels import AccountError

_OWN_STATUS: Final = (AccountError, SignInFailed, Refused, CsrfRefused, NotSignedIn, TooManyTries)
_STATUS: Final[dict[type[TerratunnelError], int]] = {
    QueryRefused: 400,
    NotNumbered: 400,
    BrowserUnavailable: 409,
    StorageUnavailable: 503,
}
_SENTENCES: Final = {
    404: "There is nothing here.",
    405: "This address does not take that method.",
    500: "Something went wrong in the server; its log says what.",
}
_RETRY_AFTER_S: Final = 2


def install(app: FastAPI) -> None:
    """Let an application answer its errors."""
    app.add_exception_handler(TerratunnelError, _raised)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _broken)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return which errors a route of the API has, for the OpenAPI document."""
    return {status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses}


def answer(request: Request, status: int, sentence: str, fields: dict[str, str] | None = None) -> Response:
    """Return an error as a page or as JSON, by what the visitor is."""
    phrase = HTTPStatus(status).phrase
    if _wants_page(request):
        page = site_of(request).pages.page(
            "error.html", None, {"code": status, "phrase": phrase, "sentence": sentence}, status
        )
        page.headers.update(fields or {})
        return page
    name = phrase.lower().replace(" ", "_")
    return JSONResponse({"error": name, "status": status, "message": sentence}, status, fields)


async def _raised(request: Request, error: Exception) -> Response:
    if isinstance(error, NotSignedIn) and request.method == "GET" and _wants_page(request):
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/auth/login?{urlencode({'redirect_uri': path})}", 303)
    status = _status_of(error)
    if status == 500:
        raise error
    return answer(request, status, str(error), _fields_of(error, status))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = _SENTENCES.get(error.status_code, f"{error.detail}.")
    return answer(request, error.status_code, sentence, dict(error.headers or {}))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path", "header"))
    return answer(request, 422, f"{where or 'The request'}: {first['msg']}.")


async def _broken(request: Request, error: Exception) -> Response:
    return answer(request, 500, _SENTENCES[500])


def _status_of(error: Exception) -> int:
    if isinstance(error, _OWN_STATUS):
        return error.status
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)


def _fields_of(error: Exception, status: int) -> dict[str, str]:
    if isinstance(error, TooManyTries):
        return {"Retry-After": str(error.wait_s)}
    return {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": str(_RETRY_AFTER_S)}}.get(status, {})


def _wants_page(request: Request) -> bool:
    programs = request.url.path.startswith("/api/") or request.url.path == "/auth/me"
    return not programs and "text/html" in request.headers.get("accept", "")
