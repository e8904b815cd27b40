"""Every road into a collection, where it lies in a real object store: as on a disk, with the same figures."""

import json
import shutil

import numpy as np
import pytest

from meisho.buckets import remove_tree
from meisho.datasets.base import load_dataset
from meisho.describing import Describer
from meisho.errors import InputError, MismatchError
from meisho.extractors.base import EXTRACTORS
from meisho.local_describing import LocalDescriber
from meisho.outputs import check_output_folder
from meisho.run.checking import check_collection
from meisho.run.evaluating import evaluate_dataset
from meisho.run.finding import Finder
from meisho.run.grouping import find_groups, load_groups
from meisho.run.indexing import IndexOptions, add_photos, index_folder, remove_photos
from meisho.store.collection import Collection
from meisho.store.places import place_of
from run.conftest import paint
from service.servers import json_of, serving
from toy_features import Corners, MeanColor, read_local_features


@pytest.fixture(autouse=True)
def toys_by_name(monkeypatch):
    monkeypatch.setitem(EXTRACTORS, "mean_color", "toy_features:load_mean_color")


@pytest.fixture
def both(bucket, photos, describer, tmp_path):
    """The same collection in the store and on the disk, with local features."""
    options = IndexOptions(local=LocalDescriber(Corners(), num_workers=0))
    summaries = [index_folder(photos, to, describer, options) for to in (f"{bucket}/c", tmp_path / "c")]
    assert summaries[0].described == summaries[1].described == 10
    return f"{bucket}/c", tmp_path / "c"


def assert_answer_alike(one, other, photos):
    """Two finders give the same answers, with the same scores."""
    for name in ("0.png", "7.png"):
        first, second = (finder.find(photos / name, top=10) for finder in (one, other))
        assert [a.id for a in first[0]] == [a.id for a in second[0]]
        assert [a.score for a in first[0]] == [a.score for a in second[0]]


def test_a_collection_in_a_store_is_that_on_a_disk(both, photos, tmp_path, monkeypatch, describer):
    place, disk = both
    finder, on_disk = Finder.open(place), Finder.open(disk)
    np.testing.assert_array_equal(finder.descriptors.vectors, on_disk.descriptors.vectors)
    assert finder.descriptors.ids == on_disk.descriptors.ids
    assert_answer_alike(finder, on_disk, photos)
    assert (place_of(place) / "index" / "snapshot.json").is_file()

    monkeypatch.setenv("MEISHO_CACHE", str(tmp_path / "another machine"))
    elsewhere = Finder.open(place)
    assert_answer_alike(elsewhere, on_disk, photos)
    local, there = (read_local_features(Collection.open(to), ("0.png", "7.png")) for to in both)
    np.testing.assert_array_equal(local["7.png"].descriptors, there["7.png"].descriptors)

    paint(photos / "new.png", 40)
    for to in both:
        add_photos(to, photos / "new.png", describer)
        remove_photos(to, "3.png")
        assert index_folder(photos, to, describer).described == 1  # it is found in the folder again
    for each in (elsewhere, on_disk):
        assert each.follow()
        assert "new.png" in each.row_of
    assert elsewhere.descriptors.ids == on_disk.descriptors.ids
    assert_answer_alike(elsewhere, on_disk, photos)
    assert not elsewhere.follow()


def test_what_was_derived_is_read_again_without_the_tables(both, monkeypatch):
    place, _ = both
    monkeypatch.setattr(Collection, "snapshot", None)
    monkeypatch.setattr(Collection, "open", None)
    assert len(Finder.open(place)) == 10


def test_a_cache_that_is_lost_is_made_again(both, photos):
    place, disk = both
    shutil.rmtree(place_of(place).cache)
    assert_answer_alike(Finder.open(place), Finder.open(disk), photos)


