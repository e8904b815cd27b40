"""`meisho evaluate`, and printing a report."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from meisho.cli.app import (
    BatchSize,
    Device,
    Json,
    Workers,
    app,
    err,
    out,
    print_json,
    progress_bars,
    say,
    strong,
)
from meisho.cli.models import (
    Model,
    Pooling,
    Precision,
    Rerank,
    Scales,
    Size,
    Weights,
    Whitening,
    load_chain,
    load_local,
    load_model,
    model_options,
)
from meisho.errors import InputError


@app.command()
def evaluate(
    dataset: Annotated[
        str | None,
        typer.Argument(
            help="toycity, roxford5k, rparis6k, oxford5k, paris6k, gldv2, ukbench, folder or csv."
        ),
    ] = None,
    root: Annotated[Path | None, typer.Option(help="The data set's folder, or the CSV file.")] = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder for the report and descriptors; runs/DATASET when not given.")
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Compare two earlier evaluations by a paired test.")
    ] = None,
    model: Model = None,
    weights: Weights = None,
    size: Size = None,
    pooling: Pooling = None,
    scales: Scales = None,
    whitening: Whitening = None,
    precision: Precision = None,
    device: Device = "auto",
    batch_size: BatchSize = 16,
    workers: Workers = None,
    local: Annotated[
        str | None, typer.Option(help="Local features for reranking: sift, xfeat, aliked.")
    ] = None,
    rerank: Rerank = None,
    seed: Annotated[int, typer.Option(help="Seeds the bootstrap of the intervals.")] = 0,
    as_json: Json = False,
) -> None:
    """Score a model on a data set by that data set's own protocol, or compare two scores.

    Example: meisho evaluate roxford5k --root data/roxford5k --to runs/roxford5k

    Example: meisho evaluate --compare runs/a runs/b
    """
    if compare:
        _compare(*compare, seed=seed, as_json=as_json)
        return
    if dataset is None or root is None:
        raise InputError("give a data set and its folder, for example: meisho evaluate folder --root photos/")
    from meisho.datasets.base import load_dataset
    from meisho.run import evaluate_random

    chain = load_chain(rerank)
    loaded = load_dataset(dataset, root)
    name = loaded.name if dataset in ("folder", "csv") else dataset
    to = to or Path("runs") / (f"{name}-random" if model == "random" else name)
    if model == "random":
        evaluation = evaluate_random(loaded, seed=seed)
    else:
        options = model_options(weights, size, pooling, scales, whitening, precision)
        extractor = load_model(model, device=device, **options)
        with progress_bars() as report_progress:
            evaluation = evaluate_with(
                loaded,
                to,
                extractor,
                report_progress,
                local_extractor=load_local(local),
                reranker=chain,
                seed=seed,
                batch_size=batch_size,
                num_workers=workers,
            )
    page = write_evaluation(evaluation, to)
    if as_json:
        print_json({"page": str(page), **report_json(evaluation.report)})
        return
    print_report(evaluation.report)
    say("\nLook at the answers: ", strong(page))


def evaluate_with(dataset: Any, to: Path, extractor: Any, progress: Any, **options: Any) -> Any:
    """Evaluate on a data set, with the collection below the output folder."""
    from meisho.run import evaluate_dataset

    return evaluate_dataset(dataset, extractor, to / "collection", progress=progress, **options)


def write_evaluation(evaluation: Any, to: Path) -> Path:
    """Save the figures, the per-query scores and the page; return the page's path."""
    from meisho.web.pages import write_report_page

    evaluation.report.save(to)
    page = to / "report.html"
    compare = evaluation.pairs.compare if evaluation.pairs else None
    write_report_page(page, evaluation.report, evaluation.ranking, evaluation.dataset, compare=compare)
    return page


def _compare(first: Path, second: Path, *, seed: int, as_json: bool) -> None:
    import numpy as np

    from meisho.evaluate.comparison import compare_reports
    from meisho.evaluate.report import load_report

    comparison = compare_reports(load_report(first), load_report(second), np.random.default_rng(seed))
    if as_json:
        print_json(comparison)
        return
    say(strong(comparison.dataset), f": {first} → {second}")
    for difference in comparison.differences:
        out.print(f"  {difference}", style="dim")
    for setup in comparison:
        out.print(setup.sentence)


def print_report(report: Any) -> None:
    """Print a report as a table."""
    cropped = "cropped where they have a box" if report.queries_cropped else "not cropped"
    truth = report.ground_truth_sha256[:12] or "not from a file"
    say(
        strong(report.dataset),
        f": {report.num_queries} queries, {cropped}; {report.num_database} photos; "
        f"protocol {report.protocol}; ground truth {truth}",
    )
    out.print(f"model {report.provenance.extractor} {_differing_options(report.provenance)}".rstrip())
    if report.reranking:
        out.print(f"reranked: {report.reranking}")
    setups = list(dict.fromkeys(figure.setup for figure in report.figures))
    table = Table("metric", *setups, box=None, pad_edge=False, header_style="dim")
    for metric in dict.fromkeys(figure.metric for figure in report.figures):
        cells = {figure.setup: figure.text for figure in report.figures if figure.metric == metric}
        table.add_row(metric, *(_highlighted(cells.get(setup, "")) for setup in setups))
    counts = [next(str(f.num_queries) for f in report.figures if f.setup == setup) for setup in setups]
    table.add_row(*(Text(cell, style="dim") for cell in ("queries counted", *counts)))
    out.print(table)
    for warning in report.warnings:
        err.print(Text.assemble(("warning: ", "bold yellow"), warning))


def _differing_options(provenance: Any) -> str:
    """Return the options that shape the descriptors, without those that are off."""
    options = json.loads(provenance.options)
    return ", ".join(f"{name} {value}" for name, value in options.items() if value not in (None, [1.0]))


def _highlighted(cell: str) -> Text:
    """Show "value [low, high]" with the value in bold."""
    value, _, interval = cell.partition(" ")
    return Text.assemble((value, "bold"), " ", (interval, "dim"))


def report_json(report: Any) -> dict[str, Any]:
    """Return a report for machines, without the scores of each query."""
    return {key: value for key, value in asdict(report).items() if key != "query_scores"}
