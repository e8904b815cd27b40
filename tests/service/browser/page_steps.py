"""What a reader does on the page, and what then is to be seen."""

import base64
import re
from urllib.parse import parse_qs

import pytest

from meisho.service.app import describe_api

expect = pytest.importorskip(
    "playwright.sync_api", reason="no browser test: run pip install playwright"
).expect

PHONE = {
    "viewport": {"width": 360, "height": 740},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}

AS_A_SERVICE_ENDS = ("status of 404", "net::ERR_CONNECTION")
"""What a page may say whose service ends and forgets its query: pictures may still be on their way."""

VIEWS = [
    name
    for name in ("places", "duplicates", "evaluations", "jobs")
    if f"/v1/{name}" in describe_api()["paths"]
]
"""The views beside search that this build has routes for."""


def open_page(page, address: str = "", home: str | None = None) -> None:
    """Open the page at an address such as "#photo=…", and wait until that is shown."""
    page.goto((home or page.home) + address)
    wait_until_shown(page)


def wait_until_shown(page) -> None:
    """Wait until what the address names is on the page."""
    expect(page.locator("body")).to_have_attribute("data-shown", page.evaluate("location.hash || '#'"))


def wait_for_answers(page) -> None:
    """Wait until the answers are those that geometry has ordered."""
    expect(page.locator("#answers")).not_to_have_class(re.compile("stale"))
    expect(page.locator("#busy")).to_be_hidden()
    expect(page.locator("#lists .verdict").first).to_be_visible()
    wait_until_shown(page)


def search_by_file(page, path) -> None:
    """Choose a photo by the file dialog, and wait for its answers."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a photo").click()
    chooser.value.set_files(path)
    wait_for_answers(page)


def search_by_photo(page, photo: str) -> None:
    """Open the search from a stored photo, and wait for its answers."""
    open_page(page, f"#photo={photo}")
    wait_for_answers(page)


def answers(page, group: str | None = None) -> list[str]:
    """Ids of the answers on the page, in their order; of one group such as "same"."""
    where = f"[data-group=group_{group}] .card" if group else "#lists .card"
    return page.locator(where).evaluate_all("cards => cards.map(card => card.dataset.id)")


def give_files(page, event: str, path, kind: str = "image/jpeg") -> None:
    """Drop a file on the page, or paste it, as a browser does."""
    page.evaluate(
        """([event, name, kind, text]) => {
          const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
          const data = new DataTransfer();
          data.items.add(new File([bytes], name, { type: kind }));
          const target = document.querySelector("#main");
          const options = { clipboardData: data, dataTransfer: data, bubbles: true, cancelable: true };
          if (event === "paste") target.dispatchEvent(new ClipboardEvent("paste", options));
          else for (const type of ["dragover", "drop"]) target.dispatchEvent(new DragEvent(type, options));
        }""",
        [event, path.name, kind, base64.b64encode(path.read_bytes()).decode()],
    )


def draw_box(page, start, end) -> None:
    """Drag over the query with the mouse; corners as shares of its sides."""
    (x0, y0), (x1, y1) = (in_frame(page, *corner) for corner in (start, end))
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move((x0 + x1) / 2, (y0 + y1) / 2)
    page.mouse.move(x1, y1)
    page.mouse.up()


def in_frame(page, x: float, y: float) -> tuple[float, float]:
    """Shares of the query's sides as px of the window."""
    frame = page.locator("#frame").bounding_box()
    return frame["x"] + x * frame["width"], frame["y"] + y * frame["height"]


def box_of(page) -> list[int]:
    """The box in the address, px."""
    found = re.search(r"box=([\d,]+)", page.url)
    return [int(value) for value in found.group(1).split(",")] if found else []


def wait_for_address(page, key: str, value: str) -> None:
    """Wait until the address says so of a key, such as the photo whose evidence is shown."""
    page.wait_for_url(lambda url: parse_qs(url.partition("#")[2]).get(key) == [value])
