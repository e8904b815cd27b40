"""Local features in a collection: small, close to what was put in, of one extractor, read for few photos."""

import json
import math
import shutil
import struct
import threading
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from meisho.descriptors import Provenance
from meisho.errors import CollectionError, InputError, LockedError, MismatchError
from meisho.local_features import LocalFeatures
from meisho.store import tables
from meisho.store.collection import Collection
from meisho.store.local_rows import (
    local_features_of_rows,
    pack,
    pack_descriptors,
    pack_scales,
    pack_scores,
    rows_of_local_features,
    unpack,
    unpack_descriptors,
    unpack_keypoints,
    unpack_scales,
    unpack_scores,
)
from meisho.store.metadata import write_metadata
from meisho.store.records import PhotoRecord
from meisho.store.vectors import descriptors_schema
from toy_features import read_local_features

DIM = 16
GLOBAL = Provenance.from_options("mean_color", {})
SIFT = Provenance.from_options("sift", {"max_keypoints": 1000, "max_side_px": 640})


def content(number, box=""):
    return f"{number:064x}{box}"


def features_of(number, count=50, *, size_px=(4000, 3000), with_scales=True):
    """Features that belong to a number: a test can tell whose it got."""
    rng = np.random.default_rng(number)
    descriptors = rng.standard_normal((count, DIM)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    return LocalFeatures(
        rng.uniform(-0.5, np.array(size_px) - 0.5, (count, 2)),
        descriptors,
        np.sort(rng.random(count))[::-1],
        size_px,
        rng.uniform(1, 60, count) if with_scales else None,
    )


def assert_close(read, put):
    assert read.size_px == put.size_px
    assert read.keypoints.shape == put.keypoints.shape
    np.testing.assert_allclose(read.keypoints, put.keypoints, atol=max(put.size_px) / 2_046 + 1e-3)
    assert_descriptors_close(read.descriptors, put.descriptors)
    assert (np.diff(read.scores) <= 0).all()
    np.testing.assert_allclose(read.scores, put.scores, atol=0.1 * np.ptp(put.scores) + 1e-6)
    assert (read.scales is None) == (put.scales is None)
    if put.scales is not None:
        assert_scales_close(read.scales, put.scales)


def assert_scales_close(read, exact):
    """Within half of one of 64 steps of their logarithms; where they are kept themselves, of 65,536."""
    assert read.shape == exact.shape
    if len(exact) > 1 and (exact > 0).all():
        read, exact = np.log2(read.astype(np.float64)), np.log2(exact.astype(np.float64))
        np.testing.assert_allclose(read, exact, rtol=1e-5, atol=np.ptp(exact) / 126 + 1e-5)
    elif len(exact):
        np.testing.assert_allclose(read, exact, rtol=1e-6, atol=np.ptp(exact.astype(np.float64)) / 131_070)


def assert_descriptors_close(read, exact):
    """Within half of one of 16 steps, over 3 standard deviations; where that saves nothing, of 256 steps."""
    assert read.shape == exact.shape
    count, dim = exact.shape
    if count * dim <= 4 * dim + count * -(-dim // 2):
        np.testing.assert_allclose(read, exact, atol=np.ptp(exact) / 509 + 1e-6 if exact.size else 0)
        return
    exact = exact.astype(np.float64)
    middle, reach = exact.mean(axis=0), 3 * exact.std(axis=0)
    within = exact.clip(middle - reach, middle + reach)
    half_steps = (within.max(axis=0) - within.min(axis=0)) / 30
    rounding = 2 * np.ptp(exact) / 65_535 + 4 * np.spacing(np.float32(np.abs(exact).max()))
    assert (np.abs(read - within) <= half_steps * (1 + 1e-4) + rounding).all()


def put(writer, *photos):
    """Put photos (id, content) with a descriptor and a record each."""
    contents = [content for _, content in photos]
    writer.add_descriptors(contents, np.ones((len(photos), 3), np.float32))
    writer.put_records([PhotoRecord(i, c, 1, 1, 4000, 3000, file=i) for i, c in photos])


@pytest.fixture
def plain(tmp_path):
    return Collection.create(tmp_path / "c", photo_root=tmp_path / "photos", provenance=GLOBAL, dim=3)


@pytest.fixture
def collection(plain):
    return plain.enable_local(SIFT, DIM)


def count_rows(collection):
    return tables.open_latest(collection.path, tables.LOCAL_FEATURES).count_rows()


# --- what is lost by storing

numbers = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=1, max_dims=2, min_side=0),
    elements=st.floats(-(2.0**100), 2.0**100, width=32),
)


