"""Hostile words for every option of every command, drawn from the commands' own signatures."""

import inspect
import os
import shutil
from dataclasses import dataclass
from typing import Literal, get_args, get_origin, get_type_hints

import numpy as np
import typer
from PIL import Image

from meisho import cli
from meisho.cli.app import load_commands
from meisho.describing import Describer
from meisho.errors import MeishoError
from meisho.extractors.base import load_extractor
from meisho.run.indexing import index_folder

_WORDS = """
- -- -1 0 1 2 7 nan -nan inf -inf 1e999 -0.0 1e-400 1e16 10000000000000000000000000000000 0x10 1_000
1,2,3,4 5,5,1,1 nan,nan,nan,nan 0,0,1e308,1e308 -1e308,-1e308,1e308,1e308 1000 0.5,,1 , 1;2 a=b '
$(id) %s%n {0} [red] ../.. ~ * NUL auto default random timm: timm:x onnx: onnx:junk.onnx ensemble:
ensemble:default*nan ensemble:+ none:-1 none:x hub cuda:99 cuda:-1 cpu:0 tpu sift xfeat:x ivfpq hnsw
exact alpha-qe alpha-qe:k=0 alpha-qe:k=-1 alpha-qe:k=1e9 alpha-qe:alpha=nan dba:k=0 dba:k=x
discriminative-qe:cost=1e16 discriminative-qe:cost=nan geometric:first=0 geometric alpha-qe,
diffusion:k=99999999 k-reciprocal:k1=0 alpha-qe:k=5|10 : :: dba:k dba:k=1:k=2 a,,b model.name=3
schedule.epochs=-1 schedule.epochs=nan seed=-1 = seed data.root= x.y.z=1 0-3,7 3-0 0-99999999999 1-
full http:// file:///etc csv folder gldv2_micro toycity revisitop roxford5k landmark image none
homography ray: ray:x ray::1
"""
_NAMES = """
photos photos/0.jpg a.jpg c labelled missing missing/deep empty empty.jpg junk.jpg junk.json
junk.toml junk.csv junk.pth junk.safetensors junk.onnx junk.html junk.whl junk.dir loop gone pipe
pipe.jpg /dev/null /dev/zero /dev/full . .. a.jpg/x c/collection.json link.jpg -leading
--leading.jpg recipe.toml out out.html out.png out.jpg out.safetensors out.onnx out.csv locked
locked.jpg broken run split.csv labelled/0/0.jpg manifest.json report bundle
s3:// s3://b/../c s3://b//c gs://b/c
"""
TEXTS = [
    *_WORDS.split(),
    *("", " ", "a b", '"', "\0", "a\0b", "\x1b[31mred", "two\nlines", "\u202eturned", "\udcff", "名所"),
    *("9" * 5000, "x" * 300, "x" * 200_000, "٣", "½"),
]
"""Words for what is no path."""
PATHS = [
    *_NAMES.split(),
    *("\x1b[1mred.jpg", "two\nlines.jpg", "\u202egpj.jpg", os.fsdecode(b"raw\xff.jpg"), " .jpg"),
    *("x" * 300, "y/" * 3000),
]
"""Words for paths; `make_place` makes most of them."""


@dataclass(frozen=True)
class Parameter:
    """An option or argument: its words on the command line, "" for an argument, and what it takes."""

    name: str
    option: str
    kind: str
    choices: tuple[str, ...] = ()
    words: int = 1
    is_required: bool = False


def all_errors(kind=MeishoError):
    """Yield every error that meisho raises on purpose."""
    yield kind
    for part in kind.__subclasses__():
        yield from all_errors(part)


def all_commands(program=cli.app, before=()):
    """Yield the words of each command and its parameters."""
    load_commands()
    for info in program.registered_commands:
        name = info.name or info.callback.__name__.replace("_", "-")
        if name == "serve":  # it does not end by itself: tests/service asks it with bad will
            continue
        yield (*before, name), parameters_of(info.callback)
    for group in program.registered_groups:
        yield from all_commands(group.typer_instance, (*before, group.name))


def parameters_of(call):
    hints = get_type_hints(call, include_extras=True)
    return [
        make_parameter(p.name, hints[p.name], p.default) for p in inspect.signature(call).parameters.values()
    ]


def make_parameter(name, hint, default):
    given, information = get_args(hint)[:2]
    kinds = [kind for kind in get_args(given) if kind is not type(None)]
    inner = kinds[0] if type(None) in get_args(given) else given
    words = len(get_args(inner)) if get_origin(inner) is tuple else 1
    if get_origin(inner) in (list, tuple):
        inner = get_args(inner)[0]
    choices = get_args(inner) if get_origin(inner) is Literal else ()
    option = ""
    if isinstance(information, typer.models.OptionInfo):
        said = [information.default, *(information.param_decls or ())]  # typer takes the first for a default
        said = [word for word in said if isinstance(word, str) and word.startswith("--")]
        option = said[0] if said else f"--{name.replace('_', '-')}"
    kind = "choice" if choices else inner.__name__
    return Parameter(name, option, kind, choices, words, default is inspect.Parameter.empty)


