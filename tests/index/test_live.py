import json
import logging
import subprocess
import sys

import numpy as np
import pytest

from meisho.arrays import find_rows
from meisho.errors import CollectionError, ConfigError, InputError
from meisho.index import live as live_module
from meisho.index.base import INDEXES
from meisho.index.exact import ExactIndex
from meisho.index.live import LiveIndex
from processes import changes_below, kill, started, wait_until

DIM = 16


def make_vectors(generator, num_rows):
    vectors = generator.standard_normal((num_rows, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Collection:
    """Vectors by key, in order of insertion; every key that ever was is new."""

    def __init__(self, generator, num_rows):
        self.generator, self.version, self.last_key = generator, 0, 0
        self.rows = {}
        self.add(num_rows)

    def add(self, count):
        for vector in make_vectors(self.generator, count):
            self.last_key += int(self.generator.integers(1, 2**40))
            self.rows[self.last_key] = vector
        self.version += 1

    def remove(self, count):
        keys = list(self.rows)
        gone = self.generator.choice(len(keys), min(count, len(keys)), replace=False)
        for place in gone:
            del self.rows[keys[place]]
        self.version += 1
        return [keys[place] for place in gone]

    @property
    def keys(self):
        return np.array(list(self.rows), np.uint64)

    @property
    def vectors(self):
        return np.array(list(self.rows.values()), np.float32).reshape(-1, DIM)


@pytest.fixture(scope="module", params=INDEXES)
def kind(request):
    return request.param


def test_follows_random_changes_as_brute_force_does(kind):
    for seed in range(3):
        generator = np.random.default_rng(seed)
        collection = Collection(generator, 1200)
        live = LiveIndex.build(kind, collection.vectors, collection.keys, collection.version)
        gone = []
        for _ in range(8):
            collection.add(int(generator.integers(0, 60)))
            gone += collection.remove(int(generator.integers(0, 60)))
            check_against_brute_force(live, collection, gone, kind)


def check_against_brute_force(live, collection, gone, kind):
    vectors, keys = collection.vectors, collection.keys
    index = live.follow(vectors, keys, collection.version)
    assert index.version == collection.version
    queries = make_vectors(collection.generator, 6)
    for top in (1, 10, len(keys), len(keys) + 5):
        rows, scores = index.search(queries, top)
        exact_rows, exact_scores = ExactIndex.build(vectors).search(queries, top)
        assert rows.shape == exact_rows.shape
        assert not np.isin(keys[rows], gone).any()
        same = np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(rows, exact_rows, strict=True)])
        assert same >= (1 if kind == "exact" or top > 10 else 0.8)
        if same == 1:
            np.testing.assert_array_equal(rows, exact_rows)
            np.testing.assert_array_equal(scores, exact_scores)


def test_added_rows_are_found_exactly(kind):
    generator = np.random.default_rng(4)
    vectors = make_vectors(generator, 1300)
    keys = generator.permutation(5000)[:1300].astype(np.uint64)
    index = LiveIndex.build(kind, vectors[100:], keys[100:], 1).follow(vectors, keys, 2)
    rows, scores = index.search(vectors[:100], 1)
    np.testing.assert_array_equal(rows[:, 0], np.arange(100))
    np.testing.assert_allclose(scores, 1, rtol=1e-5)
    assert index.num_added == (0 if kind == "exact" else 100)


def test_equal_vectors_old_and_new_are_ordered_by_row(kind):
    vectors = np.repeat(make_vectors(np.random.default_rng(5), 1200), 2, axis=0)
    keys = np.arange(2400, dtype=np.uint64)
    old = np.arange(2400) % 2 == 1  # each new row stands before its old twin
    index = LiveIndex.build(kind, vectors[old], keys[old], 1).follow(vectors, keys, 2)
    rows, _ = index.search(vectors[:20:2], 2)
    np.testing.assert_array_equal(rows, np.arange(0, 20, 2)[:, None] + [0, 1])


def test_everything_may_go_and_come_again(kind):
    generator = np.random.default_rng(6)
    vectors, keys = make_vectors(generator, 1100), np.arange(1100, dtype=np.uint64)
    live = LiveIndex.build(kind, vectors, keys, 1)
    assert live.follow(vectors[:0], keys[:0], 2).search(vectors[:3], 5)[0].shape == (3, 0)
    rows, _ = live.follow(vectors[:20], keys[:20] + 5000, 3).search(vectors[:20], 1)
    np.testing.assert_array_equal(rows[:, 0], np.arange(20))


