"""Files of a leaderboard: a page of Markdown, a table for programs, and all of it as JSON."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from meisho.evaluate.comparison import SetupComparison
from meisho.evaluate.leaderboard import Leaderboard, Row
from meisho.evaluate.report import Report, printed_factor
from meisho.evaluate.report_table import short_name
from meisho.files import write_text
from meisho.outputs import BOARD_JSON, BOARD_PAGE, BOARD_TABLE, Output
from meisho.texts import count, printable

BOARD_FILES: dict[str, Output] = {
    "leaderboard.md": BOARD_PAGE,
    "leaderboard.csv": BOARD_TABLE,
    "leaderboard.json": BOARD_JSON,
}
HEADS = ("describe, ms", "search, ms", "rerank, ms", "bytes per photo")
_COSTS = ("describe_ms", "search_ms", "rerank_ms", "query_ms", "once_seconds", "bytes_per_photo")
_FIGURE = ("metric", "setup", "value", "low", "high", "num_queries")
_COMPARED = ("difference", "low", "high", "p_value")
_EXPLAINED = (
    "A figure is that of the data set's own protocol, with the bootstrap 95 % interval over its queries. The "
    "difference to the baseline has its interval too; p is that of the paired sign-flip test over queries. "
    "Times are per query: describe, one query alone from its file; search, of all queries at once; rerank, "
    "the chain."
)


def save_leaderboard(board: Leaderboard, folder: Path) -> tuple[Path, ...]:
    """Write the page, the table and the JSON, each whole or not at all; return their paths.

    What is there of another leaderboard is replaced; see `meisho.outputs.check_outputs` for refusing more.
    """
    texts = {
        "leaderboard.md": board_markdown(board),
        "leaderboard.csv": board_csv(board),
        "leaderboard.json": json.dumps(board_values(board), ensure_ascii=False, indent=1, allow_nan=False),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return tuple(folder / name for name in texts)


def say_dataset(rows: Sequence[Row]) -> str:
    """Say in one line what was scored in the rows of a data set; "" where all failed."""
    report = _report_of(rows)
    if report is None:
        return ""
    queries, photos = count(report.num_queries, "query"), count(report.num_database, "photo")
    return f"{queries}, {report.cropping}; {photos}; protocol {report.protocol}"


def name_figure(rows: Sequence[Row]) -> str:
    """Return the head of the column of figures: "mAP medium"."""
    report = _report_of(rows)
    if report is None:
        return "figure"
    setup = report.headline.setup
    return short_name(report.headline.metric) + ("" if setup == "all" else f" {setup}")


def row_texts(row: Row) -> tuple[str, str, str, str, str, str, str]:
    """Return a row's figure, difference, p and four costs in words; "" where there is none."""
    report = row.cell.report
    if report is None:
        return (f"failed: {printable(row.cell.failure)}", *("",) * 6)
    costs = row.cell.costs
    return (
        report.headline.text,
        "baseline" if row.is_baseline else _say_difference(row.comparison),
        "" if row.comparison is None else f"{row.comparison.p_value:.4f}",
        f"{costs.describe_ms:.1f}",
        f"{costs.search_ms:.2f}",
        f"{costs.rerank_ms:.2f}",
        f"{costs.bytes_per_photo:,.0f}",
    )


def board_markdown(board: Leaderboard) -> str:
    """Return a page with a table for each data set; the best row is set in bold."""
    baseline = f"{board.baseline.model}, {board.baseline.chain}"
    parts = [
        "# Leaderboard\n",
        f"{_EXPLAINED}\n",
        f"Baseline: {_cell(baseline)}. The best of a data set is bold.\n",
    ]
    for rows in board.datasets:
        parts.append(f"## {_cell(rows[0].cell.dataset)}\n")
        if said := say_dataset(rows):
            parts.append(f"{said}\n")
        heads = ("model", "chain", name_figure(rows), "difference", "p", *HEADS)
        lines = [_line(heads), _line(["---"] * 5 + ["---:"] * len(HEADS))]
        parts.append("\n".join([*lines, *map(_markdown_row, rows)]) + "\n")
    return "\n".join(parts)


def board_csv(board: Leaderboard) -> str:
    """Return one row per cell, numbers with every bit; empty where there is none."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    compared = [f"difference_{name}" if name in ("low", "high") else name for name in _COMPARED]
    names = ("dataset", "model", "chain")
    writer.writerow([*names, *_FIGURE, *compared, *_COSTS, "is_best", "failure"])
    for row in board.rows:
        report = row.cell.report
        values = (
            *_texts(report and report.headline, _FIGURE),
            *_texts(row.comparison, _COMPARED),
            *_texts(row.cell.costs if report else None, _COSTS),
        )
        labels = [getattr(row.cell, name) for name in names]
        writer.writerow([*labels, *values, str(row.is_best).lower(), printable(row.cell.failure)])
    return file.getvalue()


def board_values(board: Leaderboard) -> dict[str, object]:
    """Return a leaderboard as JSON has it: NaN becomes null."""
    return {
        "format": 1,
        "baseline": asdict(board.baseline),
        "seed": board.seed,
        "cells": [_row_values(row) for row in board.rows],
    }


def _row_values(row: Row) -> dict[str, object]:
    cell, report = row.cell, row.cell.report
    return {
        "dataset": cell.dataset,
        "model": cell.model,
        "chain": cell.chain,
        "is_best": row.is_best,
        "is_baseline": row.is_baseline,
        "headline": report and _without_nan(asdict(report.headline)),
        "figures": [_without_nan(asdict(figure)) for figure in report.figures] if report else [],
        "against_baseline": row.comparison and _without_nan(asdict(row.comparison)),
        "costs": {name: getattr(cell.costs, name) for name in _COSTS} if report else None,
        "num_database": report and report.num_database,
        "protocol": report and report.protocol,
        "ground_truth_sha256": report and report.ground_truth_sha256,
        "provenance": report and asdict(report.provenance),
        "reranking": report and report.reranking,
        "warnings": list(report.warnings) if report else [],
        "folder": cell.folder,
        "failure": cell.failure,
    }


def _without_nan(values: Mapping[str, object]) -> dict[str, object]:
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in values.items()
    }


def _report_of(rows: Sequence[Row]) -> Report | None:
    return next((row.cell.report for row in rows if row.cell.report is not None), None)


def _say_difference(compared: SetupComparison | None) -> str:
    if compared is None:
        return ""
    factor = printed_factor(compared.metric)
    difference, low, high = (factor * x for x in (compared.difference, compared.low, compared.high))
    digits = 1 if factor == 100 else 2
    return f"{difference:+.2f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def _markdown_row(row: Row) -> str:
    figure, *rest = map(_cell, row_texts(row))
    if row.is_best:
        figure = f"**{figure}**"
    return _line([_cell(row.cell.model), _cell(row.cell.chain), figure, *rest])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """Return a text such that Markdown shows it as it is, in one cell."""
    for sign in "\\|<*`":
        text = text.replace(sign, f"\\{sign}")
    return printable(text)


def _texts(values: object, names: Sequence[str]) -> list[str]:
    """Return fields of a value as texts, numbers with every bit; "" for None and NaN."""
    found = [getattr(values, name, "") for name in names]
    return [
        "" if value != value else repr(value) if isinstance(value, float) else str(value) for value in found
    ]
