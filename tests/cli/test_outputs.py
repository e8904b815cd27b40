"""Outputs: no command writes over an input, a photo or the file of a stranger, whatever it is asked."""

import hashlib
import inspect
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import get_type_hints

import pytest
from PIL import Image

from hostile import draw_photos
from meisho import cli
from meisho.cli.app import load_commands
from meisho.describing import Describer
from meisho.extractors.base import load_extractor
from meisho.extractors.local_base import load_local_extractor
from meisho.files import is_leftover
from meisho.local_describing import LocalDescriber
from meisho.marks import MARK, is_our_drawing, save_drawing
from meisho.run.indexing import IndexOptions, index_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="makes links and pipes")

RECIPE = """[data]
dataset = "folder"
root = "labelled"
"""

BOARD = """models = [{ model = "random" }]
chains = [{ rerank = "none" }]
[[datasets]]
dataset = "folder"
root = "labelled"
"""

GLD = ("submit", "gld-retrieval", "--queries", "photos", "--database", "photos")
WRITES = {
    "search --html": ["search", "c", "a.jpg", "--html", "OUT.html"],
    "search --html, as .htm": ["search", "c", "a.jpg", "--html", "OUT.htm"],
    "search --html, of several": ["search", "c", "a.jpg", "b.jpg", "--html", "answer.html>answer_2.html"],
    "search --html, its drawings": ["search", "c", "a.jpg", "--html", "p.html>p_matches/matches-1.jpg"],
    "match --to": ["match", "a.jpg", "b.jpg", "--to", "OUT.png"],
    "match --to, as .jpg": ["match", "a.jpg", "b.jpg", "--to", "OUT.JPG"],
    "match --to, as .webp": ["match", "a.jpg", "b.jpg", "--to", "OUT.webp"],
    "groups --html": ["groups", "c", "--html", "OUT.html"],
    "groups --to, said as --csv": ["groups", "c", "--csv", "OUT.csv"],
    "whiten --to": ["whiten", "photos", "--to", "OUT.safetensors"],
    "export --to": ["export", "default", "--to", "OUT.onnx"],
    "submit --to": [
        "submit",
        "gld-retrieval",
        "--queries",
        "photos",
        "--database",
        "photos",
        "--to",
        "OUT.csv",
    ],
    "submit --work": [
        *(*GLD, "--to", "s.csv", "--work", "OUT"),
    ],
    "bundle --to": ["submit", "bundle", "--to", "OUT>OUT/notes.txt"],
    "bundle --to, overwriting": ["submit", "bundle", "--overwrite", "--to", "OUT>OUT/notes.txt"],
    "index --to": ["index", "photos", "--to", "OUT"],
    "index --to, a folder with files": ["index", "photos", "--to", "OUT>OUT/a.jpg"],
    "demo --to": ["demo", "--to", "OUT"],
    "look --to": ["datasets", "look", "folder", "--root", "labelled", "--to", "OUT.html"],
    "get --to": ["datasets", "get", "revisitop", "--mirror", "photos", "--to", "OUT"],
}
WRITES |= {
    f"evaluate --to: {name}": ["evaluate", "folder", "--root", "labelled", "--to", f"OUT>OUT/{name}"]
    for name in (
        *("run.toml", "report.json", "per_query.csv", "report.html", "report_matches/matches-a-1.jpg"),
        *("precision_recall.svg", "landmarks.svg"),
    )
}
WRITES |= {
    f"leaderboard --to: {name}": ["leaderboard", "board.toml", "--to", f"OUT>OUT/{name}"]
    for name in ("leaderboard.md", "leaderboard.csv", "leaderboard.json")
}
WRITES |= {
    f"evaluate --sweep: {name}": [
        *("evaluate", "folder", "--root", "labelled", "--sweep", "--to", f"OUT>OUT/{name}")
    ]
    for name in ("run.toml", "sweep.csv", "sweep.png")
}
WRITES |= {
    f"demo --to: {name}": ["demo", "--to", f"OUT>OUT/{name}"]
    for name in ("report.html", "report.json", "per_query.csv", "toycity/a.jpg", "toycity")
}
WRITES |= {
    f"stats --to: {name}": ["datasets", "stats", "folder", "--root", "labelled", "--to", f"OUT>OUT/{name}"]
    for name in ("histogram.png", "histogram.svg", "copies.csv")
}
WRITES |= {
    f"split --to: {name}": [
        *("datasets", "split", "folder", "--root", "labelled", "--overwrite", "--to", f"OUT>OUT/{name}")
    ]
    for name in ("train.csv", "val.csv", "split.json")
}
WRITES |= {
    f"train --to: {name}": ["train", "recipe.toml", "--to", f"OUT>OUT/{name}"]
    for name in ("recipe.toml", "run.json", "curves.png", "skipped.csv", "history.csv", "best")
}
"""Every output -> the words of its command; OUT is the place, and "VALUE>FILE" says which file it writes.

Not here is an output only where `READS` names the option: a new one is one line.
"""

