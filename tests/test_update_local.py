"""The second pass: which photos get local features, once each, and what a kill or a loss leaves to do."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meisho.datasets.base import load_dataset
from meisho.describing import Describer
from meisho.errors import ImageError, MismatchError
from meisho.extractors.local_base import LOCAL_EXTRACTORS, load_local_extractor
from meisho.extractors.restoring import restore_local_extractor
from meisho.local_describing import LocalDescriber
from meisho.photos import Photo
from meisho.run.evaluating import evaluate_dataset
from meisho.run.indexing import IndexOptions, index_folder
from meisho.store.collection import Collection
from processes import started
from toy_features import Corners, MeanColor, read_local_features


def color_of(number):
    return (5 * number % 256, (200 - 3 * number) % 256, 7 * number % 256)


def paint(folder, numbers):
    folder.mkdir(exist_ok=True)
    for number in numbers:
        Image.new("RGB", (40, 30), color_of(number)).save(folder / f"{number}.png")


@pytest.fixture
def photos(tmp_path):
    paint(tmp_path / "photos", range(5))
    return tmp_path / "photos"


def index(folder, local_extractor=None, **options):
    local = LocalDescriber(local_extractor, num_workers=0) if local_extractor else None
    describer = Describer(MeanColor(), num_workers=0)
    return index_folder(folder, folder.parent / "c.meisho", describer, IndexOptions(local=local), **options)


def stored(folder):
    collection = Collection.open(folder.parent / "c.meisho")
    return read_local_features(collection, [record.id for record in collection.records()])


def assert_right(folder, found):
    """Every photo has the features that its extractor finds in it."""
    for photo_id, features in found.items():
        expected = LocalDescriber(Corners()).describe(Photo(photo_id, folder / photo_id))
        np.testing.assert_allclose(features.keypoints, expected.keypoints, atol=max(expected.size_px) / 2_046)
        np.testing.assert_allclose(features.descriptors, expected.descriptors, atol=0.5)
        assert features.size_px == expected.size_px


def test_every_photo_gets_local_features_and_only_new_ones_the_next_time(photos):
    extractor = Corners()
    assert index(photos, extractor).local_described == 5
    assert_right(photos, stored(photos))
    assert index(photos, extractor).local_described == 0
    paint(photos, [7])
    (photos / "2.png").unlink()
    summary = index(photos, extractor)
    assert (summary.local_described, extractor.count) == (1, 6)
    assert set(stored(photos)) == {"0.png", "1.png", "3.png", "4.png", "7.png"}
    assert_right(photos, stored(photos))


def test_without_an_extractor_there_are_none_and_an_old_collection_gets_them_all_later(photos):
    summary = index(photos)
    assert (summary.local_described, summary.local_skipped) == (0, ())
    assert not (photos.parent / "c.meisho" / "local_features.lance").exists()
    summary = index(photos, Corners())
    assert (summary.described, summary.unchanged, summary.local_described) == (0, 5, 5)
    assert_right(photos, stored(photos))


def test_twins_are_looked_at_once_and_a_changed_photo_again(photos):
    (photos / "twin.png").write_bytes((photos / "0.png").read_bytes())
    extractor = Corners()
    assert index(photos, extractor).local_described == 5
    assert len(stored(photos)) == 6
    Image.new("RGB", (40, 30), "white").save(photos / "0.png")
    assert index(photos, extractor).local_described == 1
    assert_right(photos, stored(photos))


def test_broken_photos_are_passed_over(photos):
    (photos / "broken.jpg").write_bytes(b"no photo")
    summary = index(photos, Corners())
    assert (summary.local_described, summary.local_skipped) == (5, ())
    assert [s.id for s in summary.skipped] == ["broken.jpg"]


class Thief(Corners):
    """While it looks at the first photo, another vanishes and a third changes."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def extract(self, image):
        (self.folder / "2.png").unlink(missing_ok=True)
        if self.count == 0:
            Image.new("RGB", (60, 60), "white").save(self.folder / "4.png")
        return super().extract(image)


def test_a_photo_that_cannot_be_read_any_more_is_named_and_tried_again(photos):
    summary = index(photos, Thief(photos))
    assert summary.local_described == 3
    (first, second) = summary.local_skipped
    assert (first.id, second.id) == ("2.png", "4.png")
    assert first.reason == "no such file"
    assert second.reason == "it changed since it was described; index again"
    assert summary.num_photos == 5
    assert set(stored(photos)) == {"0.png", "1.png", "3.png"}
    assert index(photos, Corners()).local_described == 1
    assert set(stored(photos)) == {"0.png", "1.png", "3.png", "4.png"}
    assert_right(photos, stored(photos))


def test_another_extractor_is_refused_before_anything_is_done(photos):
    index(photos, Corners())
    paint(photos, [8])
    with pytest.raises(MismatchError, match="version: 1 / 2"):
        index(photos, Corners(version=2))
    assert len(Collection.open(photos.parent / "c.meisho").records()) == 5


def test_progress_is_told_per_photo(photos):
    told = []
    index(photos, Corners(), progress=lambda *report: told.append(report))
    assert [report for report in told if report[0] == "local features"] == [
        ("local features", done, 5) for done in range(6)
    ]


def test_the_index_is_there_before_the_second_pass_and_a_failure_in_it_keeps_what_was_done(
    photos, monkeypatch
):
    monkeypatch.setattr("meisho.update.COMMIT_PHOTOS", 2)

    class Failing(Corners):
        def extract(self, image):
            assert (photos.parent / "c.meisho" / "index").is_dir()
            if self.count == 4:
                raise MemoryError
            return super().extract(image)

    with pytest.raises(MemoryError):
        index(photos, Failing())
    assert len(stored(photos)) == 4
    assert index(photos, Corners()).local_described == 1


