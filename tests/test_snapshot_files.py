"""What is saved beside the tables is what they hold, however it grew, and however large it is taken to be."""

from functools import partial

import numpy as np
import pytest

from meisho.descriptors import Provenance
from meisho.errors import DamagedError
from meisho.store import snapshot_files
from meisho.store.collection import Collection
from meisho.store.records import PhotoRecord
from meisho.store.snapshot import read_commit
from meisho.store.snapshot_files import load_snapshot, read_saved_files, save_snapshot
from meisho.stored_vectors import StoredVectors

DIM = 24
MADE_BY = Provenance("test")


@pytest.fixture(params=["small", "large"])
def size(request, monkeypatch):
    if request.param == "large":
        monkeypatch.setattr(snapshot_files, "LARGE_BYTES", 0)
    return request.param


@pytest.fixture
def collection(tmp_path):
    return Collection.create(tmp_path / "c", photo_root=tmp_path, provenance=MADE_BY, dim=DIM)


def vector_of(content):
    vector = np.random.default_rng(content).standard_normal(DIM).astype(np.float32)
    return vector / np.linalg.norm(vector)


def put(writer, photos):
    """Add photos: id -> number of a content."""
    contents = sorted(set(photos.values()))
    writer.add_descriptors([f"{c:064x}" for c in contents], np.stack([vector_of(c) for c in contents]))
    records = [PhotoRecord(i, f"{c:064x}", 1, 1, 1, 1, file=i + ".jpg") for i, c in photos.items()]
    writer.put_records(records)


def save(collection):
    folder, commit = collection.path / "index", read_commit(collection.path)
    photos = collection.list_photos()
    saved = save_snapshot(folder, commit, photos, collection.read_vectors, provenance=MADE_BY, dim=DIM)
    loaded = load_snapshot(folder, commit, MADE_BY, DIM)
    np.testing.assert_array_equal(loaded.descriptors.vectors[:], saved.descriptors.vectors[:])
    assert (tuple(loaded.files), loaded.version) == (tuple(saved.files), saved.version)
    return loaded


