"""The files that pages refer to: one style sheet, small modules, an icon. Used by `app` and the templates.

Rule: they are read once, and their address changes when they do, so a browser may keep them for ever.
"""

import hashlib
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

FOLDER: Final = Path(__file__).with_name("static")
TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FOR_EVER: Final = "public, max-age=31536000, immutable"


class StaticFiles:
    """The files of a folder, under an address with their hash in it."""

    def __init__(self, folder: Path = FOLDER) -> None:
        paths = sorted(path for path in folder.iterdir() if path.suffix in TYPES)
        self._files = {path.name: (path.read_bytes(), TYPES[path.suffix]) for path in paths}
        digest = hashlib.sha256(b"".join(name.encode() + content for name, (content, _) in self._files.items()))
        self.version = digest.hexdigest()[:16]

    def url(self, name: str) -> str:
        """Return the address of a file. Raises KeyError for a name that there is not."""
        self._files[name]
        return f"/static/{self.version}/{name}"

    async def serve(self, request: Request) -> Response:
        """Answer for `/static/{version}/{name}`; an old version gets today's file, and is not to keep it."""
        found = self._files.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        content, kind = found
        current = request.path_params["version"] == self.version
        return Response(content, media_type=kind, headers={"Cache-Control": FOR_EVER if current else "no-cache"})
