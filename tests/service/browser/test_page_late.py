"""What comes late: no answer changes a search, a list or a mark that is not its own any more.

Each test holds requests of the page back and lets them go in the order that once went wrong.
"""

import json
import re
import shutil

import pytest
from page_service import serving
from page_steps import (
    answers,
    draw_box,
    expect,
    give_files,
    open_page,
    search_by_photo,
    wait_for_address,
    wait_for_answers,
    wait_until_shown,
)

PHOTO = "karowick_post_office/karowick_post_office_place_001_02.jpg"
NEXT = PHOTO.replace("02.jpg", "03.jpg")


class Held:
    """Requests to `url` that are held back, those alone that `which` chooses, until they are let go."""

    def __init__(self, page, url, which=lambda request: True):
        self.page, self.which, self.routes = page, which, []
        page.route(url, self._take)

    def _take(self, route):
        if self.which(route.request):
            self.routes.append(route)
        else:
            route.fallback()

    def wait(self, number=1):
        """Wait until so many are held."""
        while len(self.routes) < number:
            self.page.evaluate("() => new Promise(requestAnimationFrame)")

    def let_go(self):
        """Let all go on, and what comes after them."""
        self.which = lambda request: False
        for route in self.routes:
            route.continue_()


def catch_up(page):
    """Wait until the page has taken in all that was sent to it before."""
    page.evaluate("() => fetch('static/icon.svg').then((reply) => reply.text())")


def verifies(request):
    return json.loads(request.post_data)["verify"] > 0


def test_an_answer_says_why_while_the_verified_order_is_on_its_way(page):
    held = Held(page, "**/v1/search", verifies)
    page.goto(f"{page.home}#photo={PHOTO}")
    page.locator("#lists .photo").first.click()
    expect(page.locator("#why .lines line").first).to_be_attached()
    held.let_go()
    wait_until_shown(page)
    expect(page.locator("#why .lines line").first).to_be_attached()
    assert [search["verify"] for search in page.watched.searches()] == [0, 20]
    page.keyboard.press("Escape")
    wait_for_answers(page)
    assert len(page.watched.searches()) == 2


def test_more_answers_of_a_search_that_was_left_are_not_shown_under_the_next(page):
    search_by_photo(page, f"{PHOTO}&top=6")
    held = Held(page, "**/v1/answers?*")
    page.get_by_role("button", name="More answers").click()
    held.wait()
    page.locator("#lists .from").first.click()
    page.wait_for_url(lambda url: PHOTO not in url)
    wait_for_answers(page)
    here = answers(page)
    held.let_go()
    catch_up(page)
    assert answers(page) == here
    page.go_back()
    expect(page.locator("#lists .card")).to_have_count(12)


def test_more_is_offered_of_the_answers_that_are_shown_alone(page):
    search_by_photo(page, f"{PHOTO}&top=6")
    expect(page.locator("#more")).to_be_visible()
    held = Held(page, "**/v1/search")
    draw_box(page, (0.1, 0.1), (0.8, 0.8))
    held.wait()
    expect(page.locator("#more")).to_be_hidden()
    held.let_go()
    wait_for_answers(page)
    expect(page.locator("#more")).to_be_visible()


def test_more_answers_that_are_asked_for_twice_come_once(page):
    search_by_photo(page, f"{PHOTO}&top=6")
    held = Held(page, "**/v1/answers?*")
    page.get_by_role("button", name="More answers").dblclick()
    held.wait()
    held.let_go()
    expect(page.locator("#lists .card")).to_have_count(12)
    assert len(set(answers(page))) == 12
    assert [path.split("?")[0] for _, path, _ in page.watched.requests].count("v1/answers") == 1