@given(numbers, st.sampled_from([6, 8, 10, 16]))
def test_no_number_moves_by_more_than_half_a_step_and_order_is_kept(exact, bits):
    packed = pack(exact, bits)
    assert len(packed) <= 16 + exact.size * bits / 8 + 2
    read = unpack(packed, bits, exact.shape)
    assert read.dtype == np.float32
    if not exact.size:
        return
    spread = float(exact.max()) - float(exact.min())
    rounding = 4 * float(np.spacing(np.abs(exact).max()))
    half_step = spread / (2**bits - 1) / 2
    assert np.abs(read.astype(np.float64) - exact).max() <= half_step + rounding
    order = np.argsort(exact, axis=None, kind="stable")
    assert (np.diff(read.ravel()[order]) >= 0).all()


def test_packing_worked_by_hand():
    """0 to 510 in 255 steps of 2: 5 lies between 4 and 6, and rint goes to the even code 2."""
    packed = pack(np.array([0, 510, 5, 6.5], np.float32), 8)
    assert packed == b"\0" * 8 + b"\0\0\0\0\0\0\0\x40" + bytes([0, 255, 2, 3])
    np.testing.assert_array_equal(unpack(packed, 8, (4,)), [0, 510, 4, 6])


def test_ten_bits_packed_by_hand():
    """Low bytes first; then the two high bits of codes 0, 2 and 4 in a byte, those of 1 and 3 in another."""
    exact = np.array([0, 1023, 513, 2, 256], np.float32)
    packed = pack(exact, 10)
    assert packed[16:] == bytes([0, 255, 1, 2, 0]) + bytes([0b01_10_00, 0b00_11])
    np.testing.assert_array_equal(unpack(packed, 10, (5,)), exact)


def test_keypoints_move_by_a_third_of_a_px_of_the_640_they_were_looked_for_in():
    features = features_of(1, 2000, size_px=(640, 480))
    [read] = local_features_of_rows(rows_of_local_features(["a"], [features], first_sequence=0), DIM)
    error_px = np.abs(read.keypoints - features.keypoints).max()
    assert 0.3 < error_px < 0.314
    assert (read.keypoints != np.rint(read.keypoints)).any()


positive = arrays.arrays(np.float32, st.integers(0, 40), elements=st.floats(2.0**-140, 2.0**127, width=32))


@given(positive | arrays.arrays(np.float32, 9, elements=st.floats(-8, 8, width=32)))
def test_scales_are_kept_by_their_logarithms_where_they_have_some(scales):
    assert_scales_close(unpack_scales(pack_scales(scales), len(scales)), scales)


