"""Screenshots of the page's main states, from a service that keeps the toy city open with local features.

meisho demo --to demo
meisho index demo/toycity/database --to demo/local.meisho --local sift
meisho groups demo/local.meisho
meisho serve demo/local.meisho
python tests/service/browser/take_screenshots.py demo/toycity/queries docs/images

The picture of an evaluation makes one, of the toy city itself, where there is none yet.
"""

import argparse
import shutil
from pathlib import Path

from page_steps import PHONE, draw_box, expect, open_page, search_by_file, wait_for_answers, wait_until_shown
from playwright.sync_api import sync_playwright

DESK = {"viewport": {"width": 1280, "height": 820}}
JAPANESE = {"locale": "ja-JP"}
DARK = {"color_scheme": "dark"}


def settle(page):
    """Wait until all pictures on the screen are there and nothing moves."""
    page.wait_for_load_state("networkidle")
    page.evaluate("Promise.allSettled(document.getAnimations().map((animation) => animation.finished))")


def start(page, query):
    open_page(page)


def found(page, query):
    open_page(page)
    search_by_file(page, query)


def boxed(page, query):
    found(page, query)
    draw_box(page, (0.12, 0.2), (0.9, 0.75))
    page.wait_for_url("**box=**")
    wait_for_answers(page)


def why(page, query):
    found(page, query)
    page.locator("#lists .photo").first.click()
    expect(page.locator("#why .lines line").first).to_be_attached()


def overlay(page, query):
    why(page, query)
    page.keyboard.press("v")
    expect(page.locator("#why .sheet")).to_be_visible()


def places(page, query):
    open_page(page, "#view=places")
    expect(page.locator(".tiles img").first).not_to_have_js_property("naturalWidth", 0)


def labels_of(query):
    """The toy city's photos, each labelled by the place that its name holds; streets are no place."""
    names = sorted(path.name for path in (query.parent.parent / "database").glob("*_place_*"))
    return "\n".join(["file,label", *(f"{name},{name.rsplit('_', 1)[0]}" for name in names), ""])


def evaluation(page, query):
    open_page(page, "#view=evaluations")
    if not page.locator("tbody a").count():
        page.get_by_label("Labels (CSV)").set_input_files(
            {"name": "labels.csv", "mimeType": "text/csv", "buffer": labels_of(query).encode()}
        )
        page.get_by_label("Name", exact=True).fill("The toy city")
        page.get_by_role("button", name="Evaluate", exact=True).click()
        expect(page.locator("tbody tr").first).to_contain_text("Done")
        open_page(page, "#view=evaluations")
    page.locator("tbody a").first.click()
    wait_until_shown(page)


SHOTS = {
    "service_start": (start, DESK),
    "service_found": (boxed, DESK),
    "service_why": (why, DESK),
    "service_overlay": (overlay, DESK | DARK),
    "service_dark": (found, DESK | DARK),
    "service_phone": (found, PHONE),
    "service_japanese": (start, DESK | JAPANESE),
    "service_places": (places, DESK),
    "service_evaluation": (evaluation, DESK),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("queries", type=Path, help="folder of query photos")
    parser.add_argument("to", type=Path, help="folder for the pictures")
    parser.add_argument("--url", default="http://127.0.0.1:8765/")
    parser.add_argument("--query", default="arulton_station", help="beginning of the query's name")
    parser.add_argument("--only", nargs="*", default=list(SHOTS), choices=SHOTS)
    options = parser.parse_args()
    query = sorted(options.queries.glob(f"{options.query}*"))[0]
    expect.set_options(3_600_000)  # a picture is worth waiting for
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name in options.only:
            show, look = SHOTS[name]
            page = browser.new_context(**{"locale": "en-GB", **look}).new_page()
            page.set_default_timeout(0)
            page.home = options.url
            show(page, query)
            settle(page)
            page.screenshot(path=options.to / f"{name}.jpg", type="jpeg", quality=70)
            page.context.close()
        browser.close()


if __name__ == "__main__":
    main()
