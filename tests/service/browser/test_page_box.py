"""The box on the query: drawn by mouse, finger or keys, searched on release, and kept in the address."""

import pytest
from page_steps import (
    box_of,
    draw_box,
    expect,
    in_frame,
    open_page,
    search_by_file,
    search_by_photo,
    wait_for_answers,
)

PHOTO = "karowick_post_office/karowick_post_office_place_001_02.jpg"


def by_mouse(page):
    draw_box(page, (0.2, 0.3), (0.8, 0.9))


def by_finger(page):
    touch = page.context.new_cdp_session(page)

    def send(kind, *corner):
        points = [dict(zip("xy", in_frame(page, *corner), strict=True))] if corner else []
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    send("touchStart", 0.2, 0.3)
    send("touchMove", 0.5, 0.5)
    send("touchMove", 0.8, 0.9)
    send("touchEnd")


@pytest.mark.parametrize("draw", [by_mouse, by_finger])
def test_a_box_is_drawn_and_searched_on_release(new_page, draw):
    page = new_page(has_touch=draw is by_finger)
    search_by_photo(page, PHOTO)
    before = len(page.watched.searches())
    draw(page)
    page.wait_for_url("**box=**")
    wait_for_answers(page)
    sides = page.locator("#asked-facts").inner_text().split(" × ")
    width, height = (int(side.replace(",", "")) for side in sides)
    x0, y0, x1, y1 = box_of(page)
    assert [x0 / width, y0 / height, x1 / width, y1 / height] == pytest.approx([0.2, 0.3, 0.8, 0.9], abs=0.02)
    assert {search["box"] for search in page.watched.searches()[before:]} == {f"{x0},{y0},{x1},{y1}"}
    expect(page.locator("#frame .region")).to_be_visible()


def test_arrow_keys_make_move_and_size_a_box_and_search_when_released(page):
    search_by_photo(page, PHOTO)
    page.keyboard.press("b")
    expect(page.locator("#frame")).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**box=**")
    first = box_of(page)
    page.keyboard.down("ArrowRight")
    page.keyboard.down("ArrowRight")
    assert box_of(page) == first  # nothing is asked while the key is held
    page.keyboard.up("ArrowRight")
    page.wait_for_url(lambda url: f"box={','.join(map(str, first))}" not in url)
    moved = box_of(page)
    assert moved[0] > first[0]
    assert moved[2] - moved[0] == pytest.approx(first[2] - first[0], abs=1)
    page.keyboard.press("Shift+ArrowDown")
    page.wait_for_url(lambda url: f"box={','.join(map(str, moved))}" not in url)
    assert box_of(page)[:3] == moved[:3]
    assert box_of(page)[3] > moved[3]
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: "box=" not in url)
    expect(page.locator("#frame .region")).to_be_hidden()


def test_a_box_is_moved_and_its_corner_pulled(page):
    search_by_photo(page, PHOTO)
    draw_box(page, (0.2, 0.2), (0.5, 0.5))
    page.wait_for_url("**box=**")
    first = box_of(page)
    draw_box(page, (0.35, 0.35), (0.55, 0.45))  # from within: moves it
    page.wait_for_url(lambda url: f"box={','.join(map(str, first))}" not in url)
    moved = box_of(page)
    assert moved[0] > first[0] and moved[1] > first[1]
    assert moved[2] - moved[0] == pytest.approx(first[2] - first[0], abs=1)
    corner = page.locator("#frame [data-corner=se]").bounding_box()
    page.mouse.move(corner["x"] + corner["width"] / 2, corner["y"] + corner["height"] / 2)
    page.mouse.down()
    page.mouse.move(*in_frame(page, 0.95, 0.95))
    page.mouse.up()
    page.wait_for_url(lambda url: f"box={','.join(map(str, moved))}" not in url)
    assert box_of(page)[:2] == moved[:2]
    assert box_of(page)[2] > moved[2]


def test_a_click_is_no_box_and_leaves_the_one_that_is_there(page):
    search_by_photo(page, PHOTO)
    draw_box(page, (0.2, 0.2), (0.5, 0.5))
    page.wait_for_url("**box=**")
    first = box_of(page)
    page.mouse.click(*in_frame(page, 0.9, 0.9))
    assert box_of(page) == first
    expect(page.locator("#frame .region")).to_be_visible()


def test_back_takes_the_box_away_and_forward_brings_it_again(page, service):
    open_page(page)
    search_by_file(page, service.query("karowick"))
    whole = page.locator("#lists .card").count()
    draw_box(page, (0.1, 0.1), (0.6, 0.6))
    page.wait_for_url("**box=**")
    wait_for_answers(page)
    page.go_back()
    expect(page.locator("#frame .region")).to_be_hidden()
    expect(page.locator("#lists .card")).to_have_count(whole)
    page.go_forward()
    expect(page.locator("#frame .region")).to_be_visible()
    page.get_by_role("button", name="Whole photo").click()
    expect(page.locator("#frame .region")).to_be_hidden()
    assert "box" not in page.url


def test_forward_before_back_is_done_brings_the_box_again(page):
    search_by_photo(page, PHOTO)
    draw_box(page, (0.1, 0.1), (0.6, 0.6))
    page.wait_for_url("**box=**")
    wait_for_answers(page)
    held = []
    page.route("**/v1/feedback?*", lambda route: held.append(route))
    with page.expect_request("**/v1/feedback?*"):
        page.go_back()
    expect(page.locator("#frame .region")).to_be_hidden()
    page.unroute("**/v1/feedback?*")
    page.go_forward()
    expect(page.locator("#frame .region")).to_be_visible()
    wait_for_answers(page)
    assert held


def test_answers_that_come_while_a_box_is_drawn_leave_it(page):
    held = []
    page.route("**/v1/search", lambda route: route.continue_() if held else held.append(route))
    with page.expect_request("**/v1/search"):
        page.goto(f"{page.home}#photo={PHOTO}")
    expect(page.locator("#frame img")).to_have_js_property("complete", True)
    page.mouse.move(*in_frame(page, 0.2, 0.2))
    page.mouse.down()
    page.mouse.move(*in_frame(page, 0.7, 0.7))
    held[0].continue_()
    wait_for_answers(page)
    expect(page.locator("#frame .region")).to_be_visible()
    page.mouse.up()
    page.wait_for_url("**box=**")
