"""Static files: kept for ever under an address that changes with them."""

from pathlib import Path

import pytest

from terratunnel.server.control.static_files import StaticFiles
from terratunnel.testing.databases import SQLiteFiles
from tests.server.control.lab import pages


def test_the_address_changes_when_a_file_does(tmp_path: Path) -> None:
    (tmp_path / "app.css").write_text("a {}")
    (tmp_path / "notes.txt").write_text("no file of the pages")
    before = StaticFiles(tmp_path)
    assert before.url("app.css") == f"/static/{before.version}/app.css"
    (tmp_path / "app.css").write_text("b {}")
    assert StaticFiles(tmp_path).version != before.version
    with pytest.raises(KeyError):
        before.url("notes.txt")


async def test_a_file_is_served_with_its_type_to_be_kept(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        files = StaticFiles()
        response = await lab.client.get(files.url("main.js"))
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert (await lab.client.get(files.url("icon.svg"))).headers["Content-Type"] == "image/svg+xml"
        old = await lab.client.get("/static/0123456789abcdef/main.js")
        assert (old.status_code, old.headers["Cache-Control"]) == (200, "no-cache")
        assert old.content == response.content


@pytest.mark.parametrize("name", ["nothing.js", "..%2fapp.py", "%2e%2e%2fapp.py", "..\\app.py"])
async def test_nothing_else_is_served(sqlite: SQLiteFiles, name: str) -> None:
    async with pages(sqlite.new()) as lab:
        assert (await lab.client.get(f"/static/{StaticFiles().version}/{name}")).status_code == 404


def test_no_file_reaches_outside() -> None:
    """Fonts, scripts and pictures of others would tell them who uses the server, and could change under us."""
    folder = Path(StaticFiles.serve.__code__.co_filename).with_name("static")
    for path in folder.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text, path.name
        assert "https:" not in text, path.name
        assert "innerHTML" not in text, path.name
        assert "eval(" not in text, path.name
