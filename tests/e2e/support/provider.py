"""The provider of `terratunnel.testing.provider` as a process of its own. Used by the journeys of accounts.

Rule: it says where it is by an event on stdout, and lives until it is ended.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Final

from terratunnel.testing.provider import CLIENT_ID, CLIENT_SECRET, Person, providing
from tests.e2e.support.processes import Program

PEOPLE: Final = (
    Person(1001, "grace", "grace@example.com", "Grace Hopper"),
    Person(1002, "ada", "ada@example.com", "Ada Lovelace", email_hidden=True),
)


def start(folder: Path) -> Program:
    """Start the provider; its `ready` event says where it is."""
    return Program("provider", [sys.executable, "-m", "tests.e2e.support.provider"], folder)


def variables(provider: Program) -> dict[str, str]:
    """What a server has to be told to sign people in there, with both kinds of app; ada is its administrator."""
    url = str(provider.wait("ready")["url"])
    found: dict[str, str] = {}
    for kind in ("GITHUB", "GITLAB"):
        app = {"URL": url, "CLIENT_ID": CLIENT_ID, "CLIENT_SECRET": CLIENT_SECRET}
        found |= {f"{kind}_{name}": value for name, value in app.items()}
        found[f"TERRATUNNEL_{kind}_ADMIN_USERS"] = "ada"
    return found


async def serve() -> None:
    """Provide until the process is ended."""
    async with providing(*PEOPLE) as provider:
        print(json.dumps({"event": "ready", "url": provider.url}), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
