"""`meisho leaderboard` as a user meets it: one table, cells that are kept, and what is wrong told at once."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from meisho.config import load_config
from meisho.evaluate.leaderboard_settings import LeaderboardSettings
from meisho.evaluate.report import load_report
from meisho.toycity import build_toycity

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.toml"))
CITY = {"landmarks": 3, "views": 4, "distractors": 2, "seed": 0}
MODELS = """
[[models]]
name = "small"
model = "default"
options = { max_side_px = 64 }
[[models]]
name = "tiny"
model = "default"
options = { max_side_px = 32 }
[[models]]
model = "random"
"""
CHAINS = """
[[chains]]
rerank = "none"
[[chains]]
name = "expanded"
rerank = "alpha-qe:k=2"
[[chains]]
name = "verified"
rerank = "geometric:first=5"
local = "sift"
"""
QUICK = """
[[chains]]
rerank = "none"
[[chains]]
rerank = "alpha-qe:k=2"
"""
NAMES = [
    *((model, chain) for model in ("small", "tiny") for chain in ("none", "expanded", "verified")),
    ("random", "none"),
]


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    root = tmp_path_factory.mktemp("drawn") / "city"
    build_toycity(root, **CITY, num_workers=0)
    return root


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def text_of(city, *, models=MODELS, chains=CHAINS, more=""):
    datasets = f'[[datasets]]\nname = "city"\ndataset = "toycity"\nroot = {json.dumps(str(city))}\n'
    return more + datasets + models + chains


def write(city, **parts):
    Path("board.toml").write_text(text_of(city, **parts))
    return "board.toml"


def board(run, city, *, to="out", **parts):
    """Run a leaderboard that must succeed; return its JSON."""
    code, out, err = run("leaderboard", write(city, **parts), "--to", to, "--workers", 0, "--json")
    assert code == 0, err
    return json.loads(out)


def cell(made, model, chain):
    return next(c for c in made["cells"] if (c["model"], c["chain"]) == (model, chain))


def stamps(to="out"):
    """Cells on the disk and what tells one that was written anew."""
    return {path.parent.name: path.stat().st_mtime_ns for path in Path(to).glob("cells/*/cell.json")}


@pytest.fixture(scope="module")
def finished(city, tmp_path_factory):
    """A finished leaderboard's folder, made once by the program itself."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "board.toml").write_text(text_of(city))
    words = ("leaderboard", "board.toml", "--to", "out", "--workers", "0")
    done = subprocess.run(
        [sys.executable, "-m", "meisho.cli", *words], cwd=folder, capture_output=True, text=True, check=True
    )
    (folder / "printed").write_text(done.stdout)
    return folder


@pytest.fixture
def copied(finished, place):
    shutil.copytree(finished / "out", place / "out")
    return place


def test_the_tables_hold_every_cell_in_the_order_of_the_file(finished):
    values = json.loads((finished / "out/leaderboard.json").read_text())
    cells = values["cells"]
    assert [(c["model"], c["chain"]) for c in cells] == NAMES
    assert values["baseline"] == {"model": "small", "chain": "none"}
    highest = max(c["headline"]["value"] for c in cells)
    assert [c["is_best"] for c in cells] == [c["headline"]["value"] == highest for c in cells]
    for c in cells:
        assert (c["dataset"], c["protocol"], c["failure"]) == ("city", "revisitop", "")
        assert (c["headline"]["metric"], c["headline"]["setup"]) == ("revisitop_map", "medium")
        assert c["headline"]["low"] <= c["headline"]["value"] <= c["headline"]["high"]
        assert (c["against_baseline"] is None) == c["is_baseline"]
    with (finished / "out/leaderboard.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["chain"]) for row in rows] == NAMES
    assert [float(row["value"]) for row in rows] == [c["headline"]["value"] for c in cells]
    assert [row["p_value"] for row in rows] == [
        "" if c["is_baseline"] else repr(c["against_baseline"]["p_value"]) for c in cells
    ]
    page, printed = (finished / "out/leaderboard.md").read_text(), (finished / "printed").read_text()
    for words in (*(name for names in NAMES for name in names), "mAP medium", f"{100 * highest:.2f}"):
        assert words in page and words in printed


def test_costs_are_of_the_descriptor_and_of_the_chain(finished):
    cells = json.loads((finished / "out/leaderboard.json").read_text())["cells"]
    costs = {(c["model"], c["chain"]): c["costs"] for c in cells}
    assert set(costs["random", "none"].values()) == {0.0}
    plain, verified = costs["small", "none"], costs["small", "verified"]
    assert plain["bytes_per_photo"] == 4 * 1280
    assert verified["bytes_per_photo"] > plain["bytes_per_photo"]
    assert plain["rerank_ms"] == 0 < verified["rerank_ms"]
    assert plain["describe_ms"] > 0 and plain["search_ms"] > 0


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("small", "none"), ("--size", 64)),
        (("tiny", "expanded"), ("--size", 32, "--rerank", "alpha-qe:k=2")),
        (("small", "verified"), ("--size", 64, "--local", "sift", "--rerank", "geometric:first=5")),
        (("random", "none"), ("--model", "random")),
    ],
    ids=str,
)
def test_a_cell_is_what_evaluate_says(run, copied, city, names, words):
    of_board = json.loads(Path("out/leaderboard.json").read_text())
    code, _, err = run("evaluate", "toycity", "--root", city, *words, "--workers", 0, "--to", "alone")
    assert code == 0, err
    of_cell = cell(of_board, *names)
    assert load_report(Path("out") / of_cell["folder"]) == load_report("alone")
    if compared := of_cell["against_baseline"]:
        baseline = Path("out") / cell(of_board, "small", "none")["folder"]
        said = json.loads(run("evaluate", "--compare", baseline, "alone", "--json")[1])
        assert compared == next(s for s in said["setups"] if s["setup"] == "medium")


