"""Bits that flip on the disk: what changes is noticed, never answered with, and made anew by `index`."""

import json
import logging
import os
import random
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from meisho.describing import Describer
from meisho.errors import DamagedError
from meisho.local_describing import LocalDescriber
from meisho.run.checking import check_collection
from meisho.run.finding import Finder
from meisho.run.indexing import IndexOptions, add_photos, index_folder
from meisho.sealed import read_sealed
from meisho.store import tables
from meisho.store.collection import Collection
from meisho.store.snapshot import read_commit
from toy_features import Corners, MeanColor


def draw_photos(folder, count, *, seed=0):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).save(folder / f"{number}.png")


LOCAL = IndexOptions(local=LocalDescriber(Corners(), num_workers=0))


def index(photos, collection):
    options = replace(LOCAL, index="ivfpq")
    return index_folder(photos, collection, Describer(MeanColor(), num_workers=0), options)


def make_collection(tmp_path, count):
    """Make a collection that has lived: photos came, one from elsewhere, and one was removed."""
    photos, sound = tmp_path / "photos", tmp_path / "sound"
    draw_photos(photos, count)
    index_folder(photos, sound, Describer(MeanColor(), num_workers=0))
    draw_photos(tmp_path / "elsewhere", 1, seed=1)
    add_photos(sound, tmp_path / "elsewhere" / "0.png", Describer(MeanColor(), num_workers=0))
    (photos / "0.png").unlink()
    index(photos, sound)
    return photos, sound


def read_all(path):
    """Return everything that is read of a collection: by photo, in whatever order."""
    collection = Collection.open(path)
    snapshot = collection.snapshot()
    ids = snapshot.descriptors.ids
    local = collection.local_reader(ids).read(np.arange(len(ids)))
    by_id = {
        photo_id: (vector.tobytes(), key, file, features.keypoints.tobytes(), features.descriptors.tobytes())
        for photo_id, vector, key, file, features in zip(
            ids, snapshot.descriptors.vectors, snapshot.keys.tolist(), snapshot.files, local, strict=True
        )
    }
    records = {record.id: record for record in collection.records()}
    return by_id, records, collection.metadata


def answers(path, photos):
    """Return what a finder answers."""
    found = Finder.open(path, extractor=MeanColor()).find(sorted(photos.iterdir())[:3], top=5)
    return [[(answer.id, answer.score) for answer in each] for each in found]


def files_by_kind(path):
    """Group the files of a collection: tables by their folders, others by their names."""
    kinds = {}
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.stat().st_size:
            below = file.relative_to(path)
            kinds.setdefault("/".join(below.parts[:2]), []).append(below)
    return kinds


def flip(file, chance):
    data = bytearray(file.read_bytes())
    bit = chance.randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


def outcome(read, truth):
    """Return what came of reading: the truth, an error in words, or something else."""
    try:
        return "true" if read() == truth else "wrong"
    except DamagedError:
        return "noticed"


def zero(file, chance):
    data = bytearray(file.read_bytes())
    first = chance.randrange(len(data))
    data[first : first + 64] = bytes(len(data[first : first + 64]))
    file.write_bytes(data)


DAMAGES = {
    "flip": flip,
    "zero": zero,
    "truncate": lambda file, chance: os.truncate(file, chance.randrange(file.stat().st_size)),
    "append": lambda file, _: file.write_bytes(file.read_bytes() + bytes(100)),
    "remove": lambda file, _: file.unlink(),
}


def damage_and_repair(tmp_path, num_photos, damages, seed):
    """Damage one file of a collection, by each of `damages` in turn; half by kind of file, half by size."""
    photos, sound = make_collection(tmp_path, num_photos)
    damaged = tmp_path / "damaged"
    truth, true_answers = read_all(sound), answers(sound, photos)
    kinds, chance, met = files_by_kind(sound), random.Random(seed), Counter()
    everything = [file for files in kinds.values() for file in files]
    sizes = [(sound / file).stat().st_size for file in everything]
    for number, damage in enumerate(damages):
        by_kind = chance.choice([*kinds.values()])
        file = chance.choice(by_kind) if number % 2 else chance.choices(everything, sizes)[0]
        shutil.copytree(sound, damaged)
        DAMAGES[damage](damaged / file, chance)
        where = f"{damage} {number} of seed {seed}, in {file}"
        read, checked = "not read", False
        if number // 2 % 2:  # else `index` is the first to meet it, and nobody has left a note
            read = outcome(lambda: read_all(damaged), truth)
            answered = outcome(lambda: answers(damaged, photos), true_answers)
            checked = any(each.damaged for each in check_collection(damaged))
            assert "wrong" not in (read, answered), where
            assert checked or read == "true", where
        index(photos, damaged)
        assert read_all(damaged)[0] == truth[0], where
        assert answers(damaged, photos) == true_answers, where
        assert not any(each.damaged for each in check_collection(damaged)), where
        met["/".join(file.parts[:2]), read, "check: damaged" if checked else "check: sound"] += 1
        shutil.rmtree(damaged)
    return met


