"""Labels: every published header, and every way in which a table can be broken."""

import csv

import numpy as np
import pytest

from meisho.datasets.labels import load_labels, read_labels, read_landmarks
from meisho.errors import DatasetError

A, B, C = "0123456789abcdef", "fedcba9876543210", "00a1b2c3d4e5f607"


def write(path, text, *, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
    return path


def shown(labels):
    return {
        name: labels.class_names[number] for name, number in zip(labels.names, labels.classes, strict=True)
    }


@pytest.mark.parametrize(
    ("text", "expected", "first_path"),
    [
        (f"id,landmark_id\n{A},7\n{B},9\n{C},7\n", {A: "7", B: "9", C: "7"}, f"train/0/1/2/{A}.jpg"),
        (f'id,url,landmark_id\n{A},"http://x/a,b.jpg",7\n', {A: "7"}, f"train/0/1/2/{A}.jpg"),
        (f"landmark_id,images\n7,{A} {C}\n9,{B}\n", {A: "7", C: "7", B: "9"}, f"train/0/1/2/{A}.jpg"),
        ("filename,landmark_id\na.jpg,7\nb.jpg,9\n", {"a.jpg": "7", "b.jpg": "9"}, "images/a.jpg"),
        ("file,label\nold/a.jpg,tower\n", {"old/a.jpg": "tower"}, "old/a.jpg"),
    ],
)
def test_each_known_header_gives_labels_and_paths(tmp_path, text, expected, first_path):
    labels = read_labels(write(tmp_path / "t.csv", text))
    assert shown(labels) == expected
    assert labels.path_of(0) == tmp_path / first_path


@pytest.mark.parametrize(
    "text",
    [
        f"\ufeffid,landmark_id\r\n{A},7\r\n{B},9\r\n",  # a BOM and CRLF
        f"id\tlandmark_id\n{A}\t7\n{B}\t9\n",
        f"id;landmark_id\n{A};7\n\n{B};9",  # a blank line, no end of the last
        f'id,landmark_id\n"{A}","7"\n"{B}",9\n',
        f"ID , Landmark_ID\n {A} , 7 \n{B},9\n",
    ],
)
def test_marks_tabs_quotes_and_line_ends_are_taken_as_they_come(tmp_path, text):
    assert shown(read_labels(write(tmp_path / "t.csv", text))) == {A: "7", B: "9"}


def test_a_quoted_cell_may_go_over_lines_and_later_lines_keep_their_numbers(tmp_path):
    table = write(tmp_path / "t.csv", 'file,label,note\na.jpg,x,"two\nlines"\nb.jpg,,\n')
    with pytest.raises(DatasetError, match=r"t\.csv:4: has no label"):
        read_labels(table)
    good = write(tmp_path / "u.csv", 'file,label,note\n"a,1.jpg",x,"two\nlines"\nb.jpg,y,"say ""so"""\n')
    assert shown(read_labels(good)) == {"a,1.jpg": "x", "b.jpg": "y"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"t\.csv:1: the header needs one of these pairs: .*landmark_id.*; it has nothing"),
        (f"id,label\n{A},7\n", r"t\.csv:1: the header needs one of these pairs"),
        (f"id,id,landmark_id\n{A},{A},7\n", r"t\.csv:1: the column 'id' stands twice"),
        (f"id,landmark_id\n{A}\n", r"t\.csv:2: has 1 cells, the header 2"),
        (f"id,landmark_id\n{A},7,8\n", r"t\.csv:2: has 3 cells, the header 2"),
        (f"id,landmark_id\n{A},\n", r"t\.csv:2: has no landmark_id"),
        ("id,landmark_id\n../../etc/passwd,7\n", r"t\.csv:2: '../../etc/passwd' is not a photo id"),
        ("file,label\n,7\n", r"t\.csv:2: '' is not a path"),
        (f"id,landmark_id\n{A},7\n{B},8\n{A},9\n", rf"t\.csv:4: the id '{A}' stands already on line 2"),
        (f"landmark_id,images\n7,{A} {B}\n8,{A}\n", rf"t\.csv:3: the id '{A}' stands already on line 2"),
        ('file,label\n"a.jpg,x\nb.jpg,y\n', r"t\.csv:2: .*; look for a quote"),
        ('file,label\na"b"c.jpg"x",y\n"a"b,x\n', r"t\.csv:3: .*; look for a quote"),
        (b"file,label\na.jpg,x\n\xff\xfe.jpg,y\n", r"t\.csv:3: is not UTF-8 text"),
        ("file,label\n", r"t\.csv: holds no labelled photo"),
        (f"file,label\n{'x' * 10_000_000}\n", r"t\.csv:2: has 1 cells, the header 2"),
        (f'file,label\n"{"x" * 10_000_000},y\n', r"t\.csv:2: .*; look for a quote"),
        ("x" * 10_000_000, r"t\.csv:1: the header needs one of these pairs"),
    ],
)
def test_a_broken_table_is_one_error_that_names_the_line(tmp_path, text, message):
    table = write(tmp_path / "t.csv", text)
    with pytest.raises(DatasetError, match=message) as caught:
        read_labels(table)
    assert len(str(caught.value)) < 1_000