def test_descriptors_keep_their_direction():
    features = features_of(2, 500)
    [read] = local_features_of_rows(rows_of_local_features(["a"], [features], first_sequence=0), DIM)
    lengths = np.linalg.norm(read.descriptors, axis=1)
    cosines = (read.descriptors * features.descriptors).sum(axis=1) / lengths
    assert cosines.min() > 0.97
    assert cosines.mean() > 0.99
    np.testing.assert_allclose(lengths, 1, atol=0.15)


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(0, 30), st.integers(1, 9)),
        elements=st.floats(-(2.0**100), 2.0**100, width=32),
    )
)
def test_descriptors_take_the_shorter_form_and_stay_close(exact):
    count, dim = exact.shape
    packed = pack_descriptors(exact)
    assert len(packed) == 16 + min(count * dim, 4 * dim + count * -(-dim // 2))
    assert_descriptors_close(unpack_descriptors(memoryview(packed), exact.shape), exact)


def test_descriptors_packed_by_hand():
    """Nine features; 0 to 15 and 0 to 30 in steps of 1 and 2, the odd third dimension alone in its byte."""
    first = np.array([0, 15, 1, 2, 3, 4, 5, 6, 7.4])
    exact = np.stack([first, np.full(9, 8.0), 2 * first], axis=1).astype(np.float32)
    packed = pack_descriptors(np.repeat(exact, 3, axis=0))
    assert len(packed) == 16 + 4 * 3 + 27 * 2
    assert list(packed[28::6]) == [0x00, 0xFF, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77]
    assert set(packed[29::2]) == {0}
    read = unpack_descriptors(memoryview(packed), (27, 3))
    np.testing.assert_allclose(read[::3, 0], np.rint(first), atol=1e-3)
    np.testing.assert_allclose(read[::3, 2], 2 * np.rint(first), atol=1e-3)


@pytest.mark.parametrize("count", [0, 1, 2, 8, 9, 10, 1000])
@pytest.mark.parametrize("dim", [1, 16, 32, 64])
def test_rows_written_in_more_bits_are_read_as_before(count, dim):
    exact = np.random.default_rng(count).standard_normal((count, dim)).astype(np.float32)
    old = pack(exact, 8)
    np.testing.assert_array_equal(
        unpack_descriptors(memoryview(old), (count, dim)), unpack(old, 8, (count, dim))
    )
    old = pack(exact[:, 0], 16)
    for read in (unpack_scores, unpack_scales):
        np.testing.assert_array_equal(read(old, count), unpack(old, 16, (count,)))
    keypoints = np.random.default_rng(count).uniform(0, 4000, (count, 2)).astype(np.float32)
    old = pack(keypoints, 16)
    np.testing.assert_array_equal(unpack_keypoints(old, count), unpack(old, 16, (count, 2)))


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 34, 1000])
def test_scores_never_rise_and_the_first_and_the_last_are_kept(count):
    scores = np.sort(np.random.default_rng(count).exponential(size=count))[::-1].astype(np.float32)
    packed = pack_scores(scores)
    assert len(packed) == 16 + 2 * min(count, 32)
    read = unpack_scores(packed, count)
    assert read.shape == scores.shape
    assert (np.diff(read) <= 0).all()
    np.testing.assert_allclose(read[[0, -1]] if count else [], scores[[0, -1]] if count else [], atol=1e-3)
    if count:
        assert np.abs(read - scores).mean() <= 0.02 * np.ptp(scores)


def test_scores_that_rise_are_all_kept():
    scores = np.random.default_rng(0).random(100).astype(np.float32)
    np.testing.assert_allclose(unpack_scores(pack_scores(scores), 100), scores, atol=1e-5)


def test_equal_numbers_and_no_numbers_are_kept_exactly():
    flat = LocalFeatures(np.full((3, 2), 7.25), np.full((3, DIM), 0.1), np.full(3, 0.3), (10, 10))
    none = LocalFeatures(np.empty((0, 2)), np.empty((0, DIM)), np.empty(0), (8, 9), np.empty(0))
    read = local_features_of_rows(rows_of_local_features("ab", [flat, none], first_sequence=0), DIM)
    np.testing.assert_array_equal(read[0].keypoints, flat.keypoints)
    np.testing.assert_array_equal(read[0].descriptors, flat.descriptors)
    np.testing.assert_array_equal(read[0].scores, flat.scores)
    assert (len(read[1]), read[1].size_px, read[1].scales.shape) == (0, (8, 9), (0,))


