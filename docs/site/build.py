"""Build the site: `python docs/site/build.py [--to site]`; English at its root, Japanese below `ja/`.

The pages are those of docs/ and docs/ja/ as they are, with two more that are written from the program itself:
the reference of commands and the list of public names. What a page links to elsewhere is copied beside it.
"""

import argparse
import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import typer
from typer.core import TyperCommand, TyperGroup

import meisho
from meisho import cli

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
_NOTEBOOKS = {
    "en": ["## The notebooks", "", "Each link downloads a notebook (`.ipynb`); open it in Jupyter."],
    "ja": [
        "## ノートブック",
        "",
        "リンク先のノートブック（`.ipynb`）は、保存して Jupyter で開きます。",
    ],
}
"""What stands above the list of notebooks."""
_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)#\s]+)([^)]*\))")


def build(to: Path) -> None:
    """Build both languages strictly: any warning, such as a link that leads nowhere, ends it.

    Args:
        to: The folder of the site; what an earlier build left there is replaced.

    Raises:
        FileExistsError: The folder holds something else.
    """
    if to.exists() and any(to.iterdir()) and not (to / "search.json").is_file():
        raise FileExistsError(f"{to}: holds something else than this site; choose another --to")
    with tempfile.TemporaryDirectory() as staging:
        built = {language: _build_language(language, Path(staging) / language) for language in ("en", "ja")}
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(built["en"], to)
        shutil.copytree(built["ja"], to / "ja")


def _build_language(language: str, place: Path) -> Path:
    """Gather the pages of a language in a place, as Zensical wants them; return the folder that it builds."""
    pages = place / "pages"
    pages.mkdir(parents=True)
    source = DOCS if language == "en" else DOCS / language
    for page in sorted(source.glob("*.md")):
        (pages / page.name).write_text(_with_links(page, pages, language), encoding="utf-8")
    course = list_notebooks(DOCS / "chapter", language, pages)
    with (pages / "book.md").open("a", encoding="utf-8") as book:
        book.write(course)
    shutil.copytree(DOCS / "images", pages / "images", dirs_exist_ok=True)
    shutil.copy(DOCS / "site" / "style.css", pages)
    if language == "en":
        (pages / "commands.md").write_text(write_commands(), encoding="utf-8")
        (pages / "python_reference.md").write_text(write_names(), encoding="utf-8")
    settings = (DOCS / "site" / f"{language}.toml").read_text(encoding="utf-8")
    (place / "zensical.toml").write_text(settings.replace("SOURCES", str(ROOT / "src")), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "zensical", "build", "--strict", "--clean"], cwd=place, check=True)
    return place / "site"


def _with_links(page: Path, pages: Path, language: str) -> str:
    """Return the text of a page with the links that it needs where it is built."""

    def point(found: re.Match[str]) -> str:
        before, target, after = found.groups()
        if re.match(r"[a-z]+:", target):
            return found[0]
        path = (page.parent / target).resolve()
        if path.parent == page.parent and path.suffix == ".md":
            return found[0]
        if path.is_relative_to(DOCS / "images"):
            return f"{before}{path.relative_to(DOCS)}{after}"
        if (
            language != "en" and path.parent == DOCS and path.suffix == ".md"
        ):  # an English page, one folder up on the site
            return f"{before}../{path.stem}.html{after}"
        return f"{before}{_copy_beside(path, pages)}{after}"

    return _LINK.sub(point, page.read_text(encoding="utf-8"))


def _copy_beside(path: Path, pages: Path) -> str:
    """Copy a file of the repository into the site, and return the link to it; of a folder, to its list."""
    target = pages / "files" / (path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name)
    if path.is_dir():
        target = target / "list.txt"
        target.parent.mkdir(parents=True, exist_ok=True)
        names = sorted(str(file.relative_to(ROOT)) for file in path.iterdir() if file.is_file())
        target.write_text("\n".join(names) + "\n", encoding="utf-8")
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return str(target.relative_to(pages))


def list_notebooks(folder: Path, language: str, pages: Path) -> str:
    """Return a section with a link to each notebook of a language, by its first heading; "" without any.

    Args:
        folder: Where the notebooks are, as NAME.LANGUAGE.ipynb.
        language: "en" or "ja".
        pages: Where the pages are gathered; the notebooks are copied below it.
    """
    lines = []
    for notebook in sorted(folder.glob(f"*.{language}.ipynb")):
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        text = "".join(cells[0]["source"]) if cells else ""
        title = text.partition("\n")[0].lstrip("# ").replace("[", "(").replace("]", ")") or notebook.stem
        lines.append(f"- [{title}]({_copy_beside(notebook, pages)})")
    return "\n".join(["", *_NOTEBOOKS[language], "", *lines, ""]) if lines else ""


def write_commands() -> str:
    """Return the reference of commands as Markdown, from the program itself."""
    cli.load_commands()
    program = typer.main.get_command(cli.app)
    lines = ["# Commands", "", "Written from the program; `meisho COMMAND --help` says the same.", ""]
    for words, command in _commands(program, ()):
        lines += _one_command(words, command)
    return "\n".join(lines)


def _commands(group: TyperGroup, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], TyperCommand]]:
    for name in group.list_commands(None):
        command = group.commands[name]
        if isinstance(command, TyperGroup):
            yield from _commands(command, (*words, name))
        else:
            yield (*words, name), command


def _one_command(words: tuple[str, ...], command: TyperCommand) -> list[str]:
    name = " ".join(("meisho", *words))
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join(command.collect_usage_pieces(context))
    said, *examples = (command.help or "").split("Example: ")
    lines = [
        f"## {name}",
        "",
        html.escape(said.strip(), quote=False),
        "",
        "```console",
        f"{name} {usage}",
        "```",
        "",
    ]
    if examples:
        lines += ["For example:", "", "```console", *(" ".join(each.split()) for each in examples), "```", ""]
    records = filter(None, (_record(parameter, context) for parameter in command.get_params(context)))
    rows = [f"| <code>{_cell(first)}</code> | {_cell(second)} |" for first, second in records]
    return [*lines, "| argument or option | what it is |", "|---|---|", *rows, ""]


def _record(parameter: object, context: object) -> tuple[str, str] | None:
    """Return an argument or option as --help shows it; None for one that is hidden."""
    record: tuple[str, str] | None = parameter.get_help_record(context)
    return record


def _cell(text: str) -> str:
    return html.escape(" ".join(text.split()), quote=False).replace("|", "&#124;")


def write_names() -> str:
    """Return the list of public names as Markdown; mkdocstrings puts their docstrings there."""
    kinds: dict[str, list[str]] = {"Functions": [], "Classes": [], "Errors": []}
    for name, module in meisho._PUBLIC.items():
        kind = "Functions" if name.islower() else "Errors" if name.endswith("Error") else "Classes"
        kinds[kind].append(f"::: {module}.{name}\n")
    lines = [
        "# Python",
        "",
        "All of these are names of `meisho` itself: `meisho.Finder`, `meisho.search`, …",
        "",
    ]
    for kind, names in kinds.items():
        lines += [f"## {kind}", "", *names]
    return "\n".join(lines)


def main() -> None:
    """Build the site into the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--to", type=Path, default=ROOT / "site", help="folder of the site; it is replaced")
    to = parser.parse_args().to
    try:
        build(to)
    except FileExistsError as error:
        sys.exit(f"error: {error}")
    sys.stdout.write(f"The site: {to / 'index.html'} and {to / 'ja' / 'index.html'}\n")


if __name__ == "__main__":
    main()