@pytest.fixture
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("quiet")
def test_what_is_damaged_is_noticed_and_made_anew(tmp_path):
    met = damage_and_repair(tmp_path, 40, [*DAMAGES] * 6, seed=1)
    assert sum(number for (_, read, _), number in met.items() if read == "noticed") > 0


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_300_flipped_bits_in_500_photos_are_noticed_and_made_anew(tmp_path):
    for each, number in sorted(damage_and_repair(tmp_path, 500, ["flip"] * 300, seed=12).items()):
        print(number, *each, sep=", ")


@pytest.mark.parametrize("name", ["photos", "descriptors"])
def test_a_table_that_is_gone_is_made_anew(tmp_path, name):
    draw_photos(tmp_path / "photos", 5)
    index(tmp_path / "photos", tmp_path / "c")
    truth = read_all(tmp_path / "c")
    shutil.rmtree(tmp_path / "c" / f"{name}.lance")
    summary = index(tmp_path / "photos", tmp_path / "c")
    assert summary.repaired
    assert read_all(tmp_path / "c")[0] == truth[0]


def test_a_collection_without_digests_is_read_and_gets_them_by_the_next_index(tmp_path):
    draw_photos(tmp_path / "photos", 5)
    index(tmp_path / "photos", tmp_path / "c")
    truth = read_all(tmp_path / "c")
    make_old(tmp_path / "c")
    by_id, records, _ = read_all(tmp_path / "c")
    assert by_id == truth[0]
    assert {record.ctime_ns for record in records.values()} == {0}
    assert index(tmp_path / "photos", tmp_path / "c").unchanged == 5
    assert read_all(tmp_path / "c")[0] == truth[0]
    assert Collection.open(tmp_path / "c").metadata == truth[2]
    for name in ("photos", "descriptors", "local_features"):
        rows = tables.read_columns(tables.open_latest(tmp_path / "c", name), ["digest"])
        assert rows["digest"].null_count == 0


def make_old(path):
    """Make a collection one of format 2: no digests, no ctime, no copy of its metadata."""
    for name in ("photos", "descriptors", "local_features"):
        table = tables.open_latest(path, name)
        table.drop_columns([column for column in ("digest", "ctime_ns") if column in table.schema.names])
    for name in ("commits.json", "collection-copy.json"):
        (path / name).unlink()
    values = read_sealed(path / "collection.json") | {"format_version": 2}
    (path / "collection.json").write_text(json.dumps(values))
    shutil.rmtree(path / "index")


def test_a_photo_whose_bytes_changed_unseen_is_found_by_reading_it(tmp_path):
    draw_photos(tmp_path / "photos", 3)
    index(tmp_path / "photos", tmp_path / "c")
    file = tmp_path / "photos" / "1.png"
    status = file.stat()
    flip(file, random.Random(0))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not any(each.damaged for each in check_collection(tmp_path / "c"))
    (photos,) = (each for each in check_collection(tmp_path / "c", read_photos=True) if each.damaged)
    assert (photos.kind, photos.num_checked, len(photos.damaged)) == ("photos", 3, 1)
    (tmp_path / "photos" / "2.png").unlink()
    (photos,) = (each for each in check_collection(tmp_path / "c") if each.changed)
    assert photos.changed == ("2.png: no such file or directory",)


def test_a_photo_added_by_hand_stays_though_its_record_is_lost(tmp_path):
    photos, sound = make_collection(tmp_path, 5)
    shutil.rmtree(sound / "photos.lance")
    summary = index(photos, sound)
    assert any("added by hand: put back" in line for line in summary.repaired)
    assert str(tmp_path / "elsewhere" / "0.png") in {record.id for record in Collection.open(sound).records()}
    assert not any(record.error for record in Collection.open(sound).records())


def test_what_cannot_be_put_back_is_said(tmp_path):
    photos, sound = make_collection(tmp_path, 5)
    shutil.rmtree(sound / "photos.lance")
    flip(sound / "index" / "snapshot.json", random.Random(0))
    assert any("may have been lost" in line for line in index(photos, sound).repaired)


def test_an_older_commit_is_not_read_in_place_of_one_that_is_gone(tmp_path):
    draw_photos(tmp_path / "photos", 3)
    index(tmp_path / "photos", tmp_path / "c")
    collection = Collection.open(tmp_path / "c")
    with collection.writer() as writer:
        writer.remove(["1.png"])
    (tmp_path / "c" / "photos.lance" / "_versions" / read_commit(tmp_path / "c")).unlink()
    with pytest.raises(DamagedError, match="gone"):
        collection.records()


def test_the_kind_of_a_damaged_index_is_kept(tmp_path):
    draw_photos(tmp_path / "photos", 40)
    index(tmp_path / "photos", tmp_path / "c")
    (tmp_path / "c" / "index" / "index.json").write_bytes(b"{")
    summary = index_folder(tmp_path / "photos", tmp_path / "c", Describer(MeanColor(), num_workers=0), LOCAL)
    assert summary.index == "ivfpq"
