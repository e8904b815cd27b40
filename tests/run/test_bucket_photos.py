"""Photos that lie in a real object store: found, indexed, kept in step, shown; as those of a folder."""

import numpy as np
import pytest

from meisho.buckets import BucketPath
from meisho.describing import Describer
from meisho.errors import ImageError
from meisho.extractors.base import EXTRACTORS
from meisho.files import read_ends
from meisho.images import ImageOptions, load_image
from meisho.photo_folder import find_photos
from meisho.photos import Photo, content_sha256, printable
from meisho.run.checking import check_collection
from meisho.run.finding import Finder
from meisho.run.indexing import add_photos, index_folder, remove_photos
from run.conftest import paint
from service.servers import json_of, serving
from toy_features import MeanColor

ODD = ("a b+c%20&#?.png", "名所 é~!'()*.png", "dot..s/x.png")


@pytest.fixture(autouse=True)
def toys_by_name(monkeypatch):
    monkeypatch.setitem(EXTRACTORS, "mean_color", "toy_features:load_mean_color")


@pytest.fixture
def photos(tmp_path):
    """A folder of photos, some with odd names."""
    for seed, name in enumerate(("1.png", "2.png", "sub/3.png", "sub/deep/4.png", *ODD)):
        paint(tmp_path / "photos" / name, seed)
    return tmp_path / "photos"


def upload(folder, place):
    for file in folder.rglob("*"):
        if file.is_file():
            (BucketPath.parse(place) / file.relative_to(folder).as_posix()).write_bytes(file.read_bytes())


@pytest.fixture
def stored(bucket, photos):
    """The same photos in the store."""
    upload(photos, f"{bucket}/photos")
    return f"{bucket}/photos"


