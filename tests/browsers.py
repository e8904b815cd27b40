"""A real browser where there is one: one for all tests of a process, for its driver lets no second start."""

import shutil
from contextlib import contextmanager

NEVER_MS = 600_000
"""What the browser waits for in vain fails that test with the locator's own message, before the limit of a
test in pyproject.toml ends the worker and what it has measured. Nothing is timed: no test passes by it."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def missing() -> str | None:
    """Why there is no browser here, or None; without playwright, the fixture `browser` skips."""
    if not any(map(shutil.which, BROWSERS)):
        return f"no browser test: none of {', '.join(BROWSERS)} is installed"
    return None


@contextmanager
def opened_browser(sync_api):
    """The browser, driven by playwright's `sync_api`."""
    sync_api.expect.set_options(NEVER_MS)
    path = next(filter(None, map(shutil.which, BROWSERS)))
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
