"""What changes a collection, and what scores it: jobs, photos put in and taken out, evaluations, tokens."""

import re

import pytest
from page_service import serving
from page_steps import answers, expect, open_page, search_by_file, search_by_photo, wait_for_answers

PHOTO = "karowick_post_office/karowick_post_office_place_001_02.jpg"


@pytest.fixture
def page(new_page, own_service):
    return new_page(own_service.url)


def test_a_job_is_started_and_watched_to_its_end(page):
    open_page(page, "#view=jobs")
    expect(page.get_by_text("No job has run yet.")).to_be_visible()
    page.get_by_role("button", name="Look for new photos").click()
    row = page.locator("tbody tr").first
    expect(row).to_contain_text("Done")
    expect(row).to_contain_text("Index")
    expect(row.get_by_role("button", name="Cancel")).to_have_count(0)
    page.reload()
    expect(page.locator("tbody tr").first).to_contain_text("Done")


def test_a_photo_is_added_found_and_taken_out(page, own_service):
    query = own_service.query("karowick")
    open_page(page)
    search_by_file(page, query)
    page.get_by_role("button", name="Add to the collection").click()
    page.wait_for_url("**#photo=**")
    wait_for_answers(page)
    added = page.locator("#asked-name").inner_text()
    search_by_photo(page, PHOTO)
    assert any(name.endswith(added) for name in answers(page))
    page.go_back()
    expect(page.locator("#asked-name")).to_have_text(added)
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Take out").click()
    expect(page.locator("#start")).to_be_visible()
    search_by_photo(page, PHOTO)
    assert not any(name.endswith(added) for name in answers(page))


def test_labelled_photos_are_scored_and_two_runs_compared(page, own_service, tmp_path):
    files = sorted(own_service.photos.glob("*/*_place_*.jpg"))
    rows = [f"{path.relative_to(own_service.photos)},{path.parent.name}" for path in files]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(["file,label", *rows]) + "\n")
    for name, rerank in (("plain", ""), ("expanded", "alpha-qe")):
        open_page(page, "#view=evaluations")
        page.get_by_label("Labels (CSV)").set_input_files(labels)
        page.get_by_label("Name", exact=True).fill(name)
        page.get_by_label("Reranking").select_option(rerank)
        page.get_by_role("button", name="Evaluate", exact=True).click()
        page.wait_for_url("**view=jobs**")
        expect(page.locator("tbody tr").first).to_contain_text(name)
        expect(page.locator("tbody tr").first).to_contain_text("Done")
    open_page(page, "#view=evaluations")
    page.get_by_role("link", name="plain").click()
    expect(page.get_by_role("heading", name="plain")).to_be_visible()
    name, value = (page.locator("#other tbody tr").first.locator("td").nth(column) for column in (0, 1))
    expect(name).to_have_text("mAP")
    expect(name).to_have_attribute("title", "revisitop_map: by the protocol of Revisited Oxford and Paris")
    expect(value).to_have_text(re.compile(r"^\d{1,3}\.\d\d %$"))
    cases = page.locator("#other .group h2").all_inner_texts()
    scores = [float(re.match(r"[\d.]+", case).group()) for case in cases]
    assert scores == sorted(scores)
    assert page.locator("#other .right").count() > page.locator("#other .wrong").count() // 10
    page.go_back()
    expect(page.get_by_role("checkbox")).to_have_count(2)
    for box in page.get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name="Compare two").click()
    expect(page.get_by_role("heading", name="Two evaluations compared")).to_be_visible()
    expect(page.get_by_role("columnheader", name="expanded").first).to_be_visible()
    assert "_" not in " ".join(page.locator("#other table").first.locator("td").all_inner_texts())


def test_a_service_with_tokens_asks_for_one_and_shows_pictures_with_it(new_page, own_city, tmp_path):
    token, file = "page-token-0123456789abcdef", tmp_path / "tokens"
    file.write_text(f"read {token}\n")
    file.chmod(0o600)
    with serving(own_city, "--token-file", file) as service:
        page = new_page(service.url)
        page.watched.expected.append("status of 401")
        page.goto(service.url)
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Go on").click()
        expect(page.locator("#picks img").first).not_to_have_js_property("naturalWidth", 0)
        other = new_page(service.url)
        other.goto(f"{service.url}#photo={PHOTO}&token={token}")
        wait_for_answers(other)
        assert token not in other.url
        # A token that may only read is offered nothing that changes.
        expect(other.get_by_role("button", name="Take out")).to_have_count(0)
