"""A browser, what looks after the documents in it, and a log worth looking at."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from loopwright import Log

FLAGS = (
    "--no-sandbox",  # in a container there is none to be had
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium, without a window.

    For one module: as long as it is open, playwright's event loop runs in this thread, and no test
    could have one of its own.
    """
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.skip("there is no chromium or google-chrome on the PATH to show the page in")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


class Opened:
    """A document in a browser; at the end nothing may have gone wrong, out, or run."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self.browser = browser
        self.folder = folder
        self.said: list[str] = []
        self.asked: list[str] = []
        self.pages: list[Page] = []

    def __call__(self, document: str, to: str = "", **options: Any) -> Page:
        path = self.folder / f"{len(self.pages)}.html"
        path.write_text(document, encoding="utf-8")
        page = self.browser.new_context(**options).new_page()
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(f"file://{path}{to}")
        self.pages.append(page)
        return page

    def check(self) -> None:
        """Nothing was said in the console, nothing was asked for, nothing of others has run."""
        assert self.said == []
        assert all(url.startswith(f"file://{self.folder}/") for url in self.asked)
        assert len(self.asked) == len(self.pages)
        assert not any(page.evaluate("'owned' in window") for page in self.pages)
        for page in self.pages:
            page.context.close()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Opened]:
    """Opens documents, and looks after them."""
    opened = Opened(browser, tmp_path)
    yield opened
    opened.check()


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    """The log of the cookbook: retries, judges, children side by side, people, a full ceiling."""
    path = tmp_path_factory.mktemp("shop") / "shop.db"
    cookbook = Path(__file__).parents[2] / "examples" / "cookbook.py"
    run_path(str(cookbook))["main"](str(path))
    log = Log(path, "process")
    yield log
    log.close()
