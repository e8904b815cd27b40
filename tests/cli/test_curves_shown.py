"""Curves of a training in the terminal."""

import io
import math
import os
import subprocess
import sys

import pytest
from rich.console import Console

from meisho.cli import bars
from meisho.cli.curves import HEIGHT, TrainingCurves, plot
from meisho.cli.terminal import SafeConsole
from meisho.training.history import EpochRecord

RECORDS = [
    EpochRecord(0, 0, 32, validation_map=0.5),
    EpochRecord(1, 10, 32, loss=8.0, validation_map=0.75),
    EpochRecord(2, 20, 32, loss=4.0),
    EpochRecord(3, 30, 32, loss=2.0, validation_map=0.7),
]


def shown(records, width=100):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    curves = TrainingCurves()
    curves.update(records)
    console.print(curves)
    return console.file.getvalue()


def dots(lines):
    """(x, y) of every dot, from the bottom left."""
    places = {
        bit: (x, y)
        for x, column in enumerate(((1, 2, 4, 64), (8, 16, 32, 128)))
        for y, bit in enumerate(column)
    }
    return {
        (2 * cell + x, 4 * len(lines) - 1 - 4 * row - y)
        for row, line in enumerate(lines)
        for cell, letter in enumerate(line)
        for bit, (x, y) in places.items()
        if (ord(letter) - 0x2800) & bit
    }


def test_a_straight_line_is_drawn_straight():
    assert dots(plot([(0, 0.0), (1, 1.0)], 4, 2)) == {(n, n) for n in range(8)}
    assert dots(plot([(0, 1.0), (5, 0.5), (10, 0.0)], 4, 2)) == {(n, 7 - n) for n in range(8)}


def test_a_jump_stays_one_line_and_a_level_is_in_the_middle():
    drawn = dots(plot([(0, 0.0), (99, 0.0), (100, 1.0)], 5, 3))
    assert {x for x, _ in drawn} == set(range(10)) and {y for _, y in drawn} == set(range(12))
    assert len({y for _, y in dots(plot([(1, 3.0), (2, 3.0)], 5, 3))}) == 1


def test_loss_and_map_stand_side_by_side_with_their_ends():
    lines = shown(RECORDS).splitlines()
    assert len(lines) == HEIGHT + 2
    assert "loss: 2" in lines[0] and "mAP, landmarks held out: 70.0" in lines[0]
    assert lines[1].startswith("8 ") and "75.0" in lines[1] and "50.0" in lines[HEIGHT]
    assert "epoch 1" in lines[-1] and "epoch 0" in lines[-1] and lines[-1].rstrip().endswith("3")


@pytest.mark.parametrize(("records", "width"), [([], 100), (RECORDS[:2], 20), (RECORDS, 30)])
def test_nothing_is_drawn_of_one_epoch_or_where_there_is_no_room(records, width):
    assert shown(records, width).strip() == ""


def test_what_was_not_measured_is_left_out():
    assert "loss" not in shown([RECORDS[0], EpochRecord(1, 1, 32, loss=math.nan, validation_map=0.1)])


@pytest.mark.parametrize("is_terminal", [True, False])
def test_they_stand_above_the_bars_of_a_terminal_alone(is_terminal, monkeypatch):
    console = SafeConsole("stderr")
    console._force_terminal = is_terminal
    monkeypatch.setattr(bars, "err", console)
    curves = TrainingCurves()
    curves.update(RECORDS)
    shown = bars._Bars(above=curves)
    assert (next(iter(shown.get_renderables())) is curves) == is_terminal


TRAINING = """
from meisho.cli.app import tell
from meisho.cli.bars import progress_bars
from meisho.cli.curves import TrainingCurves
from meisho.training.history import EpochRecord
curves = TrainingCurves()
with progress_bars(above=curves) as tick:
    for epoch in range(3):
        tick("train", epoch + 1, 3)
        curves.update([EpochRecord(each, each, 32, loss=3.0 - each) for each in range(epoch + 1)])
        tell(f"epoch {epoch} is done")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_terminal_shows_them_with_the_lines_and_a_pipe_the_lines_alone(is_terminal):
    import pty

    ours, theirs = pty.openpty() if is_terminal else os.pipe()
    size = {"COLUMNS": "100", "LINES": "40", "TERM": "xterm-256color"}
    with subprocess.Popen([sys.executable, "-c", TRAINING], stderr=theirs, env=os.environ | size) as training:
        os.close(theirs)
        shown = b"".join(iter(lambda: read(ours), b"")).decode()
        os.close(ours)
    assert training.returncode == 0, shown
    assert "epoch 2 is done" in shown and "train" in shown
    assert ("loss: 1" in shown and "⠀" in shown) == is_terminal


def read(file):
    """What can be read; a terminal whose other end is shut fails where a pipe ends."""
    try:
        return os.read(file, 65536)
    except OSError:
        return b""
