import shutil

import pytest

from meisho.datasets.base import load_dataset
from meisho.datasets.gldv2 import load_gldv2, load_recognition_solution
from meisho.datasets.photo_files import missing_photos
from meisho.errors import DatasetError

DATABASE = ["aaaa000000000000", "bbbb000000000000", "cccc000000000000"]
SOLUTION = """id,images,Usage
1111000000000000,cccc000000000000 aaaa000000000000,Public
2222000000000000,None,Ignored
3333000000000000,bbbb000000000000,Private
"""


def write_benchmark(root, solution=SOLUTION, name="retrieval_solution_v2.1.csv", tables=("index", "test")):
    for folder, file, text in (
        (tables[0], "index.csv", "\n".join(["id", *DATABASE, ""])),
        (tables[1], name, solution),
    ):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / file).write_text(text)
    return root


def test_index_images_become_the_database_and_ignored_queries_are_left_out(tmp_path):
    dataset = load_gldv2(write_benchmark(tmp_path))
    assert [photo.id for photo in dataset.database] == DATABASE
    assert dataset.database[1].path == tmp_path / "index" / "b" / "b" / "b" / "bbbb000000000000.jpg"
    assert [photo.id for photo in dataset.queries] == ["1111000000000000", "3333000000000000"]
    assert dataset.queries[1].path == tmp_path / "test" / "3" / "3" / "3" / "3333000000000000.jpg"
    assert [list(rows) for rows in dataset.ground_truth.positives] == [[0, 2], [1]]
    assert [len(rows) for rows in dataset.ground_truth.junk] == [0, 0]
    assert dataset.ground_truth.groups == ("public", "private")
    assert dataset.protocol == "gldv2"


def test_the_version_of_the_ground_truth_is_named(tmp_path):
    write_benchmark(tmp_path, name="retrieval_solution_v2.0.csv")
    first = load_gldv2(tmp_path)
    assert first.name == "gldv2 (retrieval_solution_v2.0)"
    changed = SOLUTION.replace("cccc000000000000 ", "")
    second = load_gldv2(write_benchmark(tmp_path, changed, name="retrieval_solution_v2.1.csv"))
    assert second.name == "gldv2 (retrieval_solution_v2.1)"  # the newest one is taken
    assert first.ground_truth.sha256 != second.ground_truth.sha256


@pytest.mark.parametrize("tables", [(".", "."), ("metadata", "ground_truth"), ("index", "test")])
def test_tables_are_found_where_people_put_them(tmp_path, tables):
    assert len(load_gldv2(write_benchmark(tmp_path, tables=tables)).queries) == 2


@pytest.mark.shared
def test_real_ids_are_found_at_their_published_place(shared_data, tmp_path):
    files = sorted((shared_data / "gld").glob("*.jpg"))
    assert len(files) == 13
    write_benchmark(tmp_path)
    (tmp_path / "index" / "index.csv").write_text("\n".join(["id", *(f.stem for f in files[1:])]))
    solution = f"id,images,Usage\n{files[0].stem},{files[1].stem},Private\n"
    (tmp_path / "test" / "retrieval_solution_v2.1.csv").write_text(solution)
    for split, some in (("test", files[:1]), ("index", files[1:])):
        for file in some:
            folder = tmp_path / split / file.stem[0] / file.stem[1] / file.stem[2]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder)
    assert missing_photos(load_dataset("gldv2", tmp_path)) == ()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("Private", "Pirate", r"v2\.1\.csv:4: the usage 'Pirate'"),
        (
            "bbbb000000000000",
            "dddd000000000000",
            r"v2\.1\.csv:4: 1 photos, such as 'dddd0.*not in index\.csv",
        ),
        (
            "3333000000000000",
            "1111000000000000",
            r"v2\.1\.csv:4: the id '1111000000000000' stands already on line 2",
        ),
        ("3333000000000000", "../../etc", r"v2\.1\.csv:4: '\.\./\.\./etc' is not a photo id"),
        ("Usage", "Use", r"v2\.1\.csv:1: the header needs the column 'usage'"),
    ],
)
def test_broken_rows_are_named_by_line(tmp_path, old, new, reason):
    with pytest.raises(DatasetError, match=reason):
        load_gldv2(write_benchmark(tmp_path, SOLUTION.replace(old, new)))


def test_missing_tables_say_where_they_belong(tmp_path):
    with pytest.raises(DatasetError, match=r"no index\.csv in it or in its folders index/"):
        load_gldv2(tmp_path)


def test_the_recognition_solution_gives_landmarks_and_groups(tmp_path):
    file = tmp_path / "recognition_solution_v2.1.csv"
    file.write_text("id,landmarks,Usage\naaa,5 17,Private\nbbb,,Public\nccc,1,Ignored\n")
    solution = load_recognition_solution(file)
    assert solution.query_ids == ("aaa", "bbb")
    assert solution.landmarks == ((5, 17), ())
    assert solution.groups == ("private", "public")
    assert solution.name == "recognition_solution_v2.1"
    assert len(solution.sha256) == 64


def test_a_landmark_that_is_no_number_is_named_by_line(tmp_path):
    file = tmp_path / "recognition_solution_v2.1.csv"
    file.write_text("id,landmarks,Usage\naaa,5 x,Private\n")
    with pytest.raises(DatasetError, match=r"v2\.1\.csv:2: '5 x' is not a list of landmark numbers"):
        load_recognition_solution(file)
