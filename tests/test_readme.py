"""The README's Python runs, top to bottom, and its command lines are ones that the program takes."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from meisho import cli
from meisho.toycity import build_toycity

ROOT = Path(__file__).parent.parent
PAGES = [
    "README.md",
    "README.ja.md",
    "docs/RELEASING.md",
    "docs/containers.md",
    "docs/evaluation.md",
    "docs/getting_data.md",
    "docs/models.md",
    "docs/reranking.md",
    "docs/service.md",
    "docs/training.md",
]


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", ["README.md", "README.ja.md"])
def test_python_runs(page, tmp_path, monkeypatch, capsys):
    build_toycity(tmp_path / "demo/toycity", landmarks=4, views=4, distractors=4)
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(blocks(page, "python")), page, "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) > 5 and all(line.endswith(".jpg") for line in printed[:3])
    assert any(line.startswith("revisitop_map") for line in printed)
    assert printed[-1] == "(4, 512)"


def test_both_readmes_run_the_same_python():
    def code(page):
        return [re.sub(r"\s*#.*", "", block) for block in blocks(page, "python")]

    assert code("README.md") == code("README.ja.md")


@pytest.mark.parametrize("page", PAGES)
def test_command_lines_are_taken(page):
    cli.load_commands()
    command = typer.main.get_command(cli.app)
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    lines += re.findall(r"`(meisho [^`]+)`", (ROOT / page).read_text())
    arguments = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("meisho ")]
    assert arguments
    for words in arguments:
        name, subcommand, rest = command.resolve_command(None, words)
        while rest and isinstance(subcommand, typer.core.TyperGroup):
            name, subcommand, rest = subcommand.resolve_command(None, rest)
        if not rest:
            continue  # only the name of the command
        subcommand.make_context(name, list(rest))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_left_to_fill_in(page):
    assert "@@" not in (ROOT / page).read_text()


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
