import hashlib
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

from meisho.fetching import source
from meisho.fetching.download import Expected, Patience, StoppedError, download
from meisho.fetching.source import SourceFault

from .server import Answer


def expect(data):
    return Expected(len(data), hashlib.sha256(data).hexdigest())


def left_over(place):
    return sorted(path.name for path in place.parent.iterdir())


@pytest.fixture
def place(tmp_path):
    return tmp_path / "deep" / "file.bin"


def test_a_file_comes_whole_with_its_digests_and_nothing_beside_it(server, quick, place, data):
    url = server.put("file.bin", data)
    digests, source = download(place, [url], expect(data), patience=quick)
    assert place.read_bytes() == data
    assert (digests.size_bytes, digests.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert digests.md5 is None  # nobody asked for it
    assert source == url
    assert left_over(place) == ["file.bin"]


def test_an_md5_is_verified_where_that_is_what_is_known(server, quick, place, data):
    url = server.put("f", data, Answer(drop_after=100_000))
    md5 = hashlib.md5(data).hexdigest()
    with pytest.raises(SourceFault, match=rf"expected md5 {'0' * 32} .*, got {md5}"):
        download(place, [url], Expected(md5="0" * 32), patience=quick)
    digests, _ = download(place, [url], Expected(md5=md5), patience=quick)
    assert digests.md5 == md5


def test_dropped_connections_are_resumed_where_they_broke(server, quick, place, data):
    url = server.put("f", data, *[Answer(drop_after=70_000)] * 4)
    download(place, [url], expect(data), patience=quick)
    assert place.read_bytes() == data
    assert [asked for _, asked, _ in server.requests] == [
        None,
        "bytes=70000-",
        "bytes=140000-",
        "bytes=210000-",
        "bytes=280000-",
    ]
    assert server.sent == len(data)


def test_a_source_that_always_drops_without_progress_is_given_up(server, quick, place, data):
    url = server.put("f", data, *[Answer(drop_after=0)] * 50)
    with pytest.raises(
        SourceFault, match=r"connection ended after 0 of 300,000 bytes; given up after 4 tries"
    ):
        download(place, [url], expect(data), patience=quick)
    assert server.count("f") == 4
    assert left_over(place) == []


def test_what_came_is_kept_for_the_next_run(server, quick, place, data):
    url = server.put("f", data, Answer(drop_after=200_000), *[Answer(status=503)] * 50)
    with pytest.raises(SourceFault, match=r"503"):
        download(place, [url], expect(data), patience=quick)
    assert left_over(place) == ["file.bin.part", "file.bin.part.json"]
    server.answers["f"] = []
    download(place, [url], expect(data), patience=quick)
    assert place.read_bytes() == data
    assert server.sent == len(data)


def test_without_a_checksum_a_run_goes_on_only_where_the_version_is_known_to_be_the_same(
    server, quick, place, data
):
    url = server.put("f", data, Answer(drop_after=200_000), *[Answer(status=503)] * 50)
    with pytest.raises(SourceFault):
        download(place, [url], Expected(), patience=quick)
    server.put("f", data[::-1])  # it has changed, and so has its ETag
    digests, _ = download(place, [url], Expected(), patience=quick)
    assert place.read_bytes() == data[::-1]
    assert digests.sha256 == hashlib.sha256(data[::-1]).hexdigest()


def test_a_file_that_changes_between_two_requests_never_comes_as_a_mixture(server, quick, place, data):
    url = server.put("f", data, Answer(drop_after=100_000))
    new = data[::-1]

    def change(stage, done, total):
        if done >= 100_000:
            server.files["f"] = new

    download(place, [url], Expected(), patience=quick, progress=change)
    assert place.read_bytes() == new


@pytest.mark.parametrize("etag", [None, "W/"], ids=["none", "weak"])
def test_a_change_without_a_usable_etag_is_found_by_the_checksum(server, quick, place, data, etag):
    server.weak = etag == "W/"
    first = Answer(drop_after=100_000, etag=None if etag is None else "")
    url = server.put("f", data[::-1], first, *[Answer(etag=None if etag is None else "")] * 3)

    def change(stage, done, total):
        if done >= 100_000:
            server.files["f"] = data

    download(place, [url], expect(data), patience=quick, progress=change)
    assert place.read_bytes() == data


def test_a_server_that_ignores_ranges_gives_the_whole_file_again(server, quick, place, data):
    url = server.put("f", data, Answer(drop_after=100_000), Answer(ignore_range=True))
    download(place, [url], expect(data), patience=quick)
    assert place.read_bytes() == data
    assert [status for _, _, status in server.requests] == [200, 200]


def test_a_range_from_the_wrong_byte_is_not_taken(server, quick, place, data):
    url = server.put("f", data, Answer(drop_after=100_000), Answer(wrong_range=5))
    download(place, [url], expect(data), patience=quick)
    assert place.read_bytes() == data


def test_a_length_that_promises_too_much_is_noticed(server, quick, place, data):
    url = server.put("f", data, *[Answer(extra_length=10)] * 50)
    with pytest.raises(SourceFault, match=r"expected size 300000 .the manifest., it offers 300010 bytes"):
        download(place, [url], expect(data), patience=quick)
    with pytest.raises(SourceFault, match=r"ended after 300,000 of 300,010 bytes|shorter than what came"):
        download(place, [url], Expected(), patience=quick)
    assert not place.exists()


def test_a_length_that_promises_too_little_is_noticed(server, quick, place, data):
    url = server.put("f", data, *[Answer(extra_length=-10)] * 50)
    with pytest.raises(SourceFault, match=r"expected size 300000 .the manifest., it offers 299990 bytes"):
        download(place, [url], expect(data), patience=quick)
    with pytest.raises(SourceFault, match=r"expected sha256 .*, got "):
        download(place, [url], Expected(sha256=hashlib.sha256(data).hexdigest()), patience=quick)
    assert left_over(place) == []


def test_wrong_bytes_are_not_taken_and_both_digests_are_said(server, quick, place, data):
    url = server.put("f", data[::-1])
    wanted, got = hashlib.sha256(data).hexdigest(), hashlib.sha256(data[::-1]).hexdigest()
    with pytest.raises(SourceFault, match=rf"expected sha256 {wanted} .the manifest., got {got}"):
        download(place, [url], expect(data), patience=quick)
    assert left_over(place) == []
    assert server.count("f") == 1


def test_wrong_bytes_after_a_resumed_beginning_are_fetched_once_more_from_the_start(
    server, quick, place, data
):
    url = server.put("f", data, Answer(drop_after=100_000, body=data[::-1]), Answer())
    download(place, [url], expect(data), patience=quick)
    assert place.read_bytes() == data
    assert server.count("f") == 3


def test_the_next_source_is_asked_when_one_is_dead_or_altered(server, quick, place, data):
    dead = f"{server.url}/gone"
    altered = server.put("altered", data[::-1])
    good = server.put("good", data)
    _, source = download(place, [dead, altered, good], expect(data), patience=quick)
    assert source == good
    assert place.read_bytes() == data
    assert server.count("gone") == 1


def test_the_next_source_goes_on_where_the_last_one_ended_when_a_checksum_can_tell(
    server, quick, place, data
):
    failing = server.put("first", data, Answer(drop_after=200_000), *[Answer(status=503)] * 9)
    good = server.put("second", data)
    download(place, [failing, good], expect(data), patience=quick)
    assert place.read_bytes() == data
    assert server.requests[-1][:2] == ("second", "bytes=200000-")


def test_the_next_source_begins_anew_when_nothing_can_tell(server, quick, place, data):
    failing = server.put("first", data, Answer(drop_after=200_000), *[Answer(status=503)] * 9)
    good = server.put("second", data[::-1])
    download(place, [failing, good], Expected(), patience=quick)
    assert place.read_bytes() == data[::-1]


def test_a_part_that_is_whole_already_is_not_asked_for(server, quick, place, data):
    url = server.put("f", data, Answer(chunked=True, drop_after=200_000), *[Answer(status=503)] * 9)
    with pytest.raises(SourceFault):
        download(place, [url], expect(data), patience=quick)
    with (place.parent / "file.bin.part").open("ab") as part:
        part.write(data[200_000:])
    before = len(server.requests)
    download(place, [url], Expected(sha256=expect(data).sha256), patience=quick)
    assert place.read_bytes() == data
    assert len(server.requests) == before


def test_all_sources_are_named_when_none_gives_the_file(server, quick, place, data):
    dead = f"{server.url}/gone"
    altered = server.put("altered", data[::-1])
    with pytest.raises(SourceFault) as fault:
        download(place, [dead, altered], expect(data), patience=quick)
    first, second = str(fault.value).splitlines()
    assert first == f"{dead}: it answers 404 Not Found"
    assert second.strip().startswith(f"{altered}: expected sha256")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(server, quick, place, data, status):
    url = server.put("f", data, Answer(status=status), Answer(status=status))
    download(place, [url], expect(data), patience=quick)
    assert server.count("f") == 3


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_obeyed(server, quick, place, data, form):
    class Pauses(threading.Event):
        def wait(self, timeout=None):
            pauses.append(timeout)
            return self.is_set()

    pauses = []
    value = "500" if form == "seconds" else formatdate(time.time() + 500, usegmt=True)
    url = server.put("f", data, Answer(status=429, headers={"Retry-After": value}))
    download(place, [url], expect(data), patience=quick, stop=Pauses())
    assert len(pauses) == 1 and 1 < pauses[0] <= 500


@pytest.mark.parametrize("value", ["soon", "-5", "1e9", "", "Thu, 99 Foo 2020"])
def test_a_retry_after_that_means_nothing_is_passed_over(server, quick, place, data, value):
    url = server.put("f", data, Answer(status=503, headers={"Retry-After": value}))
    download(place, [url], expect(data), patience=quick)
    assert place.read_bytes() == data


def test_a_wait_of_hours_is_said_instead_of_waited(server, quick, place, data):
    url = server.put("f", data, Answer(status=429, headers={"Retry-After": "7200"}))
    with pytest.raises(SourceFault, match=r"429 Too Many Requests and asks to come back in 120 minutes"):
        download(place, [url], expect(data), patience=quick)


def test_redirects_are_followed_with_the_range(server, quick, place, data):
    target = server.put("target", data, Answer(drop_after=100_000))
    url = server.put("f", b"", *[Answer(status=302, headers={"Location": target})] * 2)
    download(place, [url], expect(data), patience=quick)
    assert place.read_bytes() == data
    assert server.sent == len(data)


def test_redirects_in_a_circle_end(server, quick, place, data):
    url = server.put("f", b"", *[Answer(status=301, headers={"Location": "/f"})] * 50)
    with pytest.raises(SourceFault, match=r"301"):
        download(place, [url], expect(data), patience=quick)
    assert server.count("f") < 12


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/f"])
def test_redirects_to_other_schemes_are_refused(server, quick, place, data, to):
    url = server.put("f", b"", Answer(status=302, headers={"Location": to}))
    with pytest.raises(SourceFault, match=r"redirect|302"):
        download(place, [url], expect(data), patience=quick)


def test_a_silent_server_times_out_and_the_download_goes_on(server, quick, place, data):
    url = server.put("f", data, Answer(before_body=server.closing.wait), Answer())
    download(place, [url], expect(data), patience=replace(quick, stall_seconds=0.3, tries=1000))
    assert place.read_bytes() == data


def test_a_trickle_times_out_too(server, quick, place, data, monkeypatch):
    byte, seconds = threading.Semaphore(0), count(step=10)

    def clock():
        byte.release()  # one comes between two looks at the clock
        return next(seconds)

    monkeypatch.setattr(source, "time", SimpleNamespace(monotonic=clock))
    url = server.put("f", data, Answer(before_byte=byte.acquire))
    with pytest.raises(SourceFault, match=r"only [0-9]+ bytes came in 600 s"):
        download(place, [url], expect(data), patience=replace(quick, tries=1))


@pytest.mark.parametrize("kind", ["chunked", "no_length"])
def test_an_answer_without_a_length_is_taken_when_it_can_be_verified(server, quick, place, data, kind):
    url = server.put("f", data, Answer(**{kind: True}))
    download(place, [url], expect(data), patience=quick)
    assert place.read_bytes() == data


def test_an_answer_whose_end_cannot_be_told_is_not_taken_unverified(server, quick, place, data):
    url = server.put("f", data, *[Answer(no_length=True)] * 9)
    with pytest.raises(SourceFault, match=r"does not say how long the file is, and no checksum is known"):
        download(place, [url], Expected(), patience=quick)
    download(place, [server.put("g", data, Answer(chunked=True))], Expected(), patience=quick)
    assert place.read_bytes() == data


@pytest.mark.parametrize("kind", ["chunked", "no_length"])
def test_an_answer_without_a_length_that_breaks_is_resumed(server, quick, place, data, kind):
    url = server.put("f", data, Answer(**{kind: True}, drop_after=100_000))
    download(place, [url], expect(data), patience=quick)
    assert place.read_bytes() == data
    assert server.count("f") == 2


def test_a_login_page_is_not_taken_for_a_file(server, quick, place):
    url = server.put(
        "f", b"<html>log in</html>", Answer(headers={"Content-Type": "text/html; charset=utf-8"})
    )
    with pytest.raises(SourceFault, match=r"web page instead of the file"):
        download(place, [url], Expected(), patience=quick)


def test_a_compressed_answer_is_not_taken_for_the_file(server, quick, place, data):
    url = server.put("f.csv", data, Answer(headers={"Content-Encoding": "gzip"}))
    with pytest.raises(SourceFault, match=r"sends the file compressed .gzip., which was not asked for"):
        download(place, [url], Expected(), patience=quick)
    url = server.put("f.tgz", data, Answer(headers={"Content-Encoding": "x-gzip"}))
    download(place, [url], expect(data), patience=quick)
    assert place.read_bytes() == data


def test_nothing_of_an_answer_that_is_too_long_lands_at_the_place(server, quick, place, data):
    url = server.put("f", data, Answer(no_length=True))
    with pytest.raises(SourceFault, match=r"expected 1,000 bytes, more came"):
        download(place, [url], Expected(size_bytes=1000), patience=quick)
    assert left_over(place) == []


def test_an_empty_file_comes(server, quick, place):
    download(place, [server.put("f", b"")], expect(b""), patience=quick)
    assert place.read_bytes() == b""


def test_a_closed_port_is_said_within_moments(quick, place):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(SourceFault, match=r"cannot be reached .Connection refused.; given up after 2 tries"):
        download(place, [f"http://127.0.0.1:{port}/f"], Expected(), patience=quick)


def test_a_server_that_speaks_no_http_is_given_up(quick, place):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk():
            for _ in range(4):
                connection, _ = listener.accept()
                connection.recv(1000)
                connection.sendall(b"220 ftp ready\r\n")
                connection.close()

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/f"
        with pytest.raises(SourceFault, match=r"connection broke"):
            download(place, [url], Expected(), patience=quick)
        thread.join()


@pytest.mark.parametrize("url", ["http://127.0.0.1:notaport/f", "http:///f", "http://[::1/f", "http://a b/f"])
def test_an_address_that_is_none_is_said(quick, place, url):
    with pytest.raises(SourceFault):
        download(place, [url], Expected(), patience=quick)


def test_a_path_is_a_source_like_an_address(quick, place, tmp_path, data):
    mirror = tmp_path / "mirror.bin"
    mirror.write_bytes(data)
    download(place, [str(tmp_path / "none"), str(mirror)], expect(data), patience=quick)
    assert place.read_bytes() == data
    assert mirror.read_bytes() == data


def test_a_stop_ends_it_and_keeps_what_came(server, quick, place, data):
    url = server.put("f", data)
    server.hold_after(200_000)
    stop = threading.Event()

    def stop_midway(stage, done, total):
        if done > 90_000:
            stop.set()
            server.let_go()  # what comes now is not kept

    with pytest.raises(StoppedError):
        download(
            place,
            [url],
            expect(data),
            patience=quick,
            stop=stop,
            progress=stop_midway,
        )
    assert 90_000 < (place.parent / "file.bin.part").stat().st_size < len(data)
    download(place, [url], expect(data), patience=quick)
    assert place.read_bytes() == data


def test_a_stop_ends_a_long_pause(server, place, data):
    url = server.put("f", data, Answer(status=503, headers={"Retry-After": "600"}))

    class StoppedInAPause(threading.Event):
        def wait(self, timeout=None):
            pauses.append(timeout)
            threading.Thread(target=self.set).start()
            return super().wait(timeout)

    pauses = []
    with pytest.raises(StoppedError):
        download(place, [url], expect(data), patience=Patience(), stop=StoppedInAPause())
    assert pauses == [600]


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"source": 1}', b"\xff"])
def test_a_note_that_cannot_be_read_makes_it_begin_again(server, quick, place, data, note):
    place.parent.mkdir(parents=True)
    (place.parent / "file.bin.part").write_bytes(b"x" * 1000)
    (place.parent / "file.bin.part.json").write_bytes(note)
    download(place, [server.put("f", data)], expect(data), patience=quick)
    assert place.read_bytes() == data


