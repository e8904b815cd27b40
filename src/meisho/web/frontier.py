"""The picture of a sweep: what each way to rerank scores, over the time that it takes."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from meisho.evaluate.sweep import Sweep, SweepEntry

SIZE_INCHES = (10.0, 6.0)
_LEAST_MS = 0.01
_COLOR, _PALE = "#31688e", "#b0b8c0"


def draw_sweep(sweep: Sweep, path: Path) -> None:
    """Draw score over milliseconds per query; the frontier is in colour, the area tells the bytes.

    Args:
        sweep: What to draw.
        path: The picture, .png; made whole or not at all.
    """
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    headline = sweep.entries[0].report.headline
    for on_frontier in (False, True):
        chosen = [e for e, on in zip(sweep.entries, sweep.on_frontier, strict=True) if on == on_frontier]
        _draw_entries(axes, chosen, in_color=on_frontier)
    unit = "%" if headline.factor == 100 else ""
    axes.set(
        title=f"{sweep.entries[0].report.dataset}: what reranking is worth (area: bytes per photo)",
        xscale="log",
        xlabel=f"milliseconds per query, {_LEAST_MS} or less at the left edge",
        ylabel=f"{headline.metric} {headline.setup} {unit}".rstrip(),
    )
    axes.grid(alpha=0.3)
    axes.margins(x=0.25, y=0.12)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        figure.savefig(unfinished, dpi=120)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _draw_entries(axes: Any, entries: list[SweepEntry], *, in_color: bool) -> None:
    entries = sorted(entries, key=lambda entry: entry.query_ms)
    times = [max(entry.query_ms, _LEAST_MS) for entry in entries]
    values = [entry.report.headline.value * entry.report.headline.factor for entry in entries]
    areas = [30 + 6 * np.sqrt(entry.bytes_per_photo) for entry in entries]
    color = _COLOR if in_color else _PALE
    axes.scatter(times, values, s=areas, color=color, alpha=0.6, linewidths=0, zorder=3 if in_color else 2)
    for entry, x, y in zip(entries, times, values, strict=True):
        axes.annotate(
            entry.reranking or "none",
            (x, y),
            xytext=(6, 5),
            textcoords="offset points",
            fontsize=8,
            color="black" if in_color else "#7a828a",
        )
