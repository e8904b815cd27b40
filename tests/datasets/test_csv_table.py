import pytest

from meisho.datasets.base import load_dataset
from meisho.datasets.csv_table import load_csv_table
from meisho.errors import DatasetError
from meisho.photos import Box


@pytest.fixture
def folder(tmp_path):
    for name in ("old/a.jpg", "old/b.jpg", "old/c.jpg", "old/d.jpg", "asked/q.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\xff\xd8")
    return tmp_path


def load(folder, *lines):
    table = folder / "photos.csv"
    table.write_text("\n".join([*lines, ""]))
    return load_csv_table(table)


def answers(dataset):
    names = [photo.id for photo in dataset.database]
    truth = dataset.ground_truth
    return {
        query.id: ([names[r] for r in right], [names[r] for r in junk])
        for query, right, junk in zip(dataset.queries, truth.positives, truth.junk, strict=True)
    }


def test_labels_and_roles_say_what_is_right_junk_and_wrong(folder):
    dataset = load(
        folder,
        "file,label,role",
        "asked/q.jpg,bridge,query",
        "old/a.jpg,bridge,database",
        "old/b.jpg,bridge,junk",
        "old/c.jpg,tower,database",
        "old/d.jpg,,distractor",
    )
    assert [photo.id for photo in dataset.database] == ["old/a.jpg", "old/b.jpg", "old/c.jpg", "old/d.jpg"]
    assert answers(dataset) == {"asked/q.jpg": (["old/a.jpg"], ["old/b.jpg"])}
    assert dataset.database[0].path.read_bytes() == b"\xff\xd8"
    assert dataset.protocol == "retrieval"
    assert not dataset.queries_cropped
    assert len(dataset.ground_truth.sha256) == 64


def test_a_distractor_is_wrong_even_with_a_label(folder):
    dataset = load(
        folder, "file,label,role", "asked/q.jpg,x,query", "old/a.jpg,x,distractor", "old/b.jpg,x,database"
    )
    assert answers(dataset) == {"asked/q.jpg": (["old/b.jpg"], [])}


@pytest.mark.parametrize("role", [",role", ""], ids=["empty role", "no column role"])
def test_without_a_role_every_photo_is_asked_for_among_the_others(folder, role):
    end = "," if role else ""
    dataset = load(folder, f"file,label{role}", f"old/a.jpg,x{end}", f"old/b.jpg,x{end}", f"old/c.jpg,y{end}")
    assert answers(dataset) == {
        "old/a.jpg": (["old/b.jpg"], ["old/a.jpg"]),
        "old/b.jpg": (["old/a.jpg"], ["old/b.jpg"]),
        "old/c.jpg": ([], ["old/c.jpg"]),
    }


def test_a_query_does_not_find_its_own_file_under_another_id(folder):
    dataset = load(
        folder,
        "id,file,label,role",
        "q,old/a.jpg,x,query",
        "d1,asked/../old/a.jpg,x,database",
        "d2,old/b.jpg,x,database",
    )
    assert answers(dataset) == {"q": (["d2"], ["d1"])}


def test_a_box_crops_its_row_and_of_both_the_query_alone(folder):
    dataset = load(
        folder,
        "file,label,role,x0,y0,x1,y1",
        "old/a.jpg,x,both,1,2.5,30,40",
        "old/b.jpg,x,database,0,0,5,5",
        "old/c.jpg,x,query,,,,",
    )
    assert [photo.box for photo in dataset.queries] == [Box(1, 2.5, 30, 40), None]
    assert [photo.box for photo in dataset.database] == [None, Box(0, 0, 5, 5)]


def test_one_photo_is_asked_twice_with_two_boxes(folder):
    dataset = load(
        folder,
        "id,query,positives,junk,x0,y0,x1,y1",
        "left,old/a.jpg,old/b.jpg,,0,0,5,9",
        "right,old/a.jpg,old/c.jpg | old/b.jpg,old/d.jpg,5,0,9,9",
    )
    assert answers(dataset) == {
        "left": (["old/b.jpg"], ["old/a.jpg"]),
        "right": (["old/b.jpg", "old/c.jpg"], ["old/a.jpg", "old/d.jpg"]),
    }


def test_a_table_of_queries_is_asked_of_every_photo_below_its_folder(folder):
    dataset = load(folder, "query,positives,junk", "asked/q.jpg,old/a.jpg;old/b.jpg;,old/c.jpg")
    assert [photo.id for photo in dataset.database] == [
        "asked/q.jpg",
        "old/a.jpg",
        "old/b.jpg",
        "old/c.jpg",
        "old/d.jpg",
    ]
    assert answers(dataset) == {"asked/q.jpg": (["old/a.jpg", "old/b.jpg"], ["asked/q.jpg", "old/c.jpg"])}


def test_a_query_that_is_listed_as_its_own_positive_stays_one(folder):
    dataset = load(folder, "query,positives", "asked/q.jpg,asked/q.jpg;old/b.jpg")
    assert answers(dataset) == {"asked/q.jpg": (["asked/q.jpg", "old/b.jpg"], [])}