def test_stale_when_a_fifth_is_gone_or_twice_as_many_are_there(kind):
    vectors, keys = make_vectors(np.random.default_rng(7), 1000), np.arange(1000, dtype=np.uint64)
    live = LiveIndex.build(kind, vectors, keys, 1)
    assert not live.is_stale(keys)
    assert not live.is_stale(keys[200:])
    assert not live.is_stale(np.arange(2000, dtype=np.uint64))
    assert live.is_stale(keys[201:]) == (kind != "exact")
    assert live.is_stale(np.arange(2001, dtype=np.uint64)) == (kind != "exact")
    assert live.is_stale(np.arange(201, 1201, dtype=np.uint64)) == (kind != "exact")
    assert live.is_stale(keys[:0]) == (kind != "exact")


def test_what_was_added_is_taken_into_the_structure(kind, tmp_path):
    """After some rounds of adding and removing it holds all, and answers as brute force does."""
    generator = np.random.default_rng(17)
    collection = Collection(generator, 1200)
    live = LiveIndex.build(kind, collection.vectors, collection.keys, collection.version)
    gone = []
    for _ in range(4):
        collection.add(60)
        gone += collection.remove(20)
        live.extend(collection.vectors, collection.keys, collection.version).save(tmp_path)
        live = LiveIndex.load(tmp_path)
        assert live.follow(collection.vectors, collection.keys, 1).num_added == 0
        check_against_brute_force(live, collection, gone, kind)
    assert live.extend(collection.vectors, collection.keys, collection.version) is live
    assert kind == "exact" or np.isin(collection.keys, live.built_keys).all()


