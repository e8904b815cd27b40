"""A collection keeps what was committed, says what is wrong with it, and never mixes models."""

import dataclasses
import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meisho.descriptors import Provenance
from meisho.errors import CollectionError, InputError, LockedError, MismatchError
from meisho.sealed import read_sealed, write_sealed
from meisho.store import manifests, merging, tables, tidying
from meisho.store import writer as writing
from meisho.store.collection import Collection
from meisho.store.locks import announce_reading
from meisho.store.manifests import list_manifests, read_fragments
from meisho.store.merging import FAN_OUT
from meisho.store.metadata import COPY_FILE, METADATA_FILE, is_collection
from meisho.store.records import PhotoRecord
from meisho.store.tidying import SWEEP_COMMITS
from meisho.store.writer import CollectionWriter

DIM = 8
PROVENANCE = Provenance.from_options("timm:resnet34", {"pooling": "gem", "max_side_px": 384}, "ab" * 32)


def content(number):
    return f"{number:064x}"


def vector_of(sha256):
    """The one vector that belongs to a content: a test can tell whose vector it got."""
    seed = int.from_bytes(hashlib.sha256(sha256.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)


def vectors_of(contents):
    return np.stack([vector_of(c) for c in contents]) if contents else np.empty((0, DIM), np.float32)


def record(photo_id, number=1, **changes):
    values = dict(id=photo_id, content_sha256=content(number), size_bytes=10 + number, mtime_ns=20 + number)
    return PhotoRecord(**{**values, "width_px": 640, "height_px": 480, **changes})


def put(writer, *records):
    contents = [r.content_sha256 for r in records if not r.error]
    writer.add_descriptors(contents, vectors_of(contents))
    writer.put_records(records)


def assert_holds(collection, records):
    """The collection holds exactly `records`, in this order, each with the vector of its content."""
    assert collection.records() == tuple(records)
    described = [r for r in records if not r.error]
    snapshot = collection.snapshot()
    assert snapshot.descriptors.ids == tuple(r.id for r in described)
    assert snapshot.descriptors.vectors.shape == (len(described), DIM)
    np.testing.assert_array_equal(
        snapshot.descriptors.vectors, vectors_of([r.content_sha256 for r in described])
    )
    assert len(set(snapshot.keys.tolist())) == len(described)


def count_stored_vectors(collection):
    return tables.open_latest(collection.path, tables.DESCRIPTORS).count_rows()


@pytest.fixture
def collection(tmp_path):
    return Collection.create(tmp_path / "c", photo_root=tmp_path / "photos", provenance=PROVENANCE, dim=DIM)


# --- making and opening


def test_a_new_collection_is_empty_and_says_what_it_was_made_with(collection, tmp_path):
    opened = Collection.open(collection.path)
    assert opened.path == tmp_path / "c"
    assert (opened.photo_root, opened.provenance, opened.dim) == (tmp_path / "photos", PROVENANCE, DIM)
    assert opened.version == 0
    assert_holds(opened, [])
    assert opened.snapshot().keys.dtype == np.uint64


def test_a_collection_may_be_made_in_an_empty_directory(tmp_path):
    Collection.create(tmp_path, photo_root=tmp_path, provenance=PROVENANCE, dim=DIM)
    assert is_collection(tmp_path)


def test_making_a_collection_twice_is_refused_and_keeps_the_first(collection):
    with collection.writer() as writer:
        put(writer, record("a"))
    with pytest.raises(CollectionError, match="is already a collection"):
        Collection.create(collection.path, photo_root=Path("/p"), provenance=PROVENANCE, dim=DIM)
    assert_holds(collection, [record("a")])


def test_a_directory_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(CollectionError, match=r"holiday\.jpg.*empty directory"):
        Collection.create(tmp_path, photo_root=tmp_path, provenance=PROVENANCE, dim=DIM)
    assert [p.name for p in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_dimension_below_one_is_refused(tmp_path):
    with pytest.raises(InputError, match="at least 1 dimension, got 0"):
        Collection.create(tmp_path / "c", photo_root=tmp_path, provenance=PROVENANCE, dim=0)


@pytest.mark.parametrize("name", ["写真 #1 100% a?b&c=d", "per%20cent", "it's", "a:b"])
def test_directories_with_odd_names_work(tmp_path, name):
    made = Collection.create(tmp_path / name, photo_root=tmp_path, provenance=PROVENANCE, dim=DIM)
    with made.writer() as writer:
        put(writer, record("a"))
    assert_holds(Collection.open(tmp_path / name), [record("a")])


def test_a_directory_whose_name_is_not_utf8_is_refused_in_words(tmp_path):
    with pytest.raises(CollectionError, match="valid UTF-8"):
        Collection.create(tmp_path / "x\udcff", photo_root=tmp_path, provenance=PROVENANCE, dim=DIM)


def test_a_photo_folder_whose_name_is_not_utf8_is_kept(tmp_path):
    root = Path("/photos/x\udcff")
    Collection.create(tmp_path / "c", photo_root=root, provenance=PROVENANCE, dim=DIM)
    assert Collection.open(tmp_path / "c").photo_root == root


def test_opening_nothing_says_how_to_make_one(tmp_path):
    assert not is_collection(tmp_path / "none")
    with pytest.raises(CollectionError, match=r"no collection here; make one with 'meisho index"):
        Collection.open(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_opening_or_making_at_a_file_says_so(tmp_path):
    (tmp_path / "file").write_text("x")
    assert not is_collection(tmp_path / "file")
    with pytest.raises(CollectionError, match="is a file"):
        Collection.open(tmp_path / "file")
    with pytest.raises(CollectionError, match="is a file"):
        Collection.create(tmp_path / "file", photo_root=tmp_path, provenance=PROVENANCE, dim=DIM)
    with pytest.raises(CollectionError, match="Not a directory"):
        Collection.create(tmp_path / "file" / "c", photo_root=tmp_path, provenance=PROVENANCE, dim=DIM)


def test_opening_some_other_directory_says_so(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(CollectionError, match="is not a collection"):
        Collection.open(tmp_path)


def edit_metadata(collection, **changes):
    for name in (METADATA_FILE, COPY_FILE):
        write_sealed(collection.path / name, {**read_sealed(collection.path / name), **changes})


def damage_metadata(collection, data):
    for name in (METADATA_FILE, COPY_FILE):
        (collection.path / name).write_bytes(data)


def test_a_newer_format_is_refused_with_both_versions(collection):
    edit_metadata(collection, format_version=7, created_by="meisho 9.9")
    with pytest.raises(CollectionError, match=r"meisho 9\.9 in format 7.*reads up to 3; upgrade"):
        Collection.open(collection.path)


@pytest.mark.parametrize(
    "text", ["", '{"format_version": 1', "[]", "null", '{"format_version": 1}', "\x00\x00"]
)
def test_a_damaged_metadata_file_is_named(collection, text):
    damage_metadata(collection, text.encode())
    with pytest.raises(CollectionError, match=r"collection\.json: damaged.*restore it from a backup"):
        Collection.open(collection.path)


@pytest.mark.parametrize("name", [METADATA_FILE, COPY_FILE])
@pytest.mark.parametrize("place", [0, 30, 0.5, 0.9])
def test_damaged_metadata_are_read_from_the_copy_and_restored_by_a_repair(collection, name, place):
    data = bytearray((collection.path / name).read_bytes())
    data[place if isinstance(place, int) else int(place * len(data))] ^= 4
    (collection.path / name).write_bytes(data)
    assert Collection.open(collection.path).metadata == collection.metadata
    assert any(name in sentence for sentence in Collection.repair(collection.path))
    assert Collection.repair(collection.path) == ()


def test_metadata_that_is_not_utf8_is_named(collection):
    damage_metadata(collection, b"\xff\xfe{")
    with pytest.raises(CollectionError, match=r"collection\.json: damaged"):
        Collection.open(collection.path)


def test_another_dimension_than_the_metadata_says_is_refused(collection):
    edit_metadata(collection, dim=DIM + 1)
    with pytest.raises(CollectionError, match=rf"dimension {DIM + 1}"):
        Collection.open(collection.path)


@pytest.mark.parametrize("name", ["photos", "descriptors"])
def test_a_deleted_table_is_named_on_opening_and_on_reading(collection, name):
    with collection.writer() as writer:
        put(writer, record("a"))
    shutil.rmtree(collection.path / f"{name}.lance")
    for use in (lambda: Collection.open(collection.path), collection.snapshot):
        with pytest.raises(CollectionError, match=rf"cannot open the {name} table.*run 'meisho index'"):
            use()


def test_a_deleted_data_file_is_an_error_not_a_wrong_answer(collection):
    with collection.writer() as writer:
        put(writer, record("a"))
    for file in (collection.path / "descriptors.lance" / "data").iterdir():
        file.unlink()
    with pytest.raises(CollectionError, match=r"cannot read it: .*run 'meisho index'"):
        collection.snapshot()


def test_a_truncated_data_file_is_an_error_not_a_wrong_answer(collection):
    with collection.writer() as writer:
        put(writer, *[record(f"{i}", i) for i in range(100)])
    for file in (collection.path / "descriptors.lance" / "data").iterdir():
        file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(CollectionError, match="cannot read it: "):
        collection.snapshot()


def test_a_record_whose_descriptor_is_lost_is_an_error_that_names_the_photo(collection):
    with collection.writer() as writer:
        put(writer, record("a", 1), record("b", 2))
    tables.open_latest(collection.path, tables.DESCRIPTORS).delete("sequence = 1")
    with pytest.raises(CollectionError, match=r"1 photos have a record but no descriptor, the first is 'b'"):
        collection.snapshot()
    with Collection.open(collection.path).writer() as writer:  # and it can be mended
        assert writer.known_contents() == {content(1)}
        put(writer, record("b", 2))
    assert_holds(collection, [record("a", 1), record("b", 2)])


def test_an_interrupted_making_is_named_and_can_be_done_again(collection):
    for name in (METADATA_FILE, COPY_FILE):
        (collection.path / name).unlink()
    with pytest.raises(CollectionError, match=r"interrupted; run 'meisho index"):
        Collection.open(collection.path)
    again = Collection.create(collection.path, photo_root=Path("/p"), provenance=PROVENANCE, dim=DIM + 1)
    assert again.dim == DIM + 1
    assert again.records() == ()


def test_records_without_a_metadata_file_are_never_overwritten(collection):
    with collection.writer() as writer:
        put(writer, record("a"))
    metadata = (collection.path / "collection.json").read_bytes()
    for name in (METADATA_FILE, COPY_FILE):
        (collection.path / name).unlink()
    with pytest.raises(CollectionError, match="restore that file"):
        Collection.create(collection.path, photo_root=Path("/p"), provenance=PROVENANCE, dim=DIM)
    (collection.path / "collection.json").write_bytes(metadata)
    assert_holds(Collection.open(collection.path), [record("a")])


# --- provenance


def test_the_same_provenance_is_accepted(collection):
    options = {"max_side_px": 384, "pooling": "gem"}
    collection.require_provenance(Provenance.from_options("timm:resnet34", options, "ab" * 32))


def test_every_differing_option_is_named_with_both_values(collection):
    other = Provenance.from_options(
        "default", {"pooling": "avg", "max_side_px": 384, "scales": [1.0]}, "cd" * 32
    )
    with pytest.raises(MismatchError) as caught:
        collection.require_provenance(other)
    message = str(caught.value)
    for part in (
        "extractor: timm:resnet34 / default",
        "pooling: gem / avg",
        "scales: None / [1.0]",
        "ab" * 32,
    ):
        assert part in message
    assert "max_side_px" not in message


# --- writing and reading


def test_what_is_put_is_read_in_order_of_insertion(collection):
    records = [record("b", 2), record("a", 1), record("sub/c", 3)]
    with collection.writer() as writer:
        put(writer, *records[:2])
        put(writer, records[2])
    assert_holds(Collection.open(collection.path), records)


def test_a_photo_with_an_error_is_recorded_but_not_in_the_snapshot(collection):
    records = [record("a", 1), record("bad", content_sha256="", error="truncated file"), record("c", 3)]
    with collection.writer() as writer:
        put(writer, *records)
    assert_holds(collection, records)


def test_a_replaced_record_keeps_its_place_and_the_newest_wins(collection):
    with collection.writer() as writer:
        put(writer, record("a", 1), record("b", 2), record("c", 3))
        put(writer, record("a", 4))
        put(writer, record("b", 5), record("b", 6))
        assert_holds(collection, [record("a", 4), record("b", 6), record("c", 3)])
        writer.tidy()
    assert_holds(collection, [record("a", 4), record("b", 6), record("c", 3)])


def test_a_removed_photo_is_gone_and_comes_back_at_the_end(collection):
    with collection.writer() as writer:
        put(writer, record("a", 1), record("b", 2))
        writer.remove(["a", "never there"])
        assert_holds(collection, [record("b", 2)])
        put(writer, record("a", 1))
        assert_holds(collection, [record("b", 2), record("a", 1)])
        put(writer, record("b", 3))
        writer.tidy()
    assert_holds(collection, [record("b", 3), record("a", 1)])


def test_the_same_content_under_two_paths_is_stored_once_and_found_under_both(collection):
    with collection.writer() as writer:
        put(writer, record("a", 1), record("copy of a", 1))
        put(writer, record("third", 1))
        assert count_stored_vectors(collection) == 1
        assert_holds(collection, [record("a", 1), record("copy of a", 1), record("third", 1)])
        writer.remove(["a"])
        writer.tidy()
        assert count_stored_vectors(collection) == 1
    assert_holds(collection, [record("copy of a", 1), record("third", 1)])


def test_changed_content_changes_the_key_and_tidying_drops_the_old_descriptor(collection):
    with collection.writer() as writer:
        put(writer, record("a", 1), record("b", 2))
        before = collection.snapshot().keys
        put(writer, record("a", 3))
        after = collection.snapshot().keys
        assert after[0] != before[0]
        assert after[1] == before[1]
        assert writer.known_contents() == {content(1), content(2), content(3)}
        writer.tidy()
        assert writer.known_contents() == {content(2), content(3)}
        assert count_stored_vectors(collection) == 2
    with collection.writer() as writer:
        assert writer.known_contents() == {content(2), content(3)}
        put(writer, record("a", 1))  # and the old content may come back
        assert collection.snapshot().keys[0] == before[0]
    assert_holds(collection, [record("a", 1), record("b", 2)])


def test_keys_are_the_first_eight_bytes_of_blake2b_and_do_not_depend_on_metadata(collection):
    with collection.writer() as writer:
        put(writer, record("寺/a.jpg", 1))
        expected = hashlib.blake2b("寺/a.jpg".encode() + b"\0" + content(1).encode()).digest()[:8]
        assert collection.snapshot().keys.tolist() == [int.from_bytes(expected, "little")]
        put(writer, record("寺/a.jpg", 1, mtime_ns=5))
        assert collection.snapshot().keys.tolist() == [int.from_bytes(expected, "little")]
    assert not collection.snapshot().keys.flags.writeable


COMPOSED, DECOMPOSED = "\u00e9", "e\u0301"  # the same to the eye, two files to the disk
NOT_UTF8 = ["\udcff\udc80.jpg", "\ud800"]
ODD_IDS = [
    "",
    " ",
    "日本/寺.jpg",
    "it's.jpg",
    "'; DROP TABLE photos; --",
    'a"b',
    "a\\b",
    "a%_b",
    "line\nbreak",
]
ODD_IDS += [*NOT_UTF8, "🗼", COMPOSED, DECOMPOSED, "NULL", "a" * 5000]


def test_ids_of_any_characters_are_kept_replaced_and_removed(collection):
    records = [record(photo_id, n, error="") for n, photo_id in enumerate(ODD_IDS)]
    with collection.writer() as writer:
        put(writer, *records)
        assert_holds(collection, records)
        put(writer, record(ODD_IDS[4], 100))
        writer.remove(ODD_IDS[:4] + ODD_IDS[9:11])
        writer.tidy()
    left = [record(ODD_IDS[4], 100), *records[5:9], *records[11:]]
    assert_holds(collection, left)


def test_an_error_of_any_characters_is_kept(collection):
    bad = record("bad", error="cannot read 'x\udcff'\n\x00 寺")
    with collection.writer() as writer:
        writer.put_records([bad])
    assert collection.records() == (bad,)


@pytest.mark.slow
def test_a_hundred_thousand_photos_are_removed_at_once(collection):
    records = [record(f"folder/{n}", 1) for n in range(100_000)]
    with collection.writer() as writer:
        put(writer, *records, record("left", 2))
        writer.remove([r.id for r in records])
        assert_holds(collection, [record("left", 2)])
        writer.tidy()
    assert_holds(collection, [record("left", 2)])


def test_a_hundred_thousand_descriptors_are_dropped_at_once(collection):
    contents = [content(n) for n in range(100_000)]
    with collection.writer() as writer:
        writer.add_descriptors(contents, np.zeros((len(contents), DIM), np.float32))
        put(writer, record("a", 77))
        writer.tidy()
        assert writer.known_contents() == {content(77)}
    assert count_stored_vectors(collection) == 1


def test_empty_batches_change_nothing(collection):
    with collection.writer() as writer:
        put(writer, record("a"))
        version = collection.version
        writer.add_descriptors([], np.empty((0, DIM), np.float32))
        writer.put_records([])
        writer.remove([])
    assert collection.version == version
    assert_holds(collection, [record("a")])


def test_a_known_content_keeps_its_descriptor(collection):
    with collection.writer() as writer:
        writer.add_descriptors([content(1)], vectors_of([content(1)]))
        writer.add_descriptors([content(1), content(2)], vectors_of([content(3), content(2)]))
        writer.put_records([record("a", 1), record("b", 2)])
    assert count_stored_vectors(collection) == 2
    assert_holds(collection, [record("a", 1), record("b", 2)])


def test_vectors_given_are_not_kept_nor_written_into(collection):
    vectors = vectors_of([content(1), content(2)])
    frozen = vectors.copy()
    frozen.setflags(write=False)
    with collection.writer() as writer:
        writer.add_descriptors([content(1), content(2)], frozen)
        writer.put_records([record("a", 1), record("b", 2)])
    snapshot = collection.snapshot()
    np.testing.assert_array_equal(snapshot.descriptors.vectors, vectors)
    assert not snapshot.descriptors.vectors.flags.writeable


@pytest.mark.parametrize(
    ("contents", "vectors", "message"),
    [
        ([content(1)], np.zeros((1, DIM + 1), np.float32), rf"\(1, {DIM}\), got shape \(1, {DIM + 1}\)"),
        ([content(1)], np.zeros((2, DIM), np.float32), "1 contents need vectors"),
        ([content(1)], np.zeros(DIM, np.float32), "got shape"),
        ([content(1), content(2)], np.stack([np.ones(DIM), np.full(DIM, np.nan)]), f"1 of 2 .*{content(2)}"),
        ([content(1)], np.full((1, DIM), np.inf, np.float32), "NaN or infinity"),
        ([""], np.zeros((1, DIM), np.float32), "needs the hash of its content"),
    ],
)
def test_unfit_descriptors_are_refused_whole(collection, contents, vectors, message):
    with collection.writer() as writer:
        with pytest.raises(InputError, match=message):
            writer.add_descriptors(contents, vectors)
        assert writer.known_contents() == frozenset()
    assert count_stored_vectors(collection) == 0


def test_a_record_without_its_descriptor_is_refused_whole(collection):
    with collection.writer() as writer:
        writer.add_descriptors([content(1)], vectors_of([content(1)]))
        with pytest.raises(InputError, match=r"'b' names the content .* call add_descriptors first"):
            writer.put_records([record("a", 1), record("b", 2)])
    assert collection.records() == ()


@pytest.mark.parametrize(
    "changes", [{"size_bytes": 2**63}, {"width_px": 2**31}, {"content_sha256": "\udcff"}]
)
def test_a_value_that_fits_no_column_is_refused(collection, changes):
    with collection.writer() as writer, pytest.raises(InputError, match="does not fit its column"):
        writer.put_records([record("a", error="x", **changes)])
    assert collection.records() == ()


def test_the_version_grows_with_every_change_and_only_then(collection):
    versions = [collection.version]

    def changed():
        versions.append(collection.version)
        assert collection.snapshot().version == versions[-1]
        assert versions[-1] >= versions[-2]
        return versions[-1] > versions[-2]

    with collection.writer() as writer:
        writer.add_descriptors([content(1)], vectors_of([content(1)]))
        assert not changed()
        writer.put_records([record("a", 1)])
        assert changed()
        writer.put_records([record("a", 1, size_bytes=5)])
        assert changed()
        writer.remove(["a"])
        assert changed()
        writer.tidy(keep=timedelta(0))
        assert not changed()
    with collection.writer() as writer:  # all rows are gone, and yet no version is used twice
        put(writer, record("a", 1))
        assert changed()


def test_a_writer_is_of_no_use_after_its_block(collection):
    with collection.writer() as writer:
        put(writer, record("a"))
    with pytest.raises(CollectionError, match="inside the with-block"):
        writer.remove(["a"])
    assert_holds(collection, [record("a")])


# --- tidying


def size_on_disk(path):
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def test_tidying_merges_small_fragments_and_frees_the_disk_at_once(collection):
    with collection.writer() as writer:
        records = [record(f"{n}", n) for n in range(60)]
        for one in records:
            put(writer, one)
        before = size_on_disk(collection.path)
        writer.tidy()
    assert size_on_disk(collection.path) < before / 4
    assert tables.count_fragments(tables.open_latest(collection.path, tables.PHOTOS)) == (1, 60)
    assert tables.count_fragments(tables.open_latest(collection.path, tables.DESCRIPTORS)) == (1, 60)
    assert_holds(collection, records)


def fragments_of(collection, name):
    return read_fragments(list_manifests(collection.path / f"{name}.lance")[0])


def test_a_long_run_of_small_commits_is_merged_on_the_way(collection):
    records = [record(f"{n}", n) for n in range(200)]
    with collection.writer() as writer:
        for one in records:
            put(writer, one)
    for name in (tables.PHOTOS, tables.DESCRIPTORS):
        fragments = fragments_of(collection, name)
        assert len(fragments) <= 3 * FAN_OUT  # 1, 8 and 64 rows
        assert sum(fragment.num_live for fragment in fragments) == 200
        versions = list_manifests(collection.path / f"{name}.lance")
        assert len(versions) <= SWEEP_COMMITS  # of 200 commits and some merges
    assert_holds(collection, records)


def test_no_step_of_tidying_rewrites_more_than_its_share(collection, monkeypatch):
    monkeypatch.setattr(merging, "STEP_BYTES", 4000)  # so that these few rows count as many
    records = [record(f"{n}", n) for n in range(400)]

    def tidied():
        writer.tidy()
        return {name: fragments_of(collection, name) for name in (tables.PHOTOS, tables.DESCRIPTORS)}

    with collection.writer() as writer:
        for first in range(0, 400, 4):
            put(writer, *records[first : first + 4])
        before = tidied()
        for fragments in before.values():
            assert len(fragments) > 3
            assert max(fragment.size_bytes for fragment in fragments) < 2 * 4000
            assert sorted(fragment.size_bytes > 2000 for fragment in fragments)[1:].count(False) == 0
        assert tidied() == before
        writer.remove([r.id for r in records[::2]])
        for fragments in tidied().values():
            assert not any(4 * fragment.num_deleted > fragment.num_rows for fragment in fragments)
    assert_holds(collection, records[1::2])


def test_a_worn_fragment_larger_than_a_step_is_written_anew_in_pieces(collection, monkeypatch):
    records = [record(f"{n}", n) for n in range(600)]
    with collection.writer() as writer:
        put(writer, *records)
        monkeypatch.setattr(merging, "STEP_BYTES", 4000)
        writer.remove([r.id for r in records[::2]])
        writer.tidy()
        fragments = fragments_of(collection, tables.DESCRIPTORS)
        assert len(fragments) > 3
        assert sum(fragment.num_rows for fragment in fragments) == 300  # nothing deleted is left
    assert_holds(collection, records[1::2])


@pytest.mark.slow
def test_every_state_on_the_way_of_tidying_says_the_same_and_can_be_tidied(collection, tmp_path, monkeypatch):
    """As if killed after each commit, before it is noted, and before each deletion of a file."""
    states = []

    def keep_state_before(module, name):
        work = getattr(module, name)

        def keep_state(*arguments):
            states.append(tmp_path / f"{len(states)}")
            shutil.copytree(collection.path, states[-1])
            work(*arguments)

        monkeypatch.setattr(module, name, keep_state)

    with collection.writer() as writer:
        for n in range(0, 40, 4):
            put(writer, *[record(f"{i}", i) for i in range(n, n + 4)])
        put(writer, *[record(f"{i}", 100 + i) for i in range(0, 40, 3)])
        writer.remove(["0", "7", "39"])
        put(writer, record("0", 200), record("8", 201))
        writer.remove(["3"])
        right, version = collection.records(), collection.version
        for module, name in (
            (tidying, "note_commits"),
            (writing, "note_commits"),
            (manifests, "_remove"),
        ):
            keep_state_before(module, name)
        monkeypatch.setattr(tidying, "DELETED_AT_ONCE", 5)
        monkeypatch.setattr(writing, "COPIED_AT_ONCE", 4)
        writer.tidy()
    monkeypatch.undo()
    assert len(states) > 100
    assert_holds(collection, right)
    for path in states[:: len(states) // 60]:
        killed = Collection.open(path)
        assert killed.version == version
        assert_holds(killed, right)
        with killed.writer() as writer:
            assert writer.records() == right
            writer.tidy()
        assert killed.version == version
        assert_holds(killed, right)
        assert tables.count_fragments(tables.open_latest(path, tables.PHOTOS)) == (1, 1 + len(right))


def test_where_a_manifest_is_not_as_expected_lancedb_tidies_and_nothing_is_lost(collection, monkeypatch):
    records = [record(f"{n}", n) for n in range(20)]
    with collection.writer() as writer:
        for one in records:
            put(writer, one)
        monkeypatch.setattr(manifests, "_FRAGMENTS", 99)  # as if a later LanceDB kept them elsewhere
        writer.tidy()
        put(writer, *[record(f"{n}", n + 100) for n in range(20)])
        writer.tidy()
    assert tables.count_fragments(tables.open_latest(collection.path, tables.DESCRIPTORS)) == (1, 20)
    assert_holds(collection, [record(f"{n}", n + 100) for n in range(20)])


def test_files_of_an_interrupted_commit_are_deleted_by_tidying(collection):
    with collection.writer() as writer:
        put(writer, record("a"))
        left_behind = collection.path / "descriptors.lance" / "data" / "0101.lance"
        left_behind.write_bytes(b"half a batch")
        writer.tidy()
    assert not left_behind.exists()
    assert_holds(collection, [record("a")])


def test_a_content_stored_twice_by_a_failed_tidying_is_read_once(collection):
    with collection.writer() as writer:
        put(writer, record("a", 1), record("b", 2))
        writer._descriptors.contents.clear()  # as after a deletion that failed
        put(writer, record("c", 1))
    assert count_stored_vectors(collection) == 3
    assert_holds(collection, [record("a", 1), record("b", 2), record("c", 1)])


def test_without_the_readers_file_reading_goes_on_and_tidying_spares_young_versions(collection):
    (collection.path / "readers.lock").unlink()
    with collection.writer() as writer:
        put(writer, record("a", 1))
        pinned = tables.open_pinned(collection.path, tables.DESCRIPTORS)
        put(writer, record("a", 2))
        writer.tidy()
        assert tables.read_columns(pinned, ["vector"]).num_rows == 1
    assert_holds(collection, [record("a", 2)])


def test_tidying_spares_what_a_reader_reads(collection):
    with collection.writer() as writer:
        put(writer, *[record(f"{n}", n) for n in range(20)])
        with announce_reading(collection.path):
            pinned = tables.open_pinned(collection.path, tables.DESCRIPTORS)
            put(writer, *[record(f"{n}", n + 100) for n in range(20)])
            writer.tidy()
            assert tables.read_columns(pinned, ["sequence", "vector"]).num_rows == 20
        writer.tidy()
        with pytest.raises(RuntimeError):  # so the first tidy did spare it
            tables.read_columns(pinned, ["sequence", "vector"])


def test_a_reader_that_was_overtaken_by_tidying_starts_again(collection, monkeypatch):
    with collection.writer() as writer:
        put(writer, record("a", 1), record("b", 2))
        read_columns, calls = tables.read_columns, []

        def overtaken_once(table, columns):
            result = read_columns(table, columns)
            if table.name == tables.PHOTOS and not calls:
                calls.append(1)
                put(writer, record("a", 3))
                writer.tidy(keep=timedelta(0))
            return result

        monkeypatch.setattr(tables, "read_columns", overtaken_once)
        snapshot = collection.snapshot()
    assert calls == [1]
    np.testing.assert_array_equal(snapshot.descriptors.vectors, vectors_of([content(3), content(2)]))


# --- against a slow, obvious version

photo_ids = st.sampled_from(["a", "b", "c", "d", "é", "\udcff"])
steps = st.one_of(
    st.tuples(st.just("put"), st.lists(st.tuples(photo_ids, st.integers(0, 4), st.booleans()), max_size=4)),
    st.tuples(st.just("remove"), st.lists(photo_ids, max_size=3)),
    st.tuples(st.just("tidy"), st.none()),
    st.tuples(st.just("reopen"), st.none()),
)


@settings(max_examples=40)
@given(plan=st.lists(steps, max_size=8))
def test_any_order_of_writing_gives_what_a_dict_gives(tmp_path_factory, plan):
    path = tmp_path_factory.mktemp("any") / "c"
    collection = Collection.create(path, photo_root=path, provenance=PROVENANCE, dim=DIM)
    expected = {}
    with collection.writer() as writer:
        for action, values in plan:
            if action == "put":
                records = [record(i, n, error="bad" if bad else "") for i, n, bad in values]
                put(writer, *records)
                expected.update({r.id: r for r in records})
            elif action == "remove":
                writer.remove(values)
                for photo_id in values:
                    expected.pop(photo_id, None)
            elif action == "tidy":
                writer.tidy()
                needed = {r.content_sha256 for r in expected.values() if not r.error}
                assert writer.known_contents() == needed
            else:
                writer = CollectionWriter(path, DIM)
        assert_holds(collection, list(expected.values()))


# --- locks and concurrent readers


def test_a_second_writer_is_refused_and_the_first_is_named(collection):
    with collection.writer() as writer:
        with pytest.raises(LockedError, match=rf"process {os.getpid()} on "), collection.writer():
            pass
        put(writer, record("a"))
    with collection.writer() as writer:
        put(writer, record("b", 2))
    assert_holds(collection, [record("a"), record("b", 2)])


def test_the_lock_is_given_back_after_an_error(collection):
    with pytest.raises(ZeroDivisionError), collection.writer() as writer:
        put(writer, record("a"))
        1 / 0  # noqa: B018
    with collection.writer():
        pass
    assert_holds(collection, [record("a")])


def test_readers_see_whole_batches_while_others_are_written_and_tidied(collection):
    batch, seen, failures = 5, [], []
    done = threading.Event()

    def read():
        try:
            while not done.is_set():
                snapshot = collection.snapshot()
                numbers = [int(photo_id) for photo_id in snapshot.descriptors.ids]
                assert numbers == list(range(len(numbers)))
                assert len(numbers) % batch == 0
                np.testing.assert_array_equal(
                    snapshot.descriptors.vectors, vectors_of([content(n) for n in numbers])
                )
                seen.append(len(numbers))
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    with collection.writer() as writer:
        for number in range(400):
            put(writer, *[record(f"{n}", n) for n in range(batch * number, batch * (number + 1))])
            if number % 8 == 0:
                writer.tidy(keep=timedelta(0))
            if number >= 40 and len(set(seen)) > 3:
                break
    done.set()
    for reader in readers:
        reader.join()
    assert not failures
    assert len(set(seen)) > 3  # they did read meanwhile


# --- places that cannot be written


def run_python(code, *arguments, **options):
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_a_full_disk_loses_only_the_batch_and_says_so(collection):
    code = """if True:
        import resource, signal, sys
        import numpy as np
        from meisho.errors import CollectionError
        from meisho.store.collection import Collection
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file that grows too large fails like a full disk
        with Collection.open(sys.argv[1]).writer() as writer:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
            try:
                writer.add_descriptors([f"{n:064x}" for n in range(5, 1005)], np.ones((1000, 8), np.float32))
            except CollectionError as error:
                print(error)
            print(len(writer.known_contents()))
    """
    with collection.writer() as writer:
        put(writer, record("a"))
    result = run_python(code, collection.path)
    assert result.returncode == 0, result.stderr
    assert "cannot write 1000 rows of descriptors" in result.stdout
    assert "free some space" in result.stdout
    assert ".rs:" not in result.stdout
    assert result.stdout.splitlines()[-1] == "1"
    assert_holds(collection, [record("a")])
    with collection.writer() as writer:
        put(writer, record("b", 2))
    assert_holds(collection, [record("a"), record("b", 2)])


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "free some space"),
        (
            RuntimeError("lance error: IO: No space left on device (os error 28), /build/x.rs:1:2"),
            "free some space",
        ),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES)), "permission to read and write"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), "permission to read and write"),
        (OSError(errno.EIO, os.strerror(errno.EIO)), "the disk cannot be read"),
        (ValueError("something new"), "run 'meisho index'"),
    ],
)
def test_errors_of_the_system_become_advice(tmp_path, reason, advice):
    message = rf"cannot write it: .*{advice}"
    with pytest.raises(CollectionError, match=message) as caught, tables.plain_errors(tmp_path, "write it"):
        raise reason
    assert ".rs:" not in str(caught.value)
    assert caught.value.__cause__ is reason


