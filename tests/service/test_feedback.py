"""Feedback: marks become tables, and training and evaluation read exactly what was marked."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from meisho.datasets.base import load_dataset
from meisho.datasets.labels import load_labels
from meisho.photos import Box
from meisho.run.evaluating import evaluate_dataset
from meisho.service.feedback import group_marks, marks_json, write_labels, write_pairs
from meisho.service.notebook import Mark
from service.conftest import paint


def mark(asked, answer, same=True, *, kind="photo", box=""):
    return Mark(kind, asked, box, answer, same, "2026-01-01", 3, "me")


MARKS = [
    mark("a.jpg", "b.jpg"),
    mark("b.jpg", "c.jpg"),  # joins a and c by way of b
    mark("a.jpg", "x.jpg", same=False),
    mark("0" * 64, "d.jpg", kind="query"),
    mark("0" * 64, "e.jpg", kind="query"),  # d and e show what was uploaded
    mark("f.jpg", "g.jpg", box="1,2,30,20"),  # a part of f shows what g shows
    mark("f.jpg", "h.jpg", same=False, box="1,2,30,20"),
]


def test_marks_join_photos():
    groups = group_marks(MARKS)
    assert groups.same == (("a.jpg", "b.jpg", "c.jpg"), ("d.jpg", "e.jpg"), ("g.jpg",))
    assert groups.queries == (("f.jpg", "1,2,30,20", 2),)
    assert groups.others == ("h.jpg", "x.jpg") and groups.conflicts == ()


def test_what_is_called_the_same_and_different_is_named_and_left_out():
    groups = group_marks([*MARKS, mark("c.jpg", "a.jpg", same=False)])
    assert groups.conflicts == (("a.jpg", "b.jpg", "c.jpg"),)
    assert groups.same == (("d.jpg", "e.jpg"), ("g.jpg",))
    assert marks_json([mark("a", "b"), mark("b", "a", same=False)])["conflicts"] == [["a", "b"]]


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate("abcdefghx"):
        paint(tmp_path / "photos" / f"{name}.jpg", number)
    return tmp_path / "photos"


def test_evaluation_reads_the_labels_and_scores_them(folder, tmp_path, describer):
    table = tmp_path / "elsewhere" / "labels.csv"
    table.parent.mkdir()
    table.write_text(write_labels(MARKS, lambda photo_id: folder / photo_id))
    dataset = load_dataset("csv", table)
    assert [photo.id for photo in dataset.database] == [f"{n}.jpg" for n in "abcdeghx"]
    assert [photo.id for photo in dataset.queries] == [*(f"{n}.jpg" for n in "abcde"), "f.jpg [1,2,30,20]"]
    assert dataset.queries[-1].box == Box(1, 2, 30, 20) and dataset.queries[-1].path == folder / "f.jpg"
    positives = [[dataset.database[row].id for row in rows] for rows in dataset.ground_truth.positives]
    assert positives == [
        ["b.jpg", "c.jpg"], ["a.jpg", "c.jpg"], ["a.jpg", "b.jpg"], ["e.jpg"], ["d.jpg"], ["g.jpg"]
    ]  # fmt: skip
    report = evaluate_dataset(dataset, describer, tmp_path / "evaluated").report
    assert report.num_queries == 6 and report.num_database == 8


def test_training_reads_the_labels(folder, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text(write_labels(MARKS, lambda photo_id: folder / photo_id))
    labels = load_labels("csv", table)
    named = {labels.path_of(row).name: labels.class_names[labels.classes[row]] for row in range(len(labels))}
    assert {labels.path_of(row).parent for row in range(len(labels))} == {folder}
    assert named["a.jpg"] == named["b.jpg"] == named["c.jpg"] != named["d.jpg"] == named["e.jpg"]
    assert named["f.jpg"] == named["g.jpg"] and "x.jpg" not in named


def test_photos_that_are_gone_are_left_out(folder):
    table = write_labels(MARKS, lambda i: None if i in ("c.jpg", "e.jpg", "x.jpg") else folder / i)
    assert {row["id"] for row in csv.DictReader(io.StringIO(table))} == {
        "a.jpg", "b.jpg", "g.jpg", "f.jpg [1,2,30,20]", "h.jpg"
    }  # fmt: skip


def test_pairs_say_who_said_what():
    rows = list(csv.DictReader(io.StringIO(write_pairs(MARKS))))
    assert len(rows) == len(MARKS)
    assert rows[2] == {
        "kind": "photo", "asked": "a.jpg", "box": "", "answer": "x.jpg", "same": "0", "at": "2026-01-01",
        "version": "3", "made_by": "me",
    }  # fmt: skip


names = st.sampled_from("abcdefgh") | st.text(
    st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1
)
marks = st.lists(
    st.builds(
        mark,
        names,
        names,
        st.booleans(),
        kind=st.sampled_from(["photo", "query"]),
        box=st.sampled_from(["", "0,0,9,9"]),
    ),
    max_size=20,
)


@given(marks)
def test_groups_are_apart_and_hold_every_photo_once(given_marks):
    groups = group_marks(given_marks)
    listed = [i for ids in (*groups.same, *groups.conflicts, groups.others) for i in ids]
    assert len(listed) == len({*listed})
    real = [m for m in given_marks if not (m.kind == "photo" and m.asked == m.answer and not m.box)]
    assert {*listed} == {m.answer for m in real} | {m.asked for m in real if m.kind == "photo" and not m.box}
    in_conflict = {i for ids in groups.conflicts for i in ids}
    for m in real:
        if m.kind == "photo" and not m.box and not {m.asked, m.answer} & in_conflict:
            together = any({m.asked, m.answer} <= {*ids} for ids in groups.same)
            assert together if m.same else not together


@given(marks)
def test_every_table_can_be_read_back(tmp_path_factory, given_marks):
    folder = tmp_path_factory.mktemp("labels")
    files = {}

    def file_of(photo_id):
        path = files.setdefault(photo_id, folder / f"{photo_id[:40]}.png")
        if not path.exists():
            Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path, "PNG")
        return path

    table = folder.parent / f"{folder.name}.csv"
    try:
        table.write_text(text := write_labels(given_marks, file_of), encoding="utf-8")
    except OSError:
        return  # a name longer than the file system takes
    rows = list(csv.DictReader(io.StringIO(text)))
    if any(row["role"] in ("both", "query") for row in rows):
        dataset = load_dataset("csv", table)
        assert {photo.path for photo in dataset.database} <= {Path(row["file"]) for row in rows}
        assert {str(photo.path) for photo in (*dataset.database, *dataset.queries)} == {
            r["file"] for r in rows
        }
