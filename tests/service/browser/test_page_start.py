"""The first screen: every way to give a photo ends in the same search."""

import re
from urllib.parse import unquote

import pytest
from page_steps import answers, expect, give_files, open_page, search_by_file, wait_for_answers

QUERY = "karowick"


def is_that_landmark(page):
    found = answers(page, "same")
    assert found
    assert all(QUERY in name for name in found)


def by_file(page, path):
    search_by_file(page, path)


def by_key(page, path):
    with page.expect_file_chooser() as chooser:
        page.locator("#main").press("o")
    chooser.value.set_files(path)
    wait_for_answers(page)


def by_camera(page, path):
    camera = page.locator("#camera")
    assert camera.get_attribute("capture") == "environment"
    camera.set_input_files(path)
    wait_for_answers(page)


def by_drop(page, path):
    give_files(page, "drop", path)
    wait_for_answers(page)


def by_paste(page, path):
    give_files(page, "paste", path)
    wait_for_answers(page)


@pytest.mark.parametrize("give", [by_file, by_key, by_camera, by_drop, by_paste])
def test_a_photo_is_given_and_its_place_is_found(page, service, give):
    open_page(page)
    give(page, service.query(QUERY))
    is_that_landmark(page)
    assert re.search(r"#query=[0-9a-f]{64}$", page.url)


def test_an_image_of_the_clipboard_is_pasted_by_the_browser_itself(new_page, service):
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    open_page(page)
    page.evaluate(
        """async (url) => {
          const image = await createImageBitmap(await (await fetch(url)).blob());
          const canvas = new OffscreenCanvas(image.width, image.height);
          canvas.getContext("2d").drawImage(image, 0, 0);
          await navigator.clipboard.write([new ClipboardItem({ "image/png": await canvas.convertToBlob() })]);
        }""",
        page.locator(f"#picks [data-id*={QUERY}] img").first.get_attribute("src"),
    )
    page.keyboard.press("Control+v")
    wait_for_answers(page)
    is_that_landmark(page)


def test_a_stored_photo_is_chosen(page):
    open_page(page)
    card = page.locator(f"#picks [data-id*={QUERY}]").first
    photo = card.get_attribute("data-id")
    card.get_by_role("button").click()
    wait_for_answers(page)
    assert unquote(page.url).endswith(f"#photo={photo}")
    is_that_landmark(page)
    assert photo not in answers(page)


def test_a_file_over_the_page_shows_where_to_drop_it(page):
    open_page(page)
    page.evaluate(
        """() => {
          const data = new DataTransfer();
          data.items.add(new File(["x"], "x.jpg", { type: "image/jpeg" }));
          const options = { dataTransfer: data, bubbles: true, cancelable: true };
          document.body.dispatchEvent(new DragEvent("dragover", options));
        }"""
    )
    expect(page.locator("#drop")).to_be_visible()
    page.evaluate("document.body.dispatchEvent(new DragEvent('dragleave', { bubbles: true }))")
    expect(page.locator("#drop")).to_be_hidden()


def test_a_file_that_is_no_photo_is_refused_in_the_words_of_the_service(page, tmp_path):
    page.watched.expected.append("the server responded with a status of 4")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 no photo")
    open_page(page)
    page.locator("#file").set_input_files(broken)
    expect(page.get_by_role("alert")).to_be_visible()
    assert len(page.get_by_role("alert").inner_text()) > 20
    expect(page.locator("#start")).to_be_visible()
    page.get_by_role("alert").get_by_role("button", name="Close").click()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_the_first_screen_shows_one_folder_where_asked(page):
    open_page(page)
    page.get_by_label("Folder").select_option("streets")
    expect(page.locator("#picks .card:not([data-id^=streets])")).to_have_count(0)
    expect(page.locator("#picks .card[data-id^=streets]").first).to_be_visible()


def test_the_photo_is_not_stored(page, service):
    before = sorted(service.photos.rglob("*"))
    open_page(page)
    search_by_file(page, service.query(QUERY))
    assert sorted(service.photos.rglob("*")) == before
    assert page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])") == "[{},{}]"


def test_more_photos_come_as_one_scrolls(page, service):
    def fewer(route):
        route.continue_(url=route.request.url.replace("limit=40", "limit=10"))

    page.route("**/v1/photos?*", fewer)
    open_page(page)
    cards, number = page.locator("#picks .card"), len(list(service.photos.rglob("*.jpg")))
    while (shown := cards.count()) < number:
        cards.last.scroll_into_view_if_needed()
        expect(cards.nth(shown)).to_be_attached()
    assert len(set(cards.evaluate_all("cards => cards.map(card => card.dataset.id)"))) == number
