"""Places and duplicates, found by a job, listed, dismissed and exported by a real server."""

import csv
import io
import shutil

import pytest

from meisho.describing import Describer
from meisho.extractors.base import load_extractor
from meisho.extractors.local_base import load_local_extractor
from meisho.local_describing import LocalDescriber
from meisho.run.indexing import IndexOptions, index_folder
from service.servers import READ, bearer, json_of, scene, serving, write_tokens
from service.test_desk import ended

PLACES = 3


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Three places, four photos of each from other sides; one photo twice, one smaller too."""
    root = tmp_path_factory.mktemp("places")
    for seed in range(PLACES):
        folder = root / "photos" / f"{seed}"
        folder.mkdir(parents=True)
        whole = scene(seed, (640, 480))
        for number, left in enumerate((0, 60, 120, 180)):
            view = whole.crop((left, left // 2, left + 420, left // 2 + 340))
            view.rotate(4 * number, expand=False).save(folder / f"{number}.png")
    shutil.copy(root / "photos" / "0" / "0.png", root / "photos" / "0 again.png")
    whole.crop((0, 0, 420, 340)).resize((300, 243)).save(root / "photos" / "2 smaller.png")
    for seed in range(50, 53):
        scene(seed).save(root / "photos" / f"alone {seed}.png")
    describer = Describer(load_extractor("default", max_side_px=192), num_workers=0)
    local = LocalDescriber(load_local_extractor("sift"), num_workers=0)
    index_folder(root / "photos", root / "c.meisho", describer, IndexOptions(local=local))
    return root


@pytest.fixture(scope="module")
def client(scenes):
    with serving(scenes / "c.meisho") as client:
        empty = json_of(client.get("/v1/places"))
        assert (empty["made_at"], empty["places"]) == (None, [])
        assert json_of(client.get("/v1/places/export"), 404)["remedy"] == "begin a job of the kind groups"
        done = ended(client, json_of(client.post("/v1/jobs", json={"kind": "groups"}), 202))
        assert done["state"] == "done", done["problem"]
        yield client


def test_each_place_holds_its_photos_and_no_others(client):
    found = json_of(client.get("/v1/places"))
    assert found["stale"] is False and found["number"] == len(found["places"]) == PLACES
    for place in found["places"]:
        (number,) = {photo[0] for photo in place["photos"]}
        assert place["cover"] == place["photos"][0] and place["size"] == len(place["photos"]) >= 3
        whole = json_of(client.get(f"/v1/places/{place['id']}"))
        assert [photo["id"] for photo in whole["details"]] == place["photos"] and number in "012"
    assert json_of(client.get("/v1/collection"))["has_places"] is True
    assert json_of(client.get("/v1/places/none"), 404)["type"] == "/problems/not-found"


def test_lists_go_on_page_by_page(client):
    first = json_of(client.get("/v1/places", params={"limit": 2}))
    rest = json_of(client.get("/v1/places", params={"limit": 2, "cursor": first["next"]}))
    ids = [place["id"] for place in (*first["places"], *rest["places"])]
    assert len({*ids}) == PLACES and rest["next"] is None
    other = json_of(client.get("/v1/photos", params={"limit": 1}))["next"]
    assert (
        json_of(client.get("/v1/places", params={"cursor": other}), 410)["type"] == "/problems/cursor-expired"
    )


def test_duplicates_are_apart_and_stay_dismissed(client, scenes):
    groups = json_of(client.get("/v1/duplicates"))["groups"]
    same = next(group for group in groups if group["kind"] == "same")
    assert {photo["id"] for photo in same["photos"]} == {"0/0.png", "0 again.png"}
    dismissal = {"kind": "duplicate", "id": same["id"], "dismissed": True}
    assert same["id"] in json_of(client.put("/v1/dismissals", json=dismissal))["ids"]
    left = json_of(client.get("/v1/duplicates"))["groups"]
    assert same["id"] not in [group["id"] for group in left] and len(left) == len(groups) - 1
    ended(client, json_of(client.post("/v1/jobs", json={"kind": "groups"}), 202))  # found anew
    assert json_of(client.get("/v1/duplicates"))["groups"] == left
    shown = json_of(client.get("/v1/duplicates", params={"dismissed": True}))["groups"]
    assert [group["dismissed"] for group in shown].count(True) == 1
    json_of(client.put("/v1/dismissals", json=dismissal | {"dismissed": False}))
    assert json_of(client.get("/v1/duplicates"))["groups"] == groups
    assert len([*(scenes / "photos").rglob("*.png")]) == 4 * PLACES + 5  # no file is touched


def test_places_are_exported_but_those_dismissed(client):
    places = json_of(client.get("/v1/places"))["places"]
    json_of(client.put("/v1/dismissals", json={"kind": "place", "id": places[0]["id"], "dismissed": True}))
    try:
        exported = json_of(client.get("/v1/places/export"))["places"]
        assert [(p["id"], p["photos"]) for p in exported] == [(p["id"], p["photos"]) for p in places[1:]]
        rows = list(csv.DictReader(io.StringIO(client.get("/v1/places/export?format=csv").text)))
        assert [row["photo"] for row in rows] == [photo for place in places[1:] for photo in place["photos"]]
    finally:
        json_of(
            client.put("/v1/dismissals", json={"kind": "place", "id": places[0]["id"], "dismissed": False})
        )


def test_who_may_only_read_dismisses_nothing(scenes):
    with serving(scenes / "c.meisho", token_file=write_tokens(scenes)) as client:
        dismissal = {"kind": "place", "id": "a", "dismissed": True}
        json_of(client.put("/v1/dismissals", json=dismissal, headers=bearer(READ)), 403)