def test_what_is_done_is_not_done_again(run, copied, city):
    before = stamps()
    assert len(before) == len(NAMES)
    shutil.rmtree("out/collections")  # where nothing is missing, nothing is described
    made = board(run, city)
    assert stamps() == before and not Path("out/collections").exists()
    assert made == json.loads(Path("out/leaderboard.json").read_text())


@pytest.mark.parametrize(
    ("old", "new", "anew"),
    [
        ('name = "expanded"', 'name = "by its neighbours"', 0),
        ("alpha-qe:k=2", "alpha-qe:k=3", 2),
        ("max_side_px = 32", "max_side_px = 48", 3),
        ('local = "sift"\n', 'local = "sift"\n[[chains]]\nrerank = "dba:k=2"\n', 2),
        ('[[models]]\nmodel = "random"\n', "", 0),
    ],
)
def test_a_changed_line_makes_its_own_cells_alone(run, copied, city, old, new, anew):
    before = stamps()
    assert old in MODELS + CHAINS
    made = board(run, city, models=MODELS.replace(old, new), chains=CHAINS.replace(old, new))
    after = stamps()
    assert before.items() <= after.items()
    assert len(after) - len(before) == anew
    assert not any(c["failure"] for c in made["cells"])


def test_a_changed_photo_and_a_damaged_cell_are_made_anew(run, place, city):
    shutil.copytree(city, "mine")
    quick = {"models": MODELS.replace("tiny", "other"), "chains": QUICK}
    first = board(run, "mine", **quick)
    before = stamps()
    damaged = Path("out") / cell(first, "small", "none")["folder"]
    (damaged / "report.json").write_text("{}")
    assert board(run, "mine", **quick) != {}
    changed = {name for name, stamp in stamps().items() if before[name] != stamp}
    assert changed == {damaged.name}
    photo = next(Path("mine/database").iterdir())
    photo.write_bytes(next(Path("mine/queries").iterdir()).read_bytes())
    board(run, "mine", **quick)
    assert len(stamps()) == 2 * len(before)


