"""The options that commands share, and what is refused before any work begins."""

import json
import os
import subprocess
import sys
from importlib import import_module
from typing import get_args

import pytest
from PIL import Image

import meisho
from meisho import cli
from meisho.cli import options
from meisho.cli.app import COMMANDS
from meisho.cli.match import GeometryName, RansacName
from meisho.extractors.options import POOLINGS, PRECISIONS
from meisho.geometry.ransac import Method, Model
from meisho.index.base import INDEXES

HEAVY = ("torch", "timm", "lancedb", "pyarrow", "matplotlib")


@pytest.fixture
def collection(run, tmp_path):
    """Six photos, indexed."""
    for number in range(6):
        pixels = Image.effect_mandelbrot((90, 60), (-2 + number / 9, -1, 1, 1), 50).convert("RGB")
        (tmp_path / "photos").mkdir(exist_ok=True)
        pixels.save(tmp_path / f"photos/{number}.png")
    arguments = ("--to", tmp_path / "c", "--size", 64, "--workers", 0)
    assert run("index", tmp_path / "photos", *arguments)[0] == 0
    return tmp_path / "c"


def heavy_imports(*arguments):
    """Run the command line in a new process; return what it imported that takes long."""
    code = (
        "import sys; from meisho.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        f"print('HEAVY', *[name for name in {HEAVY} if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    printed = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=True).stdout
    return printed.splitlines()[-1].split()[1:]


def test_asking_imports_nothing_that_takes_long(collection, tmp_path):
    assert heavy_imports("--help") == []
    assert heavy_imports("search", collection, tmp_path / "photos/1.png") == []


def test_choices_are_those_of_the_tables():
    assert get_args(options.IndexKind) == ("auto", *INDEXES)
    assert get_args(options.PoolingName) == POOLINGS
    assert set(get_args(options.PrecisionName)) == set(PRECISIONS)
    assert (GeometryName, RansacName) == (Model, Method)


def test_every_command_has_its_file():
    for module in COMMANDS.values():
        import_module(module)
    assert {command.name or command.callback.__name__ for command in cli.app.registered_commands} < set(
        COMMANDS
    )


def test_version_and_what_to_do_first(run):
    assert run("--version")[1] == f"meisho {meisho.__version__}\n"
    code, out, _ = run()
    assert code == 0
    assert "meisho demo" in out and "meisho index" in out


def test_several_queries_are_answered_in_their_order(run, collection, tmp_path):
    queries = [tmp_path / f"photos/{number}.png" for number in (4, 1)]
    page = tmp_path / "answer.html"
    code, out, _ = run("search", collection, *queries, "--top", 2, "--json", "--html", page)
    assert code == 0
    found = json.loads(out)
    assert [one["query"] for one in found] == list(map(str, queries))
    assert [one["answers"][0]["id"] for one in found] == ["4.png", "1.png"]
    assert all((tmp_path / f"answer_{number}.html").is_file() for number in (1, 2))
    out = run("search", collection, *queries, "--top", 1)[1]
    assert [str(query) in out for query in queries] == [True, True]


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ("0,0,40,40", ""),
        ("0,0,9999,40", "over the edge"),
        ("0,0,0.0001,0.0001", "shows no place"),
        ("0,0,40,3", "shows no place"),
        ("-500,0,3,40", "shows no place"),
    ],
)
def test_a_box_that_shows_little_or_goes_over_the_edge_is_said(run, collection, tmp_path, box, words):
    query = tmp_path / "query.png"
    Image.effect_noise((90, 60), 80).convert("RGB").save(query)
    code, _, err = run("search", collection, query, f"--box={box}")
    assert code == 0 and words in err and bool(words) == ("--box" in err)


def test_photos_are_added_and_removed_by_name(run, collection, tmp_path):
    other = tmp_path / "other.png"
    Image.effect_mandelbrot((90, 60), (-1, -1, 1, 1), 9).convert("RGB").save(other)
    code, out, _ = run("add", collection, other, "--json")
    assert (code, json.loads(out)["described"]) == (0, 1)
    assert json.loads(run("search", collection, other, "--json")[1])["answers"][0]["path"] == str(other)
    assert run("remove", collection, "3.png", "4.png")[0] == 0
    assert json.loads(run("info", collection, "--json")[1])["photos"] == 5
    code, _, err = run("remove", collection, "7.png")
    assert code == 2 and "7.png" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("index", "photos", "--to", "new", "--index", "foo"), "ivfpq"),
        (("index", "photos", "--to", "new", "--scales", "1000"), "--scales"),
        (("index", "photos", "--to", "new", "--scales", ""), "--scales"),
        (("index", "photos", "--to", "new", "--device", "gpu"), "cuda"),
        (("index", "photos", "--to", "photos/0.png/c"), "not a folder"),
        (("index", "photos", "--to", "new", "--pooling", "gme"), "superglobal"),
        (("search", "c", "photos/0.png", "--box", ""), "--box"),
        (("search", "c", "photos/0.png", "photos/1.png", "--box", "1,1,9,9"), "one query"),
        (("search", "c", "photos"), "is a folder"),
        (("search", "c", "photos/0.png", "--rerank", "magic"), "alpha-qe"),
        (("search", "c", "photos/0.png", "--html", "photos"), "photos"),
        (("match", "photos/0.png", "photos/1.png", "--to", "m.txt"), ".png"),
        (("match", "photos/0.png", "photos/1.png", "--to", "photos/1.png"), "one of the inputs"),
        (("evaluate", "folder", "--root", "photos", "--seed", "-1"), "--seed"),
        (("whiten", "photos", "--to", "w.npz"), ".safetensors"),
    ],
)
def test_what_cannot_be_is_refused_before_a_model_is_loaded(
    run, collection, tmp_path, monkeypatch, arguments, words
):
    def load(*_, **__):
        raise AssertionError("a model was loaded")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("meisho.extractors.base.load_extractor", load)
    monkeypatch.setattr("meisho.extractors.restoring.load_extractor", load)
    code, _, err = run(*arguments)
    assert code == 2
    assert words in err
    assert not (tmp_path / "new").exists()


def test_what_is_worth_knowing_is_noted(run, collection, tmp_path):
    query = tmp_path / "photos/2.png"
    assert "over the edge" in run("search", collection, query, "--box=-5,0,40,40")[2]
    assert run("search", collection, query, "--box", "0,0,90,60")[2] == ""
    (tmp_path / "photos").rename(tmp_path / "moved")
    code, _, err = run("search", collection, tmp_path / "moved/2.png", "--top", 1)
    assert code == 0
    assert "1 photo is not where it was" in err and "--moved" in err


def test_info_lists_what_index_could_not_look_into(run, collection, tmp_path):
    (tmp_path / "photos/gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "photos/nowhere").symlink_to("nowhere")
    summary = json.loads(run("index", tmp_path / "photos", "--to", collection, "--json")[1])
    skipped = json.loads(run("info", collection, "--json")[1])["skipped"]
    assert len(skipped) == len(summary["skipped"]) == 2
    assert all(" " not in key for key in json.loads(run("info", collection, "--json")[1]))
