"""A collection in a bucket: its lease, stores that will not do, lines that break, and what is said of it."""

import os
import pickle
import sys
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from bad_stores import bad_line, careless_store
from meisho import buckets, endpoints
from meisho.buckets import BucketPath, as_place
from meisho.descriptors import Provenance
from meisho.errors import CollectionError, ConfigError, InputError, LockedError, StoreError
from meisho.store import leases, manifests, tables
from meisho.store.collection import Collection
from meisho.store.leases import Lease, Owner
from meisho.store.places import BucketCollection, place_of
from meisho.store.records import PhotoRecord
from meisho.store.snapshot import newest_manifest, read_commit
from processes import started, wait_until
from test_store_kill import assert_vectors_belong, commit, plan, states

DIM = 64
PROVENANCE = Provenance.from_options("default", {})


@pytest.fixture
def path(bucket, tmp_path):
    path = place_of(f"{bucket}/c")
    Collection.create(path, photo_root=tmp_path, provenance=PROVENANCE, dim=DIM)
    return path


@pytest.fixture
def forget_stores():
    """Stores are asked anew, with the limits of the test."""
    endpoints.client_of.cache_clear()
    yield
    endpoints.client_of.cache_clear()


def do(writer, first, last):
    for kind, values in islice(plan(), first, last):
        commit(writer, kind, values)


def test_a_place_in_a_bucket_is_known_by_its_name(monkeypatch, tmp_path):
    monkeypatch.setenv("MEISHO_CACHE", str(tmp_path))
    path = place_of("s3://photos/my.meisho")
    assert path == place_of(Path("s3://photos/my.meisho")) == pickle.loads(pickle.dumps(path))
    assert str(path) == "s3://photos/my.meisho"
    assert str(path / "photos.lance" / "_versions") == "s3://photos/my.meisho/photos.lance/_versions"
    assert (path / "index").parent == path.cache
    assert path.cache.is_relative_to(tmp_path)
    assert path.cache != place_of("s3://photos2/my.meisho").cache
    before = path.cache
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere:1")
    assert path.cache != before
    with pytest.raises(TypeError):
        os.fspath(path)  # what looks on the disk must not find it there


@pytest.mark.parametrize(
    "address", ["127.0.0.1:9", "localhost:9", "ftp://store", "http://", "https:/x", "x y"]
)
@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_endpoint_that_is_no_address_is_named(run, monkeypatch, tmp_path, variable, address):
    monkeypatch.setenv("MEISHO_CACHE", str(tmp_path))
    monkeypatch.setenv(variable, address)
    with pytest.raises(ConfigError, match=rf"{variable} is '{address}', and no address; write it whole"):
        place_of("s3://photos/c").exists()
    code, _, errors = run("info", "s3://photos/c")
    assert code == 2 and variable in errors and "damaged" not in errors


def test_a_panic_of_a_store_is_no_damage(monkeypatch, tmp_path):
    pytest.importorskip("obstore", reason="obstore is not installed")
    panic = type("PanicException", (BaseException,), {})
    place = BucketPath.parse("s3://photos/c")
    with pytest.raises(StoreError, match=r"s3://photos/c: .*does not answer.*\(no host\)"), place._asked():
        raise panic("no host")
    with pytest.raises(KeyboardInterrupt), place._asked():
        raise KeyboardInterrupt


def test_that_no_keys_are_set_is_said():
    said = "Error performing PUT http://169.254.169.254/latest/api/token in 1.2s, after 3 retries"
    assert "no keys are set" in endpoints.explain_failure(said, "b")
    assert "AWS_ACCESS_KEY_ID" in endpoints.explain_failure(said, "b")


NO_PLACES = ["s3://", "s3://b//c", "s3://b/../c", "s3://b/c\\d", "s3://b/\udcff", "s3:/", "s3:", "S3://"]
NO_PLACES += ["s3://two words/c", "s3://b\u00fc/c", "s3://b?x/c", "s3://b#/c", "s3://-/c", "s3://[::1]/c"]