def test_a_collection_made_anew_at_the_same_place_is_not_taken_for_the_old(both, photos, describer, tmp_path):
    place, _ = both
    remove_tree(place_of(place))
    for seed in range(10):
        paint(tmp_path / "others" / f"{seed}.png", 50 + seed)
    options = IndexOptions(local=LocalDescriber(Corners(), num_workers=0))
    index_folder(tmp_path / "others", place, describer, options)
    index_folder(tmp_path / "others", tmp_path / "d", describer)
    assert_answer_alike(Finder.open(place), Finder.open(tmp_path / "d"), tmp_path / "others")


def test_it_is_checked_and_damage_is_made_good(both, photos, describer):
    place = place_of(both[0])
    assert not [line for kind in check_collection(place) for line in (*kind.damaged, *kind.unseen)]
    (place / "collection.json").write_bytes(b"{")
    rows = next(each for each in (place / "descriptors.lance" / "data").iterdir())
    content = bytearray(rows.read_bytes())
    content[len(content) // 3] ^= 255
    rows.write_bytes(bytes(content))
    damaged = {kind.kind for kind in check_collection(place) if kind.damaged}
    assert {"metadata", "descriptors"} <= damaged
    assert index_folder(photos, place, describer).repaired
    assert not [line for kind in check_collection(place) for line in (*kind.damaged, *kind.unseen)]
    assert_answer_alike(Finder.open(place), Finder.open(both[1]), photos)


def test_its_places_are_found(both):
    assert len(find_groups(both[0]).places) == len(find_groups(both[1]).places)
    assert load_groups(both[0]) is not None


def test_a_data_set_is_scored_as_on_a_disk(bucket, tmp_path, describer):
    for seed in range(12):
        paint(tmp_path / "set" / "database" / f"place {seed // 3}" / f"{seed}.png", seed)
    for seed in range(4):
        paint(tmp_path / "set" / "queries" / f"place {seed}" / f"q{seed}.png", 3 * seed)
    dataset = load_dataset("folder", tmp_path / "set")
    places = place_of(f"{bucket}/e"), tmp_path / "e"
    scored = [evaluate_dataset(dataset, describer, to).report for to in places]
    assert scored[0].figures == scored[1].figures


def test_the_command_line_takes_it_wherever_it_takes_a_collection(bucket, photos, run, describer, tmp_path):
    place = f"{bucket}/cli"
    index_folder(photos, place, describer)
    code, out, _ = run("search", place, photos / "4.png", "--top", "2", "--json")
    assert code == 0
    assert json.loads(out)["answers"][0]["id"] == "4.png"
    code, out, _ = run("info", place, "--json")
    assert json.loads(out)["collection"] == place
    assert json.loads(out)["photos"] == 10
    assert run("check", place)[0] == 0
    assert run("remove", place, "4.png")[0] == 0
    assert run("add", place, photos / "4.png")[0] == 0
    code, out, err = run("index", photos, "--to", place, "--model", "mean_color")
    assert code == 0, err
    assert place in out
    code, _, err = run("search", f"{place}-not", photos / "4.png")
    assert code == 4
    assert f"{place}-not: no collection here" in err
    code, _, err = run("evaluate", "folder", "--root", photos, "--to", f"{bucket}/report")
    assert code == 2
    assert "lies in a bucket" in err


def test_no_other_output_is_taken_for_a_folder_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="lies in a bucket"):
        check_output_folder(place_of("s3://bucket/report"))


def test_another_model_is_refused_by_its_name(both, photos):
    other = MeanColor()
    other.provenance = type(other.provenance).from_options("other", {})
    with pytest.raises(MismatchError, match=f"{both[0]}: was made with another model"):
        index_folder(photos, both[0], Describer(other, num_workers=0))


def test_it_is_served(both, photos):
    with serving(both[0]) as client:
        asked = client.post("/v1/search", json={"photo": "4.png", "top": 3})
        assert asked.status_code == 200, asked.text
        assert client.get("/").status_code == 200
        remove_photos(both[0], "5.png")
        assert json_of(client.get("/v1/collections"))["collections"][0]["num_photos"] == 9


def test_a_service_answers_on_while_the_store_is_gone(both, monkeypatch):
    with serving(both[0]) as client:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        asked = client.post("/v1/search", json={"photo": "4.png", "top": 3})
        assert asked.status_code == 200, asked.text
