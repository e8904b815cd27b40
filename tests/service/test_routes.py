"""Every route of the service, asked by a real client over a real connection."""

import hashlib
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import meisho
from meisho.extractors.base import EXTRACTORS
from meisho.photos import Box, Photo
from meisho.run.finding import Finder
from service.servers import json_of, scene, serving
from toy_features import index_with_corners

WHOLE = "place 0/whole.png"
SMALL = "place 0/small, né 京.jpg"


@pytest.fixture(scope="module")
def finder(scenes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EXTRACTORS, "mean_color", "toy_features:load_mean_color")
        yield Finder.open(scenes)


def jpeg(seed=0, size=(320, 240), **options):
    data = io.BytesIO()
    scene(seed, size).save(data, options.pop("format", "JPEG"), **options)
    return data.getvalue()


def search(client, status=200, **fields):
    return json_of(client.post("/v1/search", json=fields), status)


def upload(client, content=None):
    return json_of(client.post("/v1/queries", content=content or jpeg()))["query"]


def facts(answer):
    return answer["id"], answer["score"], answer["inliers"], [copy["id"] for copy in answer["copies"]]


def expected(found, row=0):
    return [
        (answer.id, round(answer.score, 6), answer.num_inliers, [copy.id for copy in answer.copies])
        for answer in found[row]
    ]


def test_it_says_what_is_open(asked, scenes):
    (collection,) = json_of(asked.get("/v1/collections"))["collections"]
    assert collection == json_of(asked.get("/v1/collection"))
    assert (collection["name"], collection["num_photos"], collection["local"]) == ("scenes", 14, "sift")
    assert collection["photo_root_present"] and collection["folders"] == [f"place {n}" for n in range(6)]
    assert (
        json_of(asked.get("/v1/collection", params={"collection": "no"}), 404)["remedy"]
        == "name one of scenes"
    )


