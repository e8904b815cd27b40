"""What no option takes: it is refused in one line before any work begins."""

import os

import pytest
from PIL import Image

from hostile import all_commands
from meisho.cli.checks import check_query
from meisho.errors import ConfigError, InputError
from meisho.run.indexing import IndexOptions

HUGE = str(10**30)
SEARCH, MATCH = ("search", "c", "a.jpg"), ("match", "a.jpg", "a.jpg")
WHITEN = ("whiten", "photos", "--to", "w.safetensors")
INDEX = ("index", "photos", "--to", "new")
EVALUATE = ("evaluate", "folder", "--root", "photos", "--to", "new")
SPLIT = ("datasets", "split", "folder", "--root", "photos", "--to", "new")
REFUSED = {
    "seed below 0": ((*EVALUATE, "--seed", "-1"), "--seed"),
    "seed of a split below 0": ((*SPLIT, "--seed", "-1"), "--seed"),
    "seed too large": ((*EVALUATE, "--seed", HUGE), "--seed"),
    "cost of a reranker": ((*SEARCH, "--rerank", "discriminative-qe:cost=1e16"), "cost 1e+16"),
    "power of a reranker": ((*SEARCH, "--rerank", "alpha-qe:alpha=1e308"), "alpha 1e+308"),
    "number of a reranker that is none": ((*SEARCH, "--rerank", "geometric:weight=nan"), "weight"),
    "negative number of a reranker": ((*SEARCH, "--rerank", "dba:k=-1"), "k -1"),
    "unknown reranker": ((*SEARCH, "--rerank", "dbb"), "the nearest is 'dba'"),
    "empty step": ((*SEARCH, "--rerank", "dba,"), "dba,"),
    "ending of a drawing": ((*MATCH, "--to", "m.txt"), "cannot be written as .txt"),
    "ending of a page": ((*SEARCH, "--html", "a.jpg"), "cannot be written as .jpg"),
    "unknown index": ((*INDEX, "--index", "ivfqp"), "'ivfqp' is not one of"),
    "empty box": ((*SEARCH, "--box", ""), "--box: a word is empty"),
    "box of three numbers": ((*SEARCH, "--box", "1,2,3"), "--box 1,2,3"),
    "box without end": ((*SEARCH, "--box", "0,0,inf,1"), "--box"),
    "huge box": ((*SEARCH, "--box", "-1e308,0,1e308,1"), "box"),
    "box that is turned round": ((*SEARCH, "--box", "5,5,1,1"), "box"),
    "box that is no number": ((*SEARCH, "--box", "nan,0,1,1"), "finite"),
    "tiny scale": ((*INDEX, "--scales", "1,1e-9"), "from 0.03 to 4"),
    "scale below 0": ((*INDEX, "--scales", "-1"), "from 0.03 to 4"),
    "huge scale": ((*INDEX, "--scales", "1000"), "--scales 1000"),
    "many scales": ((*INDEX, "--scales", ",".join(["1"] * 500)), "at most 16"),
    "scale that is no number": ((*INDEX, "--scales", "1,nan"), "--scales"),
    "empty place": (("index", "photos", "--to", ""), "--to: a word is empty"),
    "empty place, by =": (("index", "photos", "--to="), "--to: a word is empty"),
    "empty argument": (("index", "", "--to", "new"), "a word is empty"),
    "threshold without end": ((*MATCH, "--threshold", "1e999"), "--threshold"),
    "threshold that is no number": ((*MATCH, "--threshold", "nan"), "--threshold"),
    "threshold below 0": ((*MATCH, "--threshold", "-3"), "--threshold"),
    "shrinkage that is no number": ((*WHITEN, "--shrinkage", "nan"), "--shrinkage"),
    "unknown device": ((*SEARCH, "--device", "tpu"), "tpu"),
    "device that is not there": ((*INDEX, "--device", "cuda:99"), "cuda:99"),
    "answers without end": ((*SEARCH, "--top", HUGE), "--top"),
    "no answers": ((*SEARCH, "--top", "0"), "--top"),
    "workers below 0": ((*INDEX, "--workers", "-1"), "--workers"),
    "workers without end": ((*INDEX, "--workers", "100000"), "--workers"),
    "empty batch": ((*INDEX, "--batch-size", "0"), "--batch-size"),
    "huge batch": ((*INDEX, "--batch-size", HUGE), "--batch-size"),
    "size of nothing": ((*INDEX, "--size", "0"), "--size"),
    "huge size": ((*INDEX, "--size", "1000000"), "--size"),
    "digits without end": ((*INDEX, "--size", "9" * 5000), "--size"),
    "NUL": (("index", "a\0b", "--to", "new"), "NUL"),
    "word without end": ((*SEARCH, "--rerank", "x" * 200_000), "longer than"),
    "pipe": (("evaluate", "--config", "pipe"), "is a pipe"),
    "device file": ((*SEARCH, "--whitening", "/dev/zero"), "is a pipe, socket or device"),
    "name too long": (("index", "x" * 300, "--to", "new"), "too long"),
    "unknown option": ((*INDEX, "--sise", "32"), "--sise"),
    "leading dash": (("index", "-photos", "--to", "new"), "-p"),
    "landmarks of a city": (("demo", "--to", "new", "--landmarks", HUGE), "--landmarks"),
    "unknown local features": ((*MATCH, "--local", "sifft"), "sifft"),
    "unknown matcher": ((*MATCH, "--matcher", "lighglue"), "lighglue"),
}
"""A kind of word -> the command line, and what its error names; a new kind is one line."""


