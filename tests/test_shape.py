"""The shape of the code: modules and functions that can be read in one go, and no circle of imports."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "meisho"
SOURCES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES_OF_A_MODULE = 450
MOST_LINES_OF_A_FUNCTION = 60
MOST_PARAMETERS = 8
MOST_ANY = 60


def stage_of(path):
    return path.relative_to(PACKAGE).parts[0]


def functions_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", [p for p in SOURCES if stage_of(p) != "toycity"], ids=str)
def test_a_module_can_be_read_in_one_go(path):
    assert len(path.read_text().splitlines()) <= MOST_LINES_OF_A_MODULE


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_a_function_fits_a_screen_and_takes_few_parameters(path):
    for node in functions_of(path):
        assert node.end_lineno - node.lineno < MOST_LINES_OF_A_FUNCTION, node.name
        names = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        count = len([name for name in names if name not in ("self", "cls")])
        assert count <= MOST_PARAMETERS or stage_of(path) == "cli", f"{node.name} takes {count}"


def test_types_are_said():
    names = [
        node
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id == "Any"
    ]
    assert len(names) < MOST_ANY


MODULES = {
    ".".join(("meisho", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in SOURCES
}


def imported_at_start(path):
    """Yield the modules of this package that a module imports when it is imported itself."""
    waiting = list(ast.parse(path.read_text()).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else node.module
        elif isinstance(node, ast.Try) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.dump(node)
        ):
            waiting += [child for child in ast.walk(node) if isinstance(child, ast.ImportFrom)]


def test_no_module_imports_itself_by_way_of_others():
    arrows = {name: {*imported_at_start(path)} & {*MODULES} - {name} for name, path in MODULES.items()}
    while free := [name for name, targets in arrows.items() if not targets & {*arrows}]:
        for name in free:
            del arrows[name]
    assert sorted(arrows) == []


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_a_docstring_entry_begins_with_the_thing_itself(path):
    assert (
        re.findall(r"^ +(?:\*\*)?\w+: (?:Of|In which|Likewise|As of)\b.*", path.read_text(), re.MULTILINE)
        == []
    )