def test_an_upload_is_answered_as_the_command_line_answers_it(asked, finder):
    by_form = asked.post("/v1/search", files={"photo": ("a.jpg", jpeg())}, data={"top": "5", "near": "false"})
    uploaded = upload(asked)
    found = expected(finder.find(Photo("q", "q", None, jpeg()), top=5))
    for answer in (json_of(by_form), search(asked, query=uploaded, top=5, near=False)):
        assert [facts(each) for each in answer["answers"]] == found
        assert answer["query"] == {
            "query": uploaded,
            "photo": None,
            "width_px": 320,
            "height_px": 240,
            "box": None,
        }
        assert (answer["version"], answer["collection"], answer["verified"]) == (
            finder.version,
            "scenes",
            False,
        )
        assert [each["rank"] for each in answer["answers"]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("box", ["40,30,200,180", "0.5,0,319.5,10.2", "-50,-50,100,100", "300,200,9999,9999"])
def test_a_box_means_what_it_does_in_the_command_line(asked, finder, box):
    whole = finder.find(Photo("q", "q", Box.parse(box), jpeg()), top=6)
    answers = search(asked, query=upload(asked), box=box, top=6, near=False)
    assert [facts(each) for each in answers["answers"]] == expected(whole)
    stored = finder.find(Photo(WHOLE, finder.photo_root / WHOLE, Box.parse(box)), top=6)
    answers = search(asked, photo=WHOLE, box=box, top=6, near=False, include_self=True)
    assert [facts(each) for each in answers["answers"]] == expected(stored)
    assert answers["query"] == {"query": None, "photo": WHOLE, "width_px": 320, "height_px": 240, "box": box}


def test_a_stored_photo_is_asked_with_by_what_is_stored_of_it(asked, finder):
    with_self = search(asked, photo=SMALL, top=4, near=False, include_self=True)["answers"]
    assert [facts(each) for each in with_self] == expected(finder.find_like(SMALL, top=4))
    assert with_self[0]["id"] == SMALL
    without = search(asked, photo=SMALL, top=3, near=False)["answers"]
    assert [facts(each) for each in without] == [facts(each) for each in with_self[1:]]


def test_a_stored_photo_gives_its_place_to_its_copy(asked):
    first = search(asked, photo=WHOLE, top=3, near=False)["answers"][0]
    assert (first["id"], first["copies"]) == ("place 0/whole again.png", [])
    answers = search(asked, photo="place 0/whole again.png", top=3, near=False)["answers"]
    assert (answers[0]["id"], answers[0]["copies"]) == (WHOLE, [])


def test_the_second_request_verifies_by_what_the_first_found(asked, finder):
    query = upload(asked, jpeg(2))
    first = search(asked, query=query, top=4, near=False)
    second = search(asked, query=query, top=4, verify=4, near=False)
    assert second["timings_ms"]["describe"] == 0 == second["timings_ms"]["search"]
    assert second["verified"] and not first["verified"]
    best = second["answers"][0]
    assert best["id"].startswith("place 2/") and best["verdict"] == "same" and best["inliers"] > 50
    found = finder.find(Photo("q", "q", None, jpeg(2)), top=4, chain="geometric:first=4")
    assert [facts(each) for each in second["answers"]] == expected(found)
    why = json_of(asked.post("/v1/match", json={"query": query, "answer": best["id"]}))
    assert why["inliers"] == best["inliers"] and why["timings_ms"]["decode"] == 0


def test_a_match_says_where_and_by_what(asked):
    why = json_of(asked.post("/v1/match", json={"photo": WHOLE, "answer": SMALL}))
    assert (why["query_size_px"], why["photo_size_px"], why["verdict"]) == ([320, 240], [240, 180], "same")
    matrix, lines = np.array(why["H_query_to_photo"]), np.array(why["lines"])
    assert len(lines) == min(why["inliers"], 500) and len(why["outliers"]) <= 200
    mapped = np.c_[lines[:, :2], np.ones(len(lines))] @ matrix.T
    errors = np.linalg.norm(mapped[:, :2] / mapped[:, 2:] - lines[:, 2:], axis=1)
    assert np.median(errors) < 2
    assert np.allclose(matrix[:2, :2], 0.75 * np.eye(2), atol=0.05)


def test_a_match_looks_at_boxes_of_both(asked):
    boxes = {"box": "0,0,160,240", "other_box": "0,0,120,180"}
    why = json_of(asked.post("/v1/match", json={"photo": WHOLE, "answer": SMALL, **boxes}))
    lines = np.array(why["lines"])
    assert len(lines) > 10 and lines[:, 0].max() < 160 and lines[:, 2].max() < 120


def test_pages_go_on_where_the_last_ended(asked):
    everything = search(asked, photo=WHOLE, top=100, near=False)
    assert everything["next"] is None
    page, pages = search(asked, photo=WHOLE, top=5, near=False), []
    while True:
        pages += page["answers"]
        if page["next"] is None:
            break
        page = json_of(asked.get("/v1/answers", params={"cursor": page["next"]}))
    assert pages == everything["answers"]


def test_several_are_asked_at_once_and_one_that_fails_hinders_none(asked):
    files = [("photo", jpeg(1)), ("photo", b"no photo at all"), ("photo", jpeg(2))]
    results = json_of(asked.post("/v1/search/batch", files=files, data={"top": "1"}))["results"]
    assert [r.get("type") for r in results] == [None, "/problems/image", None]
    assert [r["answers"][0]["id"][:7] for r in (results[0], results[2])] == ["place 1", "place 2"]
    questions = {"queries": [{"photo": WHOLE, "top": 1}, {"photo": "none"}]}
    results = json_of(asked.post("/v1/search/batch", json=questions))["results"]
    assert results[1]["type"] == "/problems/photo-not-found" and results[0]["answers"]


def test_photos_are_listed_in_pages(asked):
    seen, cursor = [], None
    while True:
        page = json_of(asked.get("/v1/photos", params={"limit": 4} | ({"cursor": cursor} if cursor else {})))
        seen += page["photos"]
        if (cursor := page["next"]) is None:
            break
    ids = [photo["id"] for photo in seen]
    assert ids == sorted(ids) and len(ids) == 14
    below = json_of(asked.get("/v1/photos", params={"folder": "place 3"}))["photos"]
    assert [(p["name"], p["folder"]) for p in below] == [
        ("small, né 京.jpg", "place 3"),
        ("whole.png", "place 3"),
    ]
    assert (below[1]["width_px"], below[1]["height_px"], below[1]["missing"]) == (320, 240, False)
    assert json_of(asked.get(f"/v1/photos/{SMALL}"))["id"] == SMALL


@pytest.mark.parametrize("side", [160, 240, 480, 960])
def test_thumbnails_are_drawn_once(asked, side):
    shown = asked.get("/v1/thumbnail", params={"id": WHOLE, "side": side})
    assert max(Image.open(io.BytesIO(shown.content)).size) == min(side, 320)
    assert shown.headers["content-type"] == "image/jpeg"
    again = asked.get(
        "/v1/thumbnail", params={"id": WHOLE, "side": side}, headers={"If-None-Match": shown.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


def test_files_are_shown_upright_or_as_they_are(asked, scenes):
    shown = asked.get("/v1/file", params={"id": WHOLE})
    assert Image.open(io.BytesIO(shown.content)).size == (320, 240)
    original = asked.get("/v1/file", params={"id": WHOLE, "original": 1})
    assert original.content == (scenes.parent / "photos" / WHOLE).read_bytes()
    assert original.headers["content-type"] == "application/octet-stream"
    assert original.headers["content-disposition"].startswith("attachment")


def test_a_query_photo_is_shown_upright(asked):
    exif = Image.Exif()
    exif[0x0112] = 6
    query = json_of(asked.post("/v1/queries", content=jpeg(exif=exif.tobytes())))
    assert (query["width_px"], query["height_px"], query["format"]) == (240, 320, "JPEG")
    for path in ("thumbnail?side=160", "file"):
        shown = asked.get(f"/v1/queries/{query['query']}/{path}")
        width, height = Image.open(io.BytesIO(shown.content)).size
        assert height > width


def test_heic_is_read(asked):
    pillow_heif = pytest.importorskip("pillow_heif")
    data = io.BytesIO()
    pillow_heif.from_pillow(scene(3)).save(data)
    assert search(asked, query=upload(asked, data.getvalue()), top=1)["answers"][0]["id"].startswith(
        "place 3"
    )


def test_what_is_computed_by_hand_is_told_to_prometheus(asked):
    search(asked, photo=WHOLE)
    text = asked.get("/metrics").text
    assert 'meisho_stage_seconds_count{stage="search"}' in text and "meisho_requests_total{" in text
    stages = json_of(asked.get("/v1/timings"))["stages"]
    assert list(stages) == ["wait", "decode", "describe", "search", "verify", "draw"]
    assert stages["search"]["count"] > 0 and stages["search"]["p99_ms"] >= stages["search"]["p50_ms"] > 0


def test_the_page_and_its_files_are_served(asked):
    page = asked.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8" and "<script" in page.text
    script = asked.get("/static/main.js")
    assert script.headers["content-type"].startswith("text/javascript")
    again = asked.get("/static/main.js", headers={"If-None-Match": script.headers["etag"]})
    assert again.status_code == 304
    assert json_of(asked.get("/healthz")) == {"status": "ok"}
    assert json_of(asked.get("/readyz")) == {"status": "ready"}
    assert json_of(asked.get("/openapi.json"))["openapi"].startswith("3.1")


def test_the_description_is_shown_without_asking_another_origin(asked):
    page = asked.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8" and "//" not in page.text.lower()
    assert "data:" in page.headers["content-security-policy"]
    for name in re.findall(r'(?:href|src)="([^"]+)"', page.text):
        assert asked.get(f"/{name}").status_code == 200, name


def test_what_others_made_is_as_they_made_it():
    folder = Path(meisho.__file__).parent / "service" / "static" / "swagger-ui"
    kept = dict(re.findall(r"\| (\S+) \| ([0-9a-f]{64}) \|", (folder / "THIRD_PARTY.md").read_text()))
    assert set(kept) == {"swagger-ui-bundle.js", "swagger-ui.css"}
    for name, digest in kept.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert "Apache License" in (folder / "LICENSE").read_text()


REFUSED = {
    "nothing": ({}, 422, "give one photo"),
    "both": ({"photo": WHOLE, "query": "0" * 64}, 422, "give one photo"),
    "unknown photo": ({"photo": "no"}, 404, "holds no photo 'no'"),
    "forgotten": ({"query": "0" * 64}, 404, "no longer in memory"),
    "no query": ({"query": "0"}, 422, "query: "),
    "box of words": ({"photo": WHOLE, "box": "a,b"}, 400, "give numbers with commas between"),
    "box of three": ({"photo": WHOLE, "box": "1,2,3"}, 400, "give four numbers, x0,y0,x1,y1"),
    "empty box": ({"photo": WHOLE, "box": "5,5,1,1"}, 400, "needs finite x0 < x1"),
    "box of nan": ({"photo": WHOLE, "box": "nan,0,1,1"}, 400, "give finite numbers"),
    "box outside": (
        {"photo": WHOLE, "box": "900,900,999,999"},
        422,
        "lies outside the photo of 320 × 240 px",
    ),
    "top": ({"photo": WHOLE, "top": 0}, 422, "top: "),
    "too many": ({"photo": WHOLE, "top": 501}, 422, "top: "),
    "verify and rerank": ({"photo": WHOLE, "verify": 3, "rerank": "dba"}, 400, "give one of the two"),
    "reranker": ({"photo": WHOLE, "rerank": "alpha-qee"}, 400, "alpha-qe"),
    "day": ({"photo": WHOLE, "after": "yesterday"}, 400, "YYYY-MM-DD"),
    "gps": ({"photo": WHOLE, "gps": "1,2"}, 400, "latitude,longitude,km"),
    "unknown field": ({"photo": WHOLE, "tops": 3}, 422, "tops: "),
    "collection": ({"photo": WHOLE, "collection": "x"}, 404, "no collection 'x' is open"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_answered_is_refused_in_words(asked, name):
    fields, status, words = REFUSED[name]
    assert words in search(asked, status, **fields)["detail"]


UPLOADS = {
    "empty": (b"", "the file is empty (0 bytes)"),
    "text": (b"not a photo", "the photo: "),
    "cut": (jpeg()[:3000], "the photo: "),
    "html": (b"<html><script>alert(1)</script></html>", "the photo: "),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "the photo: "),
}


@pytest.mark.parametrize("name", UPLOADS)
def test_what_is_no_photo_is_refused_in_words(asked, name):
    content, words = UPLOADS[name]
    answer = json_of(asked.post("/v1/search", files={"photo": ("x.jpg", content)}), 422)
    assert answer["type"] == "/problems/image" and words in answer["detail"]


def test_a_bomb_is_refused_before_it_is_decoded(asked):
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10_000)))
        + chunk(b"IEND", b"")
    )
    answer = json_of(asked.post("/v1/queries", content=bomb), 422)
    assert "decompression bomb" in answer["detail"]


