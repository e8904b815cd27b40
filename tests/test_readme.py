"""README and the pages of the site: their Python runs, and their command lines are ones that can be run."""

import os
import re
import shlex
import subprocess
import sys
import tomllib

import pytest
import typer

import meisho
from meisho import cli
from meisho.toycity import build_toycity
from pages import PAGES, ROOT, blocks, draw_labelled, lines_of

MOST_LINES_OF_A_README = 120
PROGRAMS = {
    *("meisho", "make", "pip", "python3", "source", "curl", "accelerate", "torchrun"),
    *("docker", "MEISHO_PHOTOS=~/Pictures", "python", "tar", "git", "cd", "uv", "uvx", "pipx"),
}
"""What the console blocks of the pages may begin with."""


WITH_A_CITY = ["README.md", "README.ja.md", "docs/python.md", "docs/ja/python.md"]
"""Pages whose Python asks the drawn city."""
IN_BOTH = ["python", "reranking", "training"]
"""Pages whose Python stands in both languages: it is run from the English one."""
COMMANDS = [page for page in PAGES if lines_of(page) or "`meisho " in (ROOT / page).read_text()]


def test_no_page_has_python_that_is_not_run():
    assert {page for page in PAGES if blocks(page, "python")} == {
        *WITH_A_CITY,
        "docs/reranking.md",
        "docs/training.md",
        "docs/ja/reranking.md",
        "docs/ja/training.md",
    }


@pytest.mark.parametrize("page", WITH_A_CITY)
def test_python_runs(page, tmp_path, monkeypatch, capsys):
    build_toycity(tmp_path / "demo/toycity", landmarks=4, views=4, distractors=4)
    monkeypatch.chdir(tmp_path)
    if "README" in page:  # the collection that `make demo` leaves there
        describer = meisho.Describer(meisho.load_extractor())
        meisho.index_folder("demo/toycity/database", "demo/collection", describer)
    exec(compile("\n".join(blocks(page, "python")), page, "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) >= 3 and all(line.endswith(".jpg") for line in printed[:3])
    if "python.md" in page:
        assert any(line.startswith("revisitop_map") for line in printed)
        assert printed[-1] == "(4, 512)"


def test_python_on_reranking_runs(capsys):
    exec(compile("\n".join(blocks("docs/reranking.md", "python")), "docs/reranking.md", "exec"), {})
    assert capsys.readouterr().out == "['b', 'd', 'c']\n"


@pytest.mark.slow
def test_python_on_training_runs(tmp_path):
    draw_labelled(tmp_path)
    (code,) = blocks("docs/training.md", "python")
    quick = '"schedule.epochs=1", "sampling.batch_size=8", "schedule.sizes=[{px = 64}]"'
    (tmp_path / "script.py").write_text(code.replace('"schedule.epochs=20"', quick))
    ended = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "runs/own/best/model.safetensors").is_file()


def shown_of_demo(page):
    """What a page shows of the end of `make demo`, line by line."""
    (shown,) = [block for block in blocks(page, "") if block.startswith("toycity: ")]
    return shown.splitlines()


@pytest.mark.parametrize("page", ["README.ja.md", "docs/index.md", "docs/ja/index.md"])
def test_every_page_shows_the_same_end_of_the_demo(page):
    assert shown_of_demo(page) == shown_of_demo("README.md")


@pytest.mark.slow
def test_the_demo_ends_as_the_pages_show(tmp_path):
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    program = tmp_path / ".venv" / "bin" / "meisho"
    program.write_text(f"#!{sys.executable}\nfrom meisho.cli import main\nmain()\n")
    program.chmod(0o755)
    alone = {**os.environ, "PATH": str(tmp_path / "nowhere")}  # one installed elsewhere would name itself
    ended = subprocess.run(
        [program, "demo", "--to", "demo"], cwd=tmp_path, capture_output=True, text=True, env=alone
    )
    assert ended.returncode == 0, ended.stderr
    # only figures may be a little different: other versions of the libraries draw a little differently
    printed = [line.rstrip() for line in ended.stdout.splitlines()]
    figures = r"\d+\.\d+"
    words = [re.sub(figures, "#", line) for line in printed]
    began = 0
    for part in "\n".join(shown_of_demo("README.md")).split("\n…\n"):
        lines = part.splitlines()
        wanted = [re.sub(figures, "#", line) for line in lines]
        places = [at for at in range(began, len(words)) if words[at : at + len(wanted)] == wanted]
        assert len(places) == 1, (part, ended.stdout)
        (place,) = places
        began = place + len(lines)
        got = re.findall(figures, "\n".join(printed[place:began]))
        assert [float(text) for text in got] == pytest.approx(
            [float(text) for text in re.findall(figures, part)], abs=0.3
        )
    assert printed[began:] == []


@pytest.mark.parametrize(
    "pages",
    [("README.md", "README.ja.md"), *((f"docs/{name}.md", f"docs/ja/{name}.md") for name in IN_BOTH)],
)
def test_both_languages_run_the_same_python(pages):
    def code(page):
        return [re.sub(r"\s*#.*", "", block) for block in blocks(page, "python")]

    assert code(pages[0]) == code(pages[1])


@pytest.mark.parametrize("page", COMMANDS)
def test_command_lines_are_taken(page):
    lines = lines_of(page) + re.findall(r"`(meisho [^`…]+)`", (ROOT / page).read_text())
    arguments = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("meisho ")]
    for line in lines:  # what starts several processes of it
        if " -m meisho.cli " in line:
            arguments.append(shlex.split(line.partition(" -m meisho.cli ")[2], comments=True))
    cli.load_commands()
    command = typer.main.get_command(cli.app)
    for words in arguments:
        if words[0].startswith("-"):
            continue
        name, subcommand, rest = command.resolve_command(None, words)
        while rest and isinstance(subcommand, typer.core.TyperGroup):
            name, subcommand, rest = subcommand.resolve_command(None, rest)
        if not rest:
            continue  # only the name of the command
        subcommand.make_context(name, list(rest))