READS = {
    "add": {"collection", "photos"},
    "remove": {"collection"},
    "info": {"collection"},
    "index": {"photos", "whitening"},
    "search": {"collection", "queries", "weights", "whitening"},
    "match": {"query", "database"},
    "groups": {"collection"},
    "evaluate": {"root", "distractors", "compare", "config", "whitening"},
    "leaderboard": {"file"},
    "whiten": {"photos"},
    "serve": {"collections", "token_file"},
    "gld-retrieval": {"queries", "database", "sample", "solution"},
    "bundle": {"wheel"},
    "check": {"root", "collection"},
    "look": {"root"},
    "stats": {"root", "beside"},
    "split": {"root", "without"},
    "train": {"recipe"},
}
"""Command -> its parameters that are read, or, as a collection, are written by the rules of the store."""
WRITTEN = {"to", "html", "work"}


def all_commands(program=cli.app):
    load_commands()
    for info in program.registered_commands:
        yield info.name or info.callback.__name__.replace("_", "-"), info.callback
    for group in program.registered_groups:
        yield from all_commands(group.typer_instance)


def test_every_option_that_is_a_path_is_read_or_stands_in_the_table():
    written = 0
    for name, call in all_commands():
        hints = get_type_hints(call)
        for parameter in inspect.signature(call).parameters:
            if "Path" in str(hints.get(parameter, "")) and parameter not in READS.get(name, set()):
                assert parameter in WRITTEN, f"{name} --{parameter}: put it into WRITES or READS"
                short = {"gld-retrieval": "submit"}.get(name, name)
                rows = [row for row in WRITES if row.startswith(f"{short} --{parameter}")]
                assert rows, f"{name} --{parameter}: has no row in WRITES"
                written += 1
    assert written >= 12


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with photos, a collection, labelled photos and a recipe."""
    folder = tmp_path_factory.mktemp("made")
    draw_photos(folder)
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(folder / "photos/0.jpg", folder / name)
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "board.toml").write_text(BOARD)
    describer = Describer(load_extractor("default", max_side_px=32), num_workers=0)
    local = LocalDescriber(load_local_extractor("sift"), num_workers=0)
    index_folder(folder / "photos", folder / "c", describer, IndexOptions(local=local))
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    folder = tmp_path / "work"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    return folder


def contents(folder):
    """Return every entry below a folder with what it holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        held = path.read_bytes() if stat.S_ISREG(mode) else b""
        found[path.relative_to(folder).as_posix()] = (
            stat.S_IFMT(mode),
            path.readlink() if path.is_symlink() else hashlib.sha256(held).hexdigest(),
        )
    return found


def photo(path):
    shutil.copy("a.jpg", path)


def page_of_another(path):
    path.write_text("<!doctype html><title>my holidays</title>")


def drawing_of_ours(path):
    save_drawing(Image.new("RGB", (4, 4)), Path("drawn.png"))
    Path("drawn.png").rename(path)


STRANGERS = {
    "a photo": photo,
    "a page": page_of_another,
    "a table": lambda path: path.write_text("file,label\na.jpg,x\n"),
    "an empty file": lambda path: path.touch(),
    "a link to a photo": lambda path: path.symlink_to(Path("a.jpg").absolute()),
    "another name of a photo": lambda path: path.hardlink_to("a.jpg"),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a pipe": lambda path: os.mkfifo(path),
    "a file that cannot be read": lambda path: (path.write_text("mine"), path.chmod(0)),
}
"""What may stand where an output is to be written, and is not of its kind."""


def command_of(row, name="out"):
    """Return the words of a row, and the file that it writes."""
    words = [word.replace("OUT", name) for word in WRITES[row]]
    value, _, file = words[-1].partition(">")
    return [*words[:-1], value], Path(file or value)


@pytest.fixture(scope="module")
def untouched(made, tmp_path_factory):
    """A copy that no test changes: in it everything is refused."""
    folder = tmp_path_factory.mktemp("untouched") / "work"
    shutil.copytree(made, folder)
    return folder


@pytest.mark.parametrize("row", WRITES)
def test_a_strangers_file_is_left_as_it_is(run, untouched, monkeypatch, row):
    monkeypatch.chdir(untouched)
    words, file = command_of(row)
    for stranger, make in STRANGERS.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        make(file)
        before = contents(untouched)
        code, out, err = run(*words)
        assert code in (2, 4), (stranger, err)
        assert len(err.splitlines()) == 1, stranger
        assert "unexpected" not in err and not out
        assert contents(untouched) == before, stranger
        file.unlink()
        if file.parent != Path():
            shutil.rmtree(file.parts[0])


