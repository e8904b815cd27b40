"""What --help shows of every command: whole sentences, and words for what an option takes."""

import re

import pytest
import typer

from meisho.cli.app import app, load_commands

load_commands()


def walk(command, path):
    """Yield every command with the words that call it."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, (*path, name))


COMMANDS = list(walk(typer.main.get_command(app), ()))
LEAVES = [(path, command) for path, command in COMMANDS if not hasattr(command, "commands")]


def test_the_walk_finds_commands_and_those_of_groups():
    assert {("index",), ("datasets", "look"), ("submit", "bundle")} <= {path for path, _ in LEAVES}


@pytest.mark.parametrize("path", [path for path, _ in COMMANDS], ids=lambda path: " ".join(path) or "meisho")
def test_help_cuts_no_sentence_and_names_no_type(run, monkeypatch, path):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run(*path, "--help")
    assert code == 0
    listed = out.partition("Commands:")[2]
    assert "..." not in listed
    assert re.findall(r"<\w+(?:[ \[]\w+\]?)?>|\{\w+\}", out) == []