def test_a_build_goes_on_from_what_was_kept(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(live_module, "STEP_ROWS", 700)
    collection = Collection(np.random.default_rng(5), 3000)
    vectors, keys = collection.vectors, collection.keys
    whole = LiveIndex.build(kind, vectors, keys, 1)

    def keep(part):
        part.save(tmp_path)
        if part.record.num_rows > 1000:
            raise KeyboardInterrupt

    if kind == "exact":  # nothing to keep
        assert LiveIndex.build(kind, vectors, keys, 1, keep=keep).count_known(keys) == 3000
        return
    with pytest.raises(KeyboardInterrupt):
        LiveIndex.build(kind, vectors, keys, 1, keep=keep)
    part = LiveIndex.load(tmp_path)
    assert part.count_known(keys) == 1400
    assert not part.is_stale(keys)
    queries = make_vectors(np.random.default_rng(6), 20)
    exact = ExactIndex.build(vectors).search(queries, 10)[0]
    np.testing.assert_array_equal(part.follow(vectors, keys, 1).search(queries, 10)[0], exact)
    steps = []
    grown = part.extend(vectors, keys, 1, keep=lambda live: steps.append(live.record.num_rows))
    assert steps == [2100, 2800]
    assert grown.record == whole.record
    found = [live.follow(vectors, keys, 1).search(queries, 10)[0] for live in (grown, whole)]
    np.testing.assert_array_equal(*found)


def test_an_index_over_nothing_is_stale_once_there_is_something():
    nothing, none = np.empty((0, DIM), np.float32), np.empty(0, np.uint64)
    live = LiveIndex.build("ivfpq", nothing, none, 1)
    assert not live.is_stale(none)
    assert live.is_stale(np.arange(1, dtype=np.uint64))


def test_a_million_keys_are_followed():
    """What compares each with each would need a million million places."""
    keys = np.random.default_rng(8).permutation(2**21)[: 10**6].astype(np.uint64)
    live = LiveIndex.build("exact", np.ones((10**6, 1), np.float32), keys, 1)
    rows = find_rows(live.built_keys, keys[::-1])
    np.testing.assert_array_equal(rows, np.arange(10**6)[::-1])


@pytest.fixture
def built(kind):
    generator = np.random.default_rng(9)
    vectors, keys = make_vectors(generator, 1000), generator.permutation(9999)[:1000].astype(np.uint64)
    return LiveIndex.build(kind, vectors, keys, 7), vectors, keys


def test_what_is_saved_and_loaded_answers_the_same(built, tmp_path):
    live, vectors, keys = built
    live.save(tmp_path / "index")
    loaded = LiveIndex.load(tmp_path / "index")
    assert loaded.record == live.record and loaded.kind == live.kind and loaded.record.version == 7
    mine, theirs = (x.follow(vectors[5:], keys[5:], 8).search(vectors[:9], 10) for x in (loaded, live))
    np.testing.assert_array_equal(mine[0], theirs[0])
    np.testing.assert_array_equal(mine[1], theirs[1])


def test_saving_replaces_what_was_saved_before(built, tmp_path):
    live, vectors, keys = built
    live.save(tmp_path)
    LiveIndex.build("ivfpq", vectors[1:], keys[1:], 8).save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    assert LiveIndex.load(tmp_path).record.version == 8


def test_saving_removes_what_killed_writers_left(built, tmp_path):
    for name in (".index.12.part.json", f".{'0' * 12}.12.part.structure"):
        (tmp_path / name).write_bytes(b"half")
    built[0].save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    assert LiveIndex.load(tmp_path).record.version == 7


def test_nothing_saved_is_nothing(tmp_path):
    assert LiveIndex.load(tmp_path) is None
    assert LiveIndex.load(tmp_path / "missing") is None


def test_any_broken_or_missing_file_is_reported_and_not_used(built, tmp_path, caplog):
    live, _, _ = built
    live.save(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for broken in (b"", whole[:-1], whole[: len(whole) // 2], b"\xff" + whole[1:]):
            path.write_bytes(broken)
            with caplog.at_level(logging.WARNING):
                caplog.clear()
                assert LiveIndex.load(tmp_path) is None
            assert str(tmp_path) in caplog.text and "build it again" in caplog.text
        path.unlink()
        assert LiveIndex.load(tmp_path) is None
        path.write_bytes(whole)
    assert LiveIndex.load(tmp_path) is not None


@pytest.mark.parametrize("change", [{"format": 1}, {"kind": "../x"}, {"more": 1}])
def test_a_record_by_another_version_is_not_used(change, built, tmp_path):
    live, _, _ = built
    live.save(tmp_path)
    path = tmp_path / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert LiveIndex.load(tmp_path) is None


def test_without_faiss_a_saved_index_is_reported_and_not_used(tmp_path, caplog, monkeypatch):
    vectors = make_vectors(np.random.default_rng(11), 1000)
    LiveIndex.build("ivfpq", vectors, np.arange(1000, dtype=np.uint64), 1).save(tmp_path)
    monkeypatch.setitem(sys.modules, "faiss", None)
    with caplog.at_level(logging.WARNING):
        assert LiveIndex.load(tmp_path) is None
    assert "pip install faiss-cpu" in caplog.text


SAVE_FOR_EVER = """
import sys
from pathlib import Path
import numpy as np
from meisho.index.live import LiveIndex
folder = Path(sys.argv[1])
vectors = np.load(folder.parent / "vectors.npy")
keys = np.arange(3000, dtype=np.uint64)
indexes = [LiveIndex.build("ivfpq", vectors[:n], keys[:n], n) for n in (2000, 3000)]
indexes[0].save(folder)
print("saved", flush=True)
while True:
    for live in reversed(indexes):
        live.save(folder)
"""


def test_a_kill_while_saving_leaves_the_old_index_or_the_new_one(tmp_path):
    vectors = make_vectors(np.random.default_rng(0), 3000)
    np.save(tmp_path / "vectors.npy", vectors)
    folder = tmp_path / "index"
    for changes in (1, 2):
        with started([sys.executable, "-c", SAVE_FOR_EVER, folder], stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"saved\n"
            wait_until(changes_below(folder, changes), process)
            kill(process)
        live = LiveIndex.load(folder)
        assert live.record.num_rows == live.record.version
        rows, _ = live.follow(vectors, np.arange(3000, dtype=np.uint64), 1).search(vectors[:50], 1)
        assert (rows[:, 0] == np.arange(50)).mean() > 0.9
    live.save(folder)
    assert len(list(folder.iterdir())) == 3  # nothing that the killed ones left


def test_a_failed_save_keeps_the_old_index(built, tmp_path, monkeypatch):
    live, vectors, keys = built
    live.save(tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    monkeypatch.setattr("pathlib.Path.replace", refuse)
    with pytest.raises(OSError, match="disk"):
        LiveIndex.build("exact", vectors[1:], keys[1:], 8).save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == before
    assert LiveIndex.load(tmp_path).record.version == 7


def refuse(self, target):
    raise OSError("disk full")


def test_wrong_arguments_are_refused_with_words(built):
    live, vectors, keys = built
    with pytest.raises(ConfigError, match="exact, ivfpq, hnsw"):
        LiveIndex.build("ivf", vectors, keys, 1)
    with pytest.raises(InputError, match="1000 vectors"):
        LiveIndex.build("exact", vectors, keys[1:], 1)
    with pytest.raises(InputError, match="unique"):
        live.follow(vectors, np.zeros(1000, np.uint64), 1)
    if live.kind != "exact":
        with pytest.raises(CollectionError, match="16 dimensions"):
            live.follow(np.ones((1000, 3), np.float32), keys, 1)
