"""What reaches the terminal: no name is obeyed, no pipe is folded, and no stream ends in a traceback."""

import io
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image
from rich.table import Table

from meisho.cli.app import _explain, note, print_json, say, tell
from meisho.cli.terminal import SafeConsole
from meisho.errors import ImageError, InputError, MissingDependencyError
from meisho.texts import printable

program = import_module("meisho.cli.app")  # the package has an `app` too
HOSTILE = {
    "escape": "a\x1b[31;1mb",
    "title of the window": "a\x1b]0;owned\x07b",
    "control of 8 bits": "a\x9b31mb",
    "line feed": "a\nerror: all is lost\nb",
    "carriage return": "a\rb",
    "backspace": "a\b\bb",
    "turned direction": "a\u202egpj.b",
    "isolate": "a\u2066b\u2069",
    "direction mark": "a\u200fb",
    "line separator": "a\u2028b",
    "byte that is no text": os.fsdecode(b"a\xffb"),
    "delete": "a\x7fb",
}
"""A name of each kind that no terminal may see as it is; a new kind is one line."""
FORBIDDEN = {c for name in HOSTILE.values() for c in name if not (c.isascii() and c.isprintable())} - {"\n"}


def lines_of(text):
    assert not FORBIDDEN & {*text}
    return text.splitlines()


def test_lines_of_a_table_end_with_their_last_letter(capsys):
    table = Table("name", "value", box=None, pad_edge=False)
    table.add_row("a", "58.15 [54.1, 62.2]")
    table.add_row("a longer one", "")
    SafeConsole("stdout").print_table(table)
    said = capsys.readouterr().out
    assert said == "name          value\na             58.15 [54.1, 62.2]\na longer one\n"


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_no_way_of_printing_lets_a_name_through(name, capsys):
    table = Table("name", box=None)
    table.add_row(printable(name))
    say("found ", (name, "bold"), name)
    tell(("skipped ", "yellow"), name)
    note(name)
    program.out.print(table)
    captured = capsys.readouterr()
    assert len(lines_of(captured.out)) == 3  # the second is the head of the table
    assert len(lines_of(captured.err)) == 2


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_an_error_is_one_line_whatever_it_names(run, name):
    for words in (
        ["search", name, name],
        ["index", name, "--to", "c"],
        ["info", name],
        [name],
        ["search", f"--{name}"],
        ["match", name, "b", "--geometry", name],
        ["datasets", "get", name],
        ["evaluate", name, "--root", "."],
        ["train", name],
    ):
        code, out, err = run(*words)
        assert code in (2, 4, 5), (words, err)
        assert len(lines_of(err)) == 1, (words, err)
        assert not lines_of(out)
        assert "unexpected" not in err


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_photo_is_indexed_and_found_under_any_name(run, tmp_path, name):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.effect_noise((60, 40), 80).convert("RGB").save(folder / "plain.png")
    (folder / "plain.png").rename(folder / f"{name}.png")
    (folder / f"{name}-broken.jpg").write_bytes(b"no photo")
    small = ("--to", tmp_path / "c", "--size", 32, "--workers", 0)
    code, out, err = run("index", folder, *small)
    assert code == 0
    assert len(lines_of(out)) == 2
    assert len([line for line in lines_of(err) if "skipped" in line]) == 1
    code, out, err = run("search", tmp_path / "c", folder / f"{name}.png")
    assert code == 0
    assert len(lines_of(out)) == 2
    found = json.loads(run("search", tmp_path / "c", folder / f"{name}.png", "--json")[1])
    assert found["answers"][0]["path"] == str(folder / f"{name}.png")
    lines_of(run("info", tmp_path / "c")[1])


def test_our_own_lists_keep_their_lines(capsys):
    tell("two are missing:\n  a\n  b")
    assert capsys.readouterr().err == "two are missing:\n  a\n  b\n"
    assert str(ImageError(Path("a\n  b"), "gone")) == "a\\x0A  b: gone"


