"""A browser, as far as the command line needs one: it signs in by a link and approves. Used by tests of tests/cli.

Rule: it speaks HTTP to a real server, from the server's own origin, as its pages do.
"""

import http.client
import json
from typing import Any
from urllib.parse import urlencode


class Browser:
    """Somebody at the pages of a server on this machine."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._cookie = ""

    def open_link(self, link: str) -> None:
        """Sign in by a one-time link."""
        assert self.use_link(link) == 303

    def use_link(self, link: str) -> int:
        """Send what is behind the # of a link; return the status."""
        return self._post("/auth/link", token=link.rpartition("#")[2])

    def me(self) -> dict[str, Any]:
        """Who is signed in."""
        found = json.loads(self._ask("GET", "/auth/me")[1])
        assert isinstance(found, dict)
        return found

    def approve(self, code: str, decision: str = "approve") -> int:
        """Decide about a client that shows a code; return the status."""
        return self._post("/auth/device", code=code, decision=decision, csrf_token=self.me()["csrf_token"])

    def _post(self, path: str, **form: str) -> int:
        return self._ask("POST", path, urlencode(form))[0]

    def _ask(self, method: str, path: str, body: str = "") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        origin = f"http://localhost:{self._port}"
        fields = {"Host": f"localhost:{self._port}", "Origin": origin, "Cookie": self._cookie}
        if body:
            fields["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, path, body, fields)
        response = connection.getresponse()
        found = response.status, response.read()
        cookie = response.getheader("Set-Cookie")
        if cookie:
            self._cookie = cookie.partition(";")[0]
        connection.close()
        return found