def test_slow_photos_are_committed_after_some_time(photos, monkeypatch):
    monkeypatch.setattr("meisho.update.COMMIT_SECONDS", 0)
    seen = []

    class Watching(Corners):
        def extract(self, image):
            seen.append(len(stored(photos)))
            return super().extract(image)

    index(photos, Watching())
    assert seen == [0, 1, 2, 3, 4]


def test_boxes_get_local_features_of_their_own(tmp_path):
    two = Image.new("RGB", (80, 40), "red")
    two.paste("blue", (40, 0, 80, 40))
    two.save(tmp_path / "two.png")
    rows = "two.png,a,query,q,,,,\ntwo.png,a,database,left,0,0,40,40\ntwo.png,a,database,right,40,0,80,40\n"
    (tmp_path / "photos.csv").write_text(f"file,label,role,id,x0,y0,x1,y1\n{rows}")
    dataset = load_dataset("csv", tmp_path / "photos.csv")
    evaluate_dataset(
        dataset,
        Describer(MeanColor(), num_workers=0),
        tmp_path / "c",
        local=LocalDescriber(Corners(), num_workers=0),
    )
    found = read_local_features(Collection.open(tmp_path / "c"), ["left", "right"])
    # a box's edge is blurred
    np.testing.assert_allclose(found["left"].descriptors, [[255, 0, 0]] * 2, atol=40)
    np.testing.assert_allclose(found["right"].descriptors, [[0, 0, 255]] * 2, atol=40)
    assert found["left"].keypoints[:, 0].max() < 39.5 < found["right"].keypoints[:, 0].min()  # between pixels
    assert found["right"].size_px == (80, 40)


def test_an_evaluation_that_misses_local_features_is_refused(photos):
    (photos.parent / "photos.csv").write_text(
        "file,label,role\nphotos/0.png,a,query\n"
        + "".join(f"photos/{number}.png,a,database\n" for number in range(1, 5))
    )
    dataset = load_dataset("csv", photos.parent / "photos.csv")
    with pytest.raises(ImageError, match=r"2\.png.*a score needs every photo"):
        evaluate_dataset(
            dataset,
            Describer(MeanColor(), num_workers=0),
            photos.parent / "c",
            local=LocalDescriber(Thief(photos), num_workers=0),
        )


# --- the extractor is remembered


def test_a_plain_update_goes_on_with_the_extractor_that_was_used(photos):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (90, 120, 3), np.uint8)).save(photos / "noise.png")
    index(photos, load_local_extractor("sift", max_keypoints=20))
    Image.fromarray(rng.integers(0, 256, (90, 120, 3), np.uint8)).save(photos / "more.png")
    summary = index(photos)
    assert summary.local_described == 1
    assert 0 < len(stored(photos)["more.png"]) <= 20


def test_the_remembered_extractor_is_loaded_only_when_there_is_something_to_do(photos, monkeypatch):
    loaded = []

    def load(name, **options):
        loaded.append((name, options))
        return load_local_extractor(name, **options)

    monkeypatch.setattr("meisho.extractors.restoring.load_local_extractor", load)
    monkeypatch.setitem(LOCAL_EXTRACTORS, "corners", "toy_features:Corners")
    index(photos, Corners(version=3))
    index(photos)
    assert loaded == []
    paint(photos, [9])
    assert index(photos).local_described == 1
    assert loaded == [("corners", {"device": "auto", "version": 3})]


def test_an_extractor_that_became_another_is_refused():
    was = load_local_extractor("sift").provenance
    with pytest.raises(MismatchError, match="weights_sha256: abcd / "):
        restore_local_extractor(type(was)(was.extractor, was.options, "abcd"))
    assert restore_local_extractor(was).provenance == was


# --- killed

CHILD = """if True:
    import sys
    from pathlib import Path
    import meisho.update
    from meisho.describing import Describer
    from meisho.local_describing import LocalDescriber
    from meisho.run.indexing import IndexOptions, index_folder
    from toy_features import Corners, MeanColor
    meisho.update.COMMIT_PHOTOS = 1
    folder = Path(sys.argv[1])

    def say(stage, done, total):
        print(stage.replace(" ", "_"), done, flush=True)
        if (stage, done) == ("local features", 15):
            sys.stdin.read()  # it is killed by then

    local = IndexOptions(local=LocalDescriber(Corners(), num_workers=0))
    describer = Describer(MeanColor(), num_workers=0)
    index_folder(folder, folder.parent / "c.meisho", describer, local, progress=say)
"""


@pytest.mark.slow
def test_a_kill_in_the_second_pass_loses_at_most_one_photo_and_the_next_run_goes_on(tmp_path):
    folder, before = tmp_path / "photos", 0
    paint(folder, range(60))
    for _ in range(3):
        command = [sys.executable, "-c", CHILD, str(folder)]
        here = Path(__file__).parent
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with started(command, **pipes, text=True, cwd=here) as child:
            for line in child.stdout:
                stage, done = line.split()
                if stage == "local_features" and int(done) >= 8:
                    break  # it goes on meanwhile, and the kill comes as it comes
            child.kill()
            told = [int(done) for stage, done in map(str.split, child.stdout) if stage == "local_features"]
        found = stored(folder)
        told_last = before + max(told, default=8)
        assert told_last <= len(found) <= told_last + 1
        assert_right(folder, found)
        before = len(found)
    summary = index(folder, Corners())
    assert (summary.described, summary.local_described) == (0, 60 - before)
    assert len(stored(folder)) == 60
    assert_right(folder, stored(folder))