KILLED = """
import os, signal, sys
from pathlib import Path
from meisho.config import load_config
from meisho.describing import Describer
from meisho.evaluate.leaderboard_settings import LeaderboardSettings
from meisho.run.leaderboard import Means, run_leaderboard

stage, number, sign = sys.argv[1], int(sys.argv[2]), getattr(signal, sys.argv[3])
signal.signal(signal.SIGTERM, signal.default_int_handler)  # as the program has it

def progress(name, done, total):
    if (name, done) == (stage, number):
        os.kill(os.getpid(), sign)

settings = load_config(Path("board.toml"), LeaderboardSettings)
run_leaderboard(settings, Path("out"), means=Means(lambda e: Describer(e, num_workers=0)), progress=progress)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
@pytest.mark.parametrize("sign", ["SIGKILL", "SIGTERM", "SIGINT"])
@pytest.mark.parametrize(("stage", "number", "kept"), [("cells", 1, 1), ("cells", 3, 3), ("search", 0, 0)])
def test_a_kill_loses_one_cell_at_most(run, place, city, finished, stage, number, kept, sign):
    write(city, chains=QUICK)
    ended = subprocess.run([sys.executable, "-c", KILLED, stage, str(number), sign], capture_output=True)
    assert ended.returncode != 0
    before = stamps()
    assert len(before) == kept
    assert not os.path.lexists("out/leaderboard.json")
    made = board(run, city, chains=QUICK)
    assert before.items() <= stamps().items()
    whole = json.loads((finished / "out/leaderboard.json").read_text())
    for model in ("small", "tiny"):
        again, once = cell(made, model, "alpha-qe:k=2"), cell(whole, model, "expanded")
        assert again["figures"] == once["figures"]
        assert again["against_baseline"] == once["against_baseline"]


def test_a_cell_that_fails_is_named_and_the_others_go_on(run, place, city):
    broken = (
        '[[models]]\nname = "absent"\nmodel = "default"\noptions = { weights = "pypi:no-such-package" }\n'
    )
    file = write(city, models=broken + MODELS, chains=QUICK, more='[baseline]\nmodel = "small"\n')
    code, out, err = run("leaderboard", file, "--to", "out", "--workers", 0)
    assert code == 1
    assert "2 cells of 7 failed, the first is absent on city by none" in err and "no-such-package" in err
    assert "failed: " in out and "small" in out
    values = json.loads(Path("out/leaderboard.json").read_text())
    assert [bool(c["failure"]) for c in values["cells"]] == [True, True, *[False] * 5]
    assert "failed: " in Path("out/leaderboard.md").read_text()
    assert len(stamps()) == 5


def test_a_photo_that_breaks_later_fails_the_cells_that_look_at_it(run, place, city):
    shutil.copytree(city, "mine")
    next(Path("mine/database").iterdir()).write_bytes(b"no photo")
    code, _, err = run("leaderboard", write("mine", chains=QUICK), "--to", "out", "--workers", 0)
    assert code == 1 and "4 cells of 5 failed" in err
    values = json.loads(Path("out/leaderboard.json").read_text())
    assert [c["model"] for c in values["cells"] if not c["failure"]] == ["random"]
    assert all("a score needs every photo" in c["failure"] for c in values["cells"] if c["failure"])


def test_a_city_is_drawn_by_its_words_and_distractors_are_added(run, place, city):
    words = ", ".join(f"{key} = {value}" for key, value in CITY.items())
    datasets = f"""
