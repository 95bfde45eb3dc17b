"""A real Chromium for tests: pages of a running stack, as users see them, and the errors that the browser reports."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from demo.stack import ROOT
from tests.support.timeouts import PATIENCE

SCREENSHOTS = ROOT / "var" / "screenshots"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome-stable")
MISSING = "Chromium is missing; `make test` installs it, or: apt-get install chromium"
# --no-sandbox: the tests may run as root. /dev/shm is small in containers.
OPTIONS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


@dataclass
class Tab:
    """A page in a context of its own, without cookies. complaints: errors in the console and uncaught exceptions."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str = "/") -> Page:
        self.page.goto(f"{self.url}{path}")
        return self.page

    def fetch(self, path: str, **options: Any) -> dict[str, Any]:
        """Fetch from within the page: {"status", "body"}. The browser itself logs an error for a 4xx."""
        answer: dict[str, Any] = self.page.evaluate(FETCH, [path, options])
        return answer


FETCH = """async ([path, options]) => {
  const response = await fetch(path, options);
  return { status: response.status, body: await response.text() };
}"""


FINDINGS = """async () => {
  const { violations } = await axe.run({ resultTypes: ["violations"] });
  const grave = violations.filter(each => ["serious", "critical"].includes(each.impact));
  return grave.flatMap(each => each.nodes.map(node => `${each.id}: ${node.html}`));
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Not for code that uses Django's ORM meanwhile: Playwright's event loop counts as asynchronous code there."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.fail(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        try:
            yield browser
        finally:
            browser.close()


def findings(page: Page) -> list[str]:
    """What axe-core finds with an impact of serious or critical. It needs a context with bypass_csp: it is injected as
    an inline script."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found: list[str] = page.evaluate(FINDINGS)
    return found


@contextmanager
def open_tab(browser: Browser, url: str, **options: Any) -> Iterator[Tab]:
    """options: of the context, such as viewport and color_scheme."""
    context = browser.new_context(locale="en-GB", **options)
    context.set_default_timeout(PATIENCE * 1000)
    tab = Tab(context.new_page(), url)
    tab.page.on("console", lambda message: _note(tab, message))
    tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
    try:
        yield tab
    finally:
        context.close()


def _note(tab: Tab, message: ConsoleMessage) -> None:
    if message.type in ("error", "warning"):
        tab.complaints.append(f"{message.text} ({message.location.get('url')})")