@pytest.mark.parametrize("step", ["another photo", "a stored photo"])
def test_an_upload_that_was_left_leads_nobody_away(page, service, step):
    open_page(page)
    held = Held(page, "**/v1/queries", lambda request: not held.routes)
    give_files(page, "drop", service.query("karowick"))
    held.wait()
    with page.expect_event("requestfailed", lambda request: request.url.endswith("v1/queries")):
        if step == "another photo":
            give_files(page, "drop", service.query("hotel_temna"))
        else:
            page.locator("#picks [data-id^=hotel_temna] button").first.click()
    wait_for_answers(page)
    assert "hotel_temna" in page.locator("#asked-name").inner_text()
    expect(page.locator("#busy")).to_be_hidden()


def test_the_language_chosen_last_is_shown(page):
    search_by_photo(page, PHOTO)
    held = Held(page, "**/ja.json")
    page.get_by_label("Language").select_option("ja")
    held.wait()
    page.locator("#language").select_option("en")
    held.let_go()
    catch_up(page)
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator("#language")).to_have_value("en")
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "en")


def test_a_language_that_cannot_be_fetched_is_told_and_changes_nothing(page):
    page.watched.expected.append("Failed to load resource")
    open_page(page)
    page.route("**/ja.json", lambda route: route.abort())
    page.get_by_label("Language").select_option("ja")
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer")
    expect(page.locator("#language")).to_have_value("en")


def test_a_part_of_the_page_that_cannot_be_fetched_is_told(page):
    page.watched.expected.append("Failed to load resource")
    open_page(page)
    page.route("**/search.js", lambda route: route.abort())
    page.locator("#picks button").first.click()
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer")


def test_where_the_photos_cannot_be_compared_those_most_alike_stay(page):
    page.watched.expected.append("status of 500")
    problem = {"type": "/problems/fault", "title": "A fault", "status": 500, "detail": "no comparing today"}

    def fail(route):
        if verifies(route.request):
            route.fulfill(status=500, content_type="application/problem+json", body=json.dumps(problem))
        else:
            route.continue_()

    page.route("**/v1/search", fail)
    page.goto(f"{page.home}#photo={PHOTO}")
    expect(page.get_by_role("alert")).to_contain_text("no comparing today")
    expect(page.locator("#busy")).to_be_hidden()
    expect(page.get_by_role("heading", level=1)).not_to_contain_text("Comparing")
    assert answers(page)


def test_back_over_two_steps_closes_what_was_opened(page):
    open_page(page)
    page.locator("#picks [data-id*=karowick] button").first.click()
    wait_for_answers(page)
    page.locator("#lists .photo").first.click()
    expect(page.locator("#why")).to_be_visible()
    page.evaluate("history.go(-2)")
    expect(page.locator("#start")).to_be_visible()
    expect(page.locator("#why")).to_be_hidden()


def test_a_box_on_a_photo_that_was_left_is_not_drawn_on_the_next(page):
    search_by_photo(page, PHOTO)
    draw_box(page, (0.1, 0.1), (0.8, 0.8))
    page.wait_for_url("**box=**")
    wait_for_answers(page)
    held = Held(page, "**/v1/search")
    page.evaluate("location.hash = 'photo=streets/the same again.jpg'")
    held.wait()
    expect(page.locator("#frame .region")).to_be_hidden()
    draw_box(page, (0.2, 0.2), (0.6, 0.6))
    held.let_go()
    page.wait_for_url("**box=**")
    wait_for_answers(page)
    expect(page.locator("#frame .region")).to_be_visible()


@pytest.fixture
def own_page(new_page, own_service):
    return new_page(own_service.url)


def marks_sent(page):
    return [json.loads(body)["same"] for method, _, body in page.watched.requests if method == "PUT"]


def test_a_mark_pressed_twice_at_once_is_taken_back(own_page):
    search_by_photo(own_page, PHOTO)
    held = Held(own_page, "**/v1/feedback")
    same = own_page.locator("#lists .card").first.get_by_role("button", name="Same place", exact=True)
    same.click()
    same.click()
    held.wait()
    held.let_go()
    expect(own_page.locator("#said")).to_have_text("Mark taken back")
    expect(same).to_have_attribute("aria-pressed", "false")
    assert marks_sent(own_page) == [True, None]
    own_page.reload()
    wait_for_answers(own_page)
    expect(own_page.locator(".marked-same")).to_have_count(0)


