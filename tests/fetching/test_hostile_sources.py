"""Sources that lie: the file comes whole and of one version, or not at all, and within its bounds."""

import errno
import hashlib

import pytest

from meisho.fetching import download as downloading
from meisho.fetching.download import Expected, download
from meisho.fetching.source import SourceFault

from .server import Answer

SOME = 100_000  # bytes that come before the connection breaks
OLD_DATE = "Tue, 01 Jan 2019 00:00:00 GMT"
NEW_DATE = "Wed, 01 Jan 2020 00:00:00 GMT"


def dated(date, **options):
    return Answer(etag=None, headers={"Last-Modified": date}, **options)


TOMORROW = "Fri, 01 Jan 2100 00:00:00 GMT"  # no older than the answer: the file may change within its second

CHANGES = {  # what comes until the connection breaks, and what comes of the file that has changed by then
    "nothing names the version": (Answer(etag=None), Answer(etag=None)),
    "an etag only at first": (Answer(etag='"a"'), Answer(etag=None, ignore_if_range=True)),
    "an etag only afterwards": (Answer(etag=None), Answer(etag='"b"')),
    "another etag": (Answer(etag='"a"'), Answer(etag='"b"')),
    "another etag, If-Range not heeded": (Answer(etag='"a"'), Answer(etag='"b"', ignore_if_range=True)),
    "a weak etag": (Answer(etag='W/"a"'), Answer(etag='W/"a"', ignore_if_range=True)),
    "an etag without quotes": (Answer(etag="a"), Answer(etag="a", ignore_if_range=True)),
    "another date": (dated(OLD_DATE), dated(NEW_DATE)),
    "another date, If-Range not heeded": (dated(OLD_DATE), dated(NEW_DATE, ignore_if_range=True)),
    "a date that may change again": (dated(TOMORROW), dated(TOMORROW)),
    "a date that is none": (dated("yesterday"), dated("yesterday")),
    "a date only at first": (dated(OLD_DATE), Answer(etag=None, ignore_if_range=True)),
    "one etag, another size": (Answer(etag='"a"'), Answer(etag='"a"', total="300001", ignore_if_range=True)),
    "ranges ignored": (Answer(etag='"a"'), Answer(etag='"a"', ignore_range=True)),
    "chunked, nothing names it": (Answer(etag=None, chunked=True), Answer(etag=None, chunked=True)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_bytes_are_joined_only_where_the_source_shows_that_they_are_of_one_file(
    server, quick, tmp_path, data, name
):
    before, after = CHANGES[name]
    before.drop_after = SOME
    before.body = data
    url = server.put("f", data[::-1], before, after)
    digests, _ = download(tmp_path / "f", [url], Expected(), patience=quick)
    assert (tmp_path / "f").read_bytes() == data[::-1]
    assert digests.sha256 == hashlib.sha256(data[::-1]).hexdigest()


PROOFS = {
    "a strong etag": (Expected(), lambda: Answer()),
    "an old date": (Expected(), lambda: dated(OLD_DATE)),
    "an old date beside a weak etag": (
        Expected(),
        lambda: Answer(etag='W/"a"', headers={"Last-Modified": OLD_DATE}),
    ),
    "a checksum": ("sha256", lambda: Answer(etag=None)),
}


@pytest.mark.parametrize("name", PROOFS)
def test_no_byte_is_fetched_twice_where_something_proves_the_version(server, quick, tmp_path, data, name):
    expected, answer = PROOFS[name]
    if expected == "sha256":
        expected = Expected(sha256=hashlib.sha256(data).hexdigest())
    first = answer()
    first.drop_after = SOME
    download(tmp_path / "f", [server.put("f", data, first, answer())], expected, patience=quick)
    assert (tmp_path / "f").read_bytes() == data
    assert server.sent == len(data)


RANGES = {
    "a range of another length": Answer(last=200_000),
    "a range that ends before it begins": Answer(last=5),
    "a range beyond the whole": Answer(total="200000"),
    "a range from elsewhere": Answer(wrong_range=5),
    "no range": Answer(total="many"),
}


@pytest.mark.parametrize("name", RANGES)
def test_a_range_that_contradicts_itself_is_not_taken(server, quick, tmp_path, data, name):
    url = server.put("f", data, Answer(drop_after=SOME), RANGES[name])
    download(tmp_path / "f", [url], Expected(), patience=quick)
    assert (tmp_path / "f").read_bytes() == data
    assert server.count("f") == 3  # the part, the range, all anew


BOUNDED = {
    "endless chunks": (Expected(most_bytes=1 << 20), Answer(chunked=True, endless=True)),
    "endless chunks, a checksum": (
        Expected(sha256="0" * 64, most_bytes=1 << 20),
        Answer(chunked=True, endless=True),
    ),
    "endless, no length": (
        Expected(sha256="0" * 64, most_bytes=1 << 20),
        Answer(no_length=True, endless=True),
    ),
    "endless, an exact size": (Expected(size_bytes=1 << 20), Answer(no_length=True, endless=True)),
    "a length that is too large": (Expected(most_bytes=1 << 20), Answer(extra_length=1 << 40)),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_no_source_brings_more_than_is_allowed(server, quick, tmp_path, data, name):
    expected, answer = BOUNDED[name]
    url = server.put("f", data, *[answer] * 9)
    with pytest.raises(SourceFault, match=r"1,048,576 bytes, more came|more than the 1,048,576 that are"):
        download(tmp_path / "f", [url], expected, patience=quick)
    assert list(tmp_path.iterdir()) == []


FULL = {
    "a length that does not fit": Answer(extra_length=1 << 50),
    "a disk that fills up meanwhile": Answer(chunked=True, endless=True),
}


@pytest.mark.parametrize("name", FULL)
def test_a_download_leaves_the_disk_some_room(server, quick, tmp_path, data, name, monkeypatch):
    monkeypatch.setattr(downloading, "_ROOM_EVERY_BYTES", 1 << 20)
    if FULL[name].endless:
        monkeypatch.setattr(downloading, "_SPARE_BYTES", 1 << 60)
    url = server.put("f", data, *[FULL[name]] * 9)
    with pytest.raises(OSError, match="bytes that are free; make room") as fault:
        download(tmp_path / "f", [url], Expected(most_bytes=1 << 60), patience=quick)
    assert fault.value.errno == errno.ENOSPC
    assert not (tmp_path / "f").exists()


def test_a_source_that_always_breaks_and_names_no_version_is_given_up(server, quick, tmp_path, data):
    url = server.put("f", data, *[Answer(etag=None, drop_after=SOME)] * 50)
    with pytest.raises(SourceFault, match="given up after 4 tries in a row"):
        download(tmp_path / "f", [url], Expected(), patience=quick)
    assert list(tmp_path.iterdir()) == []
