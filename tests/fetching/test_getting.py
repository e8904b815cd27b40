import hashlib
import os
import shutil
import signal
import threading
from dataclasses import replace

import pytest

from meisho.errors import DatasetError, FetchError, InputError
from meisho.fetching import getting, parallel
from meisho.fetching.checking import check_files
from meisho.fetching.getting import FetchOptions, get_dataset
from meisho.fetching.manifest import read_manifest
from meisho.fetching.record import hold_folder
from meisho.fetching.selection import Selection, parse_classes, parse_shards, select_files

from .server import PIECE_BYTES, Answer
from .sets import PublishedSet, make_archive


@pytest.fixture
def published(server):
    return PublishedSet(server)


@pytest.fixture
def manifest(published, tmp_path):
    return read_manifest(published.write_manifest(tmp_path / "street.json"))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "street"


@pytest.fixture
def options(quick):
    return FetchOptions(patience=quick)


def photos_below(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.jpg")}


def goodness(manifest, root, *, deep=False):
    return {status.path: status.is_good for status in check_files(manifest, root, deep=deep)}


def test_everything_is_downloaded_verified_and_unpacked_and_archives_go(published, manifest, root, options):
    seen = set()
    summary = get_dataset(manifest, root, options=options, progress=lambda *facts: seen.add(facts[0]))
    assert photos_below(root) == published.paths(0, 1, 2)
    assert (root / "metadata/train.csv").read_bytes() == published.files["metadata/train.csv"]
    assert not (root / "downloads").exists()
    assert sorted(p.name for p in (root / ".fetched").iterdir()) == ["lock", "members", "record.json"]
    assert summary.num_members == 18
    assert set(summary.fetched) == {file.path for file in manifest.all_files}
    assert summary.trusted == ("metadata/train.csv",)
    assert {f"{stage} train/images_001.tar" for stage in ("download", "unpack", "done")} <= seen


def test_what_is_there_is_never_asked_for_again(published, manifest, root, options, server):
    get_dataset(manifest, root, options=options)
    before = len(server.requests)
    summary = get_dataset(manifest, root, options=options)
    assert len(server.requests) == before
    assert summary.fetched == () and len(summary.kept) == 7


def test_only_what_is_missing_is_got_again(published, manifest, root, options, server):
    get_dataset(manifest, root, options=options)
    lost = next(iter(published.paths(1)))
    (root / lost).unlink()
    before = len(server.requests)
    summary = get_dataset(manifest, root, options=options)
    assert summary.fetched == ("train/images_001.tar",)
    assert len(server.requests) == before + 1
    assert photos_below(root) == published.paths(0, 1, 2)


def test_shards_and_their_checksums_are_chosen_together(published, manifest, root, options, server):
    selection = Selection(parts=("train",), shards=parse_shards("0,2"))
    get_dataset(manifest, root, selection, options)
    assert photos_below(root) == published.paths(0, 2)
    assert server.count("train/images_001.tar") == server.count("metadata/train.csv") == 0
    assert all(goodness(manifest, root).values())


def test_classes_bring_their_table_and_only_their_photos(published, manifest, root, options):
    selection = Selection(("train",), parse_shards("0-1"), parse_classes("11,0"))
    get_dataset(manifest, root, selection, options)
    wanted = [*list(published.paths(0))[:3], *list(published.paths(1))[3:]]
    assert set(photos_below(root)) == set(wanted)
    assert (root / "metadata/train.csv").is_file()


def test_other_classes_come_later_and_fewer_are_there_already(published, manifest, root, options, server):
    first = Selection(("train",), parse_shards("0"), parse_classes("0"))
    get_dataset(manifest, root, first, options)
    assert len(photos_below(root)) == 3
    more = Selection(("train",), parse_shards("0"), parse_classes("0,1"))
    get_dataset(manifest, root, more, options)
    assert photos_below(root) == published.paths(0)
    assert server.count("train/images_000.tar") == 2
    get_dataset(manifest, root, first, options)
    assert server.count("train/images_000.tar") == 2


def test_a_class_that_no_photo_has_is_said(published, manifest, root, options):
    with pytest.raises(InputError, match=r"train.csv: no photo has the class 77; check --classes"):
        get_dataset(manifest, root, Selection(("train",), None, parse_classes("0,77")), options)


def test_a_choice_that_does_not_fit_is_said_before_anything_is_made(manifest, root):
    for selection, said in [
        (
            Selection(("index",)),
            r"no part is called 'index'; choose from metadata \(1 kB\), train \(120 kB\)",
        ),
        (Selection(("train",), frozenset({9})), r"no shard 9 in what is chosen \(0 to 2\)"),
        (Selection(("metadata",), None, ("1",)), "leave --classes out"),
    ]:
        with pytest.raises(InputError, match=said):
            get_dataset(manifest, root, selection)
    assert not root.exists()


@pytest.mark.parametrize("text", ["", "1-", "3-1", "a", "1,,2", "-1", "1.5"])
def test_shards_that_mean_nothing_are_said(text):
    with pytest.raises(InputError, match=r"give numbers and ranges such as 0-3,7"):
        parse_shards(text)


def test_shards_and_classes_are_read():
    assert parse_shards("0-3, 7") == {0, 1, 2, 3, 7}
    assert parse_classes("17, 4,004") == ("4", "17")
    with pytest.raises(InputError, match=r"landmark numbers"):
        parse_classes("a")


def test_a_manifest_without_a_default_asks_for_a_part(published, tmp_path):
    published.manifest["default_parts"] = []
    manifest = read_manifest(published.write_manifest(tmp_path / "m.json"))
    with pytest.raises(InputError, match=r"choose parts with --part: metadata"):
        select_files(manifest, Selection())


def test_a_mirror_folder_needs_no_network(published, manifest, root, quick, server, tmp_path):
    mirror = tmp_path / "mirror"
    for path, content in published.files.items():
        place = mirror / ("street" if "csv" in path else "") / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    get_dataset(manifest, root, options=FetchOptions(mirror=str(mirror), patience=quick))
    assert photos_below(root) == published.paths(0, 1, 2)
    assert server.requests == []
    assert (mirror / "train/images_000.tar").is_file()


def test_the_folder_of_another_machine_with_kept_archives_is_a_mirror(
    published, manifest, root, quick, server, tmp_path
):
    get_dataset(manifest, root, options=FetchOptions(keep_archives=True, patience=quick))
    assert (root / "downloads/train/images_002.tar").is_file()
    before = len(server.requests)
    other = tmp_path / "other"
    get_dataset(manifest, other, options=FetchOptions(mirror=str(root), patience=quick))
    assert photos_below(other) == published.paths(0, 1, 2)
    assert len(server.requests) == before


def test_a_mirror_address_is_asked_instead_of_the_publisher(published, manifest, root, quick, server):
    for path, content in published.files.items():
        server.put(f"mirror/street/{path}", content)
    get_dataset(manifest, root, options=FetchOptions(mirror=f"{server.url}/mirror/", patience=quick))
    assert photos_below(root) == published.paths(0, 1, 2)
    assert all(path.startswith("mirror/street/") for path, _, _ in server.requests)


def test_a_file_that_a_mirror_lacks_is_not_fetched_elsewhere(manifest, root, quick, server, tmp_path):
    (tmp_path / "mirror").mkdir()
    with pytest.raises(FetchError, match=r"cannot be read .No such file") as error:
        get_dataset(manifest, root, options=FetchOptions(mirror=str(tmp_path / "mirror"), patience=quick))
    assert "PLACE/street/" in str(error.value)
    assert server.requests == []


def test_a_dead_source_says_how_to_supply_the_file_by_hand_and_that_works(
    published, manifest, root, options, server
):
    archive = server.files.pop("train/images_001.tar")
    with pytest.raises(FetchError) as error:
        get_dataset(manifest, root, options=options)
    place = root / "downloads/train/images_001.tar"
    message = str(error.value)
    assert "train/images_001.tar: it answers 404 Not Found" in message
    assert f"put it at {place} and run the same command again" in message
    assert "--mirror PLACE with PLACE/street/train/images_001.tar" in message
    assert photos_below(root) == published.paths(0, 2)  # the others came all the same
    place.parent.mkdir(parents=True)
    place.write_bytes(archive)
    summary = get_dataset(manifest, root, options=options)
    assert photos_below(root) == published.paths(0, 1, 2)
    assert summary.fetched == ("train/images_001.tar",)
    assert place.is_file()  # what a user put there is not taken away


def test_a_wrong_file_put_there_by_hand_is_said_and_left_alone(published, manifest, root, options):
    place = root / "downloads/train/images_001.tar"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"something else")
    with pytest.raises(
        FetchError, match=r"images_001.tar: is not the .*expected md5 .*, got .*left as it is"
    ):
        get_dataset(manifest, root, options=options)
    assert place.read_bytes() == b"something else"