def test_a_request_that_is_too_large_is_refused(scenes):
    with serving(scenes, most_body_bytes=10_000) as client:
        for body in (b"x" * 10_001, iter([b"x" * 6_000, b"x" * 6_000])):
            answer = json_of(client.post("/v1/queries", content=body), 413)
            assert "at most 9.8 KB" in answer["detail"]


def test_what_waits_is_bounded(scenes):
    """One question holds the only thread, one waits, the third is refused and told when to come again."""
    import threading

    with serving(scenes, num_threads=1, most_waiting=1) as client:
        go_on, begun = threading.Event(), threading.Event()
        held = client.service.work.submit(lambda: (begun.set(), go_on.wait()))
        begun.wait()
        waiting = client.service.work.submit(lambda: "answered")
        refused = client.post("/v1/search", json={"photo": WHOLE})
        answer = json_of(refused, 429)
        assert answer["type"] == "/problems/busy" and int(refused.headers["retry-after"]) >= 1
        assert json_of(client.get("/healthz")) == {"status": "ok"}
        go_on.set()
        assert (held.result()[1], waiting.result()) == (True, "answered")
        assert search(client, photo=WHOLE)["answers"]


def test_an_uploaded_photo_is_read_once_to_be_asked_with(scenes, monkeypatch):
    with serving(scenes) as client:
        read, ask = [], client.service.decoder._crew.ask

        def counting(function, *arguments):
            read.append(function.__name__)
            return ask(function, *arguments)

        monkeypatch.setattr(client.service.decoder._crew, "ask", counting)
        for _ in range(2):
            answer = json_of(client.post("/v1/search", files={"photo": jpeg(3, (300, 200))}))
            assert (answer["query"]["width_px"], answer["query"]["height_px"]) == (300, 200)
        assert read == ["load_sized_image"]


