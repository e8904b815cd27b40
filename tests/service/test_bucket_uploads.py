"""Uploads into a collection in a real object store: they lie beside its tables, for every machine."""

import io
import shutil
import signal
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from meisho.buckets import BucketPath, remove_tree
from meisho.errors import ImageError, InputError, LockedError
from meisho.extractors.base import EXTRACTORS
from meisho.extractors.local_base import load_local_extractor
from meisho.local_describing import LocalDescriber
from meisho.run.checking import check_collection
from meisho.run.finding import Finder
from meisho.run.indexing import IndexOptions, index_folder, remove_photos
from meisho.service.gate import Gate
from meisho.service.problems import RefusedError
from meisho.service.uploads import Uploads
from meisho.store.collection import Collection
from meisho.store.metadata import UPLOADS_FOLDER
from meisho.store.places import place_of
from processes import started
from service.servers import ADMIN, bearer, json_of, scene, serving, write_tokens
from service.test_uploads import BROKEN, PUTTER
from toy_features import MeanColor

NAME = "trip/塔 #1 50%.png"


def picture(seed):
    file = io.BytesIO()
    scene(seed).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(autouse=True)
def toys_by_name(monkeypatch):
    monkeypatch.setitem(EXTRACTORS, "mean_color", "toy_features:load_mean_color")


@pytest.fixture
def folder(tmp_path):
    """Three photos with enough to be verified by."""
    (tmp_path / "photos").mkdir()
    for seed in range(3):
        scene(seed).save(tmp_path / "photos" / f"{seed}.png")
    return tmp_path / "photos"


@pytest.fixture(params=["photos on a disk", "photos in the store"])
def root(request, bucket, folder):
    """Their folder, on the disk or in the store."""
    if request.param == "photos on a disk":
        return folder
    place = BucketPath.parse(f"{bucket}/photos")
    for file in folder.iterdir():
        place.below(file.name).write_bytes(file.read_bytes())
    return place


@pytest.fixture
def place(bucket, root, describer):
    """A collection of them in the store, with local features."""
    local = LocalDescriber(load_local_extractor("sift"), num_workers=0)
    index_folder(root, f"{bucket}/c", describer, IndexOptions(local=local))
    return f"{bucket}/c"


@pytest.fixture
def uploads(place):
    finder = Finder.open(place, extractor=MeanColor())
    return Uploads(finder, Gate(finder.path))


def objects(place):
    """What lies below the folder of uploads: name -> content."""
    own = BucketPath.parse(f"{place}/{UPLOADS_FOLDER}")
    return {str(each.relative_to(own)): each.read_bytes() for each in own.walk()}


def lose_cache(place):
    """Throw away what this machine keeps, as one that is started anew does."""
    cache = place_of(place).cache
    assert cache.is_dir()
    shutil.rmtree(cache)


def test_an_upload_is_there_though_the_cache_is_lost(place, tmp_path):
    tokens = write_tokens(tmp_path)
    with serving(place, token_file=tokens) as client:
        client.headers.update(bearer(ADMIN))
        put = json_of(client.put(f"/v1/photos/{quote(NAME)}", content=picture(9)), 201)
    photo_id = f"{place}/{UPLOADS_FOLDER}/{NAME}"
    assert put["id"] == photo_id
    assert objects(place) == {NAME: picture(9)}
    lose_cache(place)
    with serving(place, token_file=tokens) as client:
        client.headers.update(bearer(ADMIN))
        query = json_of(client.post("/v1/queries", content=picture(9)))["query"]
        asked = {"query": query, "verify": 4, "near": False, "top": 4}
        best = json_of(client.post("/v1/search", json=asked))["answers"][0]
        assert best["id"] == photo_id and best["inliers"] > 50
        why = json_of(client.post("/v1/match", json={"query": query, "answer": photo_id}))
        assert why["inliers"] == best["inliers"]
        assert client.get("/v1/thumbnail", params={"id": photo_id}).status_code == 200
        name = quote(photo_id, safe="")
        original = client.get("/v1/file", params={"id": photo_id, "original": True})
        assert original.content == picture(9)
        assert quote(NAME.partition("/")[2], safe="") in original.headers["content-disposition"]
        assert json_of(client.get(f"/v1/photos/{name}"))["missing"] is False

        removed = json_of(client.delete(f"/v1/photos/{name}"))
        assert (removed["removed"], removed["file_stays"]) == (True, True)
        refused = client.delete(f"/v1/photos/{name}", params={"file": "delete"})
        assert json_of(refused, 422)["where"] == "confirm"
        assert objects(place) == {NAME: picture(9)}
        asked = {"file": "delete", "confirm": photo_id}
        removed = json_of(client.delete(f"/v1/photos/{name}", params=asked))
        assert (removed["file_deleted"], removed["file_stays"]) == (True, False)
        assert objects(place) == {}
        assert json_of(client.delete(f"/v1/photos/{name}", params=asked))["file_deleted"] is False


