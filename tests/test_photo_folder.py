"""Which files of a folder are the user's photos, what is gone, and what has changed: one table each."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meisho.describing import Describer
from meisho.errors import InputError
from meisho.marks import save_drawing
from meisho.photo_folder import DEFAULT_EXCLUDES, find_photos
from meisho.photos import PHOTO_SUFFIXES, RAW_SUFFIXES
from meisho.planning import plan_update
from meisho.run.indexing import IndexOptions, add_photos, index_folder, index_photos
from meisho.run.summary import count_left_out
from meisho.store.collection import Collection
from meisho.store.records import PhotoRecord
from rights import without_rights_of_root
from toy_features import MeanColor


class Counting(MeanColor):
    """Counts the photos that it describes."""

    def __init__(self):
        self.count = 0

    def extract(self, images):
        self.count += len(images)
        return super().extract(images)


def draw(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), np.uint8)
    Image.fromarray(pixels).save(path, "PNG" if path.suffix.lower() not in (".jpg", ".png") else None)


@pytest.fixture
def photos(tmp_path):
    for number in range(6):
        draw(tmp_path / "photos" / f"{number}.png", number)
    return tmp_path / "photos"


def index(photos, extractor=None, **options):
    describer = Describer(extractor or MeanColor(), num_workers=0)
    return index_folder(photos, photos.parent / "c", describer, IndexOptions(**options))


def ids_of(photos):
    return sorted(record.id for record in Collection.open(photos.parent / "c").records() if not record.error)


# --- which files are photos


LEFT_OUT = [
    ("notes.txt", "not photos (.txt)"),
    ("clip.MP4", "not photos (.mp4)"),
    ("a.CR2", "RAW photos (.cr2), which need meisho[raw]"),
    ("README", "no ending, and not photos"),
    (".hidden.jpg", "hidden"),
    (".thumbs/a.jpg", "hidden"),
    ("@eaDir/a.jpg", "excluded by @eaDir"),
    ("deep/in/@eaDir/SYNO/a.jpg", "excluded by @eaDir"),
    ("#recycle/a.jpg", "excluded by #recycle"),
    ("$RECYCLE.BIN/a.jpg", "excluded by $RECYCLE.BIN"),
    ("#snapshot/day/a.jpg", "excluded by #snapshot"),
    ("lost+found/a.jpg", "excluded by lost+found"),
    ("$Recycle.Bin/S-1-5/a.jpg", "excluded by $RECYCLE.BIN"),
    ("System Volume Information/a.jpg", "excluded by System Volume Information"),
    ("My.cocatalog/Cache/Thumbnails/a.jpg", "excluded by *.cocatalog/Cache"),
    ("appdata_oc1/preview/a.jpg", "excluded by appdata_*/preview"),
    ("My.photoslibrary/resources/derivatives/a.jpg", "excluded by *.photoslibrary/resources"),
    ("b/Old.photoslibrary/resources/a.jpg", "excluded by *.photoslibrary/resources"),
    ("Catalog Previews.lrdata/a.jpg", "excluded by *.lrdata"),
]


@pytest.mark.parametrize(("name", "reason"), LEFT_OUT)
def test_what_is_left_out_is_counted_by_reason(tmp_path, name, reason, monkeypatch):
    monkeypatch.setitem(sys.modules, "rawpy", None)
    draw(tmp_path / "x.jpg")
    place = tmp_path / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"something")
    found = find_photos(tmp_path)
    assert [photo.id for photo in found.photos] == ["x.jpg"]
    is_folder = "/" in name
    assert [(each.reason, each.count, each.num_folders) for each in found.left_out] == [
        (reason, 1, is_folder)
    ]
    assert name.startswith(found.left_out[0].example)
    words = f"1 {reason} (1 whole folder)" if is_folder else f"1 {reason}"
    assert count_left_out(found.left_out) == words


TAKEN = [f"a{suffix}" for suffix in sorted(PHOTO_SUFFIXES)] + [
    "A.JPEG",
    "noending",
    "My.photoslibrary/originals/1/a.jpg",
    "My.photoslibrary/Masters/a.jpg",
    "My.cocatalog/Originals/a.jpg",
    "eaDir/a.jpg",
    "resources/derivatives/a.jpg",
    "recycle/a.jpg",
    "name with @eaDir inside.jpg",
]


@pytest.mark.parametrize("name", TAKEN)
def test_what_the_reader_opens_is_a_photo(tmp_path, name):
    draw(tmp_path / name)
    found = find_photos(tmp_path)
    assert [photo.id for photo in found.photos] == [name]
    assert found.left_out == ()


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "MPO", "HEIF"]
)
def test_a_file_without_an_ending_is_known_by_how_it_begins(tmp_path, kind):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    Image.new("RGB", (40, 30), "red").save(tmp_path / "IMG_0001", kind)
    (tmp_path / "README").write_text("BM and P6 are how others begin")
    assert [photo.id for photo in find_photos(tmp_path).photos] == ["IMG_0001"]


def test_a_pattern_in_another_form_of_unicode_is_the_same(tmp_path):
    draw(tmp_path / unicodedata.normalize("NFD", "café") / "a.jpg")
    assert find_photos(tmp_path, excludes=(unicodedata.normalize("NFC", "CAFÉ"),)).photos == ()


def test_no_ending_is_both_a_photo_and_raw():
    assert not PHOTO_SUFFIXES & RAW_SUFFIXES


def test_a_folder_with_nomedia_holds_no_photos_unless_it_is_wanted(tmp_path):
    draw(tmp_path / "a.jpg")
    draw(tmp_path / "app" / "cache" / "b.jpg")
    (tmp_path / "app" / ".nomedia").touch()
    assert [photo.id for photo in find_photos(tmp_path).photos] == ["a.jpg"]
    assert len(find_photos(tmp_path, excludes=()).photos) == 2


def test_a_collection_inside_the_photo_folder_is_passed_over(photos):
    describer = Describer(MeanColor(), num_workers=0)
    index_folder(photos, photos / "mine", describer)
    found = find_photos(photos)
    assert (len(found.photos), [each.reason for each in found.left_out]) == (6, ["collection of meisho"])


def test_a_folder_without_photos_says_what_was_left_out(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rawpy", None)
    (tmp_path / "photos").mkdir()
    for number in range(3):
        (tmp_path / "photos" / f"{number}.cr2").write_bytes(b"raw")
    with pytest.raises(InputError, match=r"no photo found below it.*left out: 3 RAW photos \(\.cr2\)"):
        index(tmp_path / "photos")


def test_excludes_are_kept_by_the_collection_and_remove_what_they_leave_out(photos):
    for number in range(10):
        draw(photos / "scans" / f"{number}.png", 100 + number)
    index(photos)
    assert len(ids_of(photos)) == 16
    summary = index(photos, excludes=(*DEFAULT_EXCLUDES, "scans"))  # most are gone, as was asked
    assert (summary.removed, summary.kept) == (10, 0)
    assert index(photos).num_photos == 6
    assert index(photos, excludes=()).num_photos == 16


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("scans", 1),
        ("SCANS/", 1),
        ("./scans", 1),
        ("/scans/", 1),
        ("**/scans", 1),
        ("*.TIF", 3),
        ("*.tif", 3),
        ("trip/*", 2),
        ("trip/day?", 3),
        ("[a-m]*", 2),
        ("x.jpg", 3),
        ("none", 4),
    ],
)
def test_a_pattern_is_compared_with_the_end_of_a_path(tmp_path, pattern, left):
    for name in ("x.jpg", "scans/b.tif", "trip/day1/scans/c.jpg", "trip/scans"):
        draw(tmp_path / name)
    found = find_photos(tmp_path, excludes=(pattern,))
    assert len(found.photos) == left


# --- each folder once, however it is nested and linked


def test_each_folder_is_walked_once_whatever_links_lead_to_it(tmp_path):
    folders = [tmp_path / f"{number:02}" for number in range(15)]
    for number, folder in enumerate(folders):
        draw(folder / "a.jpg", number)
    for number, folder in enumerate(folders):
        for step in (1, 3):
            if number + step < 15:
                (folder / f"to{step}").symlink_to(folders[number + step])
    found = find_photos(tmp_path)
    assert [photo.id for photo in found.photos] == [f"{number:02}/a.jpg" for number in range(15)]


def test_a_folder_elsewhere_is_walked_through_its_first_link(tmp_path):
    draw(tmp_path / "elsewhere" / "a.jpg")
    (tmp_path / "photos").mkdir()
    for name in ("z", "b"):
        (tmp_path / "photos" / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "up").symlink_to(tmp_path / "photos")
    assert [photo.id for photo in find_photos(tmp_path / "photos").photos] == ["b/a.jpg"]


@pytest.mark.parametrize("depth", [1000, 5000])
def test_folders_nested_deeper_than_python_calls_or_a_path_reaches(tmp_path, depth):
    draw(tmp_path / "a.jpg")
    handle = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    found = find_photos(tmp_path)
    assert [photo.id for photo in found.photos] == ["a.jpg"]
    assert [problem.reason.partition(":")[0] for problem in found.problems] == (
        [] if depth == 1000 else ["the folder cannot be read"]
    )
    subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)


# --- gone is what was looked for and is not there


def unmount_link(photos):
    """A link to a folder whose drive is off: three photos."""
    shutil.move(photos.parent / "drive", photos.parent / "off")


def lose_file_links(photos):
    """Links to files whose drive is off: three photos."""
    shutil.move(photos.parent / "files", photos.parent / "off")


def loop_links(photos):
    """A folder that has become an endless link: three photos."""
    (photos / "link").unlink()
    (photos / "link").symlink_to("link")


UNSEEN = [unmount_link, lose_file_links, loop_links]


@pytest.mark.parametrize("hide", UNSEEN, ids=lambda hide: hide.__name__)
def test_what_could_not_be_looked_at_is_kept_and_named(photos, hide):
    for number in range(3):
        draw(photos.parent / "drive" / f"{number}.png", 10 + number)
        draw(photos.parent / "files" / f"{number}.png", 20 + number)
        (photos / f"file{number}.png").symlink_to(photos.parent / "files" / f"{number}.png")
    (photos / "link").symlink_to(photos.parent / "drive")
    extractor = Counting()
    index(photos, extractor)
    before = ids_of(photos)
    assert len(before) == 12
    hide(photos)
    summary = index(photos, extractor)
    assert (summary.removed, ids_of(photos)) == (0, before)
    assert summary.skipped
    if (photos.parent / "off").exists():
        (photos.parent / "off").rename(photos.parent / ("drive" if hide is unmount_link else "files"))
        assert index(photos, extractor).skipped == ()
    assert extractor.count == 12  # nothing was described again


RIGHTS = [
    ("trip", 0o600, ["trip/a.png", "trip/noending"]),  # may be listed, its files not be looked at
    ("trip", 0o300, ["trip"]),
    ("trip", 0o000, ["trip"]),
    ("trip/a.png", 0o000, ["trip/a.png"]),
    ("trip/noending", 0o000, ["trip/noending"]),
    ("../guests", 0o600, ["{}/guests/g.png"]),
    ("../guests", 0o000, ["{}/guests/g.png"]),
]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs users")
@pytest.mark.parametrize(("place", "mode", "named"), RIGHTS)
def test_what_may_not_be_looked_at_is_kept_and_named(place, mode, named):
    with tempfile.TemporaryDirectory() as name:
        photos = Path(name) / "photos"
        for number, each in enumerate(("0.png", "trip/a.png", "trip/noending", "../guests/g.png")):
            draw(photos / each, number)
        extractor = Counting()
        index(photos, extractor)
        guest = os.path.abspath(photos / "../guests/g.png")  # noqa: PTH100
        add_photos(photos.parent / "c", guest, Describer(extractor, num_workers=0))
        index(photos, extractor)  # all is imported by now: another user might not find Python's own files
        before = ids_of(photos)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "65534", name], check=True)
        with without_rights_of_root():
            (photos / place).chmod(mode)
            summary = index(photos, extractor, prune=True)
            (photos / place).chmod(0o755)
            assert index(photos, extractor).skipped == ()
        assert [skipped.id for skipped in summary.skipped] == [each.format(name) for each in named]
        assert all("permission denied" in skipped.reason for skipped in summary.skipped)
        assert (summary.removed, summary.num_photos, ids_of(photos)) == (0, 4, before)
        assert extractor.count == 4


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs users")
def test_a_changed_photo_that_may_not_be_read_stays_as_it_was():
    with tempfile.TemporaryDirectory() as name:
        photos = Path(name) / "photos"
        draw(photos / "a.png", 1)
        draw(photos / "b.png", 2)
        index(photos)
        index(photos)
        draw(photos / "a.png", 3)
        (photos / "a.png").chmod(0)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "65534", name], check=True)
        with without_rights_of_root():
            summary = index(photos)
        assert (summary.num_photos, [skipped.id for skipped in summary.skipped]) == (2, ["a.png"])


def empty(photo):
    photo.write_bytes(b"")


def become_a_folder(photo):
    photo.unlink()
    photo.mkdir()


@pytest.mark.parametrize("lose", [os.unlink, empty, become_a_folder], ids=lambda lose: lose.__name__)
def test_photos_that_hold_nothing_any_more_are_not_removed_unasked(photos, lose):
    index(photos)
    for number in range(5):
        lose(photos / f"{number}.png")
    assert (index(photos).kept, len(ids_of(photos))) == (5, 6)


def test_many_links_that_lead_nowhere_are_compared_in_one_pass(photos):
    """30,000 records, 30,000 such places: compared each with each, they would take a quarter of an hour."""
    index(photos)
    (photos / "links").mkdir()
    for number in range(30_000):
        (photos / "links" / f"{number}.png").symlink_to("/nowhere")
    found = find_photos(photos)
    records = [PhotoRecord(i, "x", 1, 1, 1, 1, file=i) for i in found.unseen]
    plan = plan_update(records, found, known_contents=frozenset())
    assert (len(found.unseen), plan.gone) == (30_000, ())


def test_a_sync_that_holds_only_what_it_is_given_asks_nobody(photos):
    index(photos)
    for number in range(5):
        (photos / f"{number}.png").unlink()
    describer = Describer(MeanColor(), num_workers=0)
    summary = index_photos(find_photos(photos), photos.parent / "c", describer, IndexOptions(only=True))
    assert (summary.removed, summary.kept, ids_of(photos)) == (5, 0, ["5.png"])


def test_a_folder_that_lost_most_photos_asks_before_it_removes(photos):
    index(photos)
    for number in range(5):
        (photos / f"{number}.png").unlink()
    draw(photos / "new.png", 50)
    summary = index(photos)
    assert (summary.described, summary.removed, summary.kept, summary.num_photos) == (1, 0, 5, 7)
    summary = index(photos, prune=True)
    assert (summary.removed, summary.kept, ids_of(photos)) == (5, 0, ["5.png", "new.png"])


def test_photos_that_moved_are_not_lost(photos):
    index(photos)
    (photos / "album").mkdir()
    for number in range(6):
        (photos / f"{number}.png").rename(photos / "album" / f"{number}.png")
    summary = index(photos)
    assert (summary.duplicates, summary.removed, summary.kept) == (6, 6, 0)


def test_half_of_the_photos_may_go(photos):
    index(photos)
    for number in range(3):
        (photos / f"{number}.png").unlink()
    assert (index(photos).removed, len(ids_of(photos))) == (3, 3)


def test_a_photo_added_from_a_drive_that_is_off_is_kept(photos):
    draw(photos.parent / "usb" / "a.png", 30)
    index(photos)
    add_photos(photos.parent / "c", photos.parent / "usb" / "a.png", Describer(MeanColor(), num_workers=0))
    (photos.parent / "usb").rename(photos.parent / "off")
    assert index(photos).removed == 0
    (photos.parent / "off").rename(photos.parent / "usb")
    (photos.parent / "usb" / "a.png").unlink()
    assert index(photos).removed == 1


def test_an_added_photo_whose_folder_is_gone_is_removed_by_prune_as_it_is_said(photos):
    shut = photos.parent / "usb" / "deep" / "a.png"
    draw(shut, 30)
    index(photos)
    add_photos(photos.parent / "c", shut, Describer(MeanColor(), num_workers=0))
    shutil.rmtree(shut.parent)
    kept = index(photos)
    assert (kept.removed, [skipped.id for skipped in kept.skipped]) == (0, [str(shut)])
    assert "a drive may be off" in kept.skipped[0].reason and "--prune" in kept.skipped[0].reason
    assert (index(photos, prune=True).removed, len(ids_of(photos))) == (1, 6)


def test_an_emptied_folder_says_what_to_do(photos):
    index(photos)
    for photo in photos.iterdir():
        photo.unlink()
    with pytest.raises(InputError, match=r"nothing was changed in .*delete that folder"):
        index(photos, prune=True)


EXCLUDES = [
    ((), (*DEFAULT_EXCLUDES, "0.png")),
    (("--exclude", "1.png"), (*DEFAULT_EXCLUDES, "1.png")),
    (("--exclude", ""), DEFAULT_EXCLUDES),
    (("--exclude", "", "--no-default-excludes"), ()),
    (("--no-default-excludes",), ()),
    (("--no-default-excludes", "--exclude", "x*"), ("x*",)),
]


@pytest.mark.parametrize(("words", "kept"), EXCLUDES)
def test_excludes_are_shown_as_they_are_and_can_be_cleared(photos, run, words, kept):
    model = ("--to", photos.parent / "d", "--size", 32, "--workers", 0)
    assert run("index", photos, *model, "--exclude", "0.png")[0] == 0
    assert run("index", photos, "--to", photos.parent / "d", "--workers", 0, *words)[0] == 0
    shown = json.loads(run("info", photos.parent / "d", "--json")[1])["excludes"]
    assert shown == [*kept]
    lines = run("info", photos.parent / "d")[1].splitlines()
    row = next(row for row, line in enumerate(lines) if line.startswith("excludes"))
    own = [pattern for pattern in kept if pattern not in DEFAULT_EXCLUDES]
    said = [f"{len(DEFAULT_EXCLUDES)} defaults, which --json names"] if len(kept) > len(own) else []
    told = [*said, *own] or ["none"]
    assert [line.removeprefix("excludes").strip() for line in lines[row : row + len(told)]] == told
    assert lines[row + len(told)].startswith("dimensions")


def test_the_command_exits_with_7_where_most_photos_are_gone(photos, run):
    index(photos)
    collection = photos.parent / "d"
    assert run("index", photos, "--to", collection)[0] == 0
    for number in range(5):
        (photos / f"{number}.png").unlink()
    code, _, error = run("index", photos, "--to", collection)
    assert code == 7
    assert "5 of 6 photos" in error and "--prune" in error
    assert run("index", photos, "--to", collection, "--prune")[0] == 0


def test_the_command_names_a_pattern_that_leaves_out_nothing(photos, run):
    collection = photos.parent / "d"
    draw(photos / "scans" / "a.png", 40)
    code, _, error = run("index", photos, "--to", collection, "--exclude", "scans/", "--exclude", "scnas")
    assert (code, "--exclude scnas: nothing" in error, "--exclude scans/:" in error) == (0, True, False)


# --- a change that is not noticed


def rewrite_quietly(photo):
    """Other bytes of the same length, with the modification time put back."""
    status = photo.stat()
    pixels = np.random.default_rng(99).integers(0, 256, (8, 9, 3), np.uint8)
    Image.fromarray(pixels).save(photo)
    photo.write_bytes(photo.read_bytes()[: status.st_size].ljust(status.st_size, b"\0"))
    os.utime(photo, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert photo.stat().st_size == status.st_size


def test_a_change_that_keeps_size_and_time_is_noticed(photos):
    extractor = Counting()
    index(photos, extractor)
    rewrite_quietly(photos / "2.png")
    summary = index(photos, extractor)
    assert (summary.described, summary.unchanged, extractor.count) == (1, 5, 7)


def test_a_change_of_rights_costs_one_reading_and_no_describing(photos):
    extractor = Counting()
    index(photos, extractor)
    (photos / "2.png").chmod(0o600)
    for _ in range(2):
        summary = index(photos, extractor)
        assert (summary.described, summary.duplicates, summary.unchanged, extractor.count) == (0, 0, 6, 6)
    (record,) = (r for r in Collection.open(photos.parent / "c").records() if r.id == "2.png")
    assert record.ctime_ns == (photos / "2.png").stat().st_ctime_ns


def test_rehash_reads_all_and_describes_only_what_is_new(photos):
    extractor = Counting()
    index(photos, extractor)
    summary = index(photos, extractor, rehash=True)
    assert (summary.described, summary.unchanged, extractor.count) == (0, 6, 6)


def test_what_meisho_drew_is_passed_over(photos):
    picture = Image.new("RGB", (50, 40), "red")
    for name in ("matches.png", "answer_matches/1.jpg", "sheet.webp"):
        (photos / name).parent.mkdir(exist_ok=True)
        save_drawing(picture, photos / name)
    for _ in range(2):
        summary = index(photos)
        assert summary.num_photos == 6
        assert [(each.reason, each.count) for each in summary.left_out] == [("drawn by meisho", 3)]


def test_a_backup_that_links_to_a_photo_while_it_is_described_changes_nothing(photos):
    class Backup(MeanColor):
        def extract(self, images):
            if not (photos.parent / "backup.png").exists():
                (photos.parent / "backup.png").hardlink_to(photos / "0.png")
            return super().extract(images)

    summary = index(photos, Backup())
    assert (summary.described, summary.skipped) == (6, ())
    assert index(photos).unchanged == 6
