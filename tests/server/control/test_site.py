"""What every route works with."""

import pytest

from terratunnel.server.control.site import Site
from terratunnel.server.storage.models import Tunnel
from terratunnel.testing.databases import SQLiteFiles
from tests.server.control.lab import pages


@pytest.mark.parametrize(
    ("config", "url"),
    [
        ({}, "http://happy-panda.localhost:8000"),
        ({"domain": "tunnel.example.com"}, "https://happy-panda.tunnel.example.com"),
        (
            {"domain": "tunnel.example.com", "public_url": "https://tunnel.example.com:8443"},
            "https://happy-panda.tunnel.example.com:8443",
        ),
    ],
)
async def test_the_url_of_a_tunnel_is_as_visitors_reach_it(
    sqlite: SQLiteFiles, config: dict[str, str], url: str
) -> None:
    async with pages(sqlite.new(), **config) as lab:
        site: Site = lab.app.state.site
        assert site.url_of(Tunnel(subdomain="happy-panda")) == url
        assert site.browser.dialect == "sqlite"
