"""SIGKILL at any moment loses at most the unfinished commit, and the collection opens.

A child process makes the commits of one endless plan and sends the number of each when the collection has
returned from it. So the parent knows, after a kill, the two states that are right.
"""

import multiprocessing
from contextlib import suppress
from datetime import timedelta
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest

from meisho.descriptors import Provenance
from meisho.errors import CollectionError, LockedError
from meisho.store import tables
from meisho.store.collection import Collection
from meisho.store.metadata import is_collection
from meisho.store.records import PhotoRecord
from processes import changes_below, wait_until

DIM = 64
PROVENANCE = Provenance.from_options("default", {})


def vector_of(number):
    return np.random.default_rng(number).standard_normal(DIM).astype(np.float32)


def record(name, number):
    return PhotoRecord(f"photo {name}", f"{number:064x}", number, number, 640, 480)


def plan():
    """Yield commits without end: descriptors, records, sometimes a removal, sometimes a tidying."""
    contents = count()
    for step in count():
        records = [record(4 * step + i, next(contents)) for i in range(4)]
        records += [record(old, next(contents)) for old in range(max(0, 4 * step - 10), 4 * step, 5)]
        yield "descriptors", [r.size_bytes for r in records]
        yield "records", records
        if step % 3 == 2:
            yield "remove", [f"photo {4 * step - 7}", f"photo {4 * step - 2}"]
        if step % 4 == 3:
            yield "tidy", None


def commit(writer, kind, values):
    if kind == "descriptors":
        writer.add_descriptors([f"{n:064x}" for n in values], np.stack([vector_of(n) for n in values]))
    elif kind == "records":
        writer.put_records(values)
    elif kind == "remove":
        writer.remove(values)
    else:
        writer.tidy(keep=timedelta(0))


def states(number):
    """Return the records after 0, 1, ..., `number` commits of the plan."""
    now, result = {}, [()]
    for kind, values in islice(plan(), number):
        if kind == "records":
            now.update({r.id: r for r in values})
        elif kind == "remove":
            for photo_id in values:
                now.pop(photo_id, None)
        result.append(tuple(now.values()))
    return result


def write_without_end(path, first, acknowledge):
    with Collection.open(path).writer() as writer:
        for number, (kind, values) in enumerate(islice(plan(), first, None), start=first):
            commit(writer, kind, values)
            acknowledge(number + 1)


def create(path, _first, acknowledge):
    Collection.create(path, photo_root=Path("/photos"), provenance=PROVENANCE, dim=DIM)
    acknowledge("made")


def work_on_signal(work, path, pipe):
    pipe.send("ready")
    work(path, pipe.recv(), pipe.send)


# What is slow to import and starts no thread is imported once, before children fork from this server; LanceDB
# itself does not bear a fork, and each child imports it.
PROCESSES = multiprocessing.get_context("forkserver")
PRELOADED = [
    "numpy",
    "pyarrow",
    "pyarrow.compute",
    "pyarrow.dataset",
    "filelock",
    "lance_namespace",
    "pytest",
]


class Child:
    """A process that waits for its start signal, then works and acknowledges every commit."""

    def __init__(self, work, path):
        self.pipe, end = PROCESSES.Pipe()
        self.process = PROCESSES.Process(target=work_on_signal, args=(work, path, end), daemon=True)
        self.process.start()
        end.close()

    def go(self, first=0):
        assert self.read() == "ready"
        self.pipe.send(first)

    def read(self):
        return self.pipe.recv()

    def read_all(self):
        """Return what it has acknowledged since; a child whose pipe is full waits."""
        acknowledged = []
        with suppress(EOFError, ConnectionResetError):
            while self.pipe.poll():
                acknowledged.append(self.pipe.recv())
        return acknowledged

    def kill_after(self, changes, path):
        """Wait until the files at `path` were seen to change so often, or it has ended; then `kill`."""
        have_come = changes_below(path, changes)
        wait_until(lambda: have_come() or not self.process.is_alive())
        return self.kill()

    def kill(self):
        """Kill it and return what it had acknowledged."""
        self.process.kill()
        self.process.join()
        acknowledged = self.read_all()
        self.pipe.close()
        self.process.close()
        return acknowledged