def test_a_photo_of_the_photo_folder_is_not_touched(uploads, root):
    for photo_id in ("0.png", f"{root}/0.png", f"{uploads._finder.path}/collection.json"):
        with pytest.raises(RefusedError, match="a folder that is not written to"):
            uploads.remove(photo_id, delete_file=True, confirm=photo_id)
    with pytest.raises(RefusedError, match="a folder that is not written to"):
        uploads.put("0.png", picture(9), replace=True)
    out = f"{uploads._finder.path}/{UPLOADS_FOLDER}/../collection.json"
    with pytest.raises(InputError, match="is no place in a bucket"):
        uploads.remove(out, delete_file=True, confirm=out)
    assert (root / "0.png").read_bytes() == picture(0) and len(uploads._finder) == 3


def test_removing_what_never_was_is_no_error(uploads):
    names = (
        "never/was.png",
        "a" * 3000,
        "a/" * 3000,
        "a\0b.png",
        "../x",
        "a//b",
        "s3://other/x.png",
        "%",
        "",
    )
    for name in names:
        removed = uploads.remove(name)
        assert (removed.removed, removed.file_deleted, removed.file_stays) == (False, False, False), name


def test_no_store_is_asked_for_what_a_client_names(collection, monkeypatch):
    """Of a collection on a disk, nor is obstore needed."""
    finder = Finder.open(collection, extractor=MeanColor())
    monkeypatch.setattr(BucketPath, "_asked", None)
    assert Uploads(finder, Gate(finder.path)).remove("s3://other/x.png").file_stays is False


def test_another_machine_sees_it_and_keeps_it(uploads, place, root, describer, tmp_path, monkeypatch):
    put = uploads.put("a.png", picture(9))
    monkeypatch.setenv("MEISHO_CACHE", str(tmp_path / "another machine"))
    elsewhere = Finder.open(place, extractor=MeanColor())
    assert elsewhere.find(picture(9), top=1)[0][0].id == put.id
    again = index_folder(root, place, describer)
    assert (again.described, again.unchanged, again.removed) == (0, 4, 0)
    kinds = check_collection(place, read_photos=True)
    assert not [line for kind in kinds for line in (*kind.damaged, *kind.unseen, *kind.changed)]
    BucketPath.parse(put.id).write_bytes(picture(10))
    assert index_folder(root, place, describer).described == 1
    BucketPath.parse(put.id).unlink()
    assert index_folder(root, place, describer).removed == 1


@pytest.mark.slow
def test_what_was_acknowledged_is_there_after_a_kill(place):
    acknowledged = []
    for first in range(0, 3000, 1000):
        command = [sys.executable, "-c", PUTTER, place, "False", str(first)]
        with started(command, stdout=-1, text=True, cwd=Path(__file__).parent.parent) as process:
            acknowledged += [process.stdout.readline().strip() for _ in range(3)]
            process.send_signal(signal.SIGKILL)
            acknowledged += [line for line in process.stdout.read().split("\n")[:-1] if line]
        lose_cache(place)
        finder = Finder.open(place, extractor=MeanColor())
        assert {*acknowledged} <= {*finder.row_of} and len(acknowledged) == len({*acknowledged})
        assert {f"{place}/{UPLOADS_FOLDER}/{name}" for name in objects(place)} >= {*acknowledged}