def test_without_write_permission_it_can_be_read_and_says_why_not_written(collection):
    with collection.writer() as writer:
        put(writer, record("a"))
    code = """if True:
        import os, sys
        from meisho.errors import CollectionError
        from meisho.store.collection import Collection

        def use():
            collection = Collection.open(sys.argv[1])
            print(len(collection.snapshot().descriptors), len(collection.records()), collection.version)
            with collection.writer():
                print("locked")

        use()
        os.chmod(sys.argv[1] + "/writer.lock", 0o444)
        os.chmod(sys.argv[1], 0o555)
        if os.getuid() == 0:  # root may write everywhere
            os.setuid(65534)
        try:
            use()
        except CollectionError as error:
            print(error)
    """
    with tempfile.TemporaryDirectory() as folder:  # others may look into it, unlike into pytest's
        Path(folder).chmod(0o755)
        place = shutil.copytree(collection.path, Path(folder) / "c")
        result = run_python(code, place)
        place.chmod(0o755)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[:3] == ["1 1 1", "locked", "1 1 1"]
    assert "cannot lock it for writing" in lines[3]
    assert "permission to read and write" in lines[3]


# --- imports


@pytest.mark.parametrize("missing", ["lancedb", "pyarrow", "filelock"])
def test_without_lancedb_the_store_says_what_to_install(missing):
    code = f"""if True:
        import sys
        sys.modules["{missing}"] = None
        from meisho.errors import MissingDependencyError
        import meisho.extractors.base, meisho.describing, meisho.descriptors  # these work without it
        try:
            import meisho.store.collection
        except MissingDependencyError as error:
            print(error)
    """
    result = run_python(code)
    assert result.returncode == 0, result.stderr
    assert "pip install lancedb" in result.stdout