def test_a_query_from_outside_the_folder_has_no_row(folder):
    (folder / "inside").mkdir()
    (folder / "inside" / "a.jpg").write_bytes(b"\xff\xd8")
    table = folder / "inside" / "queries.csv"
    table.write_text("query;positives\n../asked/q.jpg;a.jpg\n")
    assert answers(load_csv_table(table)) == {"../asked/q.jpg": (["a.jpg"], [])}


def test_a_query_knows_itself_however_its_path_is_written(folder):
    dataset = load(
        folder, "query,positives", "./old/../asked//q.jpg,old/a.jpg", f"{folder}/old/b.jpg,old/a.jpg"
    )
    junk = [[dataset.database[r].id for r in rows] for rows in dataset.ground_truth.junk]
    assert junk == [["asked/q.jpg"], ["old/b.jpg"]]


HEAD = "file,label,role,id,x0,y0,x1,y1"
GOOD = ("old/a.jpg,x,query,,,,,", "old/b.jpg,x,database,,,,,")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "old/z.jpg,x,,,,,,",
            r"photos\.csv:4: the photo 'old/z\.jpg' is not found below .*; correct the path",
        ),
        ("old,x,,,,,,", r"photos\.csv:4: the photo 'old' is not found"),
        (f"{'z' * 5000},x,,,,,,", r"photos\.csv:4: .*(too long|not found)"),
        (",x,,,,,,", r"photos\.csv:4: names no photo"),
        ("old/c.jpg,,both,,,,,", r"photos\.csv:4: a photo of the role both needs a label"),
        (
            "old/c.jpg,x,gallery,,,,,",
            r"photos\.csv:4: the role 'gallery' is not one of query, database, junk",
        ),
        ("old/c.jpg,x,,,1,2,3,", r"photos\.csv:4: a box needs all of x0, y0, x1, y1"),
        ("old/c.jpg,x,,,1,2,three,4", r"photos\.csv:4: .*'three'"),
        ("old/c.jpg,x,,,9,2,3,4", r"photos\.csv:4: box .* needs finite"),
        ("old/c.jpg,x,,,nan,0,3,4", r"photos\.csv:4: box .* needs finite"),
        ("old/a.jpg,x,query,,,,,", r"photos\.csv:4: the id 'old/a\.jpg' stands already on line 2"),
        ("old/c.jpg,x,junk,old/b.jpg,,,,", r"photos\.csv:4: the id 'old/b\.jpg' stands already on line 3"),
        ("old/b.jpg,x,both,,,,,", r"photos\.csv:4: the id 'old/b\.jpg' stands already on line 3"),
        ("old/c.jpg,x", r"photos\.csv:4: has 2 cells, the header 8"),
        ("old/\0.jpg,x,,,,,,", r"photos\.csv:4: holds a NUL byte"),
    ],
)
def test_a_broken_row_is_named_by_line_with_advice(folder, row, message):
    load(folder, HEAD, *GOOD)
    with pytest.raises(DatasetError, match=message):
        load(folder, HEAD, *GOOD, row)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("asked/q.jpg,old/z.jpg,", r"photos\.csv:2: positives: no photo 'old/z\.jpg' below the folder"),
        ("asked/q.jpg,old/a.jpg,z", r"photos\.csv:2: junk: no photo 'z'"),
        ("asked/q.jpg,old/a.jpg,old/a.jpg", r"photos\.csv:2: 'old/a\.jpg' is a positive and junk at once"),
        ("asked/p.jpg,old/a.jpg,", r"photos\.csv:2: the photo 'asked/p\.jpg' is not found"),
        ("asked/q.jpg,,\nasked/q.jpg,,", r"photos\.csv:3: the id 'asked/q\.jpg' stands already on line 2"),
    ],
)
def test_a_broken_row_of_queries_is_named_by_line(folder, row, message):
    with pytest.raises(DatasetError, match=message):
        load(folder, "query,positives,junk", row)


def test_broken_rows_are_all_counted(folder):
    rows = [f"old/{n}.jpg,x,query,,,,," for n in range(9)]
    with pytest.raises(DatasetError, match=r"9 broken rows:[\s\S]*\.\.\. and 4 more"):
        load(folder, HEAD, *GOOD, *rows)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["photo,label", "a,b"], r":1: the header needs a column 'file' .* or 'query'"),
        (["file,role", "old/a.jpg,query"], r":1: a table of photos needs the column 'label'"),
        (["file,label"], "0 queries and 0 database photos"),
        (["file,label,role", "old/a.jpg,x,database"], "0 queries and 1 database photo;"),
        (["query,positives"], "0 queries and 5 database photos"),
    ],
)
def test_a_table_that_asks_or_searches_nothing_is_refused(folder, lines, message):
    with pytest.raises(DatasetError, match=message):
        load(folder, *lines)


def test_a_relative_path_to_the_table_gives_the_same_data_set(folder, monkeypatch):
    whole = load(folder, HEAD, *GOOD)
    monkeypatch.chdir(folder)
    relative = load_dataset("csv", "photos.csv")
    assert relative.database == whole.database
    assert answers(relative) == answers(whole)
