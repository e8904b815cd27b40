import json
import zipfile

import pytest

from meisho.datasets.base import load_dataset
from meisho.datasets.oxford5k import CORRUPT_PARIS_PHOTOS, load_oxford5k, load_paris6k
from meisho.datasets.photo_files import missing_photos
from meisho.datasets.revisitop import load_ground_truth
from meisho.errors import DatasetError
from meisho.photos import Box


def write_query(folder, name="tower_1", query="oxc1_tower_000001 1.5 2 30.25 40", good="", ok="", junk=""):
    folder.mkdir(parents=True, exist_ok=True)
    for part, text in (("query", query), ("good", good), ("ok", ok), ("junk", junk)):
        (folder / f"{name}_{part}.txt").write_text(text)


def write_photos(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.jpg").write_bytes(b"\xff\xd8")


def ids(dataset, rows):
    return [dataset.database[row].id for row in rows]


def test_positives_are_good_and_ok_and_the_query_itself_stays_one(tmp_path):
    write_query(
        tmp_path / "gt", good="tower_000001\ntower_000002\n", ok="other_000007", junk="tower_000009\r\n"
    )
    write_photos(
        tmp_path / "jpg", "tower_000001", "tower_000002", "other_000007", "tower_000009", "zoo_000000"
    )
    dataset = load_oxford5k(tmp_path)
    truth = dataset.ground_truth
    assert [photo.id for photo in dataset.database] == sorted(p.stem for p in (tmp_path / "jpg").iterdir())
    assert ids(dataset, truth.positives[0]) == ["other_000007", "tower_000001", "tower_000002"]
    assert ids(dataset, truth.junk[0]) == ["tower_000009"]
    (query,) = dataset.queries
    assert (query.id, query.path, query.box) == (
        "tower_1",
        tmp_path / "jpg" / "tower_000001.jpg",
        Box(1.5, 2, 30.25, 40),
    )
    assert missing_photos(dataset) == ()
    assert dataset.protocol == "oxford5k"


def test_part_of_the_benchmark_says_so_in_its_name(tmp_path):
    write_query(tmp_path / "gt", good="tower_000001\ntower_000002")
    write_photos(tmp_path / "jpg", "tower_000001")
    dataset = load_oxford5k(tmp_path)
    assert dataset.name == "oxford5k (2 of 5,063 photos)"
    assert [photo.id for photo in missing_photos(dataset)] == ["tower_000002"]


def test_photos_in_folders_per_landmark_are_found(tmp_path):
    write_query(tmp_path / "paris_120310", query="paris_eiffel_000001 0 0 5 5", ok="paris_eiffel_000001")
    write_photos(tmp_path / "paris" / "eiffel", "paris_eiffel_000001", "paris_eiffel_000002")
    dataset = load_paris6k(tmp_path)
    assert missing_photos(dataset) == ()
    assert len(dataset.database) == 2


def test_the_corrupt_photos_of_paris_are_left_out(tmp_path):
    corrupt = "paris_louvre_000136"
    write_query(
        tmp_path,
        query="paris_a_000001 0 0 5 5",
        ok=f"paris_a_000001\n{corrupt}",
        junk="paris_triomphe_000867",
    )
    write_photos(tmp_path / "jpg", "paris_a_000001", corrupt, "paris_triomphe_000867")
    (tmp_path / "jpg" / "paris_pompidou_000195.jpg").touch()  # holds nothing at all: still no reason to stop
    dataset = load_paris6k(tmp_path)
    assert len(CORRUPT_PARIS_PHOTOS) == 20
    assert [photo.id for photo in dataset.database] == ["paris_a_000001"]
    assert ids(dataset, dataset.ground_truth.positives[0]) == ["paris_a_000001"]
    assert len(dataset.ground_truth.junk[0]) == 0


@pytest.mark.parametrize(
    "query", ["", "oxc1_tower_000001", "tower 1 2 3", "tower a b c d", "tower 9 0 1 5", "tower 1 2 3 4 5"]
)
def test_a_broken_query_file_is_named(tmp_path, query):
    write_query(tmp_path / "gt", query=query)
    with pytest.raises(DatasetError, match=r"tower_1_query\.txt:1: "):
        load_oxford5k(tmp_path)


def test_a_corrupt_photo_of_paris_as_a_query_is_named(tmp_path):
    write_query(tmp_path / "gt", query="paris_louvre_000136 0 0 5 5")
    with pytest.raises(DatasetError, match=r"tower_1_query\.txt:1: 'paris_louvre_000136' is a corrupt photo"):
        load_paris6k(tmp_path)


@pytest.mark.parametrize("name", ["../tower", "/etc/passwd", "a\\b", "a\0b", "x" * 300])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, name):
    write_query(tmp_path / "gt", query=f"oxc1_{name} 0 0 5 5")
    with pytest.raises(DatasetError, match=r"tower_1_query\.txt:1: .*not the name of a photo"):
        load_oxford5k(tmp_path)
    write_query(tmp_path / "gt", ok=f"tower_000002\n{name}\n")
    with pytest.raises(DatasetError, match=r"tower_1_ok\.txt:2: .*not the name of a photo"):
        load_oxford5k(tmp_path)