REQUIRED = {
    "search": SEARCH[1:],
    "match": MATCH[1:],
    "index": INDEX[1:],
    "whiten": WHITEN[1:],
    "export": ("default", "--to", "m.onnx"),
    "datasets get": ("revisitop",),
    "datasets stats": ("folder", "--root", "photos"),
    "datasets split": SPLIT[2:],
    "submit gld-retrieval": ("--queries", "photos", "--database", "photos"),
    "submit bundle": ("--to", "new"),
    "evaluate": EVALUATE[1:],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    for name in ("a.jpg", "photos/x/1.jpg", "photos/y/2.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((80, 60), 90).save(folder / name)
    os.mkfifo(folder / "pipe")
    return folder


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_before_work(run, place, monkeypatch, kind):
    monkeypatch.chdir(place)
    words, named = REFUSED[kind]
    before = sorted(place.rglob("*"))
    code, out, err = run(*words)
    assert code in (2, 5), err
    assert named in err
    assert len(err.splitlines()) == 1 and err.startswith("error: ")
    assert not out
    assert "a fault of meisho" not in err
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "reason"),
    [("gone.jpg", "no such file"), ("circle.jpg", "too many levels"), ("photos", "a folder")],
)
def test_a_query_that_cannot_be_asked_says_why(tmp_path, name, reason):
    (tmp_path / "circle.jpg").symlink_to("circle.jpg")
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match=reason):
        check_query(tmp_path / name)


def test_the_index_is_checked_where_it_is_named():
    with pytest.raises(ConfigError, match="the nearest is 'ivfpq'"):
        IndexOptions("ivfqp")


def number_options():
    for command, parameters in all_commands():
        for parameter in parameters:
            if parameter.kind in ("int", "float"):
                yield " ".join(command), parameter


@pytest.mark.parametrize("value", [HUGE, "-" + HUGE, "nan", "1e999", "x"])
def test_no_number_is_without_bounds(run, place, monkeypatch, value):
    monkeypatch.chdir(place)
    found = 0
    for command, parameter in number_options():
        code, _, err = run(*command.split(), *REQUIRED.get(command, ()), f"{parameter.option}={value}")
        assert code == 2, (command, parameter.option, err)
        assert parameter.option in err, (command, err)
        found += 1
    assert found > 20