@pytest.mark.parametrize("text", NO_PLACES)
@pytest.mark.parametrize("kind", [str, Path])
def test_what_is_no_place_in_a_bucket_is_refused(text, kind):
    if kind is Path and "//c" in text:
        return  # a `Path` has lost the second "/"
    with pytest.raises(InputError, match="write s3://BUCKET/NAME"):
        as_place(kind(text))


def test_what_comes_before_the_bucket_may_be_in_capitals():
    assert str(as_place(Path("S3://b/s3:/c"))) == "s3://b/s3:/c"
    assert not isinstance(as_place("s3files/c"), BucketPath)


@pytest.mark.parametrize("name", ["50%20", "a#1", "a?x", "a%/c"])
def test_a_collection_has_no_name_that_its_tables_read_otherwise(name):
    with pytest.raises(InputError, match=r"must not hold [%#?]"):
        place_of(f"s3://b/{name}")
    assert str(as_place(f"s3://b/{name}.jpg")) == f"s3://b/{name}.jpg"  # a photo may


@pytest.mark.parametrize("name", ["two words", "名所 ü", "a+b=c&d"])
def test_an_odd_name_below_a_bucket_is_as_any_other(bucket, name, tmp_path):
    path = place_of(f"{bucket}/{name}/")
    Collection.create(path, photo_root=tmp_path, provenance=PROVENANCE, dim=DIM)
    with Collection.open(path).writer() as writer:
        do(writer, 0, 2)
    assert Collection.open(path).version > 0
    assert [each.name for each in as_place(bucket).iterdir()] == [name]


def test_a_path_in_a_bucket_is_used_as_one_on_a_disk(bucket):
    folder = BucketPath.parse(f"{bucket}/folder")
    assert not folder.exists()
    (folder / "b" / "two.bin").write_bytes(b"22")
    (folder / "one.txt").write_bytes(b"1")
    assert folder.is_dir()
    assert not folder.is_file()
    assert [each.name for each in sorted(folder.iterdir())] == ["b", "one.txt"]
    assert [str(each.relative_to(folder)) for each in folder.rglob("*.bin")] == ["b/two.bin"]
    assert [each.name for each in folder.glob("b/*")] == ["two.bin"]
    assert (folder / "b/two.bin").stat().st_size == 2
    assert (folder / "one.txt").open("rb").read() == b"1"
    before = (folder / "one.txt").stat()
    (folder / "one.txt").write_bytes(b"2")  # of the same size, perhaps in the same second
    assert (folder / "one.txt").stat().st_ctime_ns != before.st_ctime_ns
    with pytest.raises(FileNotFoundError, match="folder/three"):
        (folder / "three").read_bytes()
    buckets.remove_tree(folder)
    assert not folder.exists()


def test_a_writer_elsewhere_is_named_and_taken_over_when_it_is_stale(path, monkeypatch):
    owner = Owner(12, "elsewhere\x1b", "another machine", "token")
    (path / "writer.json").write_bytes(owner.encode())
    collection = Collection.open(path)
    with pytest.raises(LockedError, match=r"process 12 on elsewhere\\x1B is writing.*another may write"):
        collection.writer().__enter__()
    with monkeypatch.context() as later:
        later.setattr(leases, "STALE_SECONDS", 0.0)
        with collection.writer() as writer:
            do(writer, 0, 2)
    assert leases._read(path)[0].pid == 0
    with collection.writer():  # what was given back is free for all
        pass


@pytest.mark.skipif(not leases._machine(), reason="this system does not say when a process began")
def test_a_process_that_has_ended_is_gone_even_if_nobody_waited_for_it():
    with started([sys.executable, "-c", ""]) as process:
        wait_until(lambda: not leases._began(process.pid))
        assert Owner(process.pid, "", leases._machine(), "token", began=1).is_gone
    mine = leases._began(os.getpid())
    assert mine > 0
    assert not Owner(os.getpid(), "", leases._machine(), "token", began=mine).is_gone
    assert not Owner(os.getpid(), "", "another machine", "token", began=1).is_gone


