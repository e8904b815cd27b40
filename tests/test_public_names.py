"""The names at the top level: what a user's type checker and editor see of them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import meisho

SOURCE = Path(meisho.__file__).parent.parent

RIGHT = """
import meisho
from meisho import Box, Photo, Provenance

extractor = meisho.load_extractor()
photos = meisho.find_photos(meisho.load_dataset("toycity", "toycity").root).photos
database: meisho.Descriptors = meisho.Describer(extractor).describe(photos)
ranking = meisho.search(database, database, top=3)
truth = meisho.GroundTruth.from_labels(["gate"], ["gate", "tower"])
foreign = meisho.Ranking.from_ranks(range(1), range(2), [[1, 0]])
report = meisho.evaluate_ranking(foreign, truth, provenance=Provenance("mine"))
value: float = report.headline.value
box: Box | None = photos[0].box
try:
    chain = meisho.build_chain(meisho.parse_chain("alpha-qe:k=5"))
except meisho.MeishoError as error:
    code: int = error.exit_code
"""

WRONG = """
import meisho

database = meisho.Describer(meisho.load_extractor()).describe([])
ranking = meisho.serch(database, database)
ids = database.idz
x: int = meisho.load_extractor()
reveal_type(meisho.search(database, database))
reveal_type(meisho.GroundTruth.from_labels([], []))
"""


def check(code, folder):
    """Return what `mypy --strict` says of a user's script, each line of it without the file's name."""
    pytest.importorskip("mypy")
    script = folder / "script.py"
    script.write_text(code)
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--no-error-summary"]
    done = subprocess.run(
        [*command, "--config-file=", f"--cache-dir={folder.parent}/mypy", str(script)],
        env={"MYPYPATH": str(SOURCE), "PATH": ""},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert not done.stderr
    return [line.partition("script.py:")[2] for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_a_type_checker_finds_the_mistakes_of_a_script_and_no_others(tmp_path):
    (tmp_path / "right").mkdir()
    (tmp_path / "wrong").mkdir()
    assert check(RIGHT, tmp_path / "right") == []
    serch, idz, assigned, *revealed = check(WRONG, tmp_path / "wrong")
    assert serch.startswith('5: error: Module has no attribute "serch"')
    assert idz.startswith('6: error: "Descriptors" has no attribute "idz"')
    assert assigned.startswith("7: error: Incompatible types in assignment")
    assert revealed == [
        '8: note: Revealed type is "meisho.ranking.Ranking"',
        '9: note: Revealed type is "meisho.ground_truth.GroundTruth"',
    ]


def test_the_table_and_the_imports_for_type_checkers_agree():
    (block,) = [
        node
        for node in ast.parse(Path(meisho.__file__).read_text()).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    imported = {
        alias.asname: (statement.module, alias.name) for statement in block.body for alias in statement.names
    }
    assert imported == {name: (module, name) for name, module in meisho._PUBLIC.items()}


def test_a_name_that_is_not_there_is_told_with_the_nearest_one():
    code = "import meisho\nmeisho.serch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "module 'meisho' has no attribute 'serch'. Did you mean: 'search'?" in done.stderr