@pytest.fixture
def start():
    """Start a child."""
    children = []

    def start(work, path):
        children.append(Child(work, path))
        return children[-1]

    PROCESSES.set_forkserver_preload(PRELOADED)
    yield start
    for child in children:
        if not child.pipe.closed:
            child.kill()


@pytest.fixture
def path(tmp_path):
    Collection.create(tmp_path / "c", photo_root=tmp_path, provenance=PROVENANCE, dim=DIM)
    return tmp_path / "c"


def vectors_of(records):
    return np.stack([vector_of(r.size_bytes) for r in records]) if records else np.empty((0, DIM))


def assert_vectors_belong(snapshot, records):
    assert snapshot.descriptors.ids == tuple(r.id for r in records)
    np.testing.assert_array_equal(snapshot.descriptors.vectors, vectors_of(records))


def test_a_kill_loses_at_most_the_unfinished_commit(path, start):
    rng, waiting = np.random.default_rng(0), start(write_without_end, path)
    done, lost, version, kinds, kills = 0, 0, 0, set(), 0
    while (
        kills < 12 or not lost or len(kinds) < 2
    ):  # until kills fell into commits, and of more than one kind
        kills += 1
        child, waiting = waiting, start(write_without_end, path)  # the next starts up meanwhile
        child.go(done)
        first = child.read()  # one commit at least, or the start-up is all that is ever killed
        acknowledged = [first, *child.kill_after(rng.integers(12), path)]
        assert acknowledged == list(range(done + 1, acknowledged[-1] + 1))
        done = acknowledged[-1]

        collection = Collection.open(path)
        right = states(done + 1)
        records = collection.records()
        assert records in (right[done], right[done + 1])
        snapshot = collection.snapshot()  # fails if a record names a missing descriptor
        assert_vectors_belong(snapshot, records)
        assert collection.version >= version
        version = collection.version
        lost += records != right[done + 1]
        kinds.add(next(islice(plan(), done, None))[0])
        with collection.writer() as writer:  # the lock is free
            assert {r.content_sha256 for r in records} <= writer.known_contents()
    with Collection.open(path).writer() as writer:
        commit(writer, *next(islice(plan(), done, None)))  # what was lost can be done again
        writer.tidy(keep=timedelta(0))
        assert writer.known_contents() == {r.content_sha256 for r in states(done + 1)[-1]}
    assert_vectors_belong(Collection.open(path).snapshot(), states(done + 1)[-1])
    assert tables.open_latest(path, tables.DESCRIPTORS).count_rows() == len(states(done + 1)[-1])


def test_a_killed_creation_leaves_nothing_in_the_way(tmp_path, start):
    path = tmp_path / "c"
    waiting = start(create, path)
    outcomes = set()
    for changes in [*range(8), None]:
        child, waiting = waiting, start(create, path)
        child.go()
        if changes is None:
            made = child.read() == "made"
            child.kill()
        else:
            made = child.kill_after(changes, path) == ["made"]
        assert is_collection(path) or not made
        if not is_collection(path):
            with pytest.raises(CollectionError, match=r"no collection|interrupted"):
                Collection.open(path)
            outcomes.add("nothing" if not path.exists() else "half")
            again = Collection.create(path, photo_root=tmp_path, provenance=PROVENANCE, dim=DIM)
            assert again.records() == ()
        else:
            outcomes.add("whole")
        assert Collection.open(path).dim == DIM
        for file in sorted(path.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        path.rmdir()
    assert len(outcomes) >= 2, f"the kills fell only at one point: {outcomes}"


def test_a_second_process_cannot_write_until_the_first_is_killed(path, start):
    child = start(write_without_end, path)
    child.go()
    child.read()
    collection = Collection.open(path)
    for _ in range(5):
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
    child = start(write_without_end, path)
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