CODES = pack(np.zeros((5, 2), np.float32), 16)[16:]


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (pack(np.zeros((4, 2), np.float32), 16), "32 bytes, from 0 to 0"),
        (b"\0" * 7, "7 bytes, from nan to nan"),
        (struct.pack("<dd", math.nan, 1) + CODES, "36 bytes, from nan to nan"),
        (struct.pack("<dd", 0, math.inf) + CODES, "36 bytes, from 0 to inf"),
        (struct.pack("<dd", 0, 1e38) + CODES, "36 bytes, from 0 to 6.5535e\\+42"),
        (struct.pack("<dd", -1e39, 1e39 / 65_535) + CODES, "36 bytes, from -1e\\+39 to"),
    ],
)
def test_what_is_too_short_or_cannot_be_finite_is_named_as_damaged(packed, message):
    with pytest.raises(CollectionError, match=rf"shape \(5, 2\) are damaged: {message}"):
        unpack(packed, 16, (5, 2))


def test_what_was_read_holds_codes_and_gives_the_same_descriptors_each_time():
    features = features_of(3, 200)
    rows = rows_of_local_features(["a"], [features], first_sequence=0)
    [read] = local_features_of_rows(rows, DIM)
    descriptors = read.descriptors
    assert_descriptors_close(descriptors, features.descriptors)
    np.testing.assert_array_equal(read.descriptors, descriptors)
    assert not descriptors.flags.writeable
    assert read.num_bytes == features.num_bytes - descriptors.nbytes * 7 // 8 + 16 + 4 * DIM
    first = read.first(7)
    np.testing.assert_array_equal(first.descriptors, descriptors[:7])
    assert (len(read), len(first), first.size_px) == (200, 7, (4000, 3000))
    del rows
    np.testing.assert_array_equal(read.descriptors, descriptors)


def test_a_row_whose_descriptors_do_not_fit_is_refused_when_it_is_read():
    rows = rows_of_local_features(["a"], [features_of(3, 9)], first_sequence=0)
    with pytest.raises(CollectionError, match=rf"shape \(9, {DIM + 1}\) are damaged"):
        local_features_of_rows(rows, DIM + 1)


# --- writing and reading


def test_what_is_put_is_read_back_in_any_order_and_missing_ids_are_left_out(collection):
    with collection.writer() as writer:
        put(writer, *[(str(n), content(n)) for n in range(6)])
        writer.add_local_features([content(n) for n in (4, 1)], [features_of(4), features_of(1, 7)])
        writer.add_local_features([content(2)], [features_of(2, 0, with_scales=False)])
        assert writer.has_local_features(content(2))
        assert not writer.has_local_features(content(3))
    found = read_local_features(Collection.open(collection.path), ["2", "1", "never there", "3", "4"])
    assert list(found) == ["2", "1", "4"]
    for photo_id, number, count in (("1", 1, 7), ("4", 4, 50)):
        assert_close(found[photo_id], features_of(number, count))
    assert len(found["2"]) == 0
    assert found["2"].scales is None
    assert read_local_features(collection, []) == {}


def test_reading_again_and_again_gives_rows_in_the_order_asked(collection):
    with collection.writer() as writer:
        for start in range(0, 60, 20):
            contents = [content(n) for n in range(start, start + 20)]
            put(writer, *[(str(n), content(n)) for n in range(start, start + 20)])
            writer.add_local_features(contents, [features_of(n, 5) for n in range(start, start + 20)])
    reader = collection.local_reader([str(n) for n in range(59, -1, -1)])
    for rows in ([3, 59, 3, 0], [], [10], np.random.default_rng(0).permutation(60)):
        read = reader.read(np.array(rows, np.int64))
        assert len(read) == len(rows)
        for row, features in zip(rows, read, strict=True):
            assert_close(features, features_of(59 - row, 5))


def test_photos_of_one_content_share_a_row_and_boxes_of_one_photo_do_not(collection):
    left, right = "#0.0,0.0,10.0,10.0", "#5.0,0.0,10.0,10.0"
    with collection.writer() as writer:
        put(
            writer, ("a", content(1)), ("copy", content(1)), ("l", content(1, left)), ("r", content(1, right))
        )
        contents = [content(1), content(1, left), content(1, right), content(1)]
        writer.add_local_features(contents, [features_of(n) for n in range(4)])
        writer.add_local_features([content(1)], [features_of(9)])  # a content keeps what it has
    assert count_rows(collection) == 3
    found = read_local_features(collection, ["a", "copy", "l", "r"])
    for photo_id, number in (("a", 0), ("copy", 0), ("l", 1), ("r", 2)):
        assert_close(found[photo_id], features_of(number))


