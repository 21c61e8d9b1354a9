"""The command lines that pages show, ready to be copied. Used by the pages.

Rule: what is shown runs as it stands in a shell, with the addresses of this very server.
"""

import shlex
from typing import Final

EXAMPLE_ENDPOINT: Final = "http://localhost:3000"
# What people type from habit, once they have logged in.
SHORT: Final = "terratunnel http 3000"


def server_url(base_url: str) -> str:
    """Return the address that clients connect to."""
    return base_url.replace("http", "ws", 1)


def client(base_url: str, key: str = "") -> str:
    """Return the command that connects a client, with its key or without one."""
    parts = ["terratunnel", "client", "--server-url", server_url(base_url)]
    parts += ["--api-key", key] if key else []
    return shlex.join([*parts, "--local-endpoint", EXAMPLE_ENDPOINT])


def login(base_url: str) -> str:
    """Return the command that gets a key and keeps it."""
    return shlex.join(["terratunnel", "login", "--server-url", base_url])


def login_link() -> str:
    """Return the command with which an operator lets somebody in."""
    return "terratunnel admin login-link NAME"
