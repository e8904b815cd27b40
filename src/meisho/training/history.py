"""History: what was measured after each epoch, as a table, a plot, and TensorBoard's files."""

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from meisho.files import replacing


@dataclass(frozen=True)
class EpochRecord:
    """One epoch.

    Attributes:
        epoch: Epochs done; 0 is the network before training.
        step: Optimiser steps done.
        size_px: Input size.
        rate: Learning rate of the head (or of the only group) at the last step.
        loss: Mean over the epoch's steps of what is minimised.
        head_loss: Of the margin head.
        pair_loss: On pairs.
        other_loss: Of the teacher, or of DELG's autoencoder.
        accuracy: Closed-set, of the head on photos of training landmarks that are not trained on.
        validation_map: Retrieval among the landmarks held out, the figure that chooses.
        gradient_norm: Mean over steps, before clipping.
        images_per_second: Photos trained on per second of the epoch, all processes together.
        waiting: Share of the epoch's time spent waiting for photos.
        seconds: Of the epoch, without validation.
        validation_seconds: Of the validation.
    """

    epoch: int
    step: int
    size_px: int
    rate: float
    loss: float
    head_loss: float
    pair_loss: float
    other_loss: float
    accuracy: float
    validation_map: float
    gradient_norm: float
    images_per_second: float
    waiting: float
    seconds: float
    validation_seconds: float


def write_history(records: Sequence[EpochRecord], path: Path) -> None:
    """Write a CSV with one row per epoch; what was not measured is an empty cell."""
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([f.name for f in fields(EpochRecord)])
        writer.writerows([_cell(value) for value in asdict(record).values()] for record in records)


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.8g}"


def plot_history(records: Sequence[EpochRecord], path: Path) -> None:
    """Draw losses, mAP and accuracy, and learning rate over the epochs to a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 8), layout="constrained")
    losses, scores, rates = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1))
    for name, label in (
        ("loss", "loss, total"),
        ("head_loss", "head"),
        ("pair_loss", "pairs"),
        ("other_loss", "teacher or autoencoder"),
    ):
        _draw(losses, records, name, label, 1.0, leave_out_zeros=True)
    _draw(scores, records, "validation_map", "mAP, landmarks held out", 100.0)
    _draw(scores, records, "accuracy", "closed-set accuracy", 100.0)
    _mark_best(scores, records)
    _draw(rates, records, "rate", "learning rate of the head", 1.0)
    losses.set_ylabel("loss")
    scores.set_ylabel("per cent")
    rates.set_ylabel("rate")
    rates.set_xlabel("epochs")
    rates.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (losses, scores):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    FigureCanvasAgg(figure)
    figure.savefig(path)


def _draw(
    axes: Any,
    records: Sequence[EpochRecord],
    name: str,
    label: str,
    factor: float,
    *,
    leave_out_zeros: bool = False,
) -> None:
    points = [(r.epoch, factor * float(getattr(r, name))) for r in records]
    points = [(epoch, value) for epoch, value in points if not math.isnan(value)]
    if not points or (leave_out_zeros and not any(value for _, value in points)):
        return
    axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=label)


def _mark_best(axes: Any, records: Sequence[EpochRecord]) -> None:
    measured = [r for r in records if not math.isnan(r.validation_map)]
    if measured:
        best = max(measured, key=lambda r: r.validation_map)
        axes.axvline(best.epoch, linestyle=":", color="grey")
        axes.set_title(f"best mAP {100 * best.validation_map:.2f} after {best.epoch} epochs", fontsize=10)


class BoardWriter:
    """Writes records for TensorBoard, where the package `tensorboard` is installed; else does nothing.

    Args:
        folder: Where to.
    """

    def __init__(self, folder: Path) -> None:
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._writer = SummaryWriter(str(folder))

    def write(self, record: EpochRecord) -> None:
        """Add one epoch."""
        if self._writer is None:
            return
        for name, value in asdict(record).items():
            if name not in ("epoch", "step") and not math.isnan(value):
                self._writer.add_scalar(name, value, record.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the files."""
        if self._writer is not None:
            self._writer.close()