def test_a_photo_with_an_error_has_none(collection):
    with collection.writer() as writer:
        put(writer, ("a", content(1)))
        writer.add_local_features([content(1)], [features_of(1)])
        writer.put_records([PhotoRecord("a", content(1), 1, 1, 0, 0, error="truncated")])
    assert read_local_features(collection, ["a"]) == {}


def test_tidying_drops_those_that_no_photo_needs(collection):
    with collection.writer() as writer:
        put(writer, *[(str(n), content(n)) for n in range(10)])
        writer.add_local_features([content(n) for n in range(10)], [features_of(n) for n in range(10)])
        writer.remove([str(n) for n in range(7)])
        put(writer, ("8", content(80)))
        writer.tidy(keep=timedelta(0))
        assert not writer.has_local_features(content(3))
        assert not writer.has_local_features(content(8))
    assert count_rows(collection) == 2
    found = read_local_features(collection, [str(n) for n in range(10)])
    assert list(found) == ["7", "9"]
    assert_close(found["9"], features_of(9))
    with collection.writer() as writer:  # and what comes back can be stored again
        put(writer, ("3", content(3)))
        writer.add_local_features([content(3)], [features_of(3)])
    assert_close(read_local_features(collection, ["3"])["3"], features_of(3))


def test_a_reader_goes_on_when_tidying_moved_the_rows(collection):
    with collection.writer() as writer:
        for number in range(5):
            put(writer, (str(number), content(number)))
            writer.add_local_features([content(number)], [features_of(number)])
        reader = collection.local_reader(["4", "3", "0"])
        writer.remove(["0", "1"])
        writer.tidy(keep=timedelta(0))
        read = reader.read(np.array([2, 1, 0]))
    assert read[0] is None
    assert_close(read[1], features_of(3))
    assert_close(read[2], features_of(4))


def test_readers_see_the_right_features_while_others_are_written_and_tidied(collection):
    failures, reads, done = [], [], threading.Event()

    def read():
        try:
            while not done.is_set():
                found = read_local_features(collection, [str(n) for n in range(200)])
                for photo_id, features in found.items():
                    assert_close(features, features_of(int(photo_id), 3))
                reads.append(len(found))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=read)
    with collection.writer() as writer:
        thread.start()
        for number in range(200):
            put(writer, (str(number), content(number)))
            writer.add_local_features([content(number)], [features_of(number, 3)])
            if number % 5 == 0:
                writer.tidy(keep=timedelta(0))
            if number > 30 and len(set(reads)) > 3:
                break
    done.set()
    thread.join()
    assert not failures
    assert len(set(reads)) > 3


@pytest.mark.parametrize(
    ("contents", "features", "message"),
    [
        ([content(1)], [], "2 contents need as many local features, got 1"),
        ([""], [features_of(1)], "need the hash of their content"),
        (
            [content(1)],
            [replace(features_of(1), descriptors=np.ones((50, DIM + 1)))],
            f"have {DIM} dimensions, but those of content {content(1)} have {DIM + 1}",
        ),
    ],
)
def test_unfit_features_are_refused_whole(collection, contents, features, message):
    with collection.writer() as writer, pytest.raises(InputError, match=message):
        writer.add_local_features([content(5), *contents], [features_of(5), *features])
    assert count_rows(collection) == 0


# --- which extractor


def test_a_collection_says_where_its_local_features_come_from(collection):
    opened = Collection.open(collection.path)
    assert (opened.local_provenance, opened.local_dim) == (SIFT, DIM)
    assert (opened.provenance, opened.dim) == (GLOBAL, 3)


