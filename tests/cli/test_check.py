"""`meisho check`: what it prints, and how it exits, by kind of damage."""

import json
import os

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def collection(tmp_path, run):
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(tmp_path / f"photos/{number}.png")
    assert run("index", tmp_path / "photos", "--to", tmp_path / "c")[0] == 0
    return tmp_path / "c"


def test_a_sound_collection_exits_with_0(collection, run):
    code, printed, _ = run("check", collection, "--photos")
    assert code == 0
    assert printed.count("sound") == 6
    assert "damaged" not in printed


def test_what_is_damaged_is_named_and_index_makes_it_anew(collection, run):
    (vectors,) = (collection / "index").glob("vectors-*.bin")
    data = bytearray(vectors.read_bytes())
    data[-1] ^= 1
    vectors.write_bytes(data)
    code, printed, error = run("check", collection, "--json")
    assert code == 8
    assert [each["kind"] for each in json.loads(printed) if each["damaged"]] == ["snapshot"]
    assert f"meisho index {collection.parent / 'photos'} --to {collection}" in error
    assert run("index", collection.parent / "photos", "--to", collection)[0] == 0
    assert run("check", collection)[0] == 0


def test_photos_that_rotted_exit_with_9_and_edited_ones_with_0(collection, run):
    photo = collection.parent / "photos" / "1.png"
    before = photo.stat()
    photo.write_bytes(photo.read_bytes()[:-1] + b"?")
    assert run("check", collection, "--photos")[0] == 0  # its time says that it was edited
    os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))
    code, printed, error = run("check", collection, "--photos")
    assert code == 9
    assert "1.png" in printed and "backup" in error


def test_a_folder_that_is_no_collection_is_refused(tmp_path, run):
    assert run("check", tmp_path)[0] == 4


def test_index_finds_damage_by_itself_and_says_what_it_made_anew(collection, run):
    (data,) = (collection / "photos.lance" / "data").glob("*.lance")
    os.truncate(data, data.stat().st_size // 2)
    assert run("search", collection, collection.parent / "photos" / "0.png")[0] == 0  # the saved snapshot
    code, printed, _ = run("index", collection.parent / "photos", "--to", collection)
    assert code == 0
    assert "was damaged on the disk" in printed
    assert run("check", collection)[0] == 0
