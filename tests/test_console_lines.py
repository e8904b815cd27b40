"""Console lines of the pages, run for real: a small drawn city, in a folder laid out as the pages assume."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from meisho.toycity import build_toycity
from pages import PAGES, ROOT, draw_labelled, lines_of

ONLY_PARSED = {
    "walks over the repository itself: CI and the other tests do": (
        "make demo",
        "make test",
        "make test-slow",
        "make check",
        "make docs",
        "make release-check",
        "python tools/release_check.py --quick",
        "python tools/release_check.py wheel demo",
        "tar -cJf tests/collections/format_3.tar.xz format3.meisho photos",
    ),
    "installs or downloads": (
        "git clone https://github.com/OWNER/meisho",
        "cd meisho",
        "python3 -m venv .venv",
        "source .venv/bin/activate",
        "pip install '.[serve]'",
        'pip install "meisho[train]"',
        "uvx --from '.[serve]' meisho demo",
        "uv tool install '.[serve]'",
        "pipx install '.[serve]'",
        "meisho datasets get roxford5k --to data/roxford5k",
        "meisho datasets get rparis6k --to data/rparis6k",
        "meisho datasets get gldv2_micro --to data/gldv2_micro",
        "meisho datasets get gldv2 --part retrieval --part index --part test --to data/gldv2",
        "meisho datasets get gldv2 --part clean --part train --shards 0-9 --to data/gldv2",
        "meisho datasets get gldv2 --part train --shards 0-9 --classes 17,4053 --to data/gldv2",
    ),
    "needs a data set or a checkpoint that is only downloaded": (
        "meisho datasets check roxford5k --root data/roxford5k",
        "meisho datasets look roxford5k --root data/roxford5k --to look.html",
        "meisho evaluate roxford5k --root data/roxford5k --to runs/roxford5k",
        "meisho evaluate roxford5k --root data/roxford5k --model random --to runs/random",
        "meisho evaluate --compare runs/roxford5k runs/random",
        "meisho evaluate roxford5k --root data/roxford5k --as superglobal-r101 --model CVPR2022_CVNet_R101.pyth",  # noqa: E501
        "meisho evaluate roxford5k --root data/roxford5k --model runs/chapter07_arcface/best --to runs/roxford5k_arcface",  # noqa: E501
        "meisho evaluate roxford5k --root data/roxford5k --model timm:resnet34 --size 299 --to runs/roxford5k_resnet34",  # noqa: E501
        "meisho train chapter07_arcface --to runs/chapter07_arcface --set data.root=data/gldv2_micro",
    ),
    "minutes of training, tested in small by tests/training": (
        "meisho train toycity_quick --to runs/city",
        "meisho match one.jpg other.jpg --local runs/delg/best",
        "accelerate launch --multi_gpu --num_processes 8 -m meisho.cli train recipes/gldv2_clean.toml",
        "torchrun --nproc_per_node 8 -m meisho.cli train recipes/gldv2_clean.toml",
        "torchrun --nproc_per_node 2 -m meisho.cli train recipes/own_folder.toml --set data.root=photos --set hardware.device=cpu",  # noqa: E501
    ),
    "answers until it is stopped, or asks what does: tests/service": (
        "meisho serve my.meisho --open",
        "meisho serve city.meisho trips.meisho --host 0.0.0.0 --token-file tokens",
        "curl -F photo=@tower.jpg -F top=5 http://127.0.0.1:8765/v1/search",
        "curl -T new.jpg http://127.0.0.1:8765/v1/photos/2026/new.jpg",
    ),
    "changes the settings of the shell that it is called from": ("meisho --install-completion",),
    "needs Docker: containers/build.sh tries the images": tuple(
        line.partition("  #")[0].strip()
        for line in lines_of("docs/containers.md")
        if re.match(r"docker|make container|MEISHO_PHOTOS=\S+ docker", line)
    ),
}
"""Lines that are not run here, by the reason. tests/test_readme.py parses them."""
MADE_SMALLER = {
    "demo": ["--landmarks", "4", "--views", "4", "--distractors", "4"],
    "train": [
        *("--set", "schedule.epochs=1", "--set", "sampling.batch_size=8"),
        *("--set", "schedule.sizes=[{px = 64}]"),
    ],
}
"""What is added to the lines of a command, so that they take seconds."""
PHOTOS = ["tower", "found", "square", "a", "b", "c", "new", "one", "other"]
"""The photos that the pages name."""
PICTURES = Path("~/Pictures")


def without_comment(line):
    return re.sub(r"\s+#.*", "", line).strip()


def lines_to_run(page):
    skipped = {line for lines in ONLY_PARSED.values() for line in lines}
    return [line for line in map(without_comment, lines_of(page)) if line not in skipped]


@pytest.mark.parametrize("page", PAGES)
def test_a_line_is_run_or_is_named_with_a_reason(page):
    assert [line for line in lines_to_run(page) if not line.startswith("meisho ")] == []


def test_what_is_named_stands_in_a_page():
    named = [line for lines in ONLY_PARSED.values() for line in lines]
    assert len(named) == len(set(named))
    assert set(named) <= {without_comment(line) for page in PAGES for line in lines_of(page)}


def test_the_japanese_readme_has_the_lines_of_the_english_one():
    """Those of the other pages: tests/test_readme.py. So only the English pages are run."""
    assert lines_to_run("README.ja.md") == lines_to_run("README.md")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Photos of a small drawn city in ~/Pictures, some of them by the names of the pages, and with labels."""
    place = tmp_path_factory.mktemp("drawn")
    build_toycity(place / "toycity", landmarks=6, views=5, distractors=6)
    shutil.copytree(place / "toycity" / "database", place / "home" / "Pictures")
    draw_labelled(place)
    return place


@pytest.fixture
def laid_out(drawn, tmp_path, monkeypatch):
    """A folder as the pages assume it, the present one; a home with photos."""
    queries = sorted((drawn / "toycity" / "queries").glob("*.jpg"))
    database = sorted((drawn / "toycity" / "database").glob("*.jpg"))
    for number, name in enumerate(PHOTOS):
        place = queries if name != "found" else database
        shutil.copy(place[number % len(place)], tmp_path / f"{name}.jpg")
    shutil.copytree(drawn / "photos", tmp_path / "photos")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    (tmp_path / "examples").mkdir()
    board = (ROOT / "examples" / "leaderboard.toml").read_text()
    full = "landmarks = 48, views = 12, distractors = 240"
    smaller = board.replace(full, "landmarks = 4, views = 4, distractors = 4")
    assert smaller != board
    (tmp_path / "examples" / "leaderboard.toml").write_text(smaller)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(drawn / "home"))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if lines_to_run(page) and "ja" not in page])
def test_the_lines_of_a_page_run_one_after_the_other(page, laid_out, run):
    lines = lines_to_run(page)
    if not any("~/Pictures --to my.meisho" in line for line in lines):  # it was made on another page
        assert run("index", PICTURES.expanduser(), "--to", "my.meisho", "--local", "sift")[0] == 0
    for line in lines:
        words = [str(Path(word).expanduser()) if word[0] == "~" else word for word in shlex.split(line)[1:]]
        if "--list" not in words:
            words += MADE_SMALLER.get(words[0], [])
        code, printed, said = run(*words)
        assert code == 0, (line, said)
        assert printed, line
        for name in re.findall(r" --(?:to|html) (\S+)", line):
            assert (laid_out / name).exists() or "--dry-run" in line, line