WHITEN = ("whiten", "photos")
INPUTS = {
    "search C a.html": (["search", "c", "IN.html", "--html", "OUT.html"], photo),
    "search C x_matches/matches-1.jpg": (
        ["search", "c", "OUT_matches/matches-1.jpg", "--html", "OUT.html"],
        drawing_of_ours,
    ),
    "match a.png": (["match", "IN.png", "b.jpg", "--to", "OUT.png"], drawing_of_ours),
    "match a.png b.jpg": (["match", "b.jpg", "IN.png", "--to", "OUT.png"], photo),
    "whiten --weights": (
        ["whiten", "photos", "--weights", "IN.safetensors", "--to", "OUT.safetensors"],
        photo,
    ),
    "whiten onnx:": (
        ["whiten", "photos", "--model", "onnx:IN.safetensors", "--to", "OUT.safetensors"],
        photo,
    ),
    "export onnx:": (["export", "onnx:IN.onnx", "--to", "OUT.onnx"], photo),
    "submit --sample": (
        [
            *GLD,
            *("--sample", "IN.csv", "--to", "OUT.csv"),
        ],
        lambda path: path.write_text("id,images\n0,\n"),
    ),
    "split csv": (
        ["datasets", "split", "csv", "--root", "IN/train.csv", "--overwrite", "--to", "OUT/train.csv>"],
        lambda path: path.write_text("file,label,landmark\na.jpg,x,1\n"),
    ),
}
"""An input that is also the output, though of the kind that is written -> the words, and what makes it."""

NAMES = {
    "the same name": lambda path: path,
    "by way of ..": lambda path: path.parent / "photos" / ".." / path.name,
    "a link": lambda path: link(path, Path.symlink_to),
    "another name": lambda path: link(path, Path.hardlink_to),
}


def link(path, how):
    other = path.with_name(f"other{path.suffix}")
    how(other, path.absolute())
    return other


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("row", [row for row in INPUTS if "IN." in " ".join(INPUTS[row][0])])
def test_an_input_is_never_the_output(run, place, row, name):
    words, make = INPUTS[row]
    suffix = Path(words[-1]).suffix
    make(Path(f"IN{suffix}"))
    output = NAMES[name](Path(f"IN{suffix}"))
    before = contents(place)
    code, _, err = run(*words[:-1], output)
    assert code == 2, err
    assert "is one of the inputs" in err or "is there already" in err
    assert len(err.splitlines()) == 1
    assert contents(place) == before


def test_the_table_that_is_split_and_the_list_of_what_is_left_out_stay(run, place):
    Path("split").mkdir()
    table = "".join(f"../labelled/{n // 2}/{n}.jpg,{n // 2},{n // 2}\n" for n in range(4))
    Path("split/train.csv").write_text(f"file,label,landmark\n{table}")
    Path("other.csv").write_text(f"file,label,landmark\n{table.replace('../', '')}")
    Path("split/val.csv").hardlink_to("split/train.csv")
    before = contents(place)
    for words in (["--root", "split/train.csv"], ["--root", "other.csv", "--without", "split/train.csv"]):
        code, _, err = run("datasets", "split", "csv", *words, "--to", "split", "--overwrite")
        assert code == 2
        assert "is one of the inputs" in err
        assert contents(place) == before


def test_a_query_that_is_a_drawing_of_the_page_stays(run, place):
    Path("x_matches").mkdir()
    drawing_of_ours(Path("x_matches/matches-1.jpg"))
    before = contents(place)
    code, _, err = run("search", "c", "x_matches/matches-1.jpg", "--html", "x.html", "--verify", 2)
    assert code == 2
    assert "is one of the inputs" in err
    assert contents(place) == before


def test_a_recipe_in_the_folder_of_its_run_is_no_output(run, place):
    before = contents(place)
    code, _, err = run("train", "recipe.toml", "--to", ".")
    assert code == 2
    assert "recipe.toml: is there already and is of no run" in err
    assert contents(place) == before


def test_what_meisho_wrote_is_written_anew(run, place):
    for words, file in (
        (["search", "c", "a.jpg", "--html", "x.html"], "x.html"),
        (["match", "a.jpg", "b.jpg", "--to", "x.png"], "x.png"),
        (["whiten", "photos", "--to", "x.safetensors", "--size", 64, "--workers", 0], "x.safetensors"),
        (["datasets", "stats", "folder", "--root", "labelled", "--photos", "--to", "s"], "s/copies.csv"),
        (["datasets", "split", "folder", "--root", "labelled", "--overwrite", "--to", "t"], "t/train.csv"),
        (
            ["evaluate", "folder", "--root", "labelled", "--size", 32, "--workers", 0, "--to", "e"],
            "e/run.toml",
        ),
        (["evaluate", "folder", "--root", "labelled", "--model", "random", "--to", "r"], "r/report.html"),
        (["leaderboard", "board.toml", "--to", "b"], "b/leaderboard.md"),
        (
            [
                *("submit", "gld-retrieval", "--queries", "photos", "--database", "photos", "--to", "s.csv"),
                *("--size", 32, "--workers", 0),
            ],
            "s.csv",
        ),
    ):
        for _ in range(2):
            code, _, err = run(*words)
            assert code == 0, err
            assert Path(file).is_file()