def test_a_mark_that_is_kept_late_is_not_one_of_the_next_query(own_page):
    search_by_photo(own_page, PHOTO)
    held = Held(own_page, "**/v1/feedback", lambda request: request.method == "PUT")
    shared = next(name for name in answers(own_page) if name != NEXT)
    own_page.locator(f'[data-id="{shared}"]').get_by_role("button", name="Same place", exact=True).click()
    held.wait()
    own_page.evaluate("(photo) => (location.hash = `photo=${photo}`)", NEXT)
    wait_for_answers(own_page)
    with own_page.expect_response(lambda reply: reply.request.method == "PUT"):
        held.let_go()
    catch_up(own_page)
    expect(own_page.locator(f'[data-id="{shared}"]')).to_have_count(1)
    expect(own_page.locator(".marked-same")).to_have_count(0)
    own_page.go_back()
    wait_for_answers(own_page)
    expect(own_page.locator(".marked-same")).to_have_count(1)


def test_no_button_goes_away_under_a_press(own_page):
    """A mark that is kept while another button is pressed neither moves that one nor makes it anew."""
    search_by_photo(own_page, PHOTO)
    held = Held(own_page, "**/v1/feedback", lambda request: request.method == "PUT")
    card = own_page.locator("#lists .card").first
    other = card.get_by_role("button", name="Not the same place", exact=True)
    card.get_by_role("button", name="Same place", exact=True).click()
    held.wait()
    other.hover()
    own_page.mouse.down()
    held.let_go()
    expect(card).to_have_class(re.compile("marked-same"))
    expect(own_page.get_by_role("button", name="Search again with the marked photo")).to_be_visible()
    own_page.mouse.up()
    expect(card).to_have_class(re.compile("marked-other"))
    expect(other).to_have_attribute("aria-pressed", "true")


def test_a_search_from_the_marked_is_made_anew_when_the_marks_are_others(own_page):
    search_by_photo(own_page, PHOTO)
    for at, name in enumerate(("the marked photo", "the 2 marked photos")):
        own_page.locator("#lists .card").nth(at).get_by_role("button", name="Same place", exact=True).click()
        own_page.get_by_role("button", name=f"Search again with {name}").click()
        wait_for_address(own_page, "marked", "1")
        wait_for_answers(own_page)
        own_page.go_back()
        wait_for_answers(own_page)
    marked = [search for search in own_page.watched.searches() if search.get("marked")]
    assert len(marked) == 4  # by likeness and verified, each time


def test_a_job_is_watched_on_when_its_stream_breaks_off(own_page):
    broken = []
    own_page.route(
        "**/events",
        lambda route: (
            route.continue_()
            if broken
            else (broken.append(route), route.fulfill(body="", content_type="text/event-stream"))
        ),
    )
    open_page(own_page, "#view=jobs")
    own_page.get_by_role("button", name="Look for new photos").click()
    expect(own_page.locator("tbody tr").first).to_contain_text("Done")
    assert broken


def test_a_list_that_was_left_before_it_came_is_fetched_again(new_page, own_city):
    other = own_city.collection.with_name("other.meisho")
    shutil.copytree(own_city.collection, other)
    with serving(own_city, beside=(other,)) as service:
        page = new_page(service.url)
        open_page(page)
        expect(page.locator("#picks .card").first).to_be_visible()
        held = Held(page, re.compile(r"/v1/photos\?.*other"))
        page.get_by_label("Collection").select_option("other")
        held.wait()
        page.go_back()
        wait_until_shown(page)
        expect(page.locator("#picks .card").first).to_be_visible()
        count = page.locator("#picks .card").count()
        held.let_go()
        catch_up(page)
        assert page.locator("#picks .card").count() == count
        page.get_by_label("Collection").select_option("other")
        wait_until_shown(page)
        assert page.locator("#picks .card").count() == count
