import csv
import hashlib
import random

import pytest

from meisho.datasets.table import read_table
from meisho.errors import DatasetError


def write(tmp_path, raw):
    file = tmp_path / "photos.csv"
    file.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
    return file


def read(tmp_path, raw, required=("file",)):
    return read_table(write(tmp_path, raw), required=required)


@pytest.mark.parametrize(
    "raw",
    [
        "file,label\na.jpg,x\nb.jpg,y\n",
        "file;label\na.jpg;x\nb.jpg;y\n",
        "file\tlabel\na.jpg\tx\nb.jpg\ty",
        "\ufefffile,label\r\na.jpg,x\r\nb.jpg,y\r\n",
        "file,label\ra.jpg,x\rb.jpg,y\r",
        "\n\nfile,label\n\n   \na.jpg,x\n,\nb.jpg,y\n\n",
        ' FILE ,label\n"a.jpg", x \nb.jpg,y\n',
    ],
    ids=["comma", "semicolon", "tab", "bom and crlf", "cr", "blank lines", "spaces and capitals"],
)
def test_the_usual_dialects_give_the_same_rows(tmp_path, raw):
    table = read(tmp_path, raw)
    assert table.columns == ("file", "label")
    assert [(row["file"], row["label"]) for row in table.rows] == [("a.jpg", "x"), ("b.jpg", "y")]
    assert table.rows[0]["no such column"] == ""


def test_rows_know_their_line_behind_blank_lines_and_cells_of_several_lines(tmp_path):
    table = read(tmp_path, 'file,label\n\n"a\nb.jpg",x\nc.jpg,y\n')
    assert [row.line for row in table.rows] == [3, 5]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("", r"photos\.csv:1: the header needs the column 'file'; it has nothing"),
        ("label,role\n", r"photos\.csv:1: the header needs the column 'file'; it has label, role"),
        ("file,label,file\n", r"photos\.csv:1: the column 'file' stands twice"),
        ("file,label\na.jpg,x\nb.jpg\n", r"photos\.csv:3: has 1 cells, the header 2"),
        ("file,label\na.jpg,x,y\n", r"photos\.csv:2: has 3 cells, the header 2"),
        ("file,label\na\0.jpg,x\n", r"photos\.csv:2: holds a NUL byte"),
        (
            'file,label\na.jpg,x\n"b.jpg,y\nc.jpg,z\n',
            r"photos\.csv:3: unexpected end of data; look for a quote",
        ),
        ('file,label\n"a"b.jpg,x\n', r"photos\.csv:2: .*look for a quote"),
        ("file,label\n" + "a" * 200_000 + ",x\n", r"photos\.csv:2: field larger than field limit"),
        (b"file,label\na.jpg,x\nb\xff.jpg,y\n", r"photos\.csv:3: is not UTF-8 text; save the table as"),
        ("file,label\na.jpg,x\n".encode("utf-16"), r"photos\.csv:1: is not UTF-8"),
    ],
)
def test_what_is_broken_is_named_with_file_line_and_advice(tmp_path, raw, message):
    with pytest.raises(DatasetError, match=message):
        read(tmp_path, raw)


def test_many_broken_rows_are_counted_and_the_first_five_named(tmp_path):
    with pytest.raises(DatasetError) as caught:
        read(tmp_path, "file,label\n" + "a.jpg\n" * 12)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("photos.csv: 12 broken rows:")
    assert [line.split("csv:")[1].split(":")[0] for line in lines[1:6]] == ["2", "3", "4", "5", "6"]
    assert lines[6].strip() == "... and 7 more"


@pytest.mark.parametrize("name", ["missing.csv", ".", "a\0b.csv"])
def test_a_file_that_cannot_be_read_says_so(tmp_path, name):
    with pytest.raises(DatasetError, match=r"cannot be read|is not a path"):
        read_table(tmp_path / name, required=())


def test_the_digest_is_that_of_the_file(tmp_path):
    first = read(tmp_path, "file,label\na.jpg,x\n")
    assert first.sha256 == hashlib.sha256(b"file,label\na.jpg,x\n").hexdigest()
    assert read(tmp_path, "file,label\na.jpg,y\n").sha256 != first.sha256


def test_any_bytes_are_read_or_refused_with_a_dataset_error(tmp_path):
    rng = random.Random(0)
    good = b'file,label\n"a.jpg",x\nb.jpg,"y, z"\n'
    refused = 0
    for _ in range(1000):
        raw = bytearray(good)
        for _ in range(rng.randint(1, 5)):
            raw[rng.randrange(len(raw))] = rng.choice(b'\0\n\r",;\t\xff\xef a')
        try:
            read(tmp_path, bytes(raw))
        except DatasetError as error:
            assert "photos.csv" in str(error)
            refused += 1
    assert 100 < refused < 1000


def test_cells_are_what_the_csv_writer_wrote(tmp_path):
    rng = random.Random(1)
    rows = [["".join(rng.choices('ab,;"\n\t é', k=6)).strip() or "x" for _ in range(3)] for _ in range(200)]
    with (tmp_path / "photos.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file", "label", "role"], *rows])
    table = read_table(tmp_path / "photos.csv", required=())
    assert [list(row.cells) for row in table.rows] == rows
