"""How it looks: a phone, dark, nothing that jumps, and no more code than it needs."""

from pathlib import Path

import pytest
from page_steps import PHONE, expect, open_page, search_by_photo
from test_page_keys import STATES

import meisho.service

STATIC = Path(meisho.service.__file__).parent / "static"
MODULES = sorted(path.name for path in STATIC.glob("*.js"))
MOST_BYTES = 60_000
MOST_BYTES_FIRST = 60_000
"""Of the first screen, as it is written: before it is packed to be sent."""
PHOTO = "karowick_post_office/karowick_post_office_place_001_02.jpg"


@pytest.mark.parametrize("language", ["en-GB", "ja-JP"])
@pytest.mark.parametrize(
    "state", [state for state in STATES if state.__name__ not in ("found",)], ids=lambda state: state.__name__
)
def test_a_phone_needs_no_sideways_scrolling(new_page, state, language):
    page = new_page(**PHONE, locale="en-GB")
    if language == "ja-JP":
        page.add_init_script("localStorage.setItem('language', 'ja')")
    state(page)
    wide = page.evaluate(
        """[...document.querySelectorAll("body *")].filter((element) => element.checkVisibility()
          && !element.closest("nav, .scroll, #canvas, .hear, .skip, .region")
          && element.getBoundingClientRect().right > innerWidth + 1)
          .map((element) => element.outerHTML.slice(0, 80))"""
    )
    assert wide == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["viewport"]["width"]


def test_the_first_answer_is_on_the_first_screen_of_a_phone(new_page):
    page = new_page(**PHONE)
    search_by_photo(page, PHOTO)
    assert page.locator("#lists .photo").first.bounding_box()["y"] < PHONE["viewport"]["height"]


def test_the_camera_is_offered_where_there_is_one(new_page):
    phone, desk = new_page(**PHONE), new_page()
    for page in (phone, desk):
        open_page(page)
    expect(phone.get_by_role("button", name="Take a photo")).to_be_visible()
    expect(desk.get_by_role("button", name="Take a photo")).to_be_hidden()


def test_dark_follows_the_system(new_page):
    def brightness(page):
        colour = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
        return sum(int(part) for part in colour[4:-1].split(","))

    light, dark = new_page(color_scheme="light"), new_page(color_scheme="dark")
    for page in (light, dark):
        open_page(page)
    assert brightness(dark) < 150 < 600 < brightness(light)


def test_every_photo_keeps_its_room_and_its_whole_shape(page):
    search_by_photo(page, PHOTO)
    for image in page.locator("#lists img").all():
        width, height = int(image.get_attribute("width")), int(image.get_attribute("height"))
        room = image.evaluate("image => [image.clientWidth, image.clientHeight]")
        assert room[0] / room[1] == pytest.approx(width / height, rel=0.03)


def test_nothing_jumps_while_pictures_come(page):
    page.add_init_script(
        """window.shifts = 0;
        const add = (list) => list.getEntries().forEach((entry) => (window.shifts += entry.value));
        new PerformanceObserver(add)
          .observe({ type: "layout-shift", buffered: true });"""
    )
    open_page(page)
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.shifts") < 0.02


def test_pictures_below_the_fold_are_left_until_they_are_scrolled_to(page):
    search_by_photo(page, f"{PHOTO}&top=500")
    lazy = page.locator("#lists img[loading=lazy]")
    assert lazy.count() > 0
    assert lazy.count() == page.locator("#lists img").count() - 12


OURS = """[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .filter(({ name }) => !name.includes("/v1/") && !name.endsWith("openapi.json"))
  .map(({ name, encodedBodySize, decodedBodySize }) => [name, encodedBodySize, decodedBodySize])"""


def test_our_own_code_is_small_as_it_travels(page):
    """HTML, CSS, modules and texts of every view, all at once."""
    page.goto(page.home)
    for name in MODULES:
        page.evaluate("(name) => import(`/static/${name}`)", name)
    sizes = page.evaluate(OURS)
    assert len(sizes) > 25
    assert all(size > 0 for _, size, _ in sizes)
    assert sum(size for _, size, _ in sizes) < MOST_BYTES


@pytest.mark.parametrize("locale", ["en-GB", "ja-JP"])
def test_the_first_screen_loads_what_it_needs_alone(new_page, locale):
    page = new_page(locale=locale)
    open_page(page)
    sizes = page.evaluate(OURS)
    assert 10 < len(sizes) < len(MODULES)
    assert sum(size for _, _, size in sizes) < MOST_BYTES_FIRST


def test_five_hundred_answers_are_painted_at_once(page, service):
    """The service's own answers, followed by as many more under other names as are asked for."""
    most = 500

    def grow(route):
        reply = route.fetch()
        found = reply.json()
        last = found["answers"][-1]
        more = [
            last | {"id": f"{last['id']}?{rank}", "rank": rank, "missing": True}
            for rank in range(len(found["answers"]) + 1, most + 1)
        ]
        route.fulfill(response=reply, json=found | {"answers": found["answers"] + more})

    page.route("**/v1/search", grow)
    page.add_init_script(
        """addEventListener("DOMContentLoaded", () => {
          window.counts = [];
          const note = () => window.counts.push(document.querySelectorAll("#lists .card").length);
          const options = { childList: true, subtree: true };
          new MutationObserver(note).observe(document.querySelector("#lists"), options);
        })"""
    )
    search_by_photo(page, f"{PHOTO}&top={most}")
    assert page.locator("#lists .card").count() == most
    assert set(page.evaluate("window.counts")) <= {0, most}
    pictures = [path for _, path, _ in page.watched.requests if path.startswith("v1/thumbnail")]
    assert len(pictures) <= len(list(service.photos.rglob("*.jpg"))) + 1
