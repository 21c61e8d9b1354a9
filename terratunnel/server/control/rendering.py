"""Templates into pages. Used by the pages and the errors. Rule: every value is escaped; a missing one is an error."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from terratunnel import __version__
from terratunnel.server.actors import Actor
from terratunnel.server.auth.sessions import Sessions
from terratunnel.server.control import words
from terratunnel.server.control.static_files import StaticFiles

FOLDER: Final = Path(__file__).with_name("templates")


class Pages:
    """Renders templates, with what every page needs."""

    def __init__(
        self, files: StaticFiles, sessions: Sessions, domain: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._templates = Environment(
            loader=FileSystemLoader(FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        filters: dict[str, Callable[..., str]] = {
            "ago": self._ago,
            "utc": words.utc,
            "iso": words.iso,
            "size": words.size,
            "number": words.number,
            "details": words.details,
        }
        self._templates.filters |= filters
        self._templates.globals |= {"static": files.url, "domain": domain, "version": __version__}

    def page(
        self, template: str, actor: Actor | None, values: Mapping[str, object] | None = None, status: int = 200
    ) -> HTMLResponse:
        """Return a page for whoever is signed in."""
        token = self._sessions.csrf_token(actor) if actor is not None else ""
        text = self._templates.get_template(template).render(values or {}, actor=actor, csrf_token=token)
        return HTMLResponse(text, status)

    def _ago(self, moment: datetime) -> str:
        return words.ago(moment, datetime.fromtimestamp(self._clock(), UTC))