def draw_photos(folder):
    """Draw four photos, in the folder photos and once more by label."""
    for number in range(4):
        colours = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
        picture = Image.fromarray(colours).resize((80, 60))
        for place in (f"photos/{number}.jpg", f"labelled/{number // 2}/{number}.jpg"):
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            picture.save(folder / place)


def make_place(folder):
    """Fill an empty folder with photos, a collection, labelled photos, and junk of every kind."""
    draw_photos(folder)
    names = [path for path in PATHS if path.endswith(".jpg") and "/" not in path and "junk" not in path]
    for name in names:
        shutil.copy(folder / "photos/0.jpg", folder / name)
    for name in ("empty.jpg", "pipe.jpg", "link.jpg"):
        (folder / name).unlink()
    (folder / "empty.jpg").touch()
    for name in ("jpg", "json", "toml", "csv", "pth", "safetensors", "onnx", "html", "whl"):
        (folder / f"junk.{name}").write_bytes(np.random.default_rng(len(name)).bytes(600))
    for name in ("empty", "junk.dir", "broken", "run", "report", "bundle"):
        (folder / name).mkdir()
    (folder / "broken/model.json").write_text("[" * 5000)
    for name in ("run/run.json", "run/recipe.toml", "report/report.json"):
        (folder / name).write_text("[" * 5000)
    (folder / "bundle/bundle.json").write_text('{"models": 3}')
    (folder / "recipe.toml").write_text('[data]\ndataset = "folder"\nroot = "missing"\n')
    (folder / "board.toml").write_text(BOARD)
    (folder / "split.csv").write_text("file,label,landmark\na.jpg,x,0\n")
    (folder / "manifest.json").write_text(MANIFEST)
    (folder / "loop").symlink_to("loop")
    (folder / "gone").symlink_to("missing")
    (folder / "link.jpg").symlink_to("a.jpg")
    for name in ("pipe", "pipe.jpg"):
        os.mkfifo(folder / name)
    describer = Describer(load_extractor("default", max_side_px=32), num_workers=0)
    index_folder(folder / "photos", folder / "c", describer)


BOARD = """models = [{ model = "random" }]
chains = [{ rerank = "none" }]
datasets = [{ dataset = "folder", root = "labelled" }]
"""
MANIFEST = """{
 "name": "street", "title": "A street", "licence": "CC0", "homepage": "http://localhost/street",
 "files": [{"path": "train.csv", "size_bytes": 10, "urls": []}]
}"""
BASES = {
    ("search",): ["c", "a.jpg"],
    ("match",): ["a.jpg", "photos/1.jpg"],
    ("index",): ["photos", "--to", "new", "--size", "32", "--workers", "0"],
    ("whiten",): ["photos", "--to", "new.safetensors", "--size", "32", "--workers", "0"],
    ("leaderboard",): ["board.toml", "--to", "new"],
    ("evaluate",): ["folder", "--root", "labelled", "--model", "random", "--to", "new"],
    ("add",): ["c", "photos/0.jpg"],
    ("remove",): ["c", "1.jpg"],
    ("info",): ["c"],
    ("doctor",): [],
    ("demo",): ["--to", "a.jpg/x", "--landmarks", "2", "--views", "3", "--distractors", "0"],
    ("train",): ["recipe.toml", "--to", "new"],
    ("export",): ["broken", "--to", "new.onnx"],
    ("datasets", "list"): [],
    ("datasets", "get"): ["manifest.json", "--mirror", "empty", "--to", "new"],
    ("datasets", "check"): ["folder", "--root", "labelled"],
    ("datasets", "look"): ["folder", "--root", "labelled", "--to", "new.html"],
    ("datasets", "stats"): ["folder", "--root", "labelled"],
    ("datasets", "split"): ["folder", "--root", "labelled", "--to", "new"],
    ("submit", "gld-retrieval"): [
        *("--queries", "photos", "--database", "photos", "--to", "new.csv"),
        *("--size", "32", "--workers", "0"),
    ],
    ("submit", "bundle"): ["--to", "new", "--model", "broken"],
}
"""Command -> words with which it does something small, or is refused late."""


def draw_words(rng, command, parameters):
    """Return the words of a command, with one to three of its parameters made hostile."""
    words = list(BASES.get(command, []))
    once = command in {("demo",), ("datasets", "get"), ("export",), ("submit", "bundle"), ("train",)}
    for _ in range(1 if once else int(rng.integers(1, 4))):
        if not parameters:
            break
        parameter = parameters[int(rng.integers(len(parameters)))]
        values = [draw_value(rng, parameter) for _ in range(parameter.words)]
        if parameter.kind == "bool":
            words.append(parameter.option)
        elif parameter.option and parameter.option in words:
            words[words.index(parameter.option) + 1] = values[0]
        elif parameter.option:
            words += [parameter.option, *values]
        else:
            place = [p.name for p in parameters if not p.option].index(parameter.name)
            words[place : place + 1] = values
    return [*command, *words]


def draw_value(rng, parameter):
    likely = {"Path": PATHS, "choice": [*parameter.choices]}.get(parameter.kind, TEXTS)
    values = likely if rng.random() < 0.8 else [*PATHS, *TEXTS]
    return values[int(rng.integers(len(values)))]
