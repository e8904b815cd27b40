"""The answers: first by likeness, then as geometry orders them; each is where a search can begin."""

import re
from urllib.parse import urlsplit

from page_city import HOSTILE
from page_service import serving
from page_steps import (
    AS_A_SERVICE_ENDS,
    answers,
    draw_box,
    expect,
    open_page,
    search_by_file,
    search_by_photo,
    wait_for_address,
    wait_for_answers,
)

PHOTO = "karowick_post_office/karowick_post_office_place_001_02.jpg"
VERDICT = re.compile(r"Same place\s?(over )?\d+%|Same place")


def test_the_global_list_comes_first_and_the_verified_order_follows(page):
    search_by_photo(page, PHOTO)
    assert [search["verify"] for search in page.watched.searches()] == [0, 20]
    assert all("karowick" in name for name in answers(page, "same"))
    assert len(answers(page, "same")) >= 4
    ranks = page.locator("#lists .rank").all_inner_texts()
    assert sorted(map(int, ranks)) == list(range(1, len(ranks) + 1))


def test_the_answers_by_likeness_are_shown_before_any_is_verified(page):
    # Held back by the browser: the second question goes out only when the first answer is on the page.
    held = []

    def route(route):
        if '"verify":0' in route.request.post_data:
            route.continue_()
        else:
            held.append(route)

    page.route("**/v1/search", route)
    open_page(page, "")
    page.goto(f"{page.home}#photo={PHOTO}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Comparing")
    expect(page.locator("#lists .card").first).to_be_visible()
    expect(page.locator("#lists .facts", has_text="agree")).to_have_count(0)
    expect(page.locator("#busy")).to_be_visible()
    held[0].continue_()
    wait_for_answers(page)


def test_an_answer_says_what_was_found(page):
    search_by_photo(page, PHOTO)
    card = page.locator("[data-group=group_same] .card").first
    expect(card.locator(".verdict")).to_have_text(VERDICT)
    expect(card.locator(".facts")).to_have_text(re.compile(r"\d+ points agree"))
    expect(page.get_by_role("heading", level=1)).to_have_text(
        re.compile(r"\d other photos show the same place")
    )


def test_search_from_here_and_back(page):
    search_by_photo(page, PHOTO)
    before = answers(page)
    page.get_by_role("button", name=f"Search from {before[0].split('/')[-1]}").click()
    wait_for_address(page, "photo", before[0])
    wait_for_answers(page)
    assert before[0] not in answers(page)
    searches = len(page.watched.searches())
    page.go_back()
    expect(page.locator("#asked-name")).to_have_text(PHOTO.split("/")[-1])
    wait_for_answers(page)
    assert answers(page) == before
    assert len(page.watched.searches()) == searches  # Back shows what was found, and asks nothing


def test_a_link_holds_the_whole_query(new_page):
    page = new_page()
    search_by_photo(page, f"{PHOTO}&box=20,30,300,400&top=5")
    other = new_page()
    other.goto(page.url)
    wait_for_answers(other)
    assert answers(other) == answers(page)
    expect(other.locator("#frame .region")).to_be_visible()


def test_a_photo_that_the_service_forgot_is_sent_again(new_page, city):
    with serving(city) as service:
        page = new_page(service.url)
        page.watched.expected += AS_A_SERVICE_ENDS
        open_page(page)
        search_by_file(page, service.query("karowick"))
    with serving(city, port=urlsplit(service.url).port):  # started anew: it knows no photo of anybody
        before = len(page.watched.requests)
        draw_box(page, (0.1, 0.1), (0.9, 0.9))
        page.wait_for_url("**box=**")
        wait_for_answers(page)
        sent = [path for method, path, _ in page.watched.requests[before:] if method == "POST"]
        assert sent[:3] == ["v1/search", "v1/queries", "v1/search"]
        assert answers(page, "same")


def test_a_link_to_a_photo_of_someone_else_says_so(page):
    page.watched.expected.append("status of 404")
    page.goto(f"{page.home}#query={'0' * 64}")
    expect(page.get_by_role("alert")).to_contain_text("The service no longer has this photo")


def test_a_place_that_is_not_there_is_said_to_be_not_there(page, service):
    absent = sorted(service.queries.iterdir())[-1]
    open_page(page)
    search_by_file(page, absent)
    assert answers(page, "same") == []
    expect(page.get_by_role("heading", level=1)).to_have_text(
        re.compile("probably not here|No photo surely shows the same place|may show")
    )


def test_copies_are_folded_with_their_number(page):
    search_by_photo(page, "hotel_temna/hotel_temna_place_000_01.jpg")
    copies = page.locator(".card", has_text="hotel_temna_place_000_00.jpg").locator(".copies")
    expect(copies.locator("summary")).to_have_text("1 copy")
    copies.locator("summary").click()
    expect(copies.get_by_role("link")).to_have_text("streets/the same again.jpg")
    copies.get_by_role("link").click()
    expect(page.locator("#asked-name")).to_have_text("the same again.jpg")


def test_a_hostile_name_is_text(page):
    search_by_photo(page, f"streets/{HOSTILE}".replace("&", "%26"))
    expect(page.locator("#asked-name")).to_have_text(HOSTILE)
    assert page.locator("img[src=x]").count() == 0
    other = page.locator("#lists .card").first.get_attribute("data-id")
    search_by_photo(page, other)
    assert page.locator("img[src=x]").count() == 0


def test_the_answers_can_be_saved(page):
    search_by_photo(page, PHOTO)
    for name, kind in (("JSON", "json"), ("CSV", "csv"), ("page", "html")):
        with page.expect_download() as saved:
            page.locator("#export").get_by_role("button", name=name).click()
        assert saved.value.suggested_filename == f"answers.{kind}"
        text = saved.value.path().read_text(encoding="utf-8")
        assert all(answer.split("/")[-1] in text for answer in answers(page)[:3])


def test_more_answers_come_below(page):
    search_by_photo(page, f"{PHOTO}&top=6")
    before = answers(page)
    page.get_by_role("button", name="More answers").click()
    expect(page.locator("#lists .card")).to_have_count(12)
    assert [name for name in answers(page) if name in before] == before
