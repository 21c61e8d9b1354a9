"""Who may sign in, from the environment. Used by `server`, `demo` and `admin`.

Rule: these are variables only, never options: most are secrets, and a list of processes would show them.
"""

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from terratunnel.server.config import AccountsConfig, ProviderConfig

_GITHUB_URL: Final = "https://github.com"
_GITHUB_API_URL: Final = "https://api.github.com"
_GITLAB_URL: Final = "https://gitlab.com"


def accounts_config() -> "AccountsConfig":
    """Return what the environment says about accounts. Raises ConfigError."""
    from terratunnel.server.config import LOCAL_PROVIDER, AccountsConfig

    admins = {
        "github": user_names("TERRATUNNEL_GITHUB_ADMIN_USERS"),
        "gitlab": user_names("TERRATUNNEL_GITLAB_ADMIN_USERS"),
        LOCAL_PROVIDER: user_names("TERRATUNNEL_LOCAL_ADMIN_USERS"),
    }
    return AccountsConfig(
        providers=tuple(provider for provider in (_github(), _gitlab()) if provider is not None),
        admins=frozenset((provider, name) for provider, names in admins.items() for name in names),
        algorithm=_text("JWT_ALGORITHM", "HS256"),
        session_hours=_number("JWT_EXPIRATION_HOURS", 24.0),
        audit_retention_days=_number("TERRATUNNEL_AUDIT_RETENTION_DAYS", 0.0),
        token_exchange=_text("TERRATUNNEL_TOKEN_EXCHANGE", "own"),
    )


def database_variable() -> str:
    """Return TERRATUNNEL_DATABASE_URL; empty means the SQLite file of --db-path."""
    return _text("TERRATUNNEL_DATABASE_URL", "")


def user_names(variable: str) -> list[str]:
    """Return the user names of a comma-separated list, in lower case. Raises ConfigError."""
    from terratunnel.server.config import ConfigError
    from terratunnel.server.names import is_valid_username

    names = [name.strip().removeprefix("@").lower() for name in _text(variable, "").split(",")]
    for name in filter(None, names):
        if not is_valid_username(name):  # a slip, and nobody should become an administrator by one
            raise ConfigError(f"{variable} holds {name!r}, which is no user name; separate names by commas.")
    return list(filter(None, names))


def _github() -> "ProviderConfig | None":
    url = _url("GITHUB_URL", _GITHUB_URL)
    # GitHub Enterprise Server has its API below its own address.
    api_url = _url("GITHUB_API_URL", _GITHUB_API_URL if url == _GITHUB_URL else f"{url}/api/v3")
    app = _text("GITHUB_CLIENT_ID", ""), _text("GITHUB_CLIENT_SECRET", "")
    return _provider("github", "GitHub", app, url, api_url)


def _gitlab() -> "ProviderConfig | None":
    url = _url("GITLAB_URL", _GITLAB_URL)
    app = _text("GITLAB_CLIENT_ID", ""), _text("GITLAB_CLIENT_SECRET", "")
    return _provider("gitlab", "GitLab", app, url, f"{url}/api/v4")


def _provider(name: str, label: str, app: tuple[str, str], url: str, api_url: str) -> "ProviderConfig | None":
    from terratunnel.server.config import ProviderConfig

    return ProviderConfig(name, label, *app, url, api_url) if any(app) else None


def _text(variable: str, default: str) -> str:
    return os.environ.get(variable, "").strip() or default


def _url(variable: str, default: str) -> str:
    return _text(variable, default).rstrip("/")


def _number(variable: str, default: float) -> float:
    from terratunnel.server.config import ConfigError

    text = _text(variable, "")
    try:
        number = float(text) if text else default
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ConfigError(f"{variable} is {text!r}, which is no number of at least 0.")
    return number
