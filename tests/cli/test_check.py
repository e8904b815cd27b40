"""`meisho check`: what it prints, and how it exits, by kind of damage."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rights import without_rights_of_root


def make_collection(folder, run):
    (folder / "photos" / "below").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("0", "1", "below/2"):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / f"photos/{name}.png")
    assert run("index", folder / "photos", "--to", folder / "c")[0] == 0
    return folder / "c"


@pytest.fixture
def collection(tmp_path, run):
    return make_collection(tmp_path, run)


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


SHUT = [  # what nobody may look at, the parts that are not known then, and how it exits
    ("photos/1.png", 0o000, {"photos"}, 0),
    ("photos/below", 0o600, {"photos"}, 0),
    ("photos/below", 0o000, {"photos"}, 0),
    ("photos", 0o000, {"photos"}, 0),
    ("c/collection-copy.json", 0o000, {"metadata"}, 4),
    ("c/commits.json", 0o000, {"metadata"}, 4),
    ("c/descriptors.lance", 0o000, {"descriptors"}, 4),
    ("c/descriptors.lance/data", 0o600, {"descriptors"}, 4),
    ("c/descriptors.lance/_versions", 0o000, {"descriptors"}, 4),
    ("c/photos.lance", 0o000, {"photo records", "snapshot", "photos"}, 4),
    ("c/photos.lance/_versions", 0o600, {"photo records", "snapshot", "photos"}, 4),
    ("c/index", 0o000, {"index", "snapshot"}, 4),
    ("c/index/snapshot.json", 0o000, {"index", "snapshot"}, 4),
]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs users")
@pytest.mark.parametrize(("place", "mode", "kinds", "exit_code"), SHUT)
def test_what_cannot_be_looked_at_is_no_damage_and_all_else_is_checked(run, place, mode, kinds, exit_code):
    with tempfile.TemporaryDirectory() as name:
        collection = make_collection(Path(name), run)
        assert run("check", collection, "--photos")[0] == 0  # all is imported by now
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "65534", name], check=True)
        with without_rights_of_root():
            (collection.parent / place).chmod(mode)
            code, printed, error = run("check", collection, "--photos", "--json")
            _, lines, _ = run("check", collection, "--photos")
            (collection.parent / place).chmod(0o755)
        found = json.loads(printed)
        assert code == exit_code, error
        assert len(found) == 6 == sum("checked, " in line for line in lines.splitlines())
        assert not any(each["damaged"] or each["changed"] for each in found)
        assert {each["kind"] for each in found if each["unseen"]} == kinds
        assert "could not be looked at" in lines and "permission denied" in lines
        assert all(
            each["kind"] in error
            for each in found
            if exit_code and each["unseen"] and each["kind"] != "photos"
        )
        assert run("check", collection, "--photos")[0] == 0  # and no note of damage is left
        assert not (collection / "damaged.txt").exists()


def test_photos_of_a_drive_that_is_off_are_not_said_to_be_gone(collection, run):
    (collection.parent / "photos").rename(collection.parent / "away")
    code, printed, _ = run("check", collection, "--photos", "--json")
    photos = json.loads(printed)[-1]
    assert (code, len(photos["unseen"]), photos["changed"], photos["damaged"]) == (0, 3, [], [])