[[datasets]]
name = "drawn"
dataset = "toycity"
city = {{ {words} }}
[[datasets]]
name = "with more"
dataset = "toycity"
city = {{ {words} }}
distractors = "more"
"""
    shutil.copytree(city / "queries", "more")
    Path("board.toml").write_text(datasets + MODELS + QUICK)
    code, out, err = run("leaderboard", "board.toml", "--to", "out", "--workers", 0, "--json")
    assert code == 0, err
    cells = json.loads(out)["cells"]
    assert [c["dataset"] for c in cells] == ["drawn"] * 5 + ["with more"] * 5
    sizes = [c["num_database"] for c in cells]
    added = len(list(Path("more").iterdir()))
    assert sizes == [sizes[0]] * 5 + [sizes[0] + added] * 5
    plain, more = cells[0]["headline"]["value"], cells[5]["headline"]["value"]
    assert more < plain  # each query meets its own photo, which counts as wrong
    (drawn,) = Path("out/cities").glob("[!.]*")
    words = ("--root", drawn, "--distractors", "more", "--size", 64, "--workers", 0, "--to", "alone")
    code, _, err = run("evaluate", "toycity", *words)
    assert code == 0, err
    assert load_report("alone") == load_report(Path("out") / cells[5]["folder"])


WRONG = {
    "no such file": (None, "none.toml"),
    "no TOML": ("[[models", "is no TOML"),
    "an unknown key": ("{all}\n[bassline]\n", "the nearest is 'baseline'"),
    "an unknown key of a model": ("{all}\n[[models]]\nmodle = 'x'\n", "the nearest is 'models[3].model'"),
    "a wrong type": ("seed = 'x'\n{all}", "seed is 'x', expected a whole number"),
    "a negative seed": ("seed = -1\n{all}", "seed is -1"),
    "no models": ("{datasets}{chains}", "the key 'models' is missing"),
    "an empty list": ("models = []\n{datasets}{chains}", "models is empty"),
    "a name twice": ("{all}[[models]]\nmodel = 'random'\n", "the name 'random' stands twice"),
    "a name with a line feed": ("{all}[[models]]\nmodel = 'default'\nname = \"a\\nb\"\n", "printable text"),
    "a data set that is none": ("{all}[[datasets]]\ndataset = 'toycitty'\nroot = '.'\n", "'toycity'"),
    "a data set without a root": ("{all}[[datasets]]\ndataset = 'ukbench'\n", "the key 'root' is missing"),
    "a root that is not there": ("{all}[[datasets]]\ndataset = 'ukbench'\nroot = 'gone'\n", "gone"),
    "a ground truth that is not there": (
        "{all}[[datasets]]\ndataset = 'roxford5k'\nroot = '.'\n",
        "gnd_roxford5k.pkl",
    ),
    "words of a city for another set": (
        "{all}[[datasets]]\ndataset = 'ukbench'\nroot = '.'\ncity = {}\n",
        "leave it out",
    ),
    "a city without landmarks": (
        "{all}[[datasets]]\nname = 'b'\ndataset = 'toycity'\ncity = { landmarks = 0 }\n",
        "must be at least 2",
    ),
    "another city than is there": (
        "{all}[[datasets]]\nname = 'b'\ndataset = 'toycity'\nroot = '{city}'\ncity = { seed = 9 }\n",
        "but you asked for",
    ),
    "distractors that are not there": (
        "{all}[[datasets]]\nname = 'b'\ndataset = 'toycity'\nroot = '{city}'\ndistractors = 'gone'\n",
        "gone",
    ),
    "distractors of the set itself": (
        "{all}[[datasets]]\nname = 'b'\ndataset = 'toycity'\nroot = '{city}'\ndistractors = '{city}'\n",
        "name a folder of distractors alone",
    ),
    "a model that is none": ("{all}[[models]]\nmodel = 'defalt'\n", "Did you mean 'default'"),
    "an option that is none": (
        "{all}[[models]]\nname = 'm'\nmodel = 'default'\noptions = { size = 3 }\n",
        "the nearest is 'max_side_px'",
    ),
    "an option that cannot be": (
        "{all}[[models]]\nname = 'm'\nmodel = 'default'\noptions = { pooling = 'sum' }\n",
        "pooling='sum'",
    ),
    "a whitening that is not there": (
        "{all}[[models]]\nname = 'm'\nmodel = 'default'\noptions = { whitening = 'gone.safetensors' }\n",
        "gone.safetensors",
    ),
    "options of the random model": (
        "{datasets}{chains}[[models]]\nmodel = 'random'\noptions = { max_side_px = 64 }\n",
        "leave its options out",
    ),
    "a chain that is none": ("{all}[[chains]]\nrerank = 'magic'\n", "no reranker is called 'magic'"),
    "an option of a chain that is none": ("{all}[[chains]]\nrerank = 'dba:n=2'\n", "'n'"),
    "a chain without local features": ("{all}[[chains]]\nrerank = 'geometric'\n", 'add local = "sift"'),
    "local features for nothing": ("{all}[[chains]]\nrerank = 'dba'\nlocal = 'sift'\n", "leave local"),
    "local features that are none": (
        "{all}[[chains]]\nrerank = 'geometric'\nlocal = 'shift'\n",
        "no local feature extractor is called 'shift'",
    ),
    "random without a plain row": (
        "{datasets}{models}[[chains]]\nrerank = 'dba'\n",
        "the model 'random' cannot be reranked",
    ),
    "a baseline that is no model": ("{all}[baseline]\nmodel = 'smal'\n", "the nearest is 'small'"),
    "a baseline that is no chain": ("{all}[baseline]\nchain = 'expandet'\n", "the nearest is 'expanded'"),
    "a baseline that has no such row": (
        "{all}[baseline]\nmodel = 'random'\nchain = 'expanded'\n",
        "no chain of [baseline] with the model 'random'",
    ),
}
"""What is wrong -> a file, or None for one that is not there, and words of the message."""


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_before_any_work(run, place, city, case):
    text, words = WRONG[case]
    file = "none.toml" if text is None else "board.toml"
    if text is not None:
        parts = {
            "all": text_of(city),
            "datasets": text_of(city, models="", chains=""),
            "models": MODELS,
            "chains": CHAINS,
            "city": str(city),
        }
        for name, part in parts.items():
            text = text.replace("{" + name + "}", part)
        Path(file).write_text(text)
    code, out, err = run("leaderboard", file, "--to", "out")
    assert code == 2, err
    assert words in err and file in err
    assert len(err.splitlines()) == 1 and not out
    assert not Path("out").exists()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_read_and_names_what_there_is(path):
    from meisho.rerank.chain import build_chain

    settings = load_config(path, LeaderboardSettings)
    assert len(settings.models) >= 6 and len(settings.chains) >= 4
    assert any(model.is_random for model in settings.models)
    for chain in settings.chains:
        assert chain.is_none or build_chain(chain.rerank).needs_local == (chain.local is not None)


def test_there_is_an_example():
    assert [path.name for path in EXAMPLES] == ["leaderboard.toml"]
