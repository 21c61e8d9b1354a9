"""A real browser, and people with a browser profile of their own. Used by the journeys of accounts.

Rule: what goes wrong inside a page (an error of its script, something that the policy blocked) fails the test.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")
OPTIONS: Final = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
TIMEOUT_S: Final = 15.0
# A page that answers with an error says so on the console too; which ones are right is for the test to say.
_STATUS: Final = re.compile(r"Failed to load resource: the server responded with a status of (4\d\d|503)")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser of this machine; without one, the test is skipped."""
    path = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if path is None:
        pytest.skip("no browser is installed; on Debian: apt-get install chromium")
    expect.set_options(timeout=TIMEOUT_S * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(OPTIONS))
        yield browser
        browser.close()


class Visitor:
    """Somebody with a browser profile of their own, on the pages of one server."""

    def __init__(self, browser: Browser, base_url: str) -> None:
        self.base_url = base_url
        self.trouble: list[str] = []
        self._context: BrowserContext = browser.new_context(base_url=base_url)
        self._context.set_default_timeout(TIMEOUT_S * 1000)
        self.page: Page = self._context.new_page()
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("console", self._console)

    @property
    def is_signed_in(self) -> bool:
        """Whether the server takes this browser for somebody."""
        return self._context.request.get("/auth/me").status == 200

    def goes_to(self, url: str) -> None:
        """Open a page."""
        self.page.goto(url)

    def clicks(self, name: str) -> None:
        """Click the button or link of that name."""
        self.page.get_by_role("button", name=name).or_(self.page.get_by_role("link", name=name)).first.click()

    def sees(self, text: str) -> None:
        """Wait until a text can be seen."""
        expect(self.page.get_by_text(text).first).to_be_visible()

    def sees_error(self, status: int, sentence: str) -> None:
        """An error page of the server's own, with that sentence."""
        expect(self.page.locator(".error .status")).to_have_text(str(status))
        expect(self.page.locator(".error")).to_contain_text(sentence)
        assert self.page.url.startswith(self.base_url)

    def copies_cookies_of(self, other: "Visitor") -> None:
        """Take what another browser is known by."""
        for cookie in other._context.cookies():
            self._context.add_cookies([{"name": cookie["name"], "value": cookie["value"], "url": self.base_url}])

    def leaves(self) -> None:
        """Close the profile; nothing may have gone wrong in it."""
        self._context.close()
        assert self.trouble == []

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not _STATUS.match(message.text):
            self.trouble.append(message.text)
