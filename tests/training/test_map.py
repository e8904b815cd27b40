"""The map in `meisho.training` names every file once, and says what it holds."""

import re
from pathlib import Path

import meisho.training


def test_the_map_names_exactly_the_files_that_there_are():
    folder = Path(meisho.training.__file__).parent
    rows = re.findall(r"^\| (\w+) +\| (.+?) +\|$", meisho.training.__doc__, re.MULTILINE)
    named = [name for name, _ in rows if name != "file"]
    assert sorted(named) == sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    assert all(what for _, what in rows)