def test_interrupted_at_random_a_download_fetches_no_byte_twice(server, quick, place, data):
    rng = np.random.default_rng(3)
    large = data * 14  # 4.2 MB
    lengths = rng.integers(70_000, 300_000, size=20)
    url = server.put("f", large, *[Answer(drop_after=int(length)) for length in lengths])
    download(place, [url], expect(large), patience=quick)
    assert hashlib.sha256(place.read_bytes()).digest() == hashlib.sha256(large).digest()
    assert server.count("f") >= 15
    assert server.sent <= 1.1 * len(large)


def test_pauses_double_up_to_the_longest():
    patience = Patience(first_wait_seconds=1, longest_wait_seconds=10)
    assert [patience.pause(failures) for failures in (1, 2, 3, 4, 5)] == [1, 2, 4, 8, 10]


def test_any_damage_to_an_answer_is_a_fault_or_harmless(place):
    """A server whose answers are damaged at random, header and body; the file is right or not there."""
    rng = np.random.default_rng(17)
    body = rng.bytes(2000)
    whole = b'HTTP/1.1 200 OK\r\nContent-Length: 2000\r\nETag: "a"\r\nContent-Type: image/x\r\n\r\n' + body
    patience = Patience(tries=2, first_wait_seconds=0, longest_wait_seconds=0)
    got = 0
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                raw = bytearray(whole)
                for at in rng.integers(len(raw) - 1900, size=int(rng.integers(0, 4))):
                    raw[at] = int(rng.integers(256))
                with connection, suppress(OSError):
                    connection.recv(4000)
                    connection.sendall(raw)

        threading.Thread(target=talk, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/f"
        for _ in range(100):
            try:
                download(place, [url], Expected(sha256=hashlib.sha256(body).hexdigest()), patience=patience)
            except SourceFault:
                assert not place.exists()
            else:
                got += 1
                assert place.read_bytes() == body
                place.unlink()
        listener.shutdown(socket.SHUT_RDWR)
    assert 10 < got < 100
