"""Answers of the edge itself: errors and the health check. Used by connections and exchanges.

One sentence each, as JSON or as a small page by the visitor's Accept field (RFC 9110 §12.5.1, simplified: HTML when
it is named).
"""

import html
import json
from http import HTTPStatus

from terratunnel.http1 import writer
from terratunnel.http1.parser import RequestHead

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{status} {phrase}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 15vh auto 0; max-width: 34rem; padding: 0 1.25rem;
  overflow-wrap: anywhere; }}
h1 {{ font-size: 1.25rem; }} p {{ margin: .5rem 0; }} small {{ opacity: .7; }}
</style></head>
<body><h1>{status} {phrase}</h1><p>{sentence}</p><p><small>Terratunnel{request_id}</small></p></body></html>
"""


def phrase_of(status: int) -> str:
    """Return the standard reason phrase of a status."""
    return HTTPStatus(status).phrase


def wants_html(head: RequestHead | None) -> bool:
    """Whether the visitor is a browser rather than a program."""
    if head is None:
        return False
    return any(name.lower() == b"accept" and b"text/html" in value.lower() for name, value in head.fields)


def error_response(
    status: int, sentence: str, head: RequestHead | None, extra: list[bytes], close: bool, request_id: bytes = b""
) -> bytes:
    """Return a whole error response. `extra` are fields as `[name, value, …]`; a HEAD request gets no body."""
    phrase = phrase_of(status)
    if wants_html(head):
        kind = b"text/html; charset=utf-8"
        shown = f" · request {html.escape(request_id.decode('latin-1'))}" if request_id else ""
        body = _PAGE.format(status=status, phrase=phrase, sentence=html.escape(sentence), request_id=shown).encode()
    else:
        kind = b"application/json"
        body = json.dumps({"error": phrase.lower().replace(" ", "_"), "status": status, "message": sentence}).encode()
        body += b"\n"
    return whole_response(status, kind, body, head, extra, close)


def whole_response(
    status: int, kind: bytes, body: bytes, head: RequestHead | None, extra: list[bytes], close: bool
) -> bytes:
    """Return a response with a body of known length; never cached."""
    items = [b"%d" % status, phrase_of(status).encode(), b"Content-Type", kind, b"Content-Length", b"%d" % len(body)]
    items += [b"Cache-Control", b"no-store", b"X-Content-Type-Options", b"nosniff", *extra]
    framing = writer.CLOSE if close else keep_alive_framing(head)
    start = writer.response_head(items, framing)
    return start if head is not None and head.method == b"HEAD" else start + body


def keep_alive_framing(head: RequestHead | None) -> bytes:
    """Return the Connection field that keeps the connection: HTTP/1.0 visitors have to be told."""
    return writer.KEEP_ALIVE if head is not None and head.minor_version == 0 else writer.NO_FRAMING
