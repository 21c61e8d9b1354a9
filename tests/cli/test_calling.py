"""Calls of a server's API: what is sent, and a sentence for whatever comes back instead of an answer."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from terratunnel.cli.calling import MAX_ANSWER_BYTES, CallFailed, Reply, call
from terratunnel.client.config import ConfigError


@contextmanager
def answering(status: int, body: bytes) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that gives one answer to everything; yields its URL and what it was asked."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            asked.append({"target": self.path, "body": sent, **{k.lower(): v for k, v in self.headers.items()}})
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"ws://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_a_call_is_json_with_its_key_and_so_is_the_answer() -> None:
    with answering(202, b'{"state": "x"}') as (url, asked):
        assert call(url, "POST", "/api/x", {"a": 1}, "sesame") == Reply(202, {"state": "x"})
        call(url, "GET", "/api/y")
    posted, got = asked
    assert (posted["target"], json.loads(posted["body"])) == ("/api/x", {"a": 1})
    assert (posted["authorization"], posted["content-type"]) == ("Bearer sesame", "application/json")
    assert posted["host"] == url.removeprefix("ws://")
    assert (got["target"], got["body"]) == ("/api/y", b"")
    assert "authorization" not in got


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (410, b'{"message": "It is over."}', "The server says: It is over."),
        (500, b"{}", "The server says: It answered with status 500."),
        (404, b"<html>", r"does not speak for terratunnel \(status 404\); is it a terratunnel server\?"),
        (301, b"", r"does not speak for terratunnel \(status 301\); it may be behind https"),
        (200, b"[]", "does not speak for terratunnel"),
        (200, b'{"x": "' + b"x" * MAX_ANSWER_BYTES + b'"}', "does not speak for terratunnel"),
    ],
)
def test_whatever_is_no_good_answer_is_one_sentence(status: int, body: bytes, words: str) -> None:
    with answering(status, body) as (url, _), pytest.raises(CallFailed, match=words) as failed:
        call(url, "GET", "/")
    assert failed.value.status == status


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(CallFailed, match=f"127.0.0.1:{port} cannot be reached: Connection refused. ") as failed:
        call(f"http://127.0.0.1:{port}", "GET", "/")
    assert failed.value.status == 0


def test_what_speaks_no_http_or_no_tls_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def babble() -> None:
            for _ in range(2):
                visitor, _ = listening.accept()
                with visitor:
                    visitor.recv(1_000)
                    visitor.sendall(b"220 hello\r\n\r\n")

        threading.Thread(target=babble, daemon=True).start()
        where = f"127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(CallFailed, match="cannot be reached: it does not answer as a web server does"):
            call(f"http://{where}", "GET", "/")
        with pytest.raises(CallFailed, match=f"https://{where} cannot be reached: "):
            call(f"https://{where}", "GET", "/")


def test_a_url_that_is_none_is_a_config_error() -> None:
    with pytest.raises(ConfigError):
        call("nonsense", "GET", "/")


@pytest.mark.parametrize("value", [None, 1, "", "a\x1b[2J"])
def test_a_text_that_is_none_is_not_used(value: object) -> None:
    with pytest.raises(CallFailed, match="has no word"):
        Reply(200, {"word": value}).text("word")


def test_a_number_is_kept_within_bounds() -> None:
    reply = Reply(200, {"low": -1, "good": 2.5, "high": 10**9, "text": "1"})
    assert [reply.number(name, 1, 60) for name in ("low", "good", "high")] == [1, 2.5, 60]
    with pytest.raises(CallFailed, match="has no text"):
        reply.number("text", 1, 60)