def test_many_broken_rows_are_counted_and_the_first_five_named(tmp_path):
    table = write(tmp_path / "t.csv", "file,label\n" + "a.jpg\n" * 20)
    with pytest.raises(DatasetError, match="20 broken rows") as caught:
        read_labels(table)
    assert str(caught.value).count("\n") == 6


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"nowhere\.csv: cannot be read"):
        read_labels(tmp_path / "nowhere.csv")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_labels(tmp_path)


def test_distractors_are_passed_over_and_roles_are_kept(tmp_path):
    table = write(tmp_path / "t.csv", "file,label,role\na.jpg,x,Query\nb.jpg,,distractor\nc.jpg,x,database\n")
    labels = read_labels(table)
    assert labels.names == ("a.jpg", "c.jpg")
    assert labels.roles == ("query", "database")


def test_classes_are_numbered_in_order_of_first_appearance(tmp_path):
    labels = read_labels(write(tmp_path / "t.csv", "file,label\na,z\nb,b\nc,z\nd,a\n"))
    assert labels.class_names == ("z", "b", "a")
    assert labels.classes.tolist() == [0, 1, 0, 2]
    assert labels.counts.tolist() == [2, 1, 1]
    assert not labels.classes.flags.writeable


@pytest.mark.parametrize("folder", [".", "train", "metadata"])
def test_the_contest_s_table_is_found_in_its_places_and_photos_lie_below_the_root(tmp_path, folder):
    write(tmp_path / folder / "train.csv", f"id,landmark_id\n{A},7\n")
    labels = load_labels("gldv2_train", tmp_path)
    assert labels.path_of(0) == tmp_path / "train" / "0" / "1" / "2" / f"{A}.jpg"


def test_a_data_set_without_its_table_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(DatasetError, match=r"no train_clean\.csv in it or in its folders train/, metadata/"):
        load_labels("gldv2_clean", tmp_path)


def test_a_labelled_folder_has_the_labels_of_its_folders(tmp_path):
    for name in ("queries/x/1.jpg", "database/x/2.jpg", "database/y/3.jpg", "distractors/4.jpg"):
        write(tmp_path / name, b"\xff\xd8")
    labels = load_labels("folder", tmp_path)
    assert shown(labels) == {"queries/x/1.jpg": "x", "database/x/2.jpg": "x", "database/y/3.jpg": "y"}
    assert labels.roles == ("query", "database", "database")


def test_random_tables_read_as_the_csv_module_reads_them(tmp_path):
    rng = np.random.default_rng(0)
    words = ["a", "b c", 'say "x"', "one,two", "line\nbreak", "", "é", "'"]
    for number in range(30):
        rows = [[f"{i}.jpg", *(words[w] for w in rng.integers(len(words), size=2))] for i in range(20)]
        path = tmp_path / f"{number}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["file", "label", "note"], *rows])
        rows = [row for row in rows if row[1]]
        if len(rows) < 20:
            with pytest.raises(DatasetError, match="has no label"):
                read_labels(path)
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([["file", "label", "note"], *rows])
        assert shown(read_labels(path)) == {row[0]: row[1] for row in rows}


def test_a_list_of_landmarks_is_lines_or_a_column(tmp_path):
    assert read_landmarks(write(tmp_path / "a.txt", "7\n9\n\n7\n")) == {"7", "9"}
    assert read_landmarks(write(tmp_path / "b.csv", "name,landmark_id\nx,7\ny,9\n")) == {"7", "9"}
    with pytest.raises(DatasetError, match="lists no landmark"):
        read_landmarks(write(tmp_path / "c.txt", "\n"))