def test_an_altered_source_says_what_was_expected_and_what_came(published, manifest, root, options, server):
    whole = server.files["train/images_002.tar"]
    server.files["train/images_002.tar"] = whole[:-1] + b"x"
    wanted = hashlib.md5(whole).hexdigest()
    got = hashlib.md5(server.files["train/images_002.tar"]).hexdigest()
    with pytest.raises(FetchError, match=rf"expected md5 {wanted} .md5.images_002.txt., got {got}"):
        get_dataset(manifest, root, options=options)
    assert photos_below(root) == published.paths(0, 1)
    assert not (root / "downloads").exists()


def test_without_a_published_checksum_the_first_download_is_what_later_ones_must_match(
    server, tmp_path, root, options
):
    published = PublishedSet(server, checksums=False)
    manifest = read_manifest(published.write_manifest(tmp_path / "m.json"))
    get_dataset(manifest, root, options=options)
    lost = next(iter(published.paths(1)))
    (root / lost).unlink()
    server.files["train/images_001.tar"] = make_archive({"0/0/0/000.jpg": b"not the same"})
    with pytest.raises(FetchError, match=r"expected size [0-9]+ .the first download., it offers"):
        get_dataset(manifest, root, options=options)
    server.files["train/images_001.tar"] = published.files["train/images_001.tar"][:-1] + b"x"
    with pytest.raises(FetchError, match=r"expected sha256 .* .the first download., got"):
        get_dataset(manifest, root, options=options)
    server.files["train/images_001.tar"] = published.files["train/images_001.tar"]
    get_dataset(manifest, root, options=options)
    assert photos_below(root) == published.paths(0, 1, 2)