def check(saved, collection, size):
    stored = collection.snapshot()
    assert tuple(saved.descriptors.ids) == stored.descriptors.ids
    assert tuple(saved.files) == stored.files
    np.testing.assert_array_equal(saved.keys, stored.keys)
    np.testing.assert_array_equal(saved.contents, stored.contents)
    assert saved.version == stored.version
    assert isinstance(saved.descriptors.vectors, StoredVectors) == (size == "large" and len(stored.keys) > 0)
    expected = stored.descriptors.vectors
    tolerance = 5e-4 if size == "large" else 0
    np.testing.assert_allclose(np.asarray(saved.descriptors.vectors), expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(np.linalg.norm(saved.descriptors.vectors, axis=1), 1, atol=1e-6)
    rows = np.array([[0, len(expected) - 1], [-1, 0]]) if len(expected) else np.empty((0, 2), np.int64)
    for key in (slice(1, 3), rows, rows.ravel(), slice(None, None, 2)):
        np.testing.assert_allclose(saved.descriptors.vectors[key], expected[key], rtol=0, atol=tolerance)


CHANGES = {
    "add": lambda w: put(w, {"é/x": 901, "y": 902}),
    "add a copy": lambda w: put(w, {"copy": 3}),
    "remove": lambda w: w.remove(["1", "4"]),
    "remove and bring back": lambda w: (w.remove(["2"]), put(w, {"2": 2})),
    "change": lambda w: put(w, {"5": 905}),
    "a name that is not UTF-8": lambda w: put(w, {"\udcff": 7}),
    "remove most": lambda w: w.remove([str(n) for n in range(3, 1200)]),
    "remove all": lambda w: w.remove([str(n) for n in range(1200)]),
    "nothing": lambda w: None,
}


@pytest.mark.parametrize("change", CHANGES)
def test_it_is_what_the_tables_hold_after_each_change(collection, size, change):
    with collection.writer() as writer:
        check(save(collection), collection, "empty")
        put(writer, {str(n): n for n in range(1200)})
        before = save(collection)
        check(before, collection, size)
        files = {*(collection.path / "index").iterdir()}
        CHANGES[change](writer)
        check(save(collection), collection, size)
        assert before.descriptors.ids[1199] == "1199"  # who has mapped the files keeps what it saw
        np.testing.assert_allclose(before.descriptors.vectors[1199:], vector_of(1199)[None], atol=1e-3)
    kept = files & {*(collection.path / "index").iterdir()}
    assert len(kept) == (1 if change in ("remove most", "remove all") else 4)  # grown, not written anew


def test_a_file_that_a_writer_replaced_meanwhile_is_read_by_the_new_record(collection, monkeypatch, caplog):
    read, folder = snapshot_files.SnapshotRecord.read, collection.path / "index"
    with collection.writer() as writer:
        put(writer, {str(n): n for n in range(9)})
        save(collection)
        writer.remove(["1"])
        save(collection)
        older = read(folder)
        writer.remove(["2"])
        save(collection)
    assert not older.path(folder, "order").exists()
    found = [older]
    monkeypatch.setattr(
        snapshot_files.SnapshotRecord, "read", lambda folder: found.pop() if found else read(folder)
    )
    loaded = load_snapshot(folder, read_commit(collection.path), MADE_BY, DIM)
    assert tuple(loaded.descriptors.ids) == ("0", "3", "4", "5", "6", "7", "8") and not caplog.records


def test_what_a_kill_left_behind_the_rows_is_written_over(collection, size):
    with collection.writer() as writer:
        put(writer, {str(n): n for n in range(9)})
        save(collection)
        for path in (collection.path / "index").glob("*-*.bin"):
            with path.open("ab") as file:
                file.write(b"left by a kill" * 1000)
        put(writer, {"x": 100})
        check(save(collection), collection, size)


def test_a_save_that_is_interrupted_goes_on_from_there(collection, size, monkeypatch):
    monkeypatch.setattr(snapshot_files, "STEP_ROWS", 100)
    with collection.writer() as writer:
        put(writer, {str(number): number for number in range(1000)})
    folder, commit = collection.path / "index", read_commit(collection.path)
    read = []

    def read_vectors(sequences, *, steps):
        read.append(len(sequences))
        if len(read) > steps:
            raise KeyboardInterrupt
        return collection.read_vectors(sequences)

    how = {"provenance": MADE_BY, "dim": DIM}
    with pytest.raises(KeyboardInterrupt):
        save_snapshot(folder, commit, collection.list_photos(), partial(read_vectors, steps=4), **how)
    assert load_snapshot(folder, commit, MADE_BY, DIM) is None
    read.clear()
    save_snapshot(folder, commit, collection.list_photos(), partial(read_vectors, steps=99), **how)
    assert read == 6 * [100]
    check(save(collection), collection, size)


def test_a_damaged_vector_is_named_when_it_is_read(collection, monkeypatch):
    monkeypatch.setattr(snapshot_files, "LARGE_BYTES", 0)
    with collection.writer() as writer:
        put(writer, {str(n): n for n in range(9)})
        save(collection)
    (path,) = (collection.path / "index").glob("vectors-*.bin")
    content = bytearray(path.read_bytes())
    content[4 * 2 * DIM + 5] ^= 16
    path.write_bytes(content)
    commit = read_commit(collection.path)
    vectors = load_snapshot(path.parent, commit, MADE_BY, DIM).descriptors.vectors
    assert vectors[:4].shape == (4, DIM)
    with pytest.raises(DamagedError, match=r"vectors-.*1 vector changed on the disk.*row 4"):
        vectors[np.array([7, 4])]
    assert load_snapshot(path.parent, commit, MADE_BY, DIM, every_vector=True) is None


def test_files_of_photos_are_found_without_the_tables(collection, size):
    with collection.writer() as writer:
        put(writer, {"a": 1, "b": 2})
        save(collection)
    assert read_saved_files(collection.path / "index") == {"a": "a.jpg", "b": "b.jpg"}
