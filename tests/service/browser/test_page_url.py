"""A photo by its address: pasted, dropped or typed; the service fetches it where that is switched on."""

import re
from functools import partial
from http.server import SimpleHTTPRequestHandler
from urllib.parse import urlsplit

import pytest
from page_service import serving
from page_steps import AS_A_SERVICE_ENDS, PHONE, answers, draw_box, expect, open_page, wait_for_answers
from test_page_late import Held

from service.servers import another_site

FETCHING = ("--query-urls", "--url-network", "127.0.0.0/8")
JAPANESE = {"locale": "ja-JP"}


class Site(SimpleHTTPRequestHandler):
    """Another site: the toy queries, and a page that is no photo."""

    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def other(city):
    with another_site(partial(Site, directory=city.queries)) as server:
        yield server


@pytest.fixture(scope="module")
def fetching(city):
    """A service that fetches photos from loopback too."""
    with serving(city, *FETCHING) as service:
        yield service


@pytest.fixture
def page(new_page, fetching):
    return new_page(fetching.url)


def hand(page, event, kind, text, target="#main"):
    """Paste or drop a text on the page as a browser does; returns whether the page took it."""
    return page.evaluate(
        """([event, kind, text, target]) => {
          const data = new DataTransfer();
          data.setData(kind, text);
          const options = { clipboardData: data, dataTransfer: data, bubbles: true, cancelable: true };
          const send = (made) => !document.querySelector(target).dispatchEvent(made);
          if (event === "paste") return send(new ClipboardEvent("paste", options));
          return send(new DragEvent("dragover", options)) && send(new DragEvent("drop", options));
        }""",
        [event, kind, text, target],
    )


def paste(page, text, target="#main"):
    return hand(page, "paste", "text/plain", text, target)


def drop(page, text):
    return hand(page, "drop", "text/uri-list", text)


def drop_with_a_comment(page, text):
    return drop(page, f"# a photo\r\n{text}\r\n")


def type_and_enter(page, text):
    page.locator("#url").fill(text)
    page.locator("#url").press("Enter")


def type_and_press(page, text):
    page.locator("#url").fill(text)
    page.locator("#by-url button").click()


def fetches(page):
    return [text for _, path, text in page.watched.requests if path == "v1/queries/url"]


@pytest.mark.parametrize("give", [paste, drop, drop_with_a_comment, type_and_enter, type_and_press])
def test_a_photo_is_asked_with_by_its_address(page, fetching, other, give):
    name, before = fetching.query("karowick").name, len(other.asked)
    open_page(page)
    give(page, f"{other.url}/{name}")
    wait_for_answers(page)
    assert all("karowick" in photo for photo in answers(page, "same"))
    assert answers(page, "same")
    assert re.search(r"#query=[0-9a-f]{64}$", page.url)
    expect(page.locator("#asked-name")).to_have_text(name)
    assert other.asked[before:] == [f"/{name}"]  # by the service; one of the page would fail at its end


@pytest.mark.parametrize("reloads", [False, True])
def test_a_photo_from_an_address_is_added_though_the_page_never_had_its_file(
    new_page, own_city, other, reloads
):
    name = sorted(own_city.queries.glob("karowick*"))[0].name
    with serving(own_city, *FETCHING) as service:
        page = new_page(service.url)
        open_page(page)
        paste(page, f"{other.url}/{name}")
        wait_for_answers(page)
        if reloads:
            page.reload()
            wait_for_answers(page)
        page.get_by_role("button", name="Add to the collection").click()
        page.wait_for_url("**#photo=**")
        wait_for_answers(page)
        added = page.locator("#asked-name").inner_text()
        assert added == name if not reloads else re.fullmatch(r"[0-9a-f]{12}\.jpg", added)
    assert (service.collection / "uploads" / added).read_bytes() == (own_city.queries / name).read_bytes()


PASTED = {
    # a text that is pasted -> where: no address, or one that is typed
    "a word": "#main",
    "two http://127.0.0.1/a.jpg http://127.0.0.1/b.jpg": "#main",
    "in words: http://127.0.0.1/a.jpg": "#main",
    "file:///etc/passwd": "#main",
    "javascript:alert(1)": "#main",
    "http://": "#main",
    "http://127.0.0.1/a.jpg": "#url",
}


@pytest.mark.parametrize("text", PASTED)
def test_what_is_pasted_and_is_no_address_is_left_alone(page, text):
    open_page(page)
    assert not paste(page, text, PASTED[text])
    expect(page.get_by_role("alert")).to_have_count(0)
    assert fetches(page) == []


