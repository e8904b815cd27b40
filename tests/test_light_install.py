"""The built package in an environment of its own, with the base dependencies alone: no torch."""

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
SOURCE = REPOSITORY / "src" / "meisho"
LIMIT_BYTES = 900e6
MADE_FROM = (
    *("LICENSE", "NOTICE", "THIRD_PARTY.md", "MANIFEST.in", "README.md"),
    *("pyproject.toml", "setup.py", "src", "recipes"),
)

pytestmark = pytest.mark.slow


def call(*command, cwd, check=True):
    """Run a command without what this process was told about where packages are."""
    environment = {
        k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    }
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    if check and done.returncode:
        pytest.fail(f"{command} in {cwd}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def pip(python, *words, cwd):
    return call(python, "-m", "pip", "--disable-pip-version-check", "--quiet", *words, cwd=cwd)


def make_environment(folder):
    venv.create(folder, with_pip=True)
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder outside of the repository; skips where pip reaches no package index."""
    folder = tmp_path_factory.mktemp("light")
    asked = call(
        *(
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            folder / "reached",
            "rich",
        ),
        cwd=folder,
        check=False,
    )
    if asked.returncode:
        pytest.skip(f"pip reaches no package index: {asked.stderr.strip().splitlines()[-1:]}")
    return folder


@pytest.fixture(scope="module")
def python(place):
    return make_environment(place / "env")


@pytest.fixture(scope="module")
def wheel(place, python):
    """A wheel from the working tree, built in a copy of it: a build leaves files beside its sources."""
    for name in MADE_FROM:
        source, target = REPOSITORY / name, place / "tree" / name
        target.parent.mkdir(exist_ok=True)
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(source, target, ignore=ignored) if source.is_dir() else shutil.copy(source, target)
    pip(python, "wheel", "--no-deps", "--wheel-dir", place / "wheels", place / "tree", cwd=place)
    (built,) = (place / "wheels").glob("meisho-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(place, python, wheel):
    """The environment's Python, with the wheel and its base dependencies."""
    pip(python, "install", wheel, cwd=place)
    return python


@pytest.fixture(scope="module")
def meisho(place, installed):
    """Run the installed command, which must end with `code`; returns what it printed."""

    def run(*words, code=0):
        done = call(installed.with_name("meisho"), *words, cwd=place, check=False)
        assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def city(place, meisho):
    """The folder of a small drawn city, which the demo has indexed, searched and scored."""
    meisho("demo", "--to", "demo", "--landmarks", 3, "--views", 4, "--distractors", 4)
    return place / "demo" / "toycity"


@pytest.fixture(scope="module")
def photos(city):
    """Paths of photos of the city's database."""
    return sorted((city / "database").iterdir())


def files_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_every_file_of_the_package_and_the_recipes(wheel):
    files = {f"meisho/{path.relative_to(SOURCE).as_posix()}" for path in SOURCE.rglob("*") if path.is_file()}
    files = {name for name in files if "__pycache__" not in name}
    recipes = {f"meisho/recipes/{path.name}" for path in (REPOSITORY / "recipes").iterdir()}
    assert files_of(wheel) == files | recipes


def test_the_sdist_builds_the_same_wheel(place, python, wheel):
    pip(python, "install", "--target", place / "tools", "setuptools>=77", cwd=place)
    backend = f"sys.path.insert(0, {str(place / 'tools')!r}); from setuptools import build_meta"
    build = f"build_meta.build_sdist({str(place / 'sdist')!r})"
    call(python, "-c", f"import sys; {backend}; {build}", cwd=place / "tree")
    (sdist,) = (place / "sdist").glob("*.tar.gz")
    pip(python, "wheel", "--no-deps", "--wheel-dir", place / "again", sdist, cwd=place)
    (built,) = (place / "again").glob("meisho-*.whl")
    assert files_of(built) == files_of(wheel)


def test_the_environment_is_small_and_has_no_torch(place, installed):
    absent = (
        "from importlib.util import find_spec; print([n for n in ('torch', 'timm', 'scipy') if find_spec(n)])"
    )
    assert call(installed, "-c", absent, cwd=place).stdout.strip() == "[]"
    assert call(installed, "-c", "import torch", cwd=place, check=False).returncode == 1
    size = sum(path.lstat().st_size for path in (place / "env").rglob("*"))
    assert size <= LIMIT_BYTES, f"{size / 1e6:.0f} MB"


def test_every_module_that_the_commands_name_is_that_of_the_wheel(place, installed):
    where = call(installed, "-c", "import meisho; print(meisho.__file__)", cwd=place).stdout.strip()
    assert Path(where).is_relative_to(place / "env")


def test_the_demo_does_its_whole_job(city):
    assert (city.parent / "report.html").is_file()
    assert (city.parent / "collection").is_dir()


def test_photos_are_indexed_asked_and_matched(place, meisho, city, photos):
    meisho("index", city / "database", "--to", "my.meisho", "--local", "sift")
    assert photos[0].name in meisho("search", "my.meisho", photos[0], "--html", "answer.html", "--json")
    assert (place / "answer.html").is_file()
    chain = "--rerank", "dba,alpha-qe,geometric"
    assert photos[0].name in meisho("search", "my.meisho", photos[0], *chain, "--json")
    meisho("match", photos[0], photos[1], "--local", "sift", "--to", "pair.png")
    assert (place / "pair.png").is_file()
    assert "exact" in meisho("info", "my.meisho")
    said = meisho("doctor")
    assert "pip install 'meisho[torch]'" in said
    assert "cannot do without" not in said


def test_a_data_set_is_evaluated_with_rerankers(place, meisho, city):
    words = ("--local", "sift", "--rerank", "dba,alpha-qe,geometric", "--to", "evaluated")
    meisho("evaluate", "toycity", "--root", city, *words)
    assert (place / "evaluated" / "report.html").is_file()


def test_a_contest_is_answered(place, meisho, city):
    folders = "--queries", city / "queries", "--database", city / "database"
    meisho("submit", "gld-retrieval", *folders, "--to", "submission.csv")
    assert (place / "submission.csv").read_text().startswith("id,images\n")


def test_a_whitening_is_fitted_and_used(meisho, city):
    meisho("whiten", city / "database", "--to", "white.safetensors", "--dim", 8)
    meisho("index", city / "database", "--to", "white.meisho", "--whitening", "white.safetensors")


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("torch", ("index", "{city}", "--to", "no.meisho", "--model", "timm:resnet34")),
        ("local", ("index", "{city}", "--to", "no.meisho", "--local", "xfeat")),
        ("aliked", ("index", "{city}", "--to", "no.meisho", "--local", "aliked")),
        ("torch", ("match", "{photo}", "{photo}", "--local", "sift", "--matcher", "mutual-torch")),
        ("ransac", ("match", "{photo}", "{photo}", "--local", "sift", "--ransac", "poselib")),
        ("graph", ("search", "demo/collection", "{photo}", "--rerank", "diffusion")),
        ("graph", ("search", "demo/collection", "{photo}", "--rerank", "k-reciprocal")),
        ("plots", ("datasets", "stats", "folder", "--root", "{city}", "--to", "pictures")),
        ("train", ("train", "toycity_quick", "--to", "run")),
        ("torch", ("submit", "bundle", "--to", "bundle")),
        ("export", ("export", "default", "--to", "model.onnx")),
    ],
    ids=lambda value: value if isinstance(value, str) else value[-1],
)
def test_what_needs_more_says_how_to_install_it(place, meisho, city, photos, extra, words):
    said = meisho(*(word.format(city=city, photo=photos[0]) for word in words), code=5)
    assert re.search(rf"^error: .* needs .*; run pip install 'meisho\[{extra}\]'", said, re.MULTILINE), said
    assert not (place / "no.meisho").exists()
    assert re.search(rf"^{extra} = \[", (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)