def test_piped_output_is_not_folded(capsys):
    name = "very long " * 200
    table = Table("a", "b", box=None)
    table.add_row(name, name)
    say(name)
    note(name)
    program.out.print(table)
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 3
    assert len(captured.err.splitlines()) == 1


def caused_by(error, cause):
    error.__cause__ = cause
    return error


def test_errors_are_explained_each_with_its_code():
    class PanicException(BaseException):
        pass

    table = {
        InputError("no"): ("no", 2),
        PermissionError(13, "Permission denied", "a"): ("a: permission denied", 1),
        OSError(36, "File name too long", "a"): ("a: file name too long", 2),
        MemoryError(): ("not enough memory", 1),
        ImportError("a.so: failed to map segment from shared object"): ("not enough memory", 1),
        OSError(12, "Cannot allocate memory"): ("not enough memory", 1),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"): (
            "not enough memory",
            1,
        ),
        caused_by(MissingDependencyError("run: pip"), ImportError("failed to map segment")): (
            "not enough",
            1,
        ),
        caused_by(MissingDependencyError("run: pip"), ImportError("no module")): ("run: pip", 5),
        PanicException("index out of bounds"): ("LanceDB panicked", 4),
    }
    for error, (words, code) in table.items():
        message, found = _explain(error)
        assert words in message
        assert found == code


def test_what_nobody_foresaw_is_a_line_too(run, monkeypatch):
    def fail(*_):
        raise LookupError("odd\x1b[1m\nthing")

    monkeypatch.setattr(program, "load_commands", fail)
    code, _, err = run("info")
    assert code == 1
    assert err.startswith("error: unexpected LookupError at test_terminal.py:")
    assert len(lines_of(err)) == 1


START = [sys.executable, "-m", "meisho.cli"]


def start(words, **options):
    return subprocess.run([*START, *words], stderr=subprocess.PIPE, text=True, check=False, **options)


@pytest.mark.parametrize("words", [["doctor"], ["doctor", "--json"], ["--help"], ["--version"], ["datasets"]])
def test_an_output_that_nobody_reads_ends_quietly(words):
    reader, writer = os.pipe()
    os.close(reader)
    ended = start(words, stdout=writer)
    os.close(writer)
    assert ended.returncode == 141
    assert ended.stderr == ""


@pytest.mark.parametrize("words", [["doctor"], ["doctor", "--json"], ["--help"], ["--version"]])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_an_output_that_is_full_is_one_line(words):
    with Path("/dev/full").open("w") as full:
        ended = start(words, stdout=full)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.endswith("no space left on device\n")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-", "2>/dev/full"])
@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_closed_streams_end_no_command(closed):
    for words, code in (("doctor --json", 0), ("info nowhere", 4)):
        line = f"'{sys.executable}' -m meisho.cli {words} {closed}"
        ended = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
        assert ended.returncode == code
        assert "Traceback" not in ended.stdout + ended.stderr


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "shift-jis", "utf-8:strict"])
def test_json_is_json_whatever_the_encoding(encoding):
    names = {"names": [*HOSTILE.values(), "名所", "é", "\U0001f3ef", "\ud83d", 'a"b\\']}
    code = f"from meisho.cli.app import *; open_streams(); print_json({names!r})"
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True)
    assert json.loads(printed.stdout.decode("utf-8")) == names
    lines_of(printed.stdout.decode("utf-8"))


def test_json_of_names_reaches_no_terminal(capsys):
    print_json([*HOSTILE.values()])
    printed = capsys.readouterr().out
    lines_of(printed)
    assert json.loads(printed) == [*HOSTILE.values()]


def test_progress_and_notes_that_cannot_be_written_end_no_work(monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    SafeConsole("stderr").print("lost")
    with pytest.raises(OSError, match="No space"):
        monkeypatch.setattr(sys, "stdout", Full())
        SafeConsole("stdout").print("lost")
