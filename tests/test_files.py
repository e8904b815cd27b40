import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from meisho.files import is_leftover, remove_leftovers, replacing, write_bytes, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_new_content_takes_the_place_of_the_old_at_the_end(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    for content in ("old", "new"):
        with replacing(path) as part:
            part.write_text(content)
            assert not path.exists() or path.read_text() == "old"
        assert path.read_text() == content
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_block_that_raises_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as part:
        part.write_text("half")
        raise error
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_a_block_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert path.read_text() == "old"


def test_a_file_that_cannot_be_put_in_its_place_leaves_nothing(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OSError, match=r"a\.txt"):
        write_text(tmp_path / "a.txt", "new")
    assert names(tmp_path) == ["a.txt"] and names(tmp_path / "a.txt") == []


def test_no_two_files_share_a_temporary_name_and_each_keeps_its_ending(tmp_path):
    files = [tmp_path / name for name in ("a.png", "a.jpg", "a", "a.b.png", ".a.png", "b.png")]
    parts = []
    for file in files:
        with replacing(file) as part:
            part.touch()
        parts.append(part)
        assert part.suffix == file.suffix or not file.suffix
        assert part.name.startswith(".") and part.parent == file.parent
    assert len({*parts, *files}) == 2 * len(files)


WRITER = """
import sys
from pathlib import Path
from meisho.files import replacing
with replacing(Path(sys.argv[1])) as part:
    part.write_text("theirs")
    print(part.name, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path):
    """Another process that is writing a.txt, until its input ends."""
    command = [sys.executable, "-c", WRITER, tmp_path / "a.txt"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process


def test_two_processes_write_the_same_file_and_the_last_one_stays(tmp_path, writer):
    their_name = writer.stdout.readline().strip()
    with replacing(tmp_path / "a.txt") as part:
        assert part.name != their_name
        part.write_text("mine")
    assert (tmp_path / "a.txt").read_text() == "mine"
    writer.communicate()
    assert (tmp_path / "a.txt").read_text() == "theirs" and names(tmp_path) == ["a.txt"]


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path, writer):
    their_name = writer.stdout.readline().strip()
    others = [".a.txt", ".hidden.part.txt", "a.part", "a.1.part.txt", "a.txt"]
    for name in others:
        (tmp_path / name).touch()
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    assert names(tmp_path) == sorted([*others, their_name])
    remove_leftovers(tmp_path.parent)
    assert names(tmp_path) == sorted(others)


def test_a_text_arrives_letter_for_letter(tmp_path):
    path, text = tmp_path / "a.txt", "名所 été\r\nline\n"
    write_text(path, text)
    assert path.read_bytes() == text.encode()
    odd = os.fsdecode(b"caf\xe9")
    write_text(path, odd, errors="surrogateescape")
    assert path.read_bytes() == b"caf\xe9"
    with pytest.raises(UnicodeEncodeError):
        write_text(path, odd)
    assert path.read_bytes() == b"caf\xe9" and names(tmp_path) == ["a.txt"]


def test_bytes_are_written_one_piece_after_the_other(tmp_path):
    write_bytes(tmp_path / "a", b"one", b"", b"\0two")
    assert (tmp_path / "a").read_bytes() == b"one\0two"
    write_bytes(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b""


def test_a_relative_name_is_written_where_one_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_text(Path("a.txt"), "here")
    assert (tmp_path / "a.txt").read_text() == "here" and names(tmp_path) == ["a.txt"]


def test_a_synced_file_arrives_like_any_other(tmp_path):
    write_text(tmp_path / "a.txt", "safe", sync=True)
    assert (tmp_path / "a.txt").read_text() == "safe" and names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("write", [write_text, lambda path, text: write_bytes(path, text.encode())])
def test_a_disk_that_takes_no_more_names_the_file_and_leaves_nothing(tmp_path, write):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as fault:
            write(tmp_path / "a.txt", "x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert fault.value.filename == str(tmp_path / "a.txt") and names(tmp_path) == []


def test_a_temporary_name_is_known_as_one(tmp_path):
    with replacing(tmp_path / "a.txt") as part:
        part.touch()
        assert is_leftover(part) and not is_leftover(tmp_path / "a.txt")
