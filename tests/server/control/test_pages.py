"""The first page: what this server is, and nothing that runs."""

from starlette.applications import Starlette
from starlette.types import Message

from terratunnel.server.control.pages import build_pages


async def ask(app: Starlette, path: str = "/", method: str = "GET") -> tuple[int, dict[str, str], str]:
    """Call the application as a server does; returns status, fields and text."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b"", "http_version": "1.1"}
    await app(scope, receive, send)
    fields = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], fields, b"".join(message.get("body", b"") for message in sent[1:]).decode()


async def test_the_page_says_how_to_connect() -> None:
    status, _, page = await ask(build_pages("tunnel.example.com", "https://tunnel.example.com"))
    assert status == 200
    assert "terratunnel client --server-url wss://tunnel.example.com --local-endpoint" in page
    assert "under <strong>tunnel.example.com</strong>" in page


async def test_nothing_runs_in_the_page() -> None:
    _, fields, page = await ask(build_pages("localhost", "http://localhost:8000"))
    assert "<script" not in page
    assert fields["content-security-policy"].startswith("default-src 'none'")
    assert fields["x-content-type-options"] == "nosniff"
    assert fields["cache-control"] == "no-store"


async def test_texts_are_escaped() -> None:
    _, _, page = await ask(build_pages("<b>", "http://x/?a=<i>&b"))
    assert "<strong>&lt;b&gt;</strong>" in page
    assert "<i>" not in page


async def test_there_are_no_other_pages() -> None:
    app = build_pages("localhost", "http://localhost:8000")
    assert (await ask(app, "/other"))[0] == 404
    assert (await ask(app, method="POST"))[0] == 405
