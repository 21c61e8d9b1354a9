"""What every route works with: the services, and what the pages add to them. Built by `app`, handed out by `deps`."""

from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from terratunnel.server.control.live import LiveView
from terratunnel.server.control.rendering import Pages
from terratunnel.server.control.sqlbrowser.browser import SqlBrowser
from terratunnel.server.control.static_files import StaticFiles
from terratunnel.server.control.throttle import Throttle
from terratunnel.server.services import Services
from terratunnel.server.storage.models import Tunnel


@dataclass(frozen=True)
class Site:
    """One server's pages."""

    services: Services
    files: StaticFiles
    pages: Pages
    browser: SqlBrowser
    live: LiveView
    throttle: Throttle

    @classmethod
    def over(cls, services: Services) -> Self:
        """Build it over the services of a server."""
        files = StaticFiles()
        return cls(
            services,
            files,
            Pages(files, services.sessions, services.config.domain),
            SqlBrowser(services.database),
            LiveView(services.routes),
            Throttle(),
        )

    @property
    def base_url(self) -> str:
        """The address of the pages."""
        return self.services.base_url()

    def url_of(self, tunnel: Tunnel) -> str:
        """Return the public URL of a tunnel."""
        return self.services.config.tunnel_url(tunnel.subdomain, urlsplit(self.base_url).port or 0)