def test_settings_that_say_the_same_may_be_written_where_they_were_read(run, place):
    words = ("--size", 32, "--workers", 0)
    assert run("evaluate", "folder", "--root", "labelled", *words, "--to", "e")[0] == 0
    assert run("evaluate", "--config", "e/run.toml", "--workers", 0, "--to", "e")[0] == 0
    before = contents(place)
    code, _, err = run("evaluate", "--config", "e/run.toml", "--seed", 3, "--workers", 0, "--to", "e")
    assert code == 2
    assert "is the file of --config" in err
    assert contents(place) == before


def test_a_page_deletes_only_the_drawings_that_it_named(run, place):
    words = ("search", "c", "a.jpg", "--html", "x.html", "--verify", 4)
    assert run(*words, "--top", 4)[0] == 0
    folder = place / "x_matches"
    drawn = sorted(path.name for path in folder.iterdir())
    assert drawn == [f"matches-{rank}.jpg" for rank in (1, 2, 3, 4)]
    shutil.copy("a.jpg", folder / "matches-holiday.jpg")  # of a stranger, under a name much like ours
    save_drawing(Image.new("RGB", (4, 4)), folder / "matches-9.jpg")  # ours, of another page
    (folder / "matches-4.jpg").unlink()
    (folder / "notes.txt").write_text("mine")
    assert run(*words, "--top", 2)[0] == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        *("matches-1.jpg", "matches-2.jpg", "matches-9.jpg", "matches-holiday.jpg", "notes.txt")
    ]
    shutil.copy("a.jpg", folder / "matches-2.jpg")  # a photo in the place of a drawing
    before = contents(place)
    assert run(*words, "--top", 1)[0] == 2
    assert contents(place) == before


def test_drawings_beside_photos_are_marked(run, place):
    assert run("match", "a.jpg", "b.jpg", "--to", "photos/matches.png")[0] == 0
    assert run("search", "c", "a.jpg", "--html", "photos/x.html", "--verify", 2)[0] == 0
    for path in Path("photos").rglob("*"):
        drawn = "matches" in path.name and path.is_file()
        assert is_our_drawing(path) == drawn, path
    assert MARK in Path("photos/matches.png").read_bytes().decode("latin-1")
    assert not [path for path in place.rglob("*") if is_leftover(path)]


@pytest.mark.parametrize("letters", [240, 245, 250])
def test_a_name_as_long_as_may_be_is_written_or_refused_before_work(run, place, letters):
    for words in (["match", "a.jpg", "b.jpg", "--to", "x" * letters + ".png"],):
        code, _, err = run(*words)
        assert code == 0, err
    before = contents(place)
    for words in (
        ["match", "a.jpg", "b.jpg", "--to", "y" * 300 + ".png"],
        ["search", "c", "a.jpg", "--html", "y" * 250 + ".html"],
        ["search", "c", "a.jpg", "--html", "y/" * 3000 + ".html"],
        ["index", "photos", "--to", "y" * 300],
        ["demo", "--to", "y" * 300],
    ):
        code, _, err = run(*words)
        assert code == 2, err
        assert len(err.splitlines()) == 1
        assert contents(place) == before


INSIDE = {
    "search --html": ("search", "c", "a.jpg", "--html", "c/answer.html"),
    "search --html, a new folder": ("search", "c", "a.jpg", "--html", "c/index/new/answer.html"),
    "match --to": ("match", "a.jpg", "b.jpg", "--to", "c/m.png"),
    "groups --csv": ("groups", "c", "--csv", "c/places.csv"),
}


@pytest.mark.parametrize("row", INSIDE)
def test_nothing_is_written_into_a_collection(run, place, monkeypatch, row):
    monkeypatch.chdir(place)
    before = sorted((place / "c").rglob("*"))
    code, _, error = run(*INSIDE[row])
    assert code == 2 and "lies in the collection" in error, error
    assert sorted((place / "c").rglob("*")) == before


def test_a_page_that_cannot_be_written_names_it_and_the_answers_are_said(run, place, monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.chdir(place)
    assert run("search", "c", "a.jpg")[0] == 0  # all is imported by now
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        code, out, error = run("search", "c", "a.jpg", "--html", "full.html")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (code, "full.html: file too large" in error) == (1, True), error
    assert "rank   score" in out and not (place / "full.html").exists()
