"""The course in docs/chapter: each lesson runs from top to bottom, with the same code in both languages."""

import base64
import importlib.util
import io
import json
import re
import shlex
from pathlib import Path

import pytest
import typer
from PIL import Image

from meisho import cli

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

FOLDER = Path(__file__).parent.parent / "docs/chapter"
MOST_BYTES = 300_000
FOLDERS = "work|home|root|tmp|Users"  # at the top of a machine


def load_course():
    spec = importlib.util.spec_from_file_location("meisho_course", FOLDER / "course.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


course = load_course()
LESSONS = course.lessons()
ERRORS_SHOWN = {"04_download": 1}
"""Lesson -> errors of commands that it shows on purpose; any other is a fault."""


def outputs_of(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def texts_of(notebook):
    for output in outputs_of(notebook):
        yield output.get("text", "")
        yield from (text for kind, text in output.get("data", {}).items() if kind.startswith("text/"))


@pytest.fixture(scope="session")
def city(tmp_path_factory):
    """The folder of the drawn cities of all lessons, which the first lesson that needs one draws."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base  # one for all processes of xdist
    return shared / "course_city/city"


def test_there_is_a_lesson_for_each_script():
    assert [name[:2] for name in LESSONS] == [f"{number:02}" for number in range(1, 14)]
    assert sorted(path.name for path in FOLDER.glob("*.ipynb")) == sorted(
        course.notebook_path(lesson, language).name for lesson in LESSONS for language in course.LANGUAGES
    )


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS)
def test_it_runs(lesson, tmp_path, city):
    city.parent.mkdir(exist_ok=True)
    notebook = course.run(course.read(lesson, "ja"), tmp_path, city)
    outputs = outputs_of(notebook)
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    printed = "\n".join(texts_of(notebook))
    assert len(re.findall(r"^(?:error:|Usage:|Traceback)", printed, re.MULTILINE)) == ERRORS_SHOWN.get(
        lesson, 0
    )
    assert any("image/jpeg" in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("lesson", LESSONS)
def test_both_languages_have_the_same_code(lesson):
    japanese, english = (course.read(lesson, language) for language in course.LANGUAGES)
    assert course.code_of(japanese) == course.code_of(english)
    kinds = [[cell.cell_type for cell in notebook.cells] for notebook in (japanese, english)]
    assert kinds[0] == kinds[1]
    for code in course.code_of(japanese):
        assert not re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", code), "code is the same in both languages"


@pytest.mark.parametrize("language", course.LANGUAGES)
@pytest.mark.parametrize("lesson", LESSONS)
class TestEach:
    def test_it_is_a_sound_notebook_with_small_pictures(self, lesson, language):
        path = course.notebook_path(lesson, language)
        assert path.stat().st_size < MOST_BYTES
        notebook = course.read(lesson, language)
        nbformat.validate(notebook)
        for output in outputs_of(notebook):
            assert output.get("name") != "stderr"
            assert output.output_type != "error"
            for kind, content in output.get("data", {}).items():
                if kind.startswith("image/"):
                    assert max(Image.open(io.BytesIO(base64.b64decode(content))).size) <= 1400

    def test_it_was_run_to_the_end(self, lesson, language):
        cells = [cell for cell in course.read(lesson, language).cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))

    def test_it_names_no_machine_and_leaves_nothing_to_fill_in(self, lesson, language):
        text = course.notebook_path(lesson, language).read_text()
        found = re.findall(rf"(?:/(?:{FOLDERS})/|RESULT_|@@)[^\s\"]*", text)
        assert found == []

    def test_it_says_what_a_teacher_says(self, lesson, language):
        notebook = course.read(lesson, language)
        words = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        assert course.badges(lesson, language) in notebook.cells[0].source
        assert re.search(r"^> \*\*(元のスクリプトが|What the original)", words, re.MULTILINE)
        assert re.search(r"^## (演習|Exercise)$", words, re.MULTILINE)
        assert re.search(r"<summary>(ヒント|Hint)</summary>", words)

    def test_its_links_lead_somewhere(self, lesson, language):
        for cell in course.read(lesson, language).cells:
            if cell.cell_type == "markdown":
                for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", cell.source):
                    assert (FOLDER / target).exists(), target


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_commands_in_its_text_are_taken(lesson):
    cli.load_commands()
    command = typer.main.get_command(cli.app)
    blocks = [
        re.findall(r"^```console\n(.*?)^```", cell.source, re.DOTALL | re.MULTILINE)
        for language in course.LANGUAGES
        for cell in course.read(lesson, language).cells
    ]
    for line in "".join(block for found in blocks for block in found).splitlines():
        name, subcommand, rest = command.resolve_command(None, shlex.split(line)[1:])
        while isinstance(subcommand, typer.core.TyperGroup):
            name, subcommand, rest = subcommand.resolve_command(None, rest)
        subcommand.make_context(name, list(rest))


def test_the_list_names_every_lesson():
    text = (FOLDER / "README.md").read_text()
    for lesson in LESSONS:
        for language in course.LANGUAGES:
            assert f"({lesson}.{language}.ipynb)" in text


def test_a_notebook_is_tidied(tmp_path):
    cell = nbformat.v4.new_code_cell("1", execution_count=1, metadata={"execution": {"started": "now"}})
    cell.outputs = [nbformat.v4.new_output("stream", text=f"wrote {tmp_path}/course/run\n")]
    notebook = nbformat.v4.new_notebook(cells=[cell])
    course.tidy(notebook, [tmp_path])
    assert notebook.cells[0].outputs[0].text == "wrote course/run\n"
    assert "started" not in json.dumps(notebook)