def test_a_damaged_table_does_not_keep_its_lease_from_being_taken_over(path, tmp_path):
    with Collection.open(path).writer() as writer:
        do(writer, 0, 3)
    newest = path / "photos.lance" / "_versions" / newest_manifest(path, "photos")
    newest.write_bytes(b"damaged")
    stopped = Owner(os.getpid(), "", leases._machine(), "token", began=1)  # its id is another's by now
    (path / "writer.json").write_bytes(stopped.encode())
    assert Collection.repair(path)
    assert Collection.open(path).records() == ()


def test_what_is_no_owner_holds_no_lease(path):
    (path / "writer.json").write_bytes(b"\xff{")
    with Collection.open(path).writer() as writer:
        do(writer, 0, 2)


def test_a_writer_that_was_taken_for_dead_is_told_and_writes_no_more(path, monkeypatch):
    collection = Collection.open(path)
    with pytest.raises(LockedError, match="taken over writing"), collection.writer() as first:
        do(first, 0, 2)
        monkeypatch.setattr(leases, "STALE_SECONDS", 0.0)
        with collection.writer() as second:
            do(second, 2, 4)
            monkeypatch.setattr(leases, "RENEW_SECONDS", -1.0)  # the first looks before each commit
            do(first, 4, 5)
    assert collection.records() == states(4)[-1]


def test_a_commit_that_was_on_its_way_is_refused_after_a_take_over(path, monkeypatch):
    collection = Collection.open(path)
    monkeypatch.setattr(leases, "STALE_SECONDS", 0.0)
    monkeypatch.setattr(Lease, "check", lambda self: None)  # as if it had been stopped after that
    with collection.writer() as first:
        do(first, 0, 2)
        with collection.writer() as second:
            with pytest.raises(LockedError, match="taken over writing"):
                do(first, 2, 3)
            with pytest.raises(LockedError, match="taken over writing"):
                first.put_records([PhotoRecord("late", "", 0, 0, 0, 0, error="no photo")])
            with pytest.raises(LockedError, match="taken over writing"):
                first.remove(["photo 1"])
            do(second, 2, 4)
    assert collection.records() == states(4)[-1]
    with collection.writer() as third:
        do(third, 4, 9)
    assert_vectors_belong(collection.snapshot(), states(9)[-1])


def test_a_commit_that_comes_between_a_look_and_the_fence_is_kept(path, monkeypatch):
    collection, opened = Collection.open(path), tables.open_latest
    with collection.writer() as writer:
        do(writer, 0, 1)
        table = opened(path, tables.DESCRIPTORS)
        do(writer, 1, 3)
        there = opened(path, tables.DESCRIPTORS).count_rows()
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(tables, "open_latest", lambda *_: table)
            tables.fence(path, tables.DESCRIPTORS)
    assert opened(path, tables.DESCRIPTORS).count_rows() == there


def test_a_store_that_ignores_conditions_is_refused(monkeypatch, tmp_path):
    from object_stores import KEYS, set_variables

    with careless_store() as (address, objects):
        set_variables(monkeypatch, {"AWS_ENDPOINT_URL": address, **KEYS}, tmp_path / "cache")
        with pytest.raises(StoreError, match=r"ignores conditions .*two writers.*nothing was written"):
            Collection.create(
                place_of("s3://careless/c"), photo_root=tmp_path, provenance=PROVENANCE, dim=DIM
            )
        assert not objects


