"""Curves of a training in the terminal, drawn anew after each epoch: the loss, and validation's mAP."""

import math
from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from meisho.training.history import EpochRecord

HEIGHT = 6
"""Lines of a curve."""
_MOST_CELLS, _LEAST_CELLS = 44, 16
_DOTS = (
    (0x01, 0x02, 0x04, 0x40),
    (0x08, 0x10, 0x20, 0x80),
)  # left, right column from the top
_EMPTY = 0x2800


class TrainingCurves:
    """What stands above the bars of a training; nothing before the second epoch or on a narrow terminal."""

    def __init__(self) -> None:
        self._records: Sequence[EpochRecord] = ()

    def update(self, records: Sequence[EpochRecord]) -> None:
        """Show these epochs from now on."""
        self._records = records

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the curves side by side."""
        maps = [(record.epoch, 100 * record.validation_map) for record in self._records]
        curves = [
            ("loss", "cyan", "{:.3g}", [(r.epoch, r.loss) for r in self._records]),
            ("mAP, landmarks held out", "green", "{:.1f}", maps),
        ]
        known = [(*curve[:3], [p for p in curve[3] if not math.isnan(p[1])]) for curve in curves]
        known = [curve for curve in known if len(curve[3]) > 1]
        cells = min(_MOST_CELLS, options.max_width // max(1, len(known)) - 12)
        if not known or cells < _LEAST_CELLS:
            return
        table = Table.grid(padding=(0, 2))
        table.add_row(*(_panel(*curve, cells) for curve in known))
        yield table


def _panel(title: str, style: str, form: str, points: Sequence[tuple[int, float]], cells: int) -> Table:
    values = [value for _, value in points]
    lines = plot(points, cells, HEIGHT)
    marks = [form.format(max(values)), *[""] * (HEIGHT - 2), form.format(min(values))]
    panel = Table.grid(padding=(0, 1))
    panel.add_column(justify="right", style="dim")
    panel.add_row("", Text(f"{title}: {form.format(values[-1])}", style="bold"))
    for mark, line in zip(marks, lines, strict=True):
        panel.add_row(mark, Text(line, style=style))
    first, last = f"epoch {points[0][0]}", str(points[-1][0])
    panel.add_row("", Text(first + last.rjust(cells - len(first)), style="dim"))
    return panel


def plot(points: Sequence[tuple[int, float]], width: int, height: int) -> list[str]:
    """Draw a line through points in Braille, two by four dots to a cell.

    Args:
        points: (x, y), at least two, x rising.
        width: Cells of a line.
        height: Lines.

    Returns:
        `height` lines of `width` cells; the highest y at the top, the lowest at the bottom.
    """
    columns, rows = 2 * width, 4 * height
    low, high = min(y for _, y in points), max(y for _, y in points)
    first, last = points[0][0], points[-1][0]
    cells = [[_EMPTY] * width for _ in range(height)]
    before: int | None = None
    for column in range(columns):
        y = _between(points, first + (last - first) * column / (columns - 1))
        share = (y - low) / (high - low) if high > low else 0.5
        row = round((1 - share) * (rows - 1))
        step = -1 if before is not None and before > row else 1
        for dot in range(row if before in (None, row) else before + step, row + step, step):  # no gap in it
            cells[dot // 4][column // 2] |= _DOTS[column % 2][dot % 4]
        before = row
    return ["".join(map(chr, line)) for line in cells]


def _between(points: Sequence[tuple[int, float]], x: float) -> float:
    """Return y at x, on the straight line between the points around it."""
    at = next((n for n, point in enumerate(points) if point[0] >= x), len(points) - 1)
    if at == 0:
        return points[0][1]
    (x0, y0), (x1, y1) = points[at - 1], points[at]
    return y0 + (y1 - y0) * min(1.0, (x - x0) / (x1 - x0))
