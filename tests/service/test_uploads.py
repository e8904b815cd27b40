"""Uploads: what is acknowledged is committed, what is broken leaves nothing, no file is lost by mistake."""

import io
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meisho.errors import ImageError, InputError, LockedError
from meisho.photo_folder import find_photos
from meisho.run.finding import Finder
from meisho.run.indexing import add_photos, index_folder
from meisho.service.gate import Gate, Together
from meisho.service.problems import RefusedError
from meisho.service.uploads import Uploads
from meisho.store.collection import Collection
from meisho.store.metadata import UPLOADS_FOLDER
from processes import started
from toy_features import MeanColor


def picture(seed, format="JPEG"):
    pixels = np.random.default_rng(seed).integers(0, 256, 3)
    file = io.BytesIO()
    Image.new("RGB", (40, 30), tuple(int(value) for value in pixels)).save(file, format)
    return file.getvalue()


@pytest.fixture
def finder(collection):
    return Finder.open(collection, extractor=MeanColor())


@pytest.fixture(params=[False, True], ids=["own folder", "photo folder"])
def uploads(request, finder):
    return Uploads(finder, Gate(finder.path), writable=request.param)


def files_below(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def uploaded(finder, photos):
    """All files that the service may write, hidden ones too."""
    return files_below(photos) | {f"own:{name}" for name in files_below(finder.path / UPLOADS_FOLDER)}


def test_a_photo_that_was_put_is_found(uploads, finder, photos):
    put = uploads.put("trip/塔 1.jpg", picture(50))
    assert put.done == "added" and put.version == finder.version
    assert finder.find(picture(50), top=1)[0][0].id == put.id
    (path,) = {finder.find(picture(50), top=1)[0][0].path}
    assert path.read_bytes() == picture(50) and path.parts[-2:] == ("trip", "塔 1.jpg")
    assert put.id in Finder.open(finder.path, extractor=MeanColor()).row_of


def test_putting_is_idempotent_by_content(uploads, finder):
    first = uploads.put("a.jpg", picture(50))
    again, by_id = uploads.put("a.jpg", picture(50)), uploads.put(first.id, picture(50))
    assert (again.id, again.done) == (by_id.id, by_id.done) == (first.id, "unchanged")
    assert len(finder) == 11
    with pytest.raises(RefusedError, match="another photo has that name"):
        uploads.put("a.jpg", picture(51))
    replaced = uploads.put("a.jpg", picture(51), replace=True)
    assert (replaced.id, replaced.done) == (first.id, "replaced") and len(finder) == 11
    assert finder.find(picture(51), top=1)[0][0].score == pytest.approx(1, abs=1e-6)
    assert uploads.put("other.jpg", picture(51)).done == "added"  # a copy under a name of its own


def test_a_photo_of_the_photo_folder_is_not_written_over(finder, photos):
    uploads = Uploads(finder, Gate(finder.path))
    own = (photos / "a" / "0.jpg").read_bytes()
    assert uploads.put("a/0.jpg", own).done == "unchanged"
    with pytest.raises(RefusedError, match="another photo has that name"):
        uploads.put("a/0.jpg", picture(50))
    with pytest.raises(RefusedError, match="a folder that is not written to"):
        uploads.put("a/0.jpg", picture(50), replace=True)
    assert (photos / "a" / "0.jpg").read_bytes() == own


BROKEN = {
    "text": (b"no photo at all, only words", "its content is no image"),
    "empty": (b"", "empty"),
    "cut": (picture(1)[:300], ""),
    "a web page": (b"<html><body>not found</body></html>", ""),
    "bomb": (
        b"\x89PNG\r\n\x1a\n" + bytes.fromhex("0000000d49484452000186a0000186a00802000000") + b"\0" * 64,
        "",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("replace", [False, True])
def test_a_broken_photo_is_refused_and_no_file_stays(uploads, finder, photos, kind, replace):
    uploads.put("good.jpg", picture(50))
    before, version = uploaded(finder, photos), finder.version
    with pytest.raises(ImageError) as refused:
        uploads.put("good.jpg" if replace else "new/folder/a.jpg", BROKEN[kind][0], replace=replace)
    assert refused.value.reason
    assert uploaded(finder, photos) == before and finder.version == version
    assert not list(photos.rglob("new")) and not list((finder.path / UPLOADS_FOLDER).rglob("new"))
    assert finder.find(picture(50), top=1)[0][0].score == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("replace", [False, True])
def test_what_cannot_be_described_leaves_what_was_there(finder, photos, replace):
    """A photo that breaks only when it is described: the check before it lets all through."""
    uploads = Uploads(finder, Gate(finder.path), decode=lambda photo: "JPEG")
    first = uploads.put("good.jpg", picture(50))
    before = uploaded(finder, photos)
    with pytest.raises(ImageError):
        uploads.put("good.jpg" if replace else "new.jpg", picture(1)[:300], replace=replace)
    assert uploaded(finder, photos) == before
    with Collection.open(finder.path).writer() as writer:
        assert not [record for record in writer.records() if record.error]
    assert first.id in finder.row_of
    assert finder.find(picture(50), top=1)[0][0].id == first.id


def test_names_that_lead_out_stay_inside(uploads, finder, photos, tmp_path):
    before = files_below(tmp_path)
    for name in ("../../out.jpg", "/etc/out.jpg", ".ssh/out.jpg", "a/../../../out.jpg", "\0\n.jpg"):
        put = uploads.put(name, picture(len(name) + 100))
        path = (photos / finder.snapshot.files[finder.row_of[put.id]]).resolve()
        assert path.is_relative_to(photos) or path.is_relative_to(finder.path / UPLOADS_FOLDER)
    new = files_below(tmp_path) - before
    assert {name for name in new if name.endswith("out.jpg")} and all(
        name.startswith(("photos/", "c.meisho/")) for name in new
    )


def test_names_that_the_collection_leaves_out_are_refused(finder, photos):
    with pytest.raises(InputError, match=r"@eaDir/a\.jpg: the collection leaves out @eaDir"):
        Uploads(finder, Gate(finder.path), writable=True).put("@eaDir/a.jpg", picture(50))
    assert not (photos / "@eaDir").exists()


def test_an_upload_stays_when_the_folder_is_indexed_again(uploads, finder, photos, describer):
    put = uploads.put("trip/a.jpg", picture(50))
    index_folder(photos, finder.path, describer)
    finder.follow()
    assert put.id in finder.row_of and len(finder) == 11


def test_removing_is_idempotent_and_keeps_the_file(uploads, finder, photos):
    put = uploads.put("a.jpg", picture(50))
    before = uploaded(finder, photos)
    removed = uploads.remove(put.id)
    assert (removed.removed, removed.file_deleted, removed.file_stays) == (True, False, True)
    assert put.id not in finder.row_of and uploaded(finder, photos) == before
    again = uploads.remove(put.id)
    assert (again.removed, again.file_stays) == (False, True)
    assert uploads.put("a.jpg", picture(50)).done == "added"  # it comes back


@pytest.mark.parametrize("name", ["never/was.jpg", "a" * 3000, "a/" * 3000, "a\0b.jpg"])
def test_removing_what_never_was_is_no_error(uploads, name):
    removed = uploads.remove(name)
    assert (removed.removed, removed.file_deleted, removed.file_stays) == (False, False, False)


def test_removing_by_the_name_that_it_was_put_by(finder):
    uploads = Uploads(finder, Gate(finder.path))
    put = uploads.put("a.jpg", picture(50))
    assert uploads.remove("a.jpg").id == put.id and put.id not in finder.row_of


def test_an_id_is_not_looked_up_as_a_file_of_this_process(finder, photos, monkeypatch):
    monkeypatch.chdir(photos / "a")
    assert Uploads(finder, Gate(finder.path)).remove("0.jpg").removed is False
    assert len(finder) == 10


def test_a_file_is_deleted_only_where_it_is_asked_for_twice(uploads, finder, photos):
    put = uploads.put("a.jpg", picture(50))
    for confirm in ("", "b.jpg", "yes"):
        with pytest.raises(RefusedError, match="only where its id is given twice"):
            uploads.remove(put.id, delete_file=True, confirm=confirm)
    assert put.id in finder.row_of
    before = uploaded(finder, photos)
    removed = uploads.remove(put.id, delete_file=True, confirm=put.id)
    assert (removed.removed, removed.file_deleted, removed.file_stays) == (True, True, False)
    assert len(before - uploaded(finder, photos)) == 1


def test_a_file_of_the_photo_folder_is_deleted_only_where_that_is_switched_on(finder, photos):
    with pytest.raises(RefusedError, match="a folder that is not written to"):
        Uploads(finder, Gate(finder.path)).remove("a/0.jpg", delete_file=True, confirm="a/0.jpg")
    assert (photos / "a" / "0.jpg").exists() and "a/0.jpg" in finder.row_of
    writable = Uploads(finder, Gate(finder.path), writable=True)
    assert writable.remove("a/0.jpg", delete_file=True, confirm="a/0.jpg").file_deleted
    assert not (photos / "a" / "0.jpg").exists()


@pytest.mark.parametrize("id", ["/outside.jpg", "../outside.jpg", "a/../../outside.jpg", "link/outside.jpg"])
def test_no_file_outside_is_deleted(finder, photos, tmp_path, id):
    (tmp_path / "outside.jpg").write_bytes(picture(1))
    (photos / "link").symlink_to(tmp_path)
    id = id if not id.startswith("/") else str(tmp_path / "outside.jpg")
    with pytest.raises(RefusedError, match="a folder that is not written to"):
        Uploads(finder, Gate(finder.path), writable=True).remove(id, delete_file=True, confirm=id)
    assert (tmp_path / "outside.jpg").exists()


def test_a_photo_that_was_added_from_elsewhere_keeps_its_file(finder, tmp_path, describer):
    path = tmp_path / "elsewhere.jpg"
    path.write_bytes(picture(50))
    add_photos(finder.path, [path], describer)
    finder.follow()
    with pytest.raises(RefusedError, match="a folder that is not written to"):
        Uploads(finder, Gate(finder.path), writable=True).remove(
            str(path), delete_file=True, confirm=str(path)
        )
    assert path.exists()


def test_many_at_once_are_all_committed_and_together(uploads, finder):
    version = finder.version
    with ThreadPoolExecutor(16) as pool:
        puts = list(pool.map(lambda n: uploads.put(f"{n}.jpg", picture(1000 + n)), range(16)))
    assert len({put.id for put in puts}) == 16 and {put.done for put in puts} == {"added"}
    assert {put.id for put in puts} <= {*finder.row_of}
    assert finder.version - version < 4 * 16


def test_the_same_photo_many_times_at_once_is_added_once(uploads, finder):
    with ThreadPoolExecutor(8) as pool:
        puts = list(pool.map(lambda _: uploads.put("a.jpg", picture(50)), range(8)))
    assert [put.done for put in puts].count("added") == 1 and len(finder) == 11


def test_while_somebody_else_writes_it_is_refused_and_nothing_stays(uploads, finder, photos):
    before = uploaded(finder, photos)
    with Collection.open(finder.path).writer(), pytest.raises(LockedError, match="is writing to it"):
        uploads.put("a.jpg", picture(50))
    assert uploaded(finder, photos) == before
    assert uploads.put("a.jpg", picture(50)).done == "added"


def test_the_gate_lets_one_through_and_says_no_while_a_job_runs(tmp_path):
    gate, running, inside = Gate(tmp_path), threading.Event(), threading.Event()

    def work():
        with gate.job("job 7 (index)", lambda: False) as let_in:
            assert let_in
            inside.set()
            running.wait()

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait()
    with pytest.raises(LockedError, match=r"job 7 \(index\) is writing to it; wait"), gate.writing():
        pass
    with gate.job("job 8", lambda: True) as let_in:
        assert not let_in
    running.set()
    thread.join()
    with gate.writing():
        pass


def test_what_fails_together_fails_for_each_and_the_next_goes_on():
    def fail_on_odd(items):
        if any(item % 2 for item in items):
            raise InputError("odd")
        return [10 * item for item in items]

    together = Together(fail_on_odd)
    assert together(2) == 20
    with pytest.raises(InputError, match="odd"):
        together(3)
    assert together(4) == 40


PUTTER = """
import sys
from meisho.extractors.local_base import LOCAL_EXTRACTORS
from meisho.photo_folder import find_photos
from meisho.run.finding import Finder
from meisho.service.gate import Gate
from meisho.service.uploads import Uploads
from service.test_uploads import picture
from toy_features import MeanColor
LOCAL_EXTRACTORS["corners"] = "toy_features:Corners"
finder = Finder.open(sys.argv[1], extractor=MeanColor())
uploads = Uploads(finder, Gate(finder.path), writable=sys.argv[2] == "True")
for number in range(int(sys.argv[3]), 10_000):
    print(uploads.put(f"up/{number}.jpg", picture(number)).id, flush=True)
"""


@pytest.mark.parametrize("writable", [False, True])
def test_what_was_acknowledged_is_there_after_a_kill(collection, photos, writable):
    acknowledged = []
    for first in range(0, 3000, 1000):
        command = [sys.executable, "-c", PUTTER, collection, writable, first]
        with started(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent) as process:
            acknowledged += [process.stdout.readline().strip() for _ in range(3)]
            process.send_signal(signal.SIGKILL)
            acknowledged += process.stdout.read().split("\n")[:-1]
        finder = Finder.open(collection, extractor=MeanColor())
        assert {*acknowledged} <= {*finder.row_of} and len(acknowledged) == len({*acknowledged})
        assert all((photos / finder.snapshot.files[finder.row_of[i]]).is_file() for i in acknowledged)
    Uploads(finder, Gate(finder.path), writable=writable)
    assert not list((collection / UPLOADS_FOLDER).rglob(".*")) or writable


def test_what_is_no_photo_is_neither_deleted_nor_written_over(finder, photos, tmp_path):
    uploads = Uploads(finder, Gate(finder.path), writable=True)
    for name in ("notes.txt", "a/.hidden", "key"):
        (photos / name).write_text("mine")
        with pytest.raises(RefusedError, match="is no photo of the collection"):
            uploads.remove(name, delete_file=True, confirm=name)
        assert (photos / name).read_text() == "mine"
    inside = uploads.put("notes.txt", picture(50))
    assert inside.id == "notes.txt.jpg" and (photos / "notes.txt").read_text() == "mine"


def test_a_collection_below_its_photo_folder_is_not_written_into(photos, describer):
    path = photos / "c.meisho"
    index_folder(photos, path, describer)
    finder = Finder.open(path, extractor=MeanColor())
    uploads = Uploads(finder, Gate(path), writable=True)
    with pytest.raises(RefusedError, match="lies in a folder that is not written to"):
        uploads.put("c.meisho/index/a.jpg", picture(50))
    for name in ("c.meisho/collection.json", "c.meisho/service.sqlite"):
        with pytest.raises(RefusedError, match="lies in a folder that is not written to"):
            uploads.remove(name, delete_file=True, confirm=name)
    own = Uploads(finder, Gate(path)).put("a.jpg", picture(50))
    assert own.id == "c.meisho/uploads/a.jpg" and len(find_photos(photos).photos) == 10
    index_folder(photos, path, describer)  # a walk does not look into collections
    finder.follow()
    assert own.id in finder.row_of and len(finder) == 11
    (path / UPLOADS_FOLDER / "a.jpg").unlink()
    index_folder(photos, path, describer)
    finder.follow()
    assert own.id not in finder.row_of and len(finder) == 10
