"""Templates: every value is escaped, and a value that is missing is a bug that shows."""

import pytest
from jinja2 import UndefinedError

from terratunnel.server.control.rendering import FOLDER
from terratunnel.testing.databases import SQLiteFiles
from tests.server.control.lab import pages

HOSTILE = '"><script>alert(1)</script>'


async def test_names_that_people_choose_are_escaped(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        root = await lab.person("root", admin=True)
        await root.post("/tunnels/new", {"name": HOSTILE})
        lab.connect(root.subdomain, local_endpoint=HOSTILE, user_agent=HOSTILE, username=HOSTILE, agent_address=HOSTILE)
        for path in (
            "/",
            "/admin/database?table=tunnels",
            "/admin/audit?user=" + HOSTILE,
            "/admin/users?search=%22%3E%3Cb%20id=x",
        ):
            text = (await root.get(path)).text
            assert "<script>alert" not in text, path
            assert "<b id=x" not in text, path


async def test_a_value_that_is_missing_is_an_error(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        with pytest.raises(UndefinedError):
            lab.app.state.site.pages.page("tunnel_delete.html", None)


def test_nothing_is_marked_as_safe() -> None:
    for path in FOLDER.iterdir():
        assert "safe" not in path.read_text(), path.name
        assert "autoescape" not in path.read_text(), path.name