def test_a_photo_comes_back_and_is_removed_by_its_id(uploads, place):
    put = uploads.put("a.png", picture(9))
    assert uploads.put("a.png", picture(9)).done == uploads.put(put.id, picture(9)).done == "unchanged"
    assert remove_photos(place, put.id).removed == 1
    uploads._finder.follow()
    assert uploads.put("a.png", picture(9)).done == "added"  # its object was there still
    with pytest.raises(RefusedError, match="another photo has that name"):
        uploads.put("a.png", picture(10))
    assert uploads.put("a.png", picture(10), replace=True).done == "replaced"
    assert objects(place) == {"a.png": picture(10)} and len(uploads._finder) == 4
    with pytest.raises(InputError, match=r"a\.png: is a file, so that no photo can lie below it"):
        uploads.put("a.png/b.png", picture(11))
    assert uploads.remove("a.png").removed


@pytest.mark.parametrize("replace", [False, True])
def test_what_fails_leaves_what_was_there(uploads, place, replace):
    uploads.put("good.png", picture(9))
    name, before, version = "good.png" if replace else "new/a.png", objects(place), uploads._finder.version
    for content, _ in BROKEN.values():
        with pytest.raises(ImageError):
            uploads.put(name, content, replace=replace)
    with Collection.open(place_of(place)).writer(), pytest.raises(LockedError, match="is writing to it"):
        uploads.put(name, picture(10), replace=replace)
    assert uploads._finder.version == version
    uploads._decode = lambda photo: "PNG"  # it breaks when it is described, not before
    with pytest.raises(ImageError):
        uploads.put(name, picture(10)[:300], replace=replace)
    assert objects(place) == before
    assert uploads._finder.find(picture(9), top=1)[0][0].score == pytest.approx(1, abs=1e-6)


def test_two_machines_do_not_write_over_each_other(uploads, place, monkeypatch):
    """Both saw that there is no photo of that name; the other is first."""
    theirs, taken = BucketPath.parse(f"{place}/{UPLOADS_FOLDER}/a.png"), BucketPath.put_new

    def come_second(path, data):
        if path == theirs:
            theirs.write_bytes(picture(10))
        return taken(path, data)

    monkeypatch.setattr(BucketPath, "put_new", come_second)
    with pytest.raises(RefusedError, match="another photo of that name came at the same moment"):
        uploads.put("a.png", picture(9))
    assert objects(place) == {"a.png": picture(10)}


def test_a_copied_collection_keeps_them_while_they_are_there(uploads, place, root, bucket, describer):
    put = uploads.put("a.png", picture(9))
    for each in BucketPath.parse(place).walk():
        to = BucketPath.parse(f"{bucket}/copy").below(str(each.relative_to(BucketPath.parse(place))))
        to.write_bytes(each.read_bytes())
    copy = f"{bucket}/copy"
    assert index_folder(root, copy, describer).unchanged == 4
    assert Finder.open(copy, extractor=MeanColor()).find(picture(9), top=1)[0][0].id == put.id
    remove_tree(BucketPath.parse(place))
    assert index_folder(root, copy, describer).removed == 1


def test_the_photo_folder_is_written_to_where_that_is_switched_on(bucket, folder, describer):
    """It is on the disk, the collection is not."""
    index_folder(folder, f"{bucket}/c", describer)
    finder = Finder.open(f"{bucket}/c", extractor=MeanColor())
    uploads = Uploads(finder, Gate(finder.path), writable=True)
    put = uploads.put("new/a.png", picture(9))
    assert put.id == "new/a.png" and (folder / "new" / "a.png").read_bytes() == picture(9)
    assert uploads.remove(put.id, delete_file=True, confirm=put.id).file_deleted
