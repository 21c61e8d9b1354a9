"""The pages of the bare domain: what this server is. A Starlette application; it sees requests that the edge has
checked.

Texts are escaped; nothing runs in the page (the CSP allows no script).
"""

from html import escape

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Terratunnel</title>
<style>
:root {{ color-scheme: light dark; --line: color-mix(in srgb, currentColor 20%, transparent); }}
body {{ font: 1rem/1.6 system-ui, sans-serif; margin: 12vh auto 4rem; max-width: 40rem; padding: 0 1.25rem;
  overflow-wrap: anywhere; }}
h1 {{ font-size: 1.6rem; margin: 0 0 .5rem; }}
pre {{ border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem; font-size: .9rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }}
p {{ margin: .75rem 0; }} small {{ opacity: .75; }}
</style></head>
<body><main>
<h1>Terratunnel</h1>
<p>This server gives a service on your laptop a public URL under <strong>{domain}</strong>.</p>
<p>Connect yours:</p>
<pre><code>terratunnel client --server-url {link} --local-endpoint http://localhost:3000</code></pre>
<p><small>Every request to a name below {domain} goes to the client that holds the name, byte for byte.</small></p>
</main></body></html>
"""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def build_pages(domain: str, base_url: str) -> Starlette:
    """Return the application."""
    link = base_url.replace("http", "ws", 1)
    page = _PAGE.format(domain=escape(domain), link=escape(link))

    async def home(request: Request) -> Response:
        return HTMLResponse(page, headers=_HEADERS)

    return Starlette(routes=[Route("/", home)])
