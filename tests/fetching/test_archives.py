import gzip
import hashlib
import io
import os
import tarfile
import threading
import zipfile

import numpy as np
import pytest

from meisho.fetching.archives import Member, UnsafeArchiveError, unpack
from meisho.fetching.download import StoppedError
from meisho.fetching.manifest import Unpacking

RULES = Unpacking(max_members=20, max_bytes=100_000)
CONTENT = {"a/1.jpg": b"one" * 100, "a/2.jpg": b"two" * 700, "b/c/3.jpg": b"", "readme.txt": b"read me"}


def make_tar(path, entries=CONTENT, *, mode="w", change=None, format=tarfile.PAX_FORMAT):
    with tarfile.open(path, mode, format=format) as tar:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if change:
                change(info)
            tar.addfile(info, io.BytesIO(content))
    return path


def make_zip(path, entries=CONTENT, *, change=None):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if change:
                change(info)
            file.writestr(info, content)
    return path


MAKERS = {
    "tar": lambda path, entries=CONTENT: make_tar(path, entries),
    "gnu.tar": lambda path, entries=CONTENT: make_tar(path, entries, format=tarfile.GNU_FORMAT),
    "tgz": lambda path, entries=CONTENT: make_tar(path, entries, mode="w:gz"),
    "zip": lambda path, entries=CONTENT: make_zip(path, entries),
}


@pytest.fixture(params=MAKERS)
def make(request, tmp_path):
    return lambda entries=CONTENT: MAKERS[request.param](tmp_path / f"archive.{request.param}", entries)


@pytest.fixture
def to(tmp_path):
    (tmp_path / "to").mkdir()
    return tmp_path / "to"


def files_below(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_every_member_is_unpacked_and_told_with_its_digest(make, to):
    members = unpack(make(), to, RULES)
    assert files_below(to) == CONTENT
    assert members == tuple(
        Member(name, len(content), hashlib.sha256(content).hexdigest()) for name, content in CONTENT.items()
    )


def test_the_content_decides_what_an_archive_is_not_its_name(tmp_path, to):
    unpack(make_zip(tmp_path / "archive.tar"), to, RULES)
    assert files_below(to) == CONTENT


def test_only_wanted_members_are_unpacked(make, to):
    rules = Unpacking(max_members=20, max_bytes=100_000, only=("a/*.jpg", "*.txt"))
    unpack(make(), to, rules)
    assert set(files_below(to)) == {"a/1.jpg", "a/2.jpg", "readme.txt"}


def test_members_are_chosen_by_photo_id(make, to):
    members = unpack(make(), to, RULES, wanted={"2", "9"})
    assert [member.path for member in members] == ["a/2.jpg"]
    assert set(files_below(to)) == {"a/2.jpg"}


def test_folders_are_dropped_on_request(make, to):
    unpack(make(), to, Unpacking(max_members=20, max_bytes=100_000, flatten=True))
    assert set(files_below(to)) == {"1.jpg", "2.jpg", "3.jpg", "readme.txt"}


def test_two_members_of_one_place_are_refused(make, to):
    rules = Unpacking(max_members=20, max_bytes=100_000, flatten=True)
    with pytest.raises(UnsafeArchiveError, match=r"'b/1.jpg' comes twice"):
        unpack(make({"a/1.jpg": b"x", "b/1.jpg": b"y"}), to, rules)


def test_what_macos_leaves_is_passed_over(make, to):
    unpack(make({"a/._1.jpg": b"x", "__MACOSX/a/1.jpg": b"x", "a/1.jpg": b"y"}), to, RULES)
    assert files_below(to) == {"a/1.jpg": b"y"}


def test_a_leading_dot_is_no_folder_of_its_own(tmp_path, to):
    unpack(make_tar(tmp_path / "t", {"./a/1.jpg": b"x"}), to, Unpacking(9, 9, only=("a/*.jpg",)))
    assert files_below(to) == {"a/1.jpg": b"x"}


def test_an_archive_without_what_is_wanted_is_refused(make, to):
    with pytest.raises(UnsafeArchiveError, match=r"holds no member like \*.png"):
        unpack(make(), to, Unpacking(max_members=20, max_bytes=100_000, only=("*.png",)))


ESCAPES = [
    "../evil.jpg",
    "a/../../evil.jpg",
    "/tmp/evil.jpg",
    ".fetched/evil.jpg",
    "///evil.jpg",
    "a\\..\\evil.jpg",
    "C:evil.jpg",
    "C:/evil.jpg",
    "a/\nb.jpg",
    "a/" * 40 + "b.jpg",
    "a" * 300 + ".jpg",
    "é" * 200,
    "..",
]


@pytest.mark.parametrize("name", ESCAPES)
def test_a_member_that_would_land_outside_is_refused_and_writes_nothing(make, to, name):
    with pytest.raises(UnsafeArchiveError, match=r"would land outside|no file can have"):
        unpack(make({name: b"evil"}), to, RULES)
    assert files_below(to.parent) == {
        path.name: path.read_bytes() for path in to.parent.iterdir() if path.is_file()
    }
    assert list(to.iterdir()) == []


KINDS = {
    "symlink": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "character device": tarfile.CHRTYPE,
    "block device": tarfile.BLKTYPE,
    "pipe": tarfile.FIFOTYPE,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_links_and_devices_are_refused(tmp_path, to, kind, mode):
    def change(info):
        info.type, info.linkname = KINDS[kind], "/etc/passwd"

    archive = make_tar(tmp_path / "t", {"link.jpg": b""}, mode=mode, change=change)
    with pytest.raises(UnsafeArchiveError, match=r"'link.jpg' is neither a file nor a folder"):
        unpack(archive, to, RULES)
    assert list(to.iterdir()) == []


def test_a_file_through_a_symlinked_folder_cannot_be_written(tmp_path, to):
    with tarfile.open(tmp_path / "t", "w") as tar:
        link = tarfile.TarInfo("a")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        tar.addfile(link)
        info = tarfile.TarInfo("a/evil.jpg")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"evil"))
    with pytest.raises(UnsafeArchiveError, match=r"neither a file nor a folder"):
        unpack(tmp_path / "t", to, RULES)
    assert not (tmp_path / "evil.jpg").exists()