def test_a_photo_that_was_used_longest_ago_is_forgotten(scenes):
    with serving(scenes, queries_bytes=len(jpeg(1)) + len(jpeg(2)) + 5_000) as client:
        first, _, third = (upload(client, jpeg(seed)) for seed in (1, 2, 3))
        assert search(client, 404, query=first)["type"] == "/problems/query-forgotten"
        assert (
            json_of(client.get(f"/v1/queries/{first}/thumbnail"), 404)["type"] == "/problems/query-forgotten"
        )
        assert search(client, query=third)["answers"]
        assert upload(client, jpeg(1)) == first
        assert search(client, query=first)["answers"]


def test_what_was_skipped_is_counted_and_listed_with_its_reason(photos, collection, describer):
    """Two files that are no photos are named; once they are gone, so are their names."""
    broken = {name: photos / "a" / name for name in ("broken.jpg", "torn.png")}
    broken["broken.jpg"].write_bytes(b"no photo")
    broken["torn.png"].write_bytes(b"nor this")
    with serving(collection) as client:
        assert json_of(client.get("/v1/collection"))["skipped"] == 0
        index_with_corners(photos, describer)
        assert json_of(client.get("/v1/collection"))["skipped"] == 2
        first = json_of(client.get("/v1/skipped", params={"limit": 1}))
        second = json_of(client.get("/v1/skipped", params={"limit": 1, "cursor": first["next"]}))
        assert [photo["id"] for photo in first["photos"] + second["photos"]] == [
            f"a/{name}" for name in broken
        ]
        assert all(photo["reason"] for photo in first["photos"] + second["photos"])
        assert (first["number"], second["next"]) == (2, None)
        for path in broken.values():
            path.unlink()
        index_with_corners(photos, describer)
        assert json_of(client.get("/v1/skipped")) == {"number": 0, "photos": [], "next": None}


