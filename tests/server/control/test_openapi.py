"""The OpenAPI document is true: whatever it allows is answered as it says, and whatever it does not is refused so.

Schemathesis makes the requests from the document, against the pages of a server on a port of its own.
"""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis import Case
from schemathesis.specs.openapi.checks import positive_data_acceptance

from terratunnel.client import api
from terratunnel.testing.databases import SQLiteFiles
from terratunnel.testing.provider import Person, providing
from tests.server.control.lab import BASE_URL, document, pages

# Enough for every kind of thing that can be wrong with a parameter, a body, a header or a method.
EXAMPLES = 25


class Serving:
    """The pages on an event loop and a port of their own, with an administrator's session and a user's key."""

    def __init__(self, database_url: str) -> None:
        self.url = ""
        self.session: dict[str, str] = {}
        self.key = ""
        self._database_url = database_url
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def start(self) -> None:
        """Serve."""
        self._thread.start()
        assert self._ready.wait(30)

    def stop(self) -> None:
        """Stop serving."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(30)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with (
            providing(Person(1, "ann"), Person(2, "root")) as provider,
            pages(self._database_url, provider.config("github"), provider.config("gitlab")) as lab,
        ):
            admin, user = await lab.person("root", admin=True), await lab.person("ann")
            for name in ("bob", "eve"):
                await lab.person(name)
            self.session = admin.session | {"Origin": BASE_URL, "X-CSRF-Token": admin.csrf_token}
            self.key = (await lab.key_of(user)).plain
            lab.connect(user.subdomain, connected_at=1_750_000_000.0, username="ann", user_id=user.actor.id)
            sock = api.bind(0)
            server = api.AppServer(lab.app, sock)
            await server.start()
            self.url = f"http://{api.LOOPBACK}:{api.port_of(sock)}"
            self._ready.set()
            await self._over.wait()
            await server.close()


@pytest.fixture(scope="module")
def serving(sqlite: SQLiteFiles) -> Iterator[Serving]:
    server = Serving(sqlite.new())
    server.start()
    yield server
    server.stop()


schema = schemathesis.openapi.from_dict(document())
schema.config.generation.update(with_security_parameters=False)  # who calls is up to the tests below
SETTINGS = hypothesis.settings(
    max_examples=EXAMPLES, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
)
# A text of SQL that is none is as good a body as any other, and still no query.
ANSWERED_BY_WHAT_IT_SAYS = "/api/admin/db/query"


@schema.parametrize()
@SETTINGS
def test_the_api_is_as_its_document_says(case: "Case[Any]", serving: Serving) -> None:
    excluded: list[Any] = [positive_data_acceptance] if case.path == ANSWERED_BY_WHAT_IT_SAYS else []
    case.call_and_validate(base_url=serving.url, headers=serving.session, excluded_checks=excluded)


@schema.include(path_regex="^/api/(auth|tunnels)").parametrize()
@SETTINGS
def test_the_api_is_as_its_document_says_with_a_key_too(case: "Case[Any]", serving: Serving) -> None:
    case.call_and_validate(base_url=serving.url, headers={"Authorization": f"Bearer {serving.key}"})