def test_a_symlink_in_a_zip_is_refused(tmp_path, to):
    def change(info):
        info.external_attr = 0o120777 << 16

    with pytest.raises(UnsafeArchiveError, match=r"neither a file nor a folder"):
        unpack(make_zip(tmp_path / "z", {"link.jpg": b"/etc/passwd"}, change=change), to, RULES)


def test_an_encrypted_zip_is_refused(tmp_path, to):
    archive = make_zip(tmp_path / "z", {"a.jpg": b"x"})
    raw = bytearray(archive.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(raw)
    with pytest.raises(UnsafeArchiveError, match=r"encrypted"):
        unpack(archive, to, RULES)


def test_a_bomb_is_not_unpacked_past_the_limit(make, to):
    with pytest.raises(UnsafeArchiveError, match=r"grows past 100,000 bytes"):
        unpack(make({"a.jpg": b"x" * 60_000, "b.jpg": bytes(3_000_000)}), to, RULES)
    assert sum(map(len, files_below(to).values())) <= 100_000


def test_a_bomb_of_many_small_members_is_not_unpacked_past_the_limit(make, to):
    with pytest.raises(UnsafeArchiveError, match=r"grows past 100,000 bytes|more than 20 members"):
        unpack(make({f"{n}.jpg": bytes(9_000) for n in range(19)}), to, RULES)
    assert sum(map(len, files_below(to).values())) <= 100_000


def test_too_many_members_are_refused(make, to):
    with pytest.raises(UnsafeArchiveError, match=r"more than 20 members"):
        unpack(make({f"{n}.jpg": b"x" for n in range(21)}), to, RULES)


def test_unwanted_members_count_too(tmp_path, to):
    rules = Unpacking(max_members=20, max_bytes=100_000, only=("*.jpg",))
    archive = make_tar(tmp_path / "t", {"a.bin": bytes(50_000_000), "a.jpg": b"x"}, mode="w:gz")
    with pytest.raises(UnsafeArchiveError, match=r"grows past"):
        unpack(archive, to, rules)


def test_a_zip_that_lies_about_the_size_of_a_member_is_refused(tmp_path, to):
    archive = make_zip(tmp_path / "z", {"a.jpg": bytes(50_000)})
    raw = bytearray(archive.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = raw.index(mark) + offset
        raw[at : at + 4] = (10).to_bytes(4, "little")
    archive.write_bytes(raw)
    with pytest.raises(UnsafeArchiveError):
        unpack(archive, to, RULES)


def test_a_header_that_asks_for_gigabytes_is_refused_before_they_are_read(tmp_path, to):
    long_name = tarfile.TarInfo("././@LongLink")
    long_name.type, long_name.size = tarfile.GNUTYPE_LONGNAME, 5_000_000_000
    archive = tmp_path / "t"
    with gzip.open(archive, "wb") as file:
        file.write(long_name.tobuf(tarfile.GNU_FORMAT))
        for _ in range(40):
            file.write(bytes(1 << 20))
    with pytest.raises(UnsafeArchiveError, match=r"header of 5,000,000,000 bytes"):
        unpack(archive, to, RULES)


def test_a_chain_of_headers_without_end_is_refused(tmp_path, to):
    long_name = tarfile.TarInfo("././@LongLink")
    long_name.type, long_name.size = tarfile.GNUTYPE_LONGNAME, 1
    block = long_name.tobuf(tarfile.GNU_FORMAT) + b"x".ljust(512, b"\0")
    (tmp_path / "t").write_bytes(block * 3000)
    with pytest.raises(UnsafeArchiveError, match=r"damaged"):
        unpack(tmp_path / "t", to, RULES)


def test_an_archive_that_is_cut_off_anywhere_is_refused(make, to):
    archive = make()
    whole = archive.read_bytes()
    is_tar = whole[257:262] == b"ustar"
    end = whole.rindex(b"read me") + 512 if is_tar else len(whole)  # then only zeros follow
    for part in (0, 1, 30, 50, 99):
        archive.write_bytes(whole[: end * part // 100])
        (to / str(part)).mkdir()
        with pytest.raises(UnsafeArchiveError):
            unpack(archive, to / str(part), RULES)


def test_a_damaged_header_in_the_middle_is_no_end(tmp_path, to):
    archive = make_tar(tmp_path / "t", {f"{n}.jpg": b"x" * 600 for n in range(5)})
    raw = bytearray(archive.read_bytes())
    at = raw.index(b"3.jpg")
    raw[at : at + 512] = b"\x7f" * 512
    archive.write_bytes(raw)
    with pytest.raises(UnsafeArchiveError, match=r"no proper end"):
        unpack(archive, to, RULES)


@pytest.mark.parametrize("content", [b"", b"<html>gone</html>", b"\x1f\x8b", b"PK\x03\x04", b"\0" * 10_000])
def test_what_is_no_archive_is_said(tmp_path, to, content):
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(UnsafeArchiveError, match=r"is no tar, tgz or zip|is damaged"):
        unpack(tmp_path / "t", to, RULES)


def test_a_member_of_negative_size_is_refused(tmp_path, to):
    raw = bytearray(make_tar(tmp_path / "t", {"a.jpg": b"x"}).read_bytes())
    raw[124:136] = tarfile.itn(-512, 12, tarfile.GNU_FORMAT)
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    (tmp_path / "t").write_bytes(raw)
    with pytest.raises(UnsafeArchiveError, match=r"negative size"):
        unpack(tmp_path / "t", to, RULES)


def test_a_sparse_member_is_refused(tmp_path, to):
    with tarfile.open(tmp_path / "t", "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("a.jpg")
        info.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "99999999"}
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(UnsafeArchiveError):
        unpack(tmp_path / "t", to, RULES)


def test_a_stop_ends_it(make, to):
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        unpack(make(), to, RULES, stop=stop)


def test_a_full_disk_is_not_called_a_damaged_archive(make, to, monkeypatch):
    archive = make()
    to.chmod(0o500)
    if os.access(to, os.W_OK):  # root writes anywhere
        to.rmdir()
        to.write_bytes(b"")  # a file where the folder was
    with pytest.raises(OSError):
        unpack(archive, to, RULES)


def test_any_damage_is_an_error_or_gives_the_published_bytes(make, tmp_path):
    """600 damaged archives in all: bits flipped, pieces cut out or doubled."""
    archive, rng = make(), np.random.default_rng(11)
    whole = archive.read_bytes()
    refused = 0
    for number in range(150):
        raw = bytearray(whole)
        first, last = sorted(int(n) for n in rng.integers(len(raw), size=2))
        if number % 3 == 0:
            for at in rng.integers(len(raw), size=4):
                raw[at] ^= 1 << int(rng.integers(8))
        elif number % 3 == 1:
            del raw[first : min(last, first + 600)]
        else:
            raw[first:first] = raw[first : min(last, first + 600)]
        archive.write_bytes(raw)
        to = tmp_path / f"to{number}"
        to.mkdir()
        try:
            unpack(archive, to, RULES)
        except UnsafeArchiveError:
            refused += 1
        assert sum(map(len, files_below(to).values())) <= RULES.max_bytes
    assert refused > 30
    assert {path.name for path in tmp_path.iterdir()} == {archive.name, *(f"to{n}" for n in range(150))}