@pytest.mark.parametrize("content", [b"", b"no digest here", b"0" * 32 + b"  another.tar\n", b"\xff\xfe"])
def test_a_file_of_checksums_without_the_right_one_is_said(published, manifest, root, options, content):
    published.server.files["md5sum/md5.images_001.txt"] = content
    with pytest.raises(
        FetchError, match=r"md5.images_001.txt: (gives no MD5 of images_001.tar|cannot be read)"
    ):
        get_dataset(manifest, root, options=options)


def test_an_unsafe_archive_leaves_nothing_of_it(server, tmp_path, root, options):
    published = PublishedSet(server, shards=1, checksums=False)
    server.files["train/images_000.tar"] = make_archive(
        {"0/0/0/000.jpg": b"x" * 5000, "../../evil.jpg": b"y"}
    )
    manifest = read_manifest(published.write_manifest(tmp_path / "m.json"))
    with pytest.raises(FetchError, match=r"'../../evil.jpg' would land outside.*Remove it to have it"):
        get_dataset(manifest, root, options=options)
    assert photos_below(tmp_path) == {}
    assert not (root / ".fetched" / "unpacking").exists()
    assert goodness(manifest, root)["metadata/train.csv"]


def test_a_damaged_archive_is_not_remembered_as_the_right_one(server, tmp_path, root, options):
    published = PublishedSet(server, shards=1, checksums=False)
    whole = server.files["train/images_000.tar"]
    server.files["train/images_000.tar"] = whole[:8000]
    manifest = read_manifest(published.write_manifest(tmp_path / "m.json"))
    with pytest.raises(FetchError, match=r"damaged|cut off"):
        get_dataset(manifest, root, options=options)
    server.files["train/images_000.tar"] = whole
    (root / "downloads/train/images_000.tar").unlink()
    get_dataset(manifest, root, options=options)
    assert photos_below(root) == published.paths(0)


