"""Kills, two writers and readers beside them, of a collection in a real object store: as on a disk.

The plan, the children that work on it and the states that are right are those of `test_store_kill`.
"""

import os
from contextlib import suppress
from datetime import timedelta
from itertools import islice

import numpy as np
import pytest

from meisho.buckets import BucketPath
from meisho.errors import CollectionError, LockedError
from meisho.store import tables
from meisho.store.collection import Collection
from meisho.store.metadata import is_collection
from meisho.store.places import place_of
from processes import wait_until
from test_store_kill import (
    DIM,
    PRELOADED,
    PROCESSES,
    PROVENANCE,
    Child,
    assert_vectors_belong,
    commit,
    create,
    plan,
    states,
    vectors_of,
    write_without_end,
)

pytestmark = pytest.mark.slow


def write_in_store(place, first, acknowledge):
    os.environ.update(place[1])
    write_without_end(place_of(place[0]), first, acknowledge)


def create_in_store(place, first, acknowledge):
    os.environ.update(place[1])
    create(place_of(place[0]), first, acknowledge)


@pytest.fixture
def start(object_store, tmp_path):
    """Start a child that works on a collection in the object store."""
    children = []
    variables = {**object_store, "MEISHO_CACHE": str(tmp_path / "cache")}

    def start(work, path):
        children.append(Child(work, (str(path), variables)))
        return children[-1]

    PROCESSES.set_forkserver_preload(PRELOADED)
    yield start
    for child in children:
        if not child.pipe.closed:
            child.kill()


@pytest.fixture
def path(bucket, tmp_path):
    path = place_of(f"{bucket}/c")
    Collection.create(path, photo_root=tmp_path, provenance=PROVENANCE, dim=DIM)
    return path


def objects_below(path):
    return {str(each): each.listed.etag for each in path.walk() if each.name != "writer.json"}


def kill_after(child, changes, path):
    """Wait until the objects below `path` were seen to change so often, or the child has ended; kill it."""
    seen = [objects_below(path)]

    def have_come():
        now = objects_below(path)
        if now != seen[-1]:
            seen.append(now)
        return len(seen) > changes

    wait_until(lambda: have_come() or not child.process.is_alive())
    return child.kill()


def test_a_kill_loses_at_most_the_unfinished_commit(path, start):
    rng, waiting = np.random.default_rng(0), start(write_in_store, path)
    done, lost, kinds, kills = 0, 0, set(), 0
    while kills < 6 or not lost or len(kinds) < 2:  # until kills fell into commits, and of more than one kind
        kills += 1
        child, waiting = waiting, start(write_in_store, path)  # the next starts up meanwhile
        child.go(done)
        first = child.read()
        acknowledged = [first, *kill_after(child, rng.integers(9), path)]
        assert acknowledged == list(range(done + 1, acknowledged[-1] + 1))
        done = acknowledged[-1]

        collection = Collection.open(path)
        right = states(done + 1)
        records = collection.records()
        assert records in (right[done], right[done + 1])
        assert_vectors_belong(collection.snapshot(), records)
        lost += records != right[done + 1]
        kinds.add(next(islice(plan(), done, None))[0])
        with collection.writer() as writer:  # the lease of the killed writer is taken over at once
            assert {r.content_sha256 for r in records} <= writer.known_contents()
    with Collection.open(path).writer() as writer:
        commit(writer, *next(islice(plan(), done, None)))  # what was lost can be done again
        writer.tidy(keep=timedelta(0))
        assert writer.known_contents() == {r.content_sha256 for r in states(done + 1)[-1]}
    assert_vectors_belong(Collection.open(path).snapshot(), states(done + 1)[-1])
    rows = tables.read_columns(tables.open_latest(path, tables.DESCRIPTORS), ["sequence"])["sequence"]
    assert len(rows) == len({*rows.to_pylist()}) == len(states(done + 1)[-1])


def test_a_killed_creation_leaves_nothing_in_the_way(bucket, tmp_path, start):
    path = place_of(f"{bucket}/new")
    waiting = start(create_in_store, path)
    outcomes = set()
    for changes in [*range(6), None]:
        child, waiting = waiting, start(create_in_store, path)
        child.go()
        if changes is None:
            made = child.read() == "made"
            child.kill()
        else:
            made = kill_after(child, changes, path) == ["made"]
        assert is_collection(path) or not made
        outcomes.add("whole" if is_collection(path) else "part")
        if not is_collection(path):
            with pytest.raises(CollectionError, match=r"no collection|interrupted"):
                Collection.open(path)
            again = Collection.create(path, photo_root=tmp_path, provenance=PROVENANCE, dim=DIM)
            assert again.records() == ()
        assert Collection.open(path).dim == DIM
        for each in [*path.walk()]:
            each.unlink()
    assert outcomes == {"whole", "part"}


def test_a_second_process_cannot_write_until_the_first_is_killed(path, start):
    child = start(write_in_store, path)
    child.go()
    child.read()
    collection = Collection.open(path)
    for _ in range(3):
        with (
            pytest.raises(LockedError, match=f"process {child.process.pid} on .* is writing"),
            collection.writer(),
        ):
            pass
    child.kill()
    with collection.writer():
        pass


def test_a_reader_in_another_process_always_sees_one_state_of_the_plan(path, start):
    right = states(1000)
    number_of, of_snapshot = {}, {}
    for number, records in enumerate(right):
        number_of.setdefault(records, number)
        of_snapshot.setdefault(tuple(r.id for r in records), []).append(records)
    child = start(write_in_store, path)
    child.go()
    child.read()
    collection = Collection.open(path)
    seen = []
    while len(set(seen)) < 8 and (not seen or seen[-1] < 900):
        child.read_all()
        seen.append(number_of[collection.records()])
        snapshot = collection.snapshot()
        assert any(
            np.array_equal(snapshot.descriptors.vectors, vectors_of(records))
            for records in of_snapshot[snapshot.descriptors.ids]
        )
    child.kill()
    assert seen == sorted(seen)
    assert len(set(seen)) > 3, f"nothing was written meanwhile: {seen}"
    assert_vectors_belong(collection.snapshot(), collection.records())


def test_what_is_below_the_prefix_of_another_collection_is_left_alone(bucket, path, tmp_path):
    Collection.create(place_of(f"{bucket}/cc"), photo_root=tmp_path, provenance=PROVENANCE, dim=DIM)
    names = {str(each) for each in BucketPath.parse(f"{bucket}/cc").walk()}
    for each in [*path.walk()]:
        with suppress(FileNotFoundError):
            each.unlink()
    assert {str(each) for each in BucketPath.parse(f"{bucket}/cc").walk()} == names
    assert Collection.open(f"{bucket}/cc").records() == ()