def test_a_store_that_is_gone_is_an_error_in_words(path, monkeypatch, forget_stores):
    collection = Collection.open(path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for ask in (lambda: Collection.open(path), collection.snapshot, collection.writer().__enter__):
        with pytest.raises(StoreError, match=r"s3://.*127.0.0.1:9 does not answer.*AWS_ENDPOINT_URL"):
            ask()


@pytest.mark.slow
def test_a_store_that_never_answers_is_an_error(path, object_store, monkeypatch, forget_stores):
    collection = Collection.open(path)
    monkeypatch.setattr(endpoints, "REQUEST_SECONDS", 1)
    monkeypatch.setattr(endpoints, "RETRIES", 1)
    monkeypatch.setattr(endpoints, "RETRY_SECONDS", 2)
    with bad_line(object_store["AWS_ENDPOINT_URL"]) as line:
        monkeypatch.setenv("AWS_ENDPOINT_URL", line.address)
        assert collection.records() == ()
        line.is_dead = True
        for ask in (lambda: Collection.open(path), lambda: tables.open_latest(path, tables.PHOTOS)):
            with pytest.raises(StoreError, match="does not answer"):
                ask()


def test_keys_that_are_refused_are_named(path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    for ask in (lambda: Collection.open(path), lambda: tables.open_latest(path, tables.PHOTOS)):
        with pytest.raises(StoreError, match="refuses to let you in; set AWS_ACCESS_KEY_ID"):
            ask()


def test_a_bucket_that_is_not_there_is_named(bucket, tmp_path):
    place = place_of("s3://another-bucket/c")
    with pytest.raises(CollectionError, match="there is no bucket"):
        Collection.create(place, photo_root=tmp_path, provenance=PROVENANCE, dim=DIM)


@pytest.mark.slow
def test_answers_that_are_lost_lose_and_double_no_commit(path, object_store, monkeypatch, forget_stores):
    """Each PUT of a manifest, of commits.json or of the lease may be done without its answer arriving."""
    monkeypatch.setattr(leases, "STALE_SECONDS", 0.0)  # a lease that could not be given back is taken over
    rng = np.random.default_rng(1)
    with bad_line(object_store["AWS_ENDPOINT_URL"]) as line:
        line.loses = lambda request: request.startswith("PUT") and rng.random() < 0.3
        monkeypatch.setenv("AWS_ENDPOINT_URL", line.address)
        done = 0
        while done < 24:
            try:
                with Collection.open(path).writer() as writer:
                    while done < 24:
                        commit(writer, *next(islice(plan(), done, None)))
                        done += 1
            except CollectionError:
                right = states(done + 1)
                assert Collection.open(path).records() in right[done : done + 2]
        assert any(".manifest" in request for request in line.lost)
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store["AWS_ENDPOINT_URL"])
    collection = Collection.open(path)
    assert_vectors_belong(collection.snapshot(), states(24)[-1])
    for name in (tables.DESCRIPTORS, tables.PHOTOS):
        sequence = tables.read_columns(tables.open_latest(path, name), ["sequence"])["sequence"].to_pylist()
        assert len(sequence) == len({*sequence})


def test_what_is_young_is_not_swept(path, monkeypatch):
    with Collection.open(path).writer() as writer:
        do(writer, 0, 4)
        stray = path / "photos.lance" / "data" / "stray.lance"
        stray.write_bytes(b"of a commit on its way")
        manifests.sweep(path / "photos.lance", manifests.timedelta(0))
        assert stray.is_file()
        monkeypatch.setattr(manifests, "YOUNG_SECONDS", 0.0)
        do(writer, 4, 6)

        def a_later_commit():
            writer.put_records([PhotoRecord("late", "", 0, 0, 0, 0, error="no photo")])
            newest = manifests.list_manifests(path / "photos.lance")[0]
            return newest.stat().st_mtime > stray.stat().st_mtime

        wait_until(a_later_commit)
        manifests.sweep(path / "photos.lance", manifests.timedelta(0))
        assert not stray.is_file()
    assert len(manifests.list_manifests(path / "photos.lance")) == 1


def test_a_collection_made_anew_is_another_commit(bucket, tmp_path):
    path = place_of(f"{bucket}/c")
    seen = set()
    for _ in range(2):
        collection = Collection.create(path, photo_root=tmp_path, provenance=PROVENANCE, dim=DIM)
        with collection.writer() as writer:
            do(writer, 0, 2)
        seen.add(read_commit(path))
        buckets.remove_tree(path)
    assert len(seen) == 2


def test_an_owner_is_what_was_written():
    owner = Owner(3, "host", "machine", "token", 4)
    assert replace(owner) == Owner(**asdict(owner))
    assert isinstance(place_of("s3://b/c"), BucketCollection)
