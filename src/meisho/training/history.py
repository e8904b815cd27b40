"""History: what was measured after each epoch, as a line, a table, a plot, and TensorBoard's files."""

import csv
import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from meisho.files import replacing
from meisho.marks import FIGURE_METADATA
from meisho.outputs import FIGURE, check_output

if TYPE_CHECKING:  # both take long to import
    from matplotlib.axes import Axes
    from torch.utils.tensorboard import SummaryWriter

LOSSES = {"head_loss": "head", "pair_loss": "pairs", "other_loss": "teacher or autoencoder"}
"""Field of a record -> what the plot calls the loss."""


@dataclass(frozen=True)
class EpochRecord:
    """One epoch; NaN stands for what was not measured.

    Attributes:
        epoch: Epochs done; 0 is the network before training.
        step: Optimiser steps done.
        size_px: Input size.
        rate: Learning rate of the head (or of the only group) at the last step.
        loss: What is minimised, mean over the epoch's steps.
        head_loss: The margin head's part of it, before its weight.
        pair_loss: The part of the loss on pairs.
        other_loss: The part of the teacher, or of DELG's autoencoder.
        accuracy: Closed-set accuracy: the head's answers on photos of training landmarks that are not trained
            on.
        validation_map: Mean average precision of retrieval among the landmarks held out; it chooses the best.
        gradient_norm: Mean over steps, before clipping; without those that fp16 left out.
        images_per_second: Photos trained on per second of the epoch, all processes together.
        waiting: Share of the epoch's time spent waiting for photos.
        seconds: Time of the epoch, without validation.
        validation_seconds: Time of the validation.
    """

    epoch: int
    step: int
    size_px: int
    rate: float = math.nan
    loss: float = math.nan
    head_loss: float = math.nan
    pair_loss: float = math.nan
    other_loss: float = math.nan
    accuracy: float = math.nan
    validation_map: float = math.nan
    gradient_norm: float = math.nan
    images_per_second: float = math.nan
    waiting: float = math.nan
    seconds: float = math.nan
    validation_seconds: float = math.nan


def describe_record(
    record: EpochRecord, *, is_best: bool = False, seconds_left: float = math.nan, num_skipped: int = 0
) -> str:
    """Say one epoch in one line, and how long it is until the end where that is known."""
    parts = [f"epoch {record.epoch:3d}"]
    if not math.isnan(record.loss):
        parts.append(f"{record.size_px} px  loss {record.loss:.4f}")
    if not math.isnan(record.validation_map):
        parts.append(f"mAP {100 * record.validation_map:.2f}{' *' if is_best else '  '}")
    if not math.isnan(record.accuracy):
        parts.append(f"closed-set accuracy {100 * record.accuracy:.1f} %")
    if not math.isnan(record.images_per_second):
        parts.append(
            f"{record.images_per_second:.1f} images/s  {100 * record.waiting:.0f} % waiting for data"
        )
    if num_skipped:
        parts.append(f"photos skipped: {num_skipped}")
    if not math.isnan(seconds_left):
        parts.append(f"{_duration(seconds_left)} to go")
    return "  ".join(parts)


def _duration(seconds: float) -> str:
    hours, minutes = seconds / 3600, seconds / 60
    return f"{hours:.1f} h" if hours >= 2 else f"{minutes:.0f} min" if minutes >= 2 else f"{seconds:.0f} s"


def write_history(records: Sequence[EpochRecord], path: Path) -> None:
    """Write a CSV with one row per epoch; what was not measured is an empty cell."""
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([f.name for f in fields(EpochRecord)])
        writer.writerows([_cell(value) for value in asdict(record).values()] for record in records)


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.8g}"


def plot_history(records: Sequence[EpochRecord], path: Path) -> None:
    """Draw losses, mAP, closed-set accuracy and learning rate over the epochs to a PNG.

    mAP and accuracy have panels of their own: the first may fall by a few points while the second rises by
    eighty. What was not measured has none.
    """
    check_output(path, FIGURE)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    used = [name for name in LOSSES if any(getattr(r, name) > 0 for r in records)]
    losses = {"loss": "total"} | {name: LOSSES[name] for name in used if len(used) > 1}
    scores = {"validation_map": "mAP, landmarks\nheld out, %", "accuracy": "closed-set\naccuracy, %"}
    scores = {k: v for k, v in scores.items() if any(not math.isnan(getattr(r, k)) for r in records)}
    heights = (3, *(3 if name == "validation_map" else 2 for name in scores), 1)
    figure = Figure(figsize=(7, 1 + sum(heights)), layout="constrained")
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    for name, label in losses.items():
        _draw(panels[0], records, name, 1.0, label=label)
    panels[0].set_ylabel("loss")
    if len(losses) > 1:
        panels[0].legend()
    for axes, (name, label) in zip(panels[1:], scores.items(), strict=False):
        _draw(axes, records, name, 100.0)
        axes.set_ylabel(label)
    if "validation_map" in scores:
        _mark_best(panels[1], records)
    _draw(panels[-1], records, "rate", 1.0)
    panels[-1].set_ylabel("rate")
    panels[-1].set_xlabel("epochs")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in panels:
        axes.grid(alpha=0.3)
    _mark_sizes(panels, records)
    FigureCanvasAgg(figure)
    with replacing(path) as part:
        figure.savefig(part, metadata=FIGURE_METADATA)


def _draw(axes: "Axes", records: Sequence[EpochRecord], name: str, factor: float, label: str = "") -> None:
    points = [(r.epoch, factor * float(getattr(r, name))) for r in records]
    points = [(epoch, value) for epoch, value in points if not math.isnan(value)]
    if points:
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=label)


def _mark_best(axes: "Axes", records: Sequence[EpochRecord]) -> None:
    best = max((r for r in records if not math.isnan(r.validation_map)), key=lambda r: r.validation_map)
    axes.axvline(best.epoch, linestyle=":", color="grey")
    axes.set_title(f"best mAP {100 * best.validation_map:.2f} after {best.epoch} epochs", fontsize=10)


def _mark_sizes(panels: Sequence["Axes"], records: Sequence[EpochRecord]) -> None:
    """Draw a line where an epoch has another input size than the one before."""
    trained = [r for r in records if r.epoch > 0]
    for before, after in itertools.pairwise(trained):
        if before.size_px != after.size_px:
            for axes in panels:
                axes.axvline(before.epoch, linestyle="--", linewidth=0.8, color="tab:green")
            note = f" {after.size_px} px"
            panels[0].annotate(
                note, (before.epoch, 1), xycoords=("data", "axes fraction"), va="top", color="tab:green"
            )


class BoardWriter:
    """Writes records for TensorBoard, where the package `tensorboard` is installed; else does nothing.

    Args:
        folder: Where its files go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def write(self, record: EpochRecord) -> None:
        """Add one epoch."""
        if self._writer is None:  # not before: a file without an epoch is of no use
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return
            self._writer = SummaryWriter(str(self._folder))
        for name, value in asdict(record).items():
            if name not in ("epoch", "step") and not math.isnan(value):
                self._writer.add_scalar(name, value, record.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the files."""
        if self._writer is not None:
            self._writer.close()