def test_many_errors_are_counted_and_the_first_shown(published, manifest, root, options, server):
    for number in range(3):
        del server.files[f"md5sum/md5.images_{number:03}.txt"]
    del server.files["metadata/train.csv"]
    with pytest.raises(FetchError, match=r"street: 4 files cannot be had:\n(.|\n)*\.\.\. and 1 more"):
        get_dataset(manifest, root, options=options)


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(
    manifest, root, options, server, monkeypatch
):
    def usage(path):
        return shutil._ntuple_diskusage(10**9, 10**9 - 50_200_000, 50_200_000)

    monkeypatch.setattr(getting.shutil, "disk_usage", usage)
    with pytest.raises(FetchError, match=r"about 241 kB are needed and 50.2 MB are free; make room"):
        get_dataset(manifest, root, options=options)
    assert server.requests == []
    get_dataset(manifest, root, options=replace(options, check_space=False))
    assert len(photos_below(root)) == 18


@pytest.mark.parametrize(
    ("keep", "parallel", "needed"), [(False, 1, 161_180), (False, 4, 241_180), (True, 1, 241_180)]
)
def test_the_space_that_is_needed_counts_archives_only_as_long_as_they_lie_there(
    manifest, root, keep, parallel, needed
):
    files = select_files(manifest, Selection())
    options = FetchOptions(parallel=parallel, keep_archives=keep)
    assert getting._needed_bytes(root, files, options, Selection()) == needed
    assert getting._needed_bytes(root, (), options, Selection()) == 0


def test_a_disk_that_takes_no_more_ends_it_with_the_reason(manifest, root, options):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            get_dataset(manifest, root, options=options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(root.rglob("*.jpg"))


def test_two_processes_do_not_get_into_one_folder_at_once(manifest, root):
    with hold_folder(root), pytest.raises(FetchError, match=r"another process is getting data into it"):
        get_dataset(manifest, root)


def test_a_folder_holds_one_data_set(published, manifest, root, options, tmp_path):
    get_dataset(manifest, root, options=options)
    published.manifest["name"] = "road"
    other = read_manifest(published.write_manifest(tmp_path / "road.json"))
    with pytest.raises(FetchError, match=r"holds the data set street, not road.*choose another folder"):
        get_dataset(other, root, options=options)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"manifest": "street"}', b"\xff", b"[" * 100_000])
def test_a_record_that_cannot_be_read_is_said(manifest, root, options, content):
    (root / ".fetched").mkdir(parents=True)
    (root / ".fetched/record.json").write_bytes(content)
    with pytest.raises(DatasetError, match=r"record.json: is no record .*remove the folder .*\.fetched"):
        get_dataset(manifest, root, options=options)


def test_what_a_killed_run_was_unpacking_is_removed(published, manifest, root, options):
    left = root / ".fetched/unpacking/train_images_000.tar/0/a.jpg"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    get_dataset(manifest, root, options=options)
    assert not left.exists()
    assert photos_below(root) == published.paths(0, 1, 2)


