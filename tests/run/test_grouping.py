import dataclasses
import shutil

import pytest
from PIL import Image

import meisho.run.pairing
from meisho.errors import CollectionError, LockedError
from meisho.extractors.local_base import load_local_extractor
from meisho.local_describing import LocalDescriber
from meisho.run.grouping import PLACES_FILE, find_groups, load_groups
from meisho.run.indexing import IndexOptions, index_folder, remove_photos
from meisho.run.pairing import PAIRS_FILE
from walls import draw_view


@pytest.fixture
def walls(tmp_path):
    """Three views of one wall, two of another, one of a third; of the first, a copy and a smaller one."""
    folder = tmp_path / "walls"
    folder.mkdir()
    for place, views in ((0, 3), (1, 2), (2, 1)):
        for number in range(views):
            draw_view(place, number, folder / f"{place}-{number}.png")
    shutil.copy(folder / "0-0.png", folder / "0-copy.png")
    Image.open(folder / "0-1.png").resize((300, 260)).save(folder / "0-small.jpg", quality=90)
    return folder


@pytest.fixture
def index(walls, describer):
    """Index the walls, with local features."""
    local = LocalDescriber(load_local_extractor("sift"), num_workers=0)

    def call():
        path = walls.parent / "walls.meisho"
        index_folder(walls, path, describer, IndexOptions(local=local, prune=True))
        return path

    return call


@pytest.fixture
def asked(monkeypatch):
    """The number of photos in each call that verifies."""
    calls, verify = [], meisho.run.pairing.verify_photos

    def spy(query, database, **options):
        calls.append(len(database))
        return verify(query, database, **options)

    monkeypatch.setattr(meisho.run.pairing, "verify_photos", spy)
    return calls


def sets_of(places):
    return [{*place.photos} for place in places.places]


def test_places_are_found_biggest_first_and_copies_apart(index):
    path = index()
    assert load_groups(path) is None
    found = find_groups(path)
    assert sets_of(found) == [{"0-0.png", "0-1.png", "0-2.png"}, {"1-0.png", "1-1.png"}]
    assert found.places[0].cover == found.places[0].photos[0]
    assert {*found.places[0].copies} == {"0-copy.png", "0-small.jpg"}
    assert [(group.kind, {*group.photos}) for group in found.duplicates] == [
        ("same", {"0-0.png", "0-copy.png"}),
        ("near", {"0-1.png", "0-small.jpg"}),
    ]
    assert (found.calibrated, load_groups(path)) == (False, found)


def test_only_new_photos_are_asked(index, walls, asked):
    path = index()
    before = find_groups(path)
    assert sum(asked) == 7 * 6 / 2  # every pair of seven contents once
    asked.clear()
    assert sets_of(find_groups(path)) == sets_of(before)
    assert asked == []
    draw_view(2, 1, walls / "2-1.png")
    after = find_groups(index())
    assert asked == [7]
    assert {"2-0.png", "2-1.png"} in sets_of(after)
    assert {place.id for place in before.places} < {place.id for place in after.places}


def test_what_is_gone_is_in_no_place(index, walls):
    path = index()
    find_groups(path)
    (walls / "1-1.png").unlink()
    remove_photos(path, "0-0.png")
    found = find_groups(path)
    assert sets_of(found) == [{"0-1.png", "0-2.png", "0-copy.png"}, {"1-0.png", "1-1.png"}]


def test_an_interrupted_run_goes_on(index, asked, monkeypatch):
    monkeypatch.setattr(meisho.run.pairing, "_PHOTOS_AT_ONCE", 2)
    path = index()

    def stop(stage, done, total):
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_groups(path, progress=stop)
    first = sum(asked)
    asked.clear()
    found = find_groups(path)
    assert 0 < sum(asked) == 7 * 6 / 2 - first
    assert len(found.places) == 2


def test_two_at_once_are_refused_and_the_first_goes_on(index):
    path, refused = index(), []

    def ask_again(stage, done, total):
        with pytest.raises(LockedError, match="another process finds its places now; wait for it to end"):
            find_groups(path)
        refused.append(done)

    assert len(find_groups(path, progress=ask_again).places) == 2
    assert refused and len(find_groups(path).places) == 2


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_torn_file_of_pairs_costs_only_time(index, asked, caplog, cut):
    path = index()
    found = find_groups(path)
    file = path / PAIRS_FILE
    file.write_bytes(file.read_bytes()[:-cut])
    asked.clear()
    again = find_groups(path)
    assert (sets_of(again), sum(asked)) == (sets_of(found), 21)
    assert "is not whole" in caplog.text


def test_damaged_places_are_told(index):
    path = index()
    find_groups(path)
    file = path / PLACES_FILE
    file.write_text(file.read_text().replace("0-1.png", "0-7.png"))
    with pytest.raises(CollectionError, match="run 'meisho groups' again"):
        load_groups(path)


def test_without_local_features_it_says_what_to_do(photos, describer, tmp_path):
    index_folder(photos, tmp_path / "plain", describer)
    with pytest.raises(CollectionError, match="--local"):
        find_groups(tmp_path / "plain")


def test_a_collection_of_broken_photos_has_no_places(tmp_path, describer):
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "broken.jpg").write_bytes(b"no photo")
    local = LocalDescriber(load_local_extractor("sift"), num_workers=0)
    index_folder(tmp_path / "none", tmp_path / "c", describer, IndexOptions(local=local))
    found = find_groups(tmp_path / "c")
    assert (found.places, found.duplicates) == ((), ())
    assert dataclasses.asdict(found)["format"] == 1
