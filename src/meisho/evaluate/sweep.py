"""Sweeps: several ways to rerank one ranking, their scores beside their costs, and which are worth it."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from meisho.arrays import BoolArray, Float64Array
from meisho.errors import InputError
from meisho.evaluate.report import Report
from meisho.files import replacing
from meisho.outputs import SWEEP, check_output

SWEEP_FILE = "sweep.csv"


@dataclass(frozen=True)
class SweepEntry:
    """One way to rerank, its score and its costs.

    Attributes:
        reranking: As `--rerank` takes it, as it was asked for; "" for none.
        report: Its figures.
        query_ms: Wall time per query, beside the search.
        once_seconds: Wall time for the database, once.
        bytes_per_photo: Bytes kept beside the descriptors: augmented descriptors, neighbour lists, local
            features.
    """

    reranking: str
    report: Report
    query_ms: float = 0.0
    once_seconds: float = 0.0
    bytes_per_photo: float = 0.0


@dataclass(frozen=True)
class Sweep:
    """What several ways to rerank one ranking score and cost.

    Attributes:
        entries: In the order in which they were asked for; all of the same queries and photos.

    Raises:
        InputError: There are none.
    """

    entries: tuple[SweepEntry, ...]

    def __post_init__(self) -> None:
        if not self.entries:
            raise InputError("a sweep needs at least one way to rerank")

    @property
    def values(self) -> tuple[float, ...]:
        """The headline figure of each entry."""
        return tuple(entry.report.headline.value for entry in self.entries)

    @property
    def on_frontier(self) -> tuple[bool, ...]:
        """Whether no other entry is at least as good in score, time and bytes, and better in one of them."""
        costs = [
            (-value, e.query_ms, e.bytes_per_photo)
            for value, e in zip(self.values, self.entries, strict=True)
        ]
        return tuple(find_frontier(np.array(costs)).tolist())

    @property
    def best(self) -> SweepEntry:
        """The entry with the highest headline figure; of equals the first."""
        return self.entries[int(np.argmax(np.nan_to_num(self.values, nan=-1)))]

    def save(self, directory: Path) -> Path:
        """Write `sweep.csv` under a temporary name, then rename it; return its path.

        Raises:
            InputError: It is there, and is not of an earlier sweep.
        """
        path = directory / SWEEP_FILE
        check_output(path, SWEEP)
        with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
            self._write(file)
        return path

    def _write(self, file: TextIO) -> None:
        writer = csv.writer(file, lineterminator="\n")
        figures = self.entries[0].report.figures
        names = [f"{figure.metric} {figure.setup}" for figure in figures]
        headline = self.entries[0].report.headline
        costs = ["query_ms", "once_seconds", "bytes_per_photo", "on_frontier"]
        interval = [f"{headline.metric} {headline.setup} {end}" for end in ("low", "high")]
        writer.writerow(["rerank", *names, *interval, *costs])
        for entry, worth in zip(self.entries, self.on_frontier, strict=True):
            values = [repr(figure.value) for figure in entry.report.figures]
            ends = [repr(entry.report.headline.low), repr(entry.report.headline.high)]
            cost = [f"{entry.query_ms:.4g}", f"{entry.once_seconds:.4g}", f"{entry.bytes_per_photo:.6g}"]
            writer.writerow([entry.reranking or "none", *values, *ends, *cost, str(worth).lower()])


def find_frontier(costs: Float64Array) -> BoolArray:
    """Return for each row of (E, C) costs, lower is better, whether no other row is better.

    Another row is better where it is at most as high in every column, and lower in one. A row with NaN is
    never on the frontier.
    """
    sound = ~np.isnan(costs).any(axis=1)
    at_most = (costs[:, None] <= costs[None]).all(axis=2)
    lower = (costs[:, None] < costs[None]).any(axis=2)
    beaten: BoolArray = np.any(at_most & lower, axis=0)
    return sound & ~beaten