def test_enabling_again_changes_nothing_and_another_extractor_is_refused_with_both_named(collection):
    with collection.writer() as writer:
        put(writer, ("a", content(1)))
        writer.add_local_features([content(1)], [features_of(1)])
        assert collection.enable_local(SIFT, DIM).local_provenance == SIFT  # though another writes
    other = Provenance.from_options("xfeat", {"max_keypoints": 1000, "max_side_px": 800}, "ab" * 32)
    with pytest.raises(MismatchError) as caught:
        collection.enable_local(other, 64)
    for part in ("extractor: sift / xfeat", "max_side_px: 640 / 800", "ab" * 32):
        assert part in str(caught.value)
    assert "max_keypoints" not in str(caught.value)
    with pytest.raises(MismatchError, match=f"dimensions: {DIM} / 128"):
        collection.enable_local(SIFT, 128)
    assert_close(read_local_features(collection, ["a"])["a"], features_of(1))


def test_a_dimension_below_one_is_refused(plain):
    with pytest.raises(InputError, match="at least 1 dimension, got 0"):
        plain.enable_local(SIFT, 0)
    assert Collection.open(plain.path).local_provenance is None


def test_enabling_while_another_writes_is_refused(plain):
    with plain.writer(), pytest.raises(LockedError):
        plain.enable_local(SIFT, DIM)
    assert Collection.open(plain.path).local_provenance is None


def test_a_moved_photo_folder_loses_no_local_features(plain, tmp_path):
    plain.enable_local(SIFT, DIM)
    moved = plain.move_photo_root(tmp_path / "elsewhere")  # by one who had opened it before
    assert (moved.local_provenance, moved.photo_root) == (SIFT, tmp_path / "elsewhere")


def test_a_table_left_by_a_killed_enabling_is_made_anew(plain):
    tables.create_table(plain.path, tables.LOCAL_FEATURES, descriptors_schema(5))
    collection = plain.enable_local(SIFT, DIM)
    with collection.writer() as writer:
        put(writer, ("a", content(1)))
        writer.add_local_features([content(1)], [features_of(1)])
    assert_close(read_local_features(collection, ["a"])["a"], features_of(1))


# --- without local features


def test_a_collection_without_local_features_has_no_table_of_them(plain):
    with plain.writer() as writer:
        put(writer, ("a", content(1)))
        assert not writer.has_local_features(content(1))
        with pytest.raises(CollectionError, match=r"holds no local features; call Collection\.enable_local"):
            writer.add_local_features([content(1)], [features_of(1)])
        writer.tidy()
    assert not (plain.path / "local_features.lance").exists()
    with pytest.raises(CollectionError, match=r"holds no local features; run 'meisho index' with --local"):
        plain.local_reader(["a"])


def test_a_collection_written_before_there_were_local_features_opens_and_can_get_them(plain):
    file = plain.path / "collection.json"
    values = json.loads(file.read_text()) | {"format_version": 1}
    old = {name: value for name, value in values.items() if not name.startswith(("local_", "sha256"))}
    assert len(old) == len(values) - 3
    file.write_text(json.dumps(old))
    opened = Collection.open(plain.path)
    assert (opened.local_provenance, opened.local_dim) == (None, None)
    assert opened.enable_local(SIFT, DIM).local_dim == DIM
    assert opened.enable_local(SIFT, DIM).metadata.format_version == 1
    with opened.writer():
        pass
    assert Collection.open(plain.path).metadata.format_version == 3


def test_metadata_of_local_features_that_are_damaged_are_named(collection):
    write_metadata(collection.path, replace(collection.metadata, local_dim=None))
    with pytest.raises(CollectionError, match=r"collection\.json: damaged"):
        Collection.open(collection.path)


def test_what_needs_no_local_features_does_not_open_their_table(collection):
    with collection.writer() as writer:
        put(writer, ("a", content(1)))
        writer.add_local_features([content(1)], [features_of(1)])
    shutil.rmtree(collection.path / "local_features.lance")
    opened = Collection.open(collection.path)
    assert opened.snapshot().descriptors.ids == ("a",)
    assert len(opened.records()) == opened.version == 1
    with opened.writer() as writer:
        put(writer, ("b", content(2)))
    with pytest.raises(CollectionError, match=r"cannot open the local_features table.*run 'meisho index'"):
        read_local_features(opened, ["a"])
