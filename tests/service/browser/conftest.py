"""The real service and the page in a real browser.

`page` is a page of a fresh browser that the test opens with `open_page`; what goes wrong in it (an exception,
a message of the console, a request to another origin) fails the test at its end.
"""

import json
import os
from pathlib import Path

import pytest
from filelock import FileLock
from page_city import draw_photos
from page_service import City, run_meisho, serving

from browsers import NEVER_MS, missing

DESK = {"viewport": {"width": 1280, "height": 860}}
EACH_TIME = {"test_page_start", "test_page_answers", "test_page_box", "test_page_late"}
"""Modules whose tests run at every change; the others open the page some seventy times, and are slow."""

ENGINE = os.environ.get("MEISHO_TEST_ENGINE")
"""Who searches the toy city: "milvus:URI" of a server that runs already lets all these tests run over it."""


@pytest.hookimpl(tryfirst=True)  # before marks are chosen by
def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    reason = missing()
    for item in items:
        if here in item.path.parents and "browser" in item.fixturenames:
            item.add_marker(pytest.mark.browser)
            if item.path.stem not in EACH_TIME:
                item.add_marker(pytest.mark.slow)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def city(tmp_path_factory) -> City:
    """The toy city as a collection with local features, made once for all processes that run tests."""
    shared = tmp_path_factory.getbasetemp()
    root = (shared.parent if os.environ.get("PYTEST_XDIST_WORKER") else shared) / "page-city"
    with FileLock(f"{root}.lock"):
        if not (root / "done").exists():
            photos, _ = draw_photos(root)
            engine = ["--engine", ENGINE] if ENGINE else []
            run_meisho("index", photos, "--to", root / "toycity.meisho", "--local", "sift", *engine)
            (root / "done").touch()
    return City(root / "toycity.meisho", root / "photos", root / "city" / "queries")


@pytest.fixture(scope="package")
def service(city):
    """A service that no test changes."""
    with serving(city) as service:
        yield service


@pytest.fixture
def own_city(city, tmp_path) -> City:
    """A copy of the collection and its photos that the test may change."""
    return city.copy(tmp_path)


@pytest.fixture
def own_service(own_city):
    """A service on a collection that the test may change."""
    with serving(own_city) as service:
        yield service


class Watched:
    """What a page did that it must not: exceptions, messages, requests to other origins."""

    def __init__(self, page, origin: str) -> None:
        self.faults: list[str] = []
        self.expected: list[str] = []
        self.requests: list[tuple[str, str, str | None]] = []
        page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        page.on("console", lambda message: self._console(message))
        page.on("request", lambda request: self._request(request, origin))

    def _console(self, message):
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text} {message.location.get('url', '')}")

    def _request(self, request, origin):
        if not request.url.startswith((origin, f"blob:{origin}", "data:")):
            self.faults.append(f"request to another origin: {request.url}")
        text = request.post_data if "json" in request.headers.get("content-type", "") else None
        self.requests.append((request.method, request.url.removeprefix(origin), text))

    def searches(self):
        """The bodies of the searches so far."""
        return [json.loads(text) for method, path, text in self.requests if path == "v1/search"]

    def check(self):
        """Fail on what was not expected."""
        assert [each for each in self.faults if not any(word in each for word in self.expected)] == []


@pytest.fixture
def page_options():
    """Options of the browser context; a test module or class overrides it."""
    return DESK


@pytest.fixture
def new_page(browser, service, page_options):
    """Make pages of a fresh context each; all are checked at the end."""
    contexts, watched = [], []

    def make(url: str = service.url, **options):
        context = browser.new_context(**{"locale": "en-GB", **page_options, **options})
        context.set_default_timeout(NEVER_MS)
        page = context.new_page()
        page.watched = Watched(page, url)
        page.home = url
        contexts.append(context)
        watched.append(page.watched)
        return page

    yield make
    try:
        for each in watched:
            each.check()
    finally:
        for context in contexts:
            context.close()


@pytest.fixture
def page(new_page):
    """A page of a fresh browser, nothing opened yet."""
    return new_page()
