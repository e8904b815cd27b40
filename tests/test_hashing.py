"""Hashing ahead: the same contents in the same order, and nothing goes on when nobody asks any more."""

import hashlib
import os
import threading

import pytest

from meisho import hashing
from meisho.errors import ImageError
from meisho.hashing import name_contents
from meisho.photos import Box, Photo
from meisho.planning import name_content
from processes import wait_until


def hashers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("meisho-hashing")]


@pytest.fixture(autouse=True)
def _threads_end():
    """Whatever a test did with its contents, its threads end."""
    yield
    wait_until(lambda: not hashers())


@pytest.fixture
def photos(tmp_path):
    """Files of very different sizes, one of them twice with a box, one empty, and one that is missing."""
    sizes = [3_000_000, 1, 200_000, 0, 2**18, 2**18 + 1, 5]
    paths = [tmp_path / str(number) for number in range(len(sizes))]
    for path, size in zip(paths, sizes, strict=True):
        path.write_bytes(os.urandom(size))
    paths.insert(2, tmp_path / "missing")
    return [*(Photo(path.name, path) for path in paths), Photo("box", paths[0], Box(1, 2, 3, 4.5))]


def plainly(photo):
    try:
        return name_content(photo)
    except ImageError as error:
        return error


@pytest.mark.parametrize(("num_threads", "max_waiting"), [(1, 1), (2, 3), (4, 100)])
def test_contents_and_errors_come_in_order_whatever_the_threads(photos, num_threads, max_waiting):
    found = [*name_contents(photos * 3, num_threads=num_threads, max_waiting=max_waiting)]
    assert [*map(str, found)] == [str(plainly(photo)) for photo in photos * 3]
    assert [type(content) for content in found] == [type(plainly(photo)) for photo in photos * 3]
    assert found[0] == hashlib.sha256(photos[0].path.read_bytes()).hexdigest()
    assert found[-1] == f"{found[0]}#1,2,3,4.5"


def test_photos_are_taken_only_a_few_ahead(photos):
    taken = []
    contents = name_contents((taken.append(photo) or photo for photo in photos * 10), max_waiting=5)
    assert not taken
    next(contents)
    assert len(taken) == 5
    next(contents)
    assert len(taken) == 6
    contents.close()
    assert len(taken) == 6


def test_of_no_photos_no_thread_is_started():
    assert [*name_contents(())] == []
    assert not hashers()


def test_a_file_that_takes_long_is_let_go_when_nobody_asks_any_more(photos, monkeypatch):
    reading, closed = threading.Event(), threading.Event()
    let_go = []

    def slow_name(photo, *, check):
        reading.set()
        closed.wait()
        try:
            check()  # the next part of the file
        except BaseException:
            let_go.append(photo)
            raise
        return "read to its end"

    quick = Photo("quick", photos[1].path)
    monkeypatch.setattr(
        hashing, "name_content", lambda p, *, check: "quick" if p is quick else slow_name(p, check=check)
    )
    contents = name_contents([quick, *photos], num_threads=1)
    assert next(contents) == "quick"
    reading.wait()
    contents.close()  # returns though the thread still reads
    closed.set()
    wait_until(lambda: not hashers())
    assert let_go == photos[:1]


def test_what_is_no_fault_of_a_photo_is_raised_where_its_content_is_asked_for(photos, monkeypatch):
    def name(photo, *, check):
        raise MemoryError("no memory left")

    monkeypatch.setattr(hashing, "name_content", name)
    with pytest.raises(MemoryError, match="no memory left"):
        next(name_contents(photos))
