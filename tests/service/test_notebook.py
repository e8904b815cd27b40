"""The notebook: what was written is there after a kill; what cannot be read is refused in words."""

import signal
import sqlite3
import subprocess
import sys
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meisho.capture import Capture
from meisho.errors import CollectionError
from meisho.run.state import load_state
from meisho.service.captures import CaptureReader
from meisho.service.notebook import NOTEBOOK_FILE, Mark, Notebook, now
from processes import started

WRITER = """
import sys
from pathlib import Path
from meisho.service.notebook import Mark, Notebook, now
notebook = Notebook.open(Path(sys.argv[1]))
for number in range(int(sys.argv[2]), 1_000_000):
    notebook.mark(Mark("photo", "asked", "", f"{number}.jpg", True, now()))
    print(number, flush=True)
"""


@pytest.fixture
def notebook(tmp_path):
    opened = Notebook.open(tmp_path)
    yield opened
    opened.close()


def test_what_was_acknowledged_is_there_after_a_kill_and_from_two_processes(tmp_path):
    def write(first):
        return started([sys.executable, "-c", WRITER, tmp_path, first], stdout=subprocess.PIPE, text=True)

    with write(0) as one, write(500_000) as other:
        acknowledged = [process.stdout.readline() for _ in range(20) for process in (one, other)]
        for process in (one, other):
            process.send_signal(signal.SIGKILL)
            acknowledged += process.stdout.read().splitlines()
    numbers = {int(line) for line in acknowledged}
    with_rest = {int(mark.answer.removesuffix(".jpg")) for mark in Notebook.open(tmp_path).marks()}
    assert len(numbers) >= 40 and with_rest >= numbers
    assert len(with_rest - numbers) <= 2  # written, and killed before it could say so


def test_a_newer_notebook_is_refused_in_words(tmp_path):
    Notebook.open(tmp_path).close()
    with sqlite3.connect(tmp_path / NOTEBOOK_FILE) as file:
        file.execute("PRAGMA user_version = 7")
    file.close()
    with pytest.raises(
        CollectionError, match=r"service.sqlite: written by a newer meisho, in version 7, .*upgrade"
    ):
        Notebook.open(tmp_path)


def test_a_damaged_notebook_is_refused_in_words(tmp_path):
    (tmp_path / NOTEBOOK_FILE).write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(CollectionError, match=r"service.sqlite: damaged .*move it away"):
        Notebook.open(tmp_path)


def test_a_notebook_without_a_folder_is_refused_in_words(tmp_path):
    with pytest.raises(CollectionError, match="cannot be read or written"):
        Notebook.open(tmp_path / "gone")


texts = st.text(st.characters(codec="utf-8"))
marks = st.builds(
    Mark,
    st.sampled_from(["photo", "query"]),
    texts,
    st.sampled_from(["", "0,0,1,1"]),
    texts,
    st.booleans(),
    st.builds(now),
    st.integers(0, 99),
    texts,
)


@given(st.lists(marks, max_size=8))
def test_the_last_mark_of_an_answer_stays(tmp_path_factory, given_marks):
    notebook = Notebook.open(tmp_path_factory.mktemp("notebook"))
    last = {}
    for mark in given_marks:
        notebook.mark(mark)
        last[mark.kind, mark.asked, mark.box, mark.answer] = mark
    assert sorted(notebook.marks(), key=repr) == sorted(last.values(), key=repr)
    for (kind, asked, box, answer), mark in last.items():
        assert mark in notebook.marks(kind, asked)
        notebook.unmark(kind, asked, box, answer)
        assert mark not in notebook.marks(kind, asked)
    notebook.close()


def test_dismissals_stay_until_they_are_taken_back(tmp_path, notebook):
    notebook.dismiss("place", "a", dismissed=True)
    notebook.dismiss("place", "a", dismissed=True)
    notebook.dismiss("duplicate", "b", dismissed=True)
    again = Notebook.open(tmp_path)
    assert (again.dismissed("place"), again.dismissed("duplicate")) == ({"a"}, {"b"})
    again.dismiss("place", "a", dismissed=False)
    assert notebook.dismissed("place") == frozenset()
    again.close()


def test_the_newest_jobs_are_kept(notebook):
    for number in range(5):
        notebook.keep_job(f"j{number}", now(), str(number))
    notebook.keep_job("j3", "2000-01-01", "3 again")
    notebook.forget_jobs(3)
    assert notebook.jobs() == ["1", "2", "4"]


def test_captures_are_kept_by_keys_of_64_bits(notebook):
    captures = {0: Capture(), 2**64 - 1: Capture(datetime(2024, 5, 1, 12), 35.0, -135.5), 2**63: Capture()}
    notebook.keep_captures(captures.items())
    assert notebook.read_captures() == captures
    notebook.forget_captures(np.array([2**64 - 1, 5], np.uint64))
    assert notebook.read_captures().keys() == {2**64 - 1}


def test_captures_are_read_once_and_in_the_order_of_the_photos(collection, notebook, photos):
    snapshot = load_state(collection).snapshot
    reader = CaptureReader(notebook, photos)
    assert reader.count_missing(snapshot) == 10
    assert np.isnat(reader.load(snapshot).taken).all()
    assert reader.read_missing(snapshot, most=4) == 6
    assert reader.count_missing(snapshot) == 6
    told = []
    assert reader.read_missing(snapshot, progress=lambda *facts: told.append(facts)) == 0
    assert told[0][1:] == (0, 6) and told[-1][1:] == (6, 6)
    captures = reader.load(snapshot)
    for row, photo_id in enumerate(snapshot.descriptors.ids):
        number = int(photo_id[2])
        expected = f"2024-05-0{number + 1}" if number < 5 else "NaT"
        assert str(captures.taken[row]) == expected
        assert np.isnan(captures.latitude[row]) if number >= 5 else captures.latitude[row] == 35 + number
    for photo in photos.rglob("*.jpg"):
        photo.unlink()  # it is not read again
    again = CaptureReader(notebook, photos)
    assert again.read_missing(snapshot) == 0
    np.testing.assert_array_equal(again.load(snapshot).taken, captures.taken)
