"""The application as a whole: its document, and that all of it works while the database does not."""

import shutil

from terratunnel.server.storage.urls import locate
from terratunnel.testing.databases import SQLiteFiles
from tests.server.control.lab import PAGE, document, pages


def test_the_document_describes_the_api_and_how_to_call_it() -> None:
    described = document()
    assert described["info"]["title"] == "Terratunnel"
    assert all(path.startswith(("/api/", "/auth/me")) for path in described["paths"])
    schemes = described["components"]["securitySchemes"]
    assert schemes["session"] == {"type": "apiKey", "in": "cookie", "name": "terratunnel_session"}
    assert schemes["key"]["scheme"] == "bearer"
    assert described["paths"]["/api/auth/keys"]["get"]["security"] == [{"key": []}, {"session": []}]
    assert described["paths"]["/api/admin/live"]["get"]["security"] == [{"session": []}]


async def test_over_https_the_document_names_the_cookie_that_browsers_vouch_for(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new(), domain="tunnel.example.com") as lab:
        described = (await lab.client.get("/api/openapi.json")).json()
    assert described["components"]["securitySchemes"]["session"]["name"] == "__Host-terratunnel_session"


async def test_while_the_database_is_gone_pages_say_so(sqlite: SQLiteFiles) -> None:
    url = sqlite.new()
    path = locate(url).path
    assert path is not None
    async with pages(url) as lab:
        ann = await lab.person("ann")
        shutil.move(path, f"{path}.away")
        page, answer = await ann.get("/"), await ann.call("GET", "/api/tunnels")
        assert page.status_code == answer.status_code == 503
        assert "The database" in page.text
        assert answer.headers["Retry-After"] == "2"
        assert (await lab.client.get("/", headers=PAGE)).status_code == 200
        shutil.move(f"{path}.away", path)
        assert (await ann.get("/")).status_code == 200
