"""Parameters: an id or a page that no column or query could take is refused before it gets there."""

import pytest

from terratunnel.server.control.api.parameters import MAX_ID, MAX_PAGE
from terratunnel.testing.databases import Databases
from tests.server.control.lab import pages


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/admin/users/{MAX_ID}", 404),
        (f"/admin/users/{MAX_ID + 1}", 422),
        ("/admin/users/0", 422),
        ("/admin/users/x", 422),
        (f"/api/admin/users?page={MAX_PAGE}&page_size=200", 200),
        (f"/api/admin/users?page={MAX_PAGE + 1}", 422),
        ("/api/admin/users?page_size=201", 422),
        ("/api/admin/users?search=%00", 422),
        (f"/api/admin/audit?before={MAX_ID}", 200),
    ],
)
async def test_what_fits_is_looked_up_and_the_rest_is_refused(databases: Databases, path: str, status: int) -> None:
    async with pages(databases.new()) as lab:
        root = await lab.person("root", admin=True)
        assert (await root.call("GET", path)).status_code == status
