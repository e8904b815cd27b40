"""Pictures of a data set: how many photos each class has."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from meisho.arrays import Int64Array
from meisho.datasets.statistics import FEW, ClassStatistics, HistogramBar, count_bars
from meisho.errors import needs_extra
from meisho.files import replacing
from meisho.marks import FIGURE_METADATA
from meisho.outputs import FIGURE, check_output

if TYPE_CHECKING:
    from matplotlib.axes import Axes

with needs_extra("plots", "a histogram"):
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogFormatter, MaxNLocator

SIZE_INCHES = (12.0, 4.8)
COLOR = "#31688e"
_MOST_POINTS = 500
_CANVASES = {".png": FigureCanvasAgg, ".svg": FigureCanvasSVG}


def draw_histogram(counts: Int64Array, statistics: ClassStatistics, path: Path, *, title: str) -> None:
    """Draw how many classes have how many photos, and the classes from the largest to the smallest.

    Args:
        counts: (C,) photos of each class.
        statistics: Statistics of these counts.
        path: The picture, .png or .svg; made whole or not at all.
        title: What is shown.

    Raises:
        InputError: The path ends in something else, or is there and is no figure of meisho.
    """
    check_output(path, FIGURE)
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    _CANVASES[path.suffix.lower()](figure)
    figure.suptitle(f"{title}: {statistics.num_photos:,} photos of {statistics.num_classes:,} classes")
    left, right = figure.subplots(1, 2)
    _draw_bars(left, count_bars(counts), statistics)
    _draw_tail(right, counts, statistics)
    _save(figure, path)


def _draw_bars(axes: "Axes", bars: tuple[HistogramBar, ...], statistics: ClassStatistics) -> None:
    drawn = axes.bar([bar.label for bar in bars], [bar.num_classes for bar in bars], color=COLOR, width=0.9)
    axes.bar_label(drawn, [f"{bar.num_classes:,}" for bar in bars], fontsize=8, padding=2)
    axes.set_xticks(range(len(bars)), [bar.label for bar in bars], rotation=45, ha="right")
    axes.set(
        title=f"median {statistics.median:g}, mean {statistics.mean:.1f}; "
        f"{statistics.share_few:.0%} of the classes have fewer than {FEW}",
        xlabel="photos per class",
        ylabel="classes",
    )
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(_plain())


def _draw_tail(axes: "Axes", counts: Int64Array, statistics: ClassStatistics) -> None:
    ordered, half = np.sort(counts)[::-1], statistics.classes_for_half
    places = np.unique(np.geomspace(1, len(ordered), _MOST_POINTS).round().astype(np.int64))
    shaded = np.append(places[places < half], half)
    axes.fill_between(shaded, ordered[shaded - 1], ordered.min(), color=COLOR, alpha=0.25, linewidth=0)
    axes.plot(places, ordered[places - 1], color=COLOR)
    axes.set(
        title=f"half of the photos show {half:,} classes (shaded); Gini {statistics.gini:.2f}",
        xscale="log",
        yscale="log",
        xlabel="classes, largest first",
        ylabel="photos of the class",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_plain())
        axis.set_minor_formatter(_PlainLog())


class _PlainLog(LogFormatter):
    """Writes 20 where matplotlib writes 2×10¹, and nothing where it writes nothing."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:,.0f}" if super().__call__(x, pos) else ""


def _plain() -> FuncFormatter:
    return FuncFormatter(lambda value, _: f"{value:,.0f}")


def _save(figure: Figure, path: Path) -> None:
    no_date = {"Date": None} if path.suffix.lower() == ".svg" else {}  # the same picture gives the same file
    with replacing(path) as part, mpl.rc_context({"svg.hashsalt": "meisho"}):
        figure.savefig(part, dpi=120, metadata=FIGURE_METADATA | no_date)