def test_the_same_photos_are_found_and_the_same_left_out(bucket, photos):
    for name in (".hidden.png", ".git/x.png", "notes.txt", "empty.png", "old/.nomedia", "old/5.png"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(b"" if name == "empty.png" else b"some bytes")
    for name in ("c.meisho/collection.json", "c.meisho/photos.lance/x.png", "@eaDir/y.png", "no ending"):
        (photos / name).parent.mkdir(exist_ok=True, parents=True)
        (photos / name).write_bytes(b"some bytes")
    paint(photos / "z.png", 1).rename(photos / "a photo")
    upload(photos, f"{bucket}/photos")
    there, here = find_photos(f"{bucket}/photos"), find_photos(photos)
    assert [photo.id for photo in there.photos] == [photo.id for photo in here.photos]
    assert {each.reason: each.count for each in there.left_out} == {
        each.reason: each.count for each in here.left_out
    }
    assert [problem.reason for problem in there.problems] == [problem.reason for problem in here.problems]
    assert str(there.photos[0].path).startswith(f"{bucket}/photos/")


def test_photos_are_read_as_those_of_a_folder(stored, photos):
    for photo in find_photos(stored).photos:
        file = photos / str(photo.path)[len(stored) + 1 :]
        assert content_sha256(photo.path) == content_sha256(file)
        assert read_ends(photo.path) == read_ends(file)
        pixels = [load_image(each, ImageOptions(max_side_px=64)) for each in (photo, Photo("x", file))]
        np.testing.assert_array_equal(*pixels)
    with pytest.raises(ImageError, match="no such file"):
        load_image(Photo("gone", f"{stored}/gone.png"), ImageOptions(max_side_px=64))


@pytest.mark.parametrize("in_store", [True, False], ids=["collection in the store", "on the disk"])
def test_they_are_indexed_and_kept_in_step(bucket, stored, photos, describer, tmp_path, in_store):
    to = f"{bucket}/c" if in_store else tmp_path / "c"
    assert index_folder(stored, to, describer).described == 7
    index_folder(photos, tmp_path / "d", describer)
    finder, on_disk = Finder.open(to), Finder.open(tmp_path / "d")
    assert finder.descriptors.ids == on_disk.descriptors.ids
    np.testing.assert_array_equal(finder.descriptors.vectors, on_disk.descriptors.vectors)
    assert str(finder.photo_root) == stored
    assert [answer.id for answer in finder.find(photos / "1.png", near=True)[0]]

    again = index_folder(stored, to, describer)
    assert (again.described, again.unchanged) == (0, 7)
    place = BucketPath.parse(stored)
    (place / "1.png").write_bytes(paint(tmp_path / "new.png", 60).read_bytes())
    (place / "2.png").unlink()
    again = index_folder(stored, to, describer)
    assert (again.described, again.removed, again.unchanged) == (1, 1, 5)
    assert not [line for kind in check_collection(to, read_photos=True) for line in kind.changed]
    (place / "9.png").write_bytes(paint(tmp_path / "9.png", 61).read_bytes())
    assert add_photos(to, f"{stored}/9.png", describer).described == 1
    assert index_folder(stored, to, describer).unchanged == 7


def test_photos_of_a_bucket_are_added_by_hand(stored, photos, describer, tmp_path):
    index_folder(photos, tmp_path / "c", describer)
    place, other = tmp_path / "c", f"{stored}/sub/3.png"
    assert add_photos(place, [other, Photo("named otherwise", f"{stored}/1.png")], describer).num_photos == 9
    finder = Finder.open(place, extractor=MeanColor())
    assert {other, f"{stored}/1.png"} <= {*finder.row_of}
    copies = [copy for answer in finder.find(other, top=9)[0] for copy in answer.copies]
    assert {str(copy.path) for copy in copies} >= {other, f"{stored}/1.png"}
    again = index_folder(photos, place, describer)
    assert (again.unchanged, again.removed) == (9, 0)
    BucketPath.parse(other).unlink()
    assert index_folder(photos, place, describer).removed == 1
    assert remove_photos(place, BucketPath.parse(f"{stored}/1.png")).removed == 1


def test_a_file_of_this_machine_is_added_beside_them(stored, describer, tmp_path):
    index_folder(stored, tmp_path / "c", describer)
    mine = paint(tmp_path / "mine.png", 70)
    add_photos(tmp_path / "c", mine, describer)
    index_folder(stored, tmp_path / "c", describer)
    assert str(mine) in Finder.open(tmp_path / "c").row_of


def test_workers_read_them(stored, photos):
    described = Describer(MeanColor(), num_workers=1).describe(find_photos(stored).photos)
    alone = Describer(MeanColor(), num_workers=0).describe(find_photos(photos).photos)
    np.testing.assert_array_equal(described.vectors, alone.vectors)


def test_they_are_served(bucket, stored, describer, tmp_path):
    index_folder(stored, f"{bucket}/c", describer)
    with serving(f"{bucket}/c", photos_writable=True) as client:
        json_of(client.post("/v1/search", json={"photo": "1.png", "top": 3}))
        for name in ("1.png", *ODD):
            drawn = client.get("/v1/thumbnail", params={"id": printable(name)})
            assert drawn.status_code == 200, drawn.text
        mine = paint(tmp_path / "mine.png", 70)
        put = json_of(client.put("/v1/photos/mine.png", content=mine.read_bytes()), 201)
        assert put["id"] in Finder.open(f"{bucket}/c").row_of
        refused = client.put("/v1/photos/1.png", content=mine.read_bytes(), params={"replace": 1})
        assert refused.status_code == 403, refused.text
    assert index_folder(stored, f"{bucket}/c", describer).unchanged == 8


def test_the_command_line_indexes_them(bucket, stored, run, tmp_path):
    code, out, err = run("index", stored, "--to", f"{bucket}/c", "--model", "mean_color", "--workers", "0")
    assert code == 0, err
    assert f"7 photos in {bucket}/c" in out
    code, _, err = run("index", f"{bucket}/nothing", "--to", tmp_path / "c")
    assert code == 2
    assert f"{bucket}/nothing: no such folder" in err
    code, _, err = run(
        "search", f"{bucket}/c", tmp_path / "photos" / "1.png", "--html", tmp_path / "page.html"
    )
    assert code == 0, err
    assert (tmp_path / "page.html").is_file()