@pytest.mark.parametrize("give", [type_and_enter, drop])
@pytest.mark.parametrize(
    ("options", "title"), [({}, "This is no address of a photo"), (JAPANESE, "写真の URL ではありません")]
)
def test_what_was_meant_and_is_no_address_is_told(new_page, fetching, give, options, title):
    page = new_page(fetching.url, **options)
    open_page(page)
    give(page, "ftp://127.0.0.1/a.jpg")
    expect(page.get_by_role("alert")).to_contain_text(title)
    assert fetches(page) == []


def test_an_empty_field_asks_nothing(page):
    open_page(page)
    type_and_enter(page, "  ")
    expect(page.get_by_role("alert")).to_have_count(0)
    assert fetches(page) == []


REFUSED = {
    # an address -> (status, words in English, words in Japanese)
    "{site}/none.jpg": (502, "The photo cannot be fetched", "写真を取得できません"),
    "{site}/": (422, "The photo cannot be read", "写真を読み込めません"),
    "http://10.0.0.1/a.jpg": (403, "This is not allowed", "この操作は許可されていません"),
    "http://me:word@127.0.0.1/a.jpg": (422, "without a user", "リクエストの内容を解釈できません"),
}


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("url", REFUSED)
def test_what_the_service_refuses_is_told_in_both_languages(new_page, fetching, other, url, language):
    status, english, japanese = REFUSED[url]
    page = new_page(fetching.url, **(JAPANESE if language == "ja" else {}))
    page.watched.expected.append(f"status of {status}")
    open_page(page)
    type_and_enter(page, url.format(site=other.url))
    expect(page.get_by_role("alert")).to_contain_text(japanese if language == "ja" else english)
    expect(page.locator("#busy")).to_be_hidden()
    expect(page.locator("#url")).to_be_visible()


@pytest.mark.parametrize("give", [paste, drop])
@pytest.mark.parametrize(
    ("options", "title"),
    [
        ({}, "This service fetches no photos from addresses"),
        (JAPANESE, "このサービスは URL から写真を取得しません"),
    ],
)
def test_where_it_is_switched_off_it_is_not_offered_and_says_so(new_page, other, give, options, title):
    page, before = new_page(**options), len(other.asked)
    open_page(page)
    expect(page.locator("#url")).to_be_hidden()
    give(page, f"{other.url}/a.jpg")
    expect(page.get_by_role("alert")).to_contain_text(title)
    assert (fetches(page), other.asked[before:]) == ([], [])


def test_a_photo_on_its_way_from_an_address_leads_nobody_away(page, fetching, other):
    open_page(page)
    held = Held(page, "**/v1/queries/url")
    paste(page, f"{other.url}/{fetching.query('karowick').name}")
    held.wait()
    with page.expect_event("requestfailed", lambda request: request.url.endswith("v1/queries/url")):
        page.locator("#picks [data-id^=hotel_temna] button").first.click()
    wait_for_answers(page)
    assert "hotel_temna" in page.locator("#asked-name").inner_text()
    expect(page.locator("#busy")).to_be_hidden()


def test_a_photo_that_the_service_forgot_is_fetched_again(new_page, city, other):
    with serving(city, *FETCHING) as service:
        page = new_page(service.url)
        page.watched.expected += AS_A_SERVICE_ENDS
        open_page(page)
        paste(page, f"{other.url}/{service.query('karowick').name}")
        wait_for_answers(page)
    with serving(city, *FETCHING, port=urlsplit(service.url).port):  # started anew: it knows no photo
        draw_box(page, (0.1, 0.1), (0.9, 0.9))
        page.wait_for_url("**box=**")
        wait_for_answers(page)
        assert len(fetches(page)) == 2
        assert answers(page, "same")


@pytest.mark.parametrize("what", ["#picks img", ".home"])
def test_a_picture_or_link_of_the_page_itself_is_not_asked_with(page, what):
    open_page(page)
    address = page.url
    page.locator(what).first.drag_to(page.locator("#start-title"))
    expect(page.locator("#drop")).to_be_hidden()
    assert (fetches(page), page.url) == ([], address)
    expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize("options", [{}, JAPANESE])
def test_the_field_fits_on_a_phone(new_page, fetching, options):
    page = new_page(fetching.url, **PHONE, **options)
    open_page(page)
    expect(page.locator("#url")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["viewport"]["width"]