def test_it_follows_the_writer(photos, collection, describer):
    from meisho.run.indexing import index_folder
    from service.conftest import paint

    with serving(collection) as client:
        before = search(client, photo="a/0.jpg", top=3)
        paint(photos / "new.jpg", 99)
        index_folder(photos, collection, describer)
        expired = client.get("/v1/answers", params={"cursor": before["next"]})
        assert json_of(expired, 410)["type"] == "/problems/cursor-expired"
        after = search(client, photo="a/0.jpg", top=3)
        assert after["version"] > before["version"]
        assert json_of(client.get("/v1/collection"))["num_photos"] == 11
        assert search(client, photo="new.jpg")["answers"]


def test_several_collections_are_open_at_once(scenes, collection):
    with serving(scenes, collection) as client:
        names = [each["name"] for each in json_of(client.get("/v1/collections"))["collections"]]
        assert names == ["scenes", "c"]
        assert search(client, photo="a/0.jpg", collection="c")["collection"] == "c"
        assert search(client, 404, photo="a/0.jpg")["type"] == "/problems/photo-not-found"


def test_photos_that_are_gone_are_said_to_be(photos, collection):
    (photos / "a" / "0.jpg").unlink()
    with serving(collection) as client:
        assert json_of(client.get("/v1/photos/a/0.jpg")) == {
            "id": "a/0.jpg",
            "name": "0.jpg",
            "folder": "a",
            "width_px": None,
            "height_px": None,
            "missing": True,
        }
        for path in ("thumbnail", "file", "file?original=1"):
            assert (
                json_of(
                    client.get(
                        f"/v1/{path}", params={"id": "a/0.jpg"} | ({"original": 1} if "?" in path else {})
                    ),
                    404,
                )["type"]
                == "/problems/photo-missing"
            )
        answers = search(client, photo="a/2.jpg", top=20, near=False)["answers"]
        assert {each["id"]: each["missing"] for each in answers}["a/0.jpg"]
        assert search(client, photo="a/0.jpg", top=2, near=False)["answers"]


def test_a_collection_without_local_features_is_compared_by_sift(scenes, tmp_path):
    from meisho.describing import Describer
    from meisho.run.indexing import index_folder
    from toy_features import MeanColor

    index_folder(scenes.parent / "photos", tmp_path / "plain.meisho", Describer(MeanColor(), num_workers=0))
    with serving(tmp_path / "plain.meisho") as client:
        why = json_of(client.post("/v1/match", json={"photo": WHOLE, "answer": SMALL}))
        assert why["verdict"] == "same"
        refused = search(client, 400, photo=WHOLE, verify=5)
        assert "holds no local features to verify with" in refused["detail"]