def test_a_photo_that_is_right_and_junk_at_once_is_named(tmp_path):
    write_query(tmp_path / "gt", ok="tower_000002", junk="tower_000002")
    with pytest.raises(DatasetError, match=r"tower_1_query\.txt: 'tower_000002' is right and junk at once"):
        load_oxford5k(tmp_path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DatasetError, match=r"no \*_query\.txt"):
        load_oxford5k(tmp_path)
    write_query(tmp_path / "gt")
    (tmp_path / "gt" / "tower_1_ok.txt").unlink()
    with pytest.raises(DatasetError, match=r"tower_1_ok\.txt: cannot be read"):
        load_oxford5k(tmp_path)


@pytest.mark.shared
def test_the_published_paris_files_load(shared_data, tmp_path):
    with zipfile.ZipFile(shared_data / "gnd" / "paris_120310.zip") as archive:
        archive.extractall(tmp_path)
    revisited = load_ground_truth(shared_data / "gnd" / "gnd_rparis6k.pkl")
    every_photo = {*revisited.database_ids, *revisited.query_ids}
    assert len(every_photo) == 6392  # 6,412 published less the 20 corrupt ones
    assert not every_photo & CORRUPT_PARIS_PHOTOS
    write_photos(tmp_path / "jpg", *every_photo, *CORRUPT_PARIS_PHOTOS)
    dataset = load_dataset("paris6k", tmp_path)
    truth = dataset.ground_truth
    assert dataset.name == "paris6k"  # the whole benchmark
    assert len(dataset.queries) == 55
    assert len(dataset.database) == 6392
    assert sum(map(len, truth.positives)) == 8955
    assert sum(map(len, truth.junk)) == 8245
    first = dataset.queries[0]
    assert (first.id, first.path.stem, first.box) == (
        "defense_1",
        "paris_defense_000605",
        Box(130, 17, 843, 732),
    )
    assert "paris_defense_000605" in ids(dataset, truth.positives[0])


@pytest.mark.shared
def test_oxford_with_the_answers_as_published_loads(shared_data, tmp_path):
    """The shared copy is JSON per landmark; its five queries share the answers, as in the published files."""
    landmarks = json.loads((shared_data / "gnd" / "oxford5k_groundtruth.json").read_text())
    revisited = load_ground_truth(shared_data / "gnd" / "gnd_roxford5k.pkl")
    boxes = dict(zip(revisited.query_ids, revisited.boxes, strict=True))

    def names(files):
        return "\n".join(file.removesuffix(".jpg") for file in files)

    for landmark, answer in landmarks.items():
        for number, file in enumerate(answer["query"], 1):
            photo = file.removesuffix(".jpg")
            box = boxes[photo]
            parts = {part: names(answer[part]) for part in ("good", "ok", "junk")}
            line = f"oxc1_{photo} {box.x0} {box.y0} {box.x1} {box.y1}\n"
            write_query(tmp_path / "gt", f"{landmark}_{number}", line, **parts)
    write_photos(tmp_path / "jpg", *revisited.database_ids, *revisited.query_ids)
    dataset = load_dataset("oxford5k", tmp_path)
    assert dataset.name == "oxford5k"
    assert (len(dataset.queries), len(dataset.database)) == (55, 5063)
    assert len(dataset.ground_truth.positives[0]) == 24 + 54  # all_souls: good + ok
    assert len(dataset.ground_truth.junk[0]) == 33
    for query, rows in zip(dataset.queries, dataset.ground_truth.positives, strict=True):
        assert query.path.stem in ids(dataset, rows)
