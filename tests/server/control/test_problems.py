"""Errors: one sentence each, as a page for people and as JSON for programs."""

import pytest

from terratunnel.errors import TerratunnelError
from terratunnel.server.control.problems import documented
from terratunnel.server.control.sqlbrowser.answers import BrowserUnavailable
from terratunnel.server.storage.errors import StorageUnavailable
from terratunnel.testing.databases import SQLiteFiles
from tests.server.control.lab import PAGE, pages

BUSY = "The database is busy or locked; try again in a moment."


@pytest.mark.parametrize(
    ("error", "status", "name", "sentence"),
    [
        (StorageUnavailable(BUSY, "/a/path"), 503, "service_unavailable", BUSY),
        (BrowserUnavailable("Do this."), 409, "conflict", "Do this."),
        (TerratunnelError("a bug"), 500, "internal_server_error", "Something went wrong in the server; its log says"),
        (RuntimeError("a bug"), 500, "internal_server_error", "Something went wrong in the server; its log says"),
    ],
)
async def test_what_is_raised_is_answered(
    sqlite: SQLiteFiles, error: Exception, status: int, name: str, sentence: str
) -> None:
    async def raising() -> None:
        raise error

    async with pages(sqlite.new()) as lab:
        lab.app.add_api_route("/api/raising", raising)
        lab.app.add_api_route("/raising", raising)
        answer, page = await lab.client.get("/api/raising"), await lab.client.get("/raising", headers=PAGE)
    assert answer.status_code == page.status_code == status
    assert {**answer.json(), "message": ""} == {"error": name, "status": status, "message": ""}
    assert sentence in answer.json()["message"]
    assert sentence in page.text
    assert "a bug" not in answer.text + page.text
    assert "/a/path" not in answer.text + page.text
    assert answer.headers.get("Retry-After") == ("2" if status == 503 else None)


async def test_a_page_of_an_error_is_for_browsers_alone(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        assert "<h1>Not Found</h1>" in (await lab.client.get("/nothing", headers=PAGE)).text
        assert (await lab.client.get("/nothing")).json()["message"] == "There is nothing here."
        assert (await lab.client.get("/api/nothing", headers=PAGE)).json()["error"] == "not_found"
        wrong = await lab.client.put("/auth/logout")
        assert (wrong.status_code, wrong.headers["Allow"]) == (405, "POST")


async def test_who_is_not_signed_in_is_sent_to_the_sign_in_and_back(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        page = await lab.client.get("/admin/audit?event=login&user=a b", headers=PAGE)
        assert page.status_code == 303
        assert page.headers["Location"] == "/auth/login?redirect_uri=%2Fadmin%2Faudit%3Fevent%3Dlogin%26user%3Da%2520b"
        assert (await lab.client.post("/auth/logout", headers=PAGE)).status_code == 401
        answer = await lab.client.get("/api/auth/me")
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


async def test_a_parameter_that_is_wrong_is_named(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        root = await lab.person("root", admin=True)
        answer = await root.call("GET", "/api/admin/users?page=0")
    assert answer.status_code == 422
    assert answer.json()["message"] == "page: Input should be greater than or equal to 1."


async def test_what_a_stranger_wrote_is_escaped(sqlite: SQLiteFiles) -> None:
    async with pages(sqlite.new()) as lab:
        root = await lab.person("root", admin=True)
        response = await root.post("/admin/database", {"sql": "<script>alert(1)</script>"})
    assert response.status_code == 400
    assert "<script>alert" not in response.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;</textarea>" in response.text


def test_errors_are_described_for_the_document() -> None:
    assert documented(404)[404]["description"] == "Not Found"
