"""Photos added and removed one by one, beside the sync with a folder."""

import os

import pytest
from PIL import Image

from meisho.errors import CollectionError, InputError
from meisho.photo_folder import find_photos
from meisho.run.indexing import add_photos, index_folder, index_photos, remove_photos
from meisho.store.collection import Collection
from meisho.texts import printable
from run.conftest import paint
from toy_features import read_local_features


def ids(path):
    return [record.id for record in Collection.open(path).records()]


def test_a_photo_below_the_folder_is_what_the_next_sync_would_find(collection, photos, describer):
    summary = add_photos(collection, paint(photos / "trip" / "new.png", 50), describer)
    assert (summary.described, summary.removed, summary.num_photos) == (1, 0, 11)
    assert "trip/new.png" in ids(collection)
    assert index_folder(photos, collection, describer).unchanged == 11


def test_a_photo_from_elsewhere_stays_at_the_next_sync_while_its_file_is_there(
    collection, photos, describer, tmp_path
):
    outside = paint(tmp_path / "elsewhere" / "guest.png", 51)
    add_photos(collection, str(outside), describer)
    assert str(outside) in ids(collection)
    summary = index_folder(photos, collection, describer)
    assert (summary.unchanged, summary.removed, summary.described) == (11, 0, 0)
    paint(outside, 52)  # changed: described anew by the sync
    assert index_folder(photos, collection, describer).described == 1
    outside.unlink()
    assert index_folder(photos, collection, describer).removed == 1
    assert str(outside) not in ids(collection)


def test_a_file_from_elsewhere_may_be_named_by_way_of_folders_above(
    collection, photos, describer, tmp_path, monkeypatch
):
    outside = paint(tmp_path / "elsewhere" / "guest.png", 51)
    monkeypatch.chdir(photos)
    add_photos(collection, "../elsewhere/guest.png", describer)
    assert str(outside) in ids(collection)
    assert index_folder(photos, collection, describer).removed == 0
    assert remove_photos(collection, "../elsewhere/guest.png").removed == 1


def test_adding_twice_changes_nothing_and_a_changed_file_is_described_anew(collection, photos, describer):
    assert add_photos(collection, photos / "3.png", describer).unchanged == 1
    paint(photos / "3.png", 60)
    assert add_photos(collection, [photos / "3.png"], describer).described == 1


def test_a_copy_shares_its_content(collection, photos, describer, tmp_path):
    (tmp_path / "copy.png").write_bytes((photos / "2.png").read_bytes())
    summary = add_photos(collection, tmp_path / "copy.png", describer)
    assert (summary.duplicates, summary.described) == (1, 0)


def test_local_features_of_added_photos_are_found_too(collection, photos, describer):
    summary = add_photos(collection, paint(photos / "n.png", 61), describer)
    assert summary.local_described == 1
    assert read_local_features(Collection.open(collection), ["n.png"])


def test_a_photo_that_cannot_be_read_is_named_and_the_others_are_added(collection, photos, describer):
    (photos / "bad.png").write_bytes(b"no photo")
    summary = add_photos(collection, [photos / "bad.png", paint(photos / "good.png", 62)], describer)
    assert summary.described == 1
    assert [skipped.id for skipped in summary.skipped] == ["bad.png"]


def test_what_cannot_be_added_is_refused(collection, photos, describer, tmp_path):
    with pytest.raises(InputError, match="a photo in memory cannot be added"):
        add_photos(collection, Image.open(photos / "1.png"), describer)
    with pytest.raises(InputError, match="no photo was given"):
        add_photos(collection, [], describer)
    with pytest.raises(CollectionError, match="no collection here"):
        add_photos(tmp_path / "nowhere", photos / "1.png", describer)


def test_removed_photos_are_gone_and_their_files_are_not(collection, photos, describer):
    summary = remove_photos(collection, ["3.png", "5.png", "3.png"])
    assert (summary.removed, summary.num_photos) == (2, 8)
    assert (photos / "3.png").exists()
    assert "3.png" not in ids(collection)
    assert (
        index_folder(photos, collection, describer).described == 2
    )  # they come back: they lie in the folder


def test_a_photo_may_be_removed_by_its_file_and_broken_ones_do_not_count_as_unchanged(
    collection, photos, describer, tmp_path
):
    (photos / "bad.png").write_bytes(b"no photo")
    outside = paint(tmp_path / "elsewhere" / "guest.png", 51)
    add_photos(collection, [photos / "bad.png", outside], describer)
    summary = remove_photos(collection, [photos / "3.png", str(outside)])
    assert (summary.removed, summary.unchanged, summary.num_photos) == (2, 9, 9)
    assert [skipped.id for skipped in summary.skipped] == ["bad.png"]


@pytest.mark.parametrize(
    "name", ["a\nb", "a\x1b[1m", "a\u202eb", "a\\b", "a\\x0Ab", os.fsdecode(b"a\xffb"), "plain"]
)
@pytest.mark.parametrize("shown", [lambda path: path, lambda path: path.name], ids=["path", "name"])
def test_what_is_printed_of_a_photo_can_be_given_to_remove(collection, photos, describer, name, shown):
    paint(photos / "odd.png", 51).rename(photos / f"{name}.png")
    index_folder(photos, collection, describer)
    number = len(ids(collection))
    summary = remove_photos(collection, printable(shown(photos / f"{name}.png")))
    assert (summary.removed, len(ids(collection))) == (1, number - 1)


def test_an_unknown_id_is_named_and_nothing_is_removed(collection):
    with pytest.raises(InputError, match=r"1 of 2 ids are not in it, the first is '33.png'; the nearest is"):
        remove_photos(collection, ["3.png", "33.png"])
    assert "3.png" in ids(collection)


def test_a_folder_of_photos_knows_its_root_and_prints_short(photos):
    found = find_photos(str(photos))
    assert (found.root, len(found.photos), found.problems) == (photos, 10, ())
    assert repr(found) == f"PhotoFolder({str(photos)!r}, 10 photos, 0 problems)"


def test_a_sync_with_a_folder_of_some_photos_removes_the_rest(collection, photos, describer):
    some = type(find_photos(photos))(photos, find_photos(photos).photos[:4])
    assert index_photos(some, collection, describer).removed == 6
