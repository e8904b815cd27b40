"""Keep the course: every lesson is NN_name.ja.ipynb and NN_name.en.ipynb beside this file.

Edit the Japanese notebook's code and either one's text, then::

    python docs/chapter/course.py            # all lessons: about five minutes
    python docs/chapter/course.py 01 02      # some
    python docs/chapter/course.py --no-run   # badges and code only, without running anything

It writes the badges, takes the English notebook's code from the Japanese one, runs it once in a fresh folder,
and keeps what it printed and drew in both. `tests/test_course.py` checks all of this.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

HERE = Path(__file__).parent
LANGUAGES = ("ja", "en")

REPOSITORY = "OWNER/meisho"
"""Where the notebooks will be published on GitHub, as owner/name: the only place that says so."""

BRANCH = "main"
SECONDS_PER_CELL = 1000


def lessons() -> list[str]:
    """Return the names of the lessons, such as "01_gem", in order."""
    return sorted(path.name.removesuffix(".ja.ipynb") for path in HERE.glob("*.ja.ipynb"))


def notebook_path(lesson: str, language: str) -> Path:
    """Return where a lesson's notebook lies."""
    return HERE / f"{lesson}.{language}.ipynb"


def read(lesson: str, language: str) -> NotebookNode:
    """Read a lesson's notebook."""
    return nbformat.read(notebook_path(lesson, language), as_version=4)


def code_of(notebook: NotebookNode) -> list[str]:
    """Return the sources of the code cells, in order."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def badges(lesson: str, language: str) -> str:
    """Return the line of links that opens a lesson elsewhere, and in the other language."""
    place = f"{REPOSITORY}/blob/{BRANCH}/docs/chapter/{lesson}.{language}.ipynb"
    colab = f"https://colab.research.google.com/github/{place}"
    kaggle = f"https://kaggle.com/kernels/welcome?src=https://github.com/{place}"
    other, name = ("en", "English") if language == "ja" else ("ja", "日本語")
    return (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab}) "
        f"[![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)]({kaggle}) "
        f"[{name}]({lesson}.{other}.ipynb)"
    )


def with_badges(source: str, lesson: str, language: str) -> str:
    """Return a first cell with its badges, right below its heading."""
    lines = [line for line in source.splitlines() if not line.startswith("[![Open in")]
    rest = "\n".join(lines[1:]).strip("\n")
    return f"{lines[0]}\n\n{badges(lesson, language)}\n\n{rest}"


def run(notebook: NotebookNode, folder: Path, city: Path | None = None) -> NotebookNode:
    """Run a notebook in a folder, from top to bottom, and return it with its outputs.

    Args:
        notebook: Left as it is.
        folder: Where it runs.
        city: Where the drawn city lies, or will; None: below `folder`, as for a reader.

    Raises:
        CellExecutionError: A cell fails.
    """
    environment = {**os.environ, "TERM": "dumb", "COLUMNS": "110"}
    environment.setdefault("OMP_NUM_THREADS", "1")  # on a busy machine, threads that wait for each other spin
    environment["PYTHONWARNINGS"] = "ignore:IProgress not found"  # by tqdm where there are no ipywidgets
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    if city is not None:
        environment["MEISHO_CITY"] = str(city)
    notebook = nbformat.from_dict(notebook)
    client = NotebookClient(
        notebook,
        timeout=SECONDS_PER_CELL,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=environment)
    return notebook


def tidy(notebook: NotebookNode, places: list[Path]) -> None:
    """Take out of a run notebook what differs from run to run or names this machine, in place."""
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02}"
        cell["metadata"] = {}
        for output in cell.get("outputs", []):
            for holder in (output, output.get("data", {})):
                for key in ("text", "text/plain", "text/html"):
                    if isinstance(holder.get(key), str):
                        text = holder[key].replace("\r\n", "\n")  # of commands, which see a terminal
                        for place in places:
                            text = text.replace(f"{place}/", "")
                        holder[key] = text
    notebook["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


def refresh(lesson: str, *, city: Path, do_run: bool) -> None:
    """Bring both notebooks of a lesson up to date."""
    japanese, english = (read(lesson, language) for language in LANGUAGES)
    if do_run:
        with tempfile.TemporaryDirectory() as folder:
            japanese = run(japanese, Path(folder), city)
            tidy(japanese, [Path(folder), city.parent.parent])
    written = [cell for cell in japanese.cells if cell.cell_type == "code"]
    holes = [number for number, cell in enumerate(english.cells) if cell.cell_type == "code"]
    if len(holes) != len(written):
        raise SystemExit(f"{lesson}: {len(written)} code cells in Japanese, {len(holes)} in English")
    for number, cell in zip(holes, written, strict=True):
        english.cells[number] = nbformat.from_dict(cell)
    for language, notebook in zip(LANGUAGES, (japanese, english), strict=True):
        notebook.cells[0].source = with_badges(notebook.cells[0].source, lesson, language)
        tidy(notebook, [])
        nbformat.write(notebook, notebook_path(lesson, language))


def main() -> None:
    """Bring the lessons that are named up to date, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="*", help="lessons, such as 01; all when none is named")
    parser.add_argument("--no-run", action="store_true", help="write badges and code, run nothing")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp())
    try:
        for lesson in lessons():
            if not options.numbers or lesson[:2] in options.numbers:
                refresh(lesson, city=place / "course" / "city", do_run=not options.no_run)
                print(lesson)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
