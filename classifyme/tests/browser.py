"""The browser that tests drive: the system's Chromium, headless, by Playwright.

A test asks for ``page`` and ``live_server``. Chromium is Debian's package `chromium`; `.ci/run`
installs it.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    Playwright,
    sync_playwright,
)

NAMES = ("chromium", "chromium-browser", "google-chrome")
# The last four keep Chromium from calling home, which a closed network refuses many at a time.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# A camera that plays a file, and a person who allows it.
CAMERA_FLAGS = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]

Film = Callable[[Path], Page]


@pytest.fixture(scope="session")
def playwright_started() -> Iterator[Playwright]:
    """Playwright, started once: a thread can run but one."""
    with sync_playwright() as playwright:
        # Playwright's event loop runs in this thread, and Django takes that for async code.
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
        yield playwright
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Where the browser is; skips with the reason where there is none (CI fails on that)."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"No Chromium on PATH. Looked for: {', '.join(NAMES)}")
    return path


@pytest.fixture(scope="session")
def chromium(chromium_path: str, playwright_started: Playwright) -> Iterator[Browser]:
    """The browser, started once."""
    browser = playwright_started.chromium.launch(executable_path=chromium_path, args=FLAGS)
    yield browser
    browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """An empty browser window with cookies of its own.

    The test fails in the end if a script raised or the Content-Security-Policy refused anything.
    """
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    with _heard(context) as page:
        yield page


@pytest.fixture
def film(chromium_path: str, playwright_started: Playwright) -> Iterator[Film]:
    """Call it with a film (.y4m) for a window of a browser whose camera plays that, over and over.

    Complaints fail the test as those of `page` do.
    """
    with ExitStack() as opened:

        def start(path: Path) -> Page:
            flags = [*FLAGS, *CAMERA_FLAGS, f"--use-file-for-fake-video-capture={path}"]
            browser = playwright_started.chromium.launch(executable_path=chromium_path, args=flags)
            opened.callback(browser.close)
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            return opened.enter_context(_heard(context))

        yield start


def settle(page: Page) -> None:
    """Wait until colours have changed and what fades in is there."""
    page.evaluate("""Promise.allSettled(
        document.getAnimations()
            .filter((each) => Number.isFinite(each.effect.getComputedTiming().endTime))
            .map((each) => each.finished)
    )""")


@contextmanager
def _heard(context: BrowserContext) -> Iterator[Page]:
    """Give a window, close it in the end, and fail if it complained of anything meanwhile."""
    page = context.new_page()
    page.set_default_timeout(15_000)
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            complaints.append(message.text)

    def hear_error(error: Error) -> None:
        complaints.append(str(error))

    page.on("console", hear)
    page.on("pageerror", hear_error)
    yield page
    context.close()
    assert not complaints, complaints
