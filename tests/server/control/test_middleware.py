"""What holds for every answer of the pages."""

import re

import pytest

from terratunnel.server.control.middleware import MAX_BODY_BYTES
from terratunnel.testing.databases import SQLiteFiles
from tests.server.control.lab import BASE_URL, PAGE, pages


@pytest.mark.parametrize("path", ["/", "/nothing", "/api/auth/me", "/api/openapi.json"])
async def test_every_answer_is_framed(sqlite: SQLiteFiles, path: str) -> None:
    async with pages(sqlite.new()) as lab:
        fields = (await lab.client.get(path, headers=PAGE)).headers
    policy = fields["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert fields["X-Content-Type-Options"] == "nosniff"
    assert fields["Cache-Control"] == "no-store"
    assert fields["Referrer-Policy"] == "same-origin"
    assert "Strict-Transport-Security" not in fields
    assert not [name for name in fields if name.lower().startswith("access-control-")]


async def test_over_https_browsers_are_told_to_stay_there(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new(), domain="tunnel.example.com") as lab:
        assert (await lab.client.get("/")).headers["Strict-Transport-Security"] == "max-age=31536000"


async def test_head_is_answered_as_get(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        for path in ("/", "/api/openapi.json"):
            assert (await lab.client.head(path)).status_code == 200
        assert (await lab.client.head("/nothing")).status_code == 404


async def test_a_body_has_a_bound(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        for path in ("/api/auth/device", "/auth/link"):
            fields = {"Content-Type": "application/json" if "api" in path else "application/x-www-form-urlencoded"}
            response = await lab.client.post(path, content=b"a" * (MAX_BODY_BYTES + 1), headers=fields)
            assert response.status_code == 413, response.text
            assert response.json()["message"] == "The body is longer than 65536 bytes."


async def test_pages_have_no_script_or_style_in_them(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        root = await lab.person("root", admin=True)
        key = await root.post(f"/tunnels/{root.tunnel_id}/keys/new")
        texts = [(await root.get(path)).text for path in ("/", "/admin/users", "/admin/audit", "/admin/database")]
    for text in [key.text, *texts]:
        assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", text) == []
        assert re.findall(r'(?:src|href|action)="(?!/|\?|#|http://[a-z-]+\.localhost:8000)([^"]*)"', text) == []
    assert BASE_URL not in texts[1]
