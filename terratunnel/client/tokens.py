"""The signed names that servers gave to this user, kept for the next start. Used by `client.app`.

One JSON file of mode 0600, keyed by server and local endpoint. Rule: a file that fails costs a name, never a tunnel.
"""

import json
import logging
import os
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

FILE_NAME: Final = "tokens.json"
# More tunnels than a person names; what was used longest ago is forgotten.
MAX_TOKENS: Final = 200
# Nothing of ours is near it; it bounds what a server can make us send back.
MAX_TOKEN_CHARS: Final = 1_024


def default_state_dir() -> Path | None:
    """Return the directory for this user's state (XDG Base Directory Specification); None without a home."""
    stated = Path(os.environ.get("XDG_STATE_HOME", ""))
    try:
        base = stated if stated.is_absolute() else Path.home() / ".local" / "state"
    except RuntimeError:
        return None
    return base / "terratunnel"


class TokenStore:
    """Tokens by tunnel, in memory and, with a directory, in its file."""

    def __init__(self, directory: Path | None) -> None:
        self._directory: Path | None = directory
        self._tokens: dict[str, str] = {}

    def get(self, server_url: str, local_endpoint: str) -> str:
        """Return the token of a tunnel, or nothing."""
        key = _key(server_url, local_endpoint)
        if key not in self._tokens:
            self._tokens = self._load() | self._tokens
        return self._tokens.get(key, "")

    def put(self, server_url: str, local_endpoint: str, token: str) -> None:
        """Keep the token of a tunnel, as the one used last."""
        if not _is_token(token):
            return
        key = _key(server_url, local_endpoint)
        stored = self._load()
        known = {**stored, **self._tokens}
        known.pop(key, None)
        known[key] = token
        self._tokens = dict(list(known.items())[-MAX_TOKENS:])
        if list(stored.items())[-1:] != [(key, token)]:
            self._save()

    def _load(self) -> dict[str, str]:
        if self._directory is None:
            return {}
        try:
            stored = json.loads((self._directory / FILE_NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            log.debug("tokens_unreadable error=%s", error)
            return {}
        if not isinstance(stored, dict):
            return {}
        return {key: token for key, token in stored.items() if _is_token(token)}

    def _save(self) -> None:
        """Write a new file beside the old one and put it in its place, so that no reader sees half of it."""
        if self._directory is None:
            return
        scratch = self._directory / f".{FILE_NAME}.{os.getpid()}"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                json.dump(self._tokens, file, indent=1)
            os.replace(scratch, self._directory / FILE_NAME)
        except OSError as error:
            log.debug("tokens_unwritable error=%s", error)


def _key(server_url: str, local_endpoint: str) -> str:
    return f"{server_url} {local_endpoint}"


def _is_token(token: object) -> bool:
    return isinstance(token, str) and 0 < len(token) <= MAX_TOKEN_CHARS and token.isascii() and token.isprintable()