def test_opening_reading_and_writing_prints_nothing_and_ends_at_once(tmp_path):
    code = """if True:
        import sys
        import numpy as np
        from pathlib import Path
        from meisho.descriptors import Provenance
        from meisho.store.collection import Collection
        from meisho.store.records import PhotoRecord
        c = Collection.create(Path(sys.argv[1]), photo_root=Path("/p"), provenance=Provenance("x"), dim=2)
        with c.writer() as writer:
            writer.add_descriptors(["aa"], np.ones((1, 2), np.float32))
            writer.put_records([PhotoRecord("a", "aa", 1, 2, 3, 4)])
            writer.tidy()
        c.snapshot(), c.records()
    """
    result = run_python(code, tmp_path / "c")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_collection_goes_to_a_spawned_process(collection):
    import multiprocessing

    with collection.writer() as writer:
        put(writer, record("a"))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(Collection.records, (collection,)) == (record("a"),)


def test_values_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        record("a").id = "b"


def test_the_photo_folder_can_be_moved(collection, tmp_path):
    odd = "caf\udce9.jpg"
    with collection.writer() as writer:
        put(writer, record("a", 1, file="trip/a.jpg"), record(odd, 2, file=odd))
        put(writer, record("a", 4, file="journey/a.jpg"))
    assert {r.id: r.file for r in collection.records()} == {odd: odd, "a": "journey/a.jpg"}
    moved = collection.move_photo_root(tmp_path / "elsewhere")
    assert Collection.open(collection.path).photo_root == tmp_path / "elsewhere"
    with moved.writer(), pytest.raises(LockedError):
        moved.move_photo_root(tmp_path)
