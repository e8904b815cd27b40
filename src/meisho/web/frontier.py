"""The picture of a sweep: what each way to rerank scores, over the time that it takes."""

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from meisho.errors import needs_extra
from meisho.evaluate.sweep import Sweep, SweepEntry
from meisho.files import replacing
from meisho.marks import FIGURE_METADATA
from meisho.outputs import FIGURE, check_output

if TYPE_CHECKING:
    from matplotlib.axes import Axes

with needs_extra("plots", "the picture of a sweep"):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

SIZE_INCHES = (12.0, 6.0)
_NAME_WIDTH = 46  # letters of a line of the list of chains
_LEAST_MS = 0.01
_COLOR, _PALE, _PALE_TEXT = "#31688e", "#b0b8c0", "#7a828a"


def draw_sweep(sweep: Sweep, path: Path) -> None:
    """Draw score over milliseconds per query; the frontier is in colour, the area tells the bytes.

    Args:
        sweep: What to draw.
        path: The picture, .png; made whole or not at all.

    Raises:
        InputError: The file is there and is no figure of meisho.
    """
    check_output(path, FIGURE)
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    axes, names = figure.subplots(1, 2, width_ratios=(2, 1))
    headline = sweep.entries[0].report.headline
    for on_frontier in (False, True):
        numbers = [n for n, on in enumerate(sweep.on_frontier, start=1) if on == on_frontier]
        _draw_entries(axes, {n: sweep.entries[n - 1] for n in numbers}, in_color=on_frontier)
    _write_names(names, sweep)
    unit = "%" if headline.factor == 100 else ""
    axes.set(
        title=f"{sweep.entries[0].report.dataset}: what reranking is worth (area: bytes per photo)",
        xscale="log",
        xlabel=f"milliseconds per query, {_LEAST_MS} or less at the left edge",
        ylabel=f"{headline.metric} {headline.setup} {unit}".rstrip(),
    )
    axes.grid(alpha=0.3)
    axes.margins(x=0.1, y=0.1)
    with replacing(path) as part:
        figure.savefig(part, dpi=120, metadata=FIGURE_METADATA)


def _draw_entries(axes: "Axes", entries: dict[int, SweepEntry], *, in_color: bool) -> None:
    """Draw entries by their numbers."""
    times = [max(entry.query_ms, _LEAST_MS) for entry in entries.values()]
    values = [entry.report.headline.value * entry.report.headline.factor for entry in entries.values()]
    areas = [30 + 6 * np.sqrt(entry.bytes_per_photo) for entry in entries.values()]
    color = _COLOR if in_color else _PALE
    axes.scatter(times, values, s=areas, color=color, alpha=0.6, linewidths=0, zorder=3 if in_color else 2)
    for number, x, y in zip(entries, times, values, strict=True):
        axes.annotate(
            str(number),
            (x, y),
            xytext=(6, 5),
            textcoords="offset points",
            fontsize=9,
            color="black" if in_color else _PALE_TEXT,
        )


def _write_names(axes: "Axes", sweep: Sweep) -> None:
    """List what each number stands for, in lines of one height."""
    axes.axis("off")
    lines = []
    for number, (entry, on) in enumerate(zip(sweep.entries, sweep.on_frontier, strict=True), start=1):
        pieces = wrap((entry.reranking or "none").replace(",", ", "), _NAME_WIDTH, break_on_hyphens=False)
        color = "black" if on else _PALE_TEXT
        lines += [
            (f"{number:>2}  {piece}" if not i else f"    {piece}", color) for i, piece in enumerate(pieces)
        ]
    for place, (line, color) in enumerate(lines):
        height = 1 - (place + 0.5) / max(len(lines), 24)
        axes.text(0, height, line, color=color, fontsize=7.5, family="monospace", transform=axes.transAxes)