def targets_of_make():
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", [page for page in PAGES if lines_of(page)])
def test_other_programs_are_asked_for_what_is_there(page):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for line in lines_of(page):
        words = shlex.split(line, comments=True)
        assert words[0] in PROGRAMS, line
        if words[0] == "make":
            assert words[1] in targets_of_make(), line
        for named in re.findall(r"(?:\.|meisho)\[([\w,]+)\]", line):
            assert set(named.split(",")) <= extras.keys(), line


@pytest.mark.parametrize("page", PAGES)
def test_what_stands_in_the_text_is_there_too(page):
    text = (ROOT / page).read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets_of_make()
    for named in re.findall(r"`pip install '(?:\.|meisho)\[([\w,]+)\]", text):
        assert set(named.split(",")) <= extras.keys()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_left_to_fill_in(page):
    assert "@@" not in (ROOT / page).read_text()


@pytest.mark.parametrize("page", ["README.md", "README.ja.md"])
def test_a_readme_is_read_in_one_go(page):
    assert len((ROOT / page).read_text().splitlines()) < MOST_LINES_OF_A_README


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/ja/")])
def test_a_japanese_page_has_the_commands_of_the_english_one(page):
    """A shorter page may leave some out; none has a command of its own."""
    english = {line.partition("#")[0].strip() for line in lines_of(page.replace("/ja/", "/"))}
    assert {line.partition("#")[0].strip() for line in lines_of(page)} <= english


def test_the_page_on_robustness_names_modules_and_tests_that_are_there():
    rows = [
        line.split("|") for line in (ROOT / "docs/robustness.md").read_text().splitlines() if line[:1] == "|"
    ]
    for _, _, _, modules, tests, _ in rows[2:]:
        for name in re.findall(r"`([^`]+)`", modules):
            places = (ROOT / "src/meisho" / f"{name}.py", ROOT / name)
            assert any(place.exists() for place in places), name
        for name in re.findall(r"`([^`]+)`", tests):
            assert (ROOT / "tests" / name).is_file(), name