def test_files_come_in_parallel(published, manifest, root, options, server):
    together = threading.Barrier(3)  # none is answered before all are asked for
    for number in range(3):
        server.answers[f"train/images_{number:03}.tar"] = [Answer(before_body=together.wait)]
    get_dataset(manifest, root, options=options)
    assert photos_below(root) == published.paths(0, 1, 2)


def test_an_interrupt_stops_the_threads_and_keeps_what_came(
    published, manifest, root, options, server, monkeypatch
):
    def interrupt():
        server.is_held.wait()
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(parallel, "_GRACE_SECONDS", 0)  # the server is silent: they are not waited for
    archives = [data for path, data in published.files.items() if path.startswith("train/")]
    assert min(map(len, archives)) > PIECE_BYTES
    server.hold_after(1)  # after the first piece of each, so that none is whole
    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        get_dataset(manifest, root, Selection(("train",)), options)
    interrupter.join()
    server.let_go()
    for thread in threading.enumerate():
        if thread.name.startswith("meisho-fetching"):
            thread.join()
    assert not list(root.rglob("*.jpg"))
    get_dataset(manifest, root, options=options)
    assert photos_below(root) == published.paths(0, 1, 2)


def test_the_check_finds_what_is_missing_or_altered(published, manifest, root, options):
    get_dataset(manifest, root, options=options)
    assert all(goodness(manifest, root, deep=True).values())
    photos = list(published.paths(1))
    (root / photos[0]).unlink()
    altered = root / photos[1]
    altered.write_bytes(bytes(len(altered.read_bytes())))
    shallow = {status.path: status for status in check_files(manifest, root)}["train/images_001.tar"]
    assert shallow.is_good is False
    assert shallow.state == f"of 6 unpacked files 1 missing: {root / photos[0]}"
    deep = {status.path: status for status in check_files(manifest, root, deep=True)}["train/images_001.tar"]
    assert f"of 6 unpacked files 1 changed: {altered}" in deep.state
    (root / "metadata/train.csv").write_bytes(b"short")
    table = {status.path: status for status in check_files(manifest, root)}["metadata/train.csv"]
    assert table.state == f"expected {len(published.files['metadata/train.csv']):,} bytes, has 5"


def test_the_check_says_what_has_only_begun(published, manifest, root, options, server):
    server.answers["train/images_000.tar"] = [Answer(drop_after=9000), *[Answer(status=503)] * 9]
    with pytest.raises(FetchError):
        get_dataset(manifest, root, options=options)
    states = {status.path: status.state for status in check_files(manifest, root)}
    assert states["train/images_000.tar"] == "9,000 bytes have come; get it again to go on"


def test_an_archive_may_be_a_link_of_the_user(published, manifest, root, options, tmp_path):
    elsewhere = tmp_path / "big_disk.tar"
    elsewhere.write_bytes(published.files["train/images_000.tar"])
    place = root / "downloads/train/images_000.tar"
    place.parent.mkdir(parents=True)
    place.symlink_to(elsewhere)
    get_dataset(manifest, root, options=options)
    assert photos_below(root) == published.paths(0, 1, 2)
    assert elsewhere.is_file()


def test_tables_of_any_shape_give_the_ids_of_classes_or_a_clear_line(tmp_path):
    from meisho.fetching.selection import read_ids_of_classes

    table = tmp_path / "train.csv"
    table.write_bytes(b'\xef\xbb\xbfID,url,Landmark_ID\r\naa,x,1\r\nbb,"y,z",2\r\n\r\ncc,,1\r\n')
    assert read_ids_of_classes(table, ("1",)) == {"aa", "cc"}
    for content, said in [
        (b"", "header needs the columns id and landmark_id"),
        (b"id\tlandmark_id\n", "header needs"),
        (b"id,landmark_id\n\xff\xfe,1\n", "cannot be read"),
        (b"id,landmark_id\n" + b"a" * 10_000_000 + b",1\n", "cannot be read"),
    ]:
        table.write_bytes(content)
        with pytest.raises(DatasetError, match=said):
            read_ids_of_classes(table, ("1",))
