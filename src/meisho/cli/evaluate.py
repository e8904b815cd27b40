"""`meisho evaluate`, and printing a report."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from meisho.cli.app import app, note, out, print_json, say, strong, tell
from meisho.cli.bars import progress_bars
from meisho.cli.options import LARGEST_SEED, LOCAL_NAMES, Json, WhitenedModelChoice, expand_options
from meisho.errors import InputError, MissingDependencyError
from meisho.outputs import FIGURE, QUERY_SCORES, REPORT, SETTINGS, SWEEP, check_outputs, check_page
from meisho.texts import count

if TYPE_CHECKING:  # a command imports what it needs when it is called
    from meisho.datasets.base import Dataset
    from meisho.evaluate.report import Report
    from meisho.evaluate.settings import EvaluationSettings
    from meisho.evaluate.sweep import Sweep
    from meisho.extractors.base import GlobalExtractor
    from meisho.run.evaluating import Evaluation


_FILES = {"run.toml": SETTINGS, "report.json": REPORT, "per_query.csv": QUERY_SCORES}
_FILES |= {"precision_recall.svg": FIGURE, "landmarks.svg": FIGURE}
_SWEEP_FILES = {"run.toml": SETTINGS, "sweep.csv": SWEEP, "sweep.png": FIGURE}

Chains = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CHAIN",
        help="Rerankers in order, for example dba,alpha-qe:k=10:alpha=3,geometric:first=50. "
        "With --sweep it may be given several times, with several values: alpha-qe:k=5|10.",
    ),
]

Distractors = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Photos added to the database, right for no query: R1M."),
]
Compared = Annotated[
    tuple[Path, Path] | None,
    typer.Option(metavar="RUN RUN", help="Compare two earlier evaluations by a paired test."),
]
Config = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A TOML file of these options, such as the run.toml of a report."),
]
As = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="NAME",
        help="Repeat one paper's evaluation with its authors' checkpoint, --model FILE: sizes, crops, scales "
        "and reranking are theirs. cirtorch-ms, ap-gem, delg-r101, dolg-r101, cvnet-r101, superglobal-r101 "
        "and others.",
    ),
]
OptionalSeed = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=0, max=LARGEST_SEED, help="Seeds the bootstrap of the intervals. Default: 0."
    ),
]


@app.command(short_help="Score a model on a data set, or compare two scores.")
@expand_options
def evaluate(
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="DATASET",
            help="toycity, roxford5k, rparis6k, oxford5k, paris6k, gldv2, ukbench, folder or csv.",
        ),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The data set's folder, or the CSV file.")
    ] = None,
    distractors: Distractors = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder for the report and descriptors. Default: runs/DATASET."),
    ] = None,
    compare: Compared = None,
    config: Config = None,
    *,
    as_paper: As = None,
    choice: WhitenedModelChoice,
    local: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"Local features for reranking: {LOCAL_NAMES}.")
    ] = None,
    rerank: Chains = None,
    sweep: Annotated[
        bool,
        typer.Option("--sweep", help="Compare ways to rerank: those of --rerank, or a list of common ones."),
    ] = False,
    seed: OptionalSeed = None,
    as_json: Json = False,
) -> None:
    """Score a model on a data set by that data set's own protocol, or compare two scores.

    Example: meisho evaluate roxford5k --root data/roxford5k --to runs/roxford5k

    Example: meisho evaluate roxford5k --root data/roxford5k --rerank "alpha-qe:k=5|10" --sweep

    Example: meisho evaluate roxford5k --root data/roxford5k --as dolg-r101 --model r101_dolg_512.pyth

    Example: meisho evaluate --compare runs/a runs/b
    """
    if compare:
        _compare(*compare, seed=seed or 0, as_json=as_json)
        return
    settings = _settings(
        config,
        {"dataset": dataset, "root": root, "distractors": distractors}
        | {"model": choice.model, "local": local, "seed": seed, "paper": as_paper},
        choice.options,
        rerank or [],
        sweep=sweep,
    )
    if settings.sweep:
        _run_sweep(settings, to, choice, config, as_json=as_json)
    else:
        _run(settings, to, choice, config, as_json=as_json)


def _settings(
    config: Path | None,
    given: dict[str, object],
    options: dict[str, object],
    rerank: list[str],
    *,
    sweep: bool,
) -> "EvaluationSettings":
    """Read the settings of the file, where there is one; what the command line says takes their place."""
    from meisho.config import parse_config
    from meisho.documents import read_toml
    from meisho.evaluate.papers import follow_paper
    from meisho.evaluate.settings import EvaluationSettings
    from meisho.rerank.chain import parse_chain

    values: dict[str, Any] = dict(read_toml(config).values) if config else {}
    values |= {name: value for name, value in given.items() if value is not None}
    if options:
        values["options"] = values.get("options", {}) | options
    if "dataset" not in values or "root" not in values:
        missing = f"{config}: names no data set or no root; add them there, or " if config else ""
        raise InputError(
            f"{missing}give a data set and its folder, for example: meisho evaluate folder --root photos/"
        )
    if sweep:
        chains = rerank or values.get("sweep") or _common_chains(values.get("local"))
        values |= {"sweep": chains, "rerank": []}
    elif len(rerank) > 1:
        raise InputError(
            "--rerank is given more than once; join the steps of one chain by commas, or say --sweep"
        )
    elif rerank:
        values |= {"rerank": parse_chain(rerank[0], source="--rerank"), "sweep": []}
    settings = parse_config(values, EvaluationSettings, source=str(config or "meisho evaluate"))
    if settings.model == "random" and (settings.rerank or settings.sweep):
        raise InputError("--model random describes no photo; there is nothing to rerank by")
    follow_paper(settings)  # what contradicts it is refused
    return settings


def _common_chains(local: str | None) -> list[str]:
    from meisho.rerank.grid import DEFAULT_CHAINS, DEFAULT_LOCAL_CHAINS

    return [*DEFAULT_CHAINS, *(DEFAULT_LOCAL_CHAINS if local else ())]


def _run(
    settings: "EvaluationSettings",
    to: Path | None,
    choice: WhitenedModelChoice,
    config: Path | None,
    *,
    as_json: bool,
) -> None:
    from meisho.evaluate.papers import follow_paper
    from meisho.rerank.chain import build_chain, parse_chain
    from meisho.run.evaluating import evaluate_dataset, evaluate_random

    given, settings = settings.options, follow_paper(settings)
    chain = build_chain(settings.rerank, source="rerank", device=choice.device) if settings.rerank else None
    local = choice.local_describer(settings.local)
    if to:
        check_evaluation(to)
    loaded = _load_dataset(settings)
    to = to or _folder_of(settings, loaded)
    check_evaluation(to)
    if settings.model == "random":
        settings.check_place(to, config)
        evaluation = evaluate_random(loaded, seed=settings.seed)
    else:
        extractor = _load_model(settings, given, choice.device)
        steps = tuple(parse_chain(chain.full_text)) if chain else ()
        settings = replace(_resolved(settings, extractor), rerank=steps)
        settings.check_place(to, config)
        with progress_bars() as report_progress:
            evaluation = evaluate_dataset(
                loaded,
                choice.describer_of(extractor),
                to / "collection",
                progress=report_progress,
                local=local,
                device=choice.device,
                chain=chain,
                seed=settings.seed,
            )
    settings.save(to)
    evaluation = replace(evaluation, report=replace(evaluation.report, paper=_say_paper(settings)))
    page = write_evaluation(evaluation, to)
    if as_json:
        print_json({"page": str(page), **report_json(evaluation.report)})
        return
    print_report(evaluation.report)
    say("\nLook at the answers: ", strong(page))


def _run_sweep(
    settings: "EvaluationSettings",
    to: Path | None,
    choice: WhitenedModelChoice,
    config: Path | None,
    *,
    as_json: bool,
) -> None:
    from meisho.extractors.base import load_extractor
    from meisho.rerank.chain import build_chain
    from meisho.rerank.grid import expand_grid
    from meisho.run.evaluating import sweep_dataset

    texts = [text for grid in settings.sweep for text in expand_grid(grid)]
    chains = {text: build_chain(text, source="--rerank", device=choice.device) for text in texts}
    if to:
        check_outputs(to, _SWEEP_FILES)
    local = choice.local_describer(settings.local)
    loaded = _load_dataset(settings)
    to = to or _folder_of(settings, loaded)
    check_outputs(to, _SWEEP_FILES)
    extractor = load_extractor(settings.model, device=choice.device, **settings.options)
    settings = replace(_resolved(settings, extractor), sweep=tuple(chains))
    settings.check_place(to, config)
    with progress_bars() as report_progress:
        result = sweep_dataset(
            loaded,
            choice.describer_of(extractor),
            to / "collection",
            chains,
            local=local,
            device=choice.device,
            seed=settings.seed,
            progress=report_progress,
        )
    settings.save(to)
    table, plot = result.save(to), _draw_sweep(result, to / "sweep.png")
    if as_json:
        print_json({"table": str(table), "plot": plot and str(plot), "entries": _sweep_json(result)})
        return
    print_sweep(result)
    say("\nThe same as a table: ", strong(table))
    if plot:
        say("As a plot: ", strong(plot))


def _draw_sweep(sweep: "Sweep", path: Path) -> Path | None:
    """Draw a sweep where matplotlib is installed; say how to get it where it is not."""
    try:
        from meisho.web.frontier import draw_sweep
    except MissingDependencyError as error:
        note(str(error))
        return None
    draw_sweep(sweep, path)
    return path


def _load_model(settings: "EvaluationSettings", given: dict[str, object], device: str) -> "GlobalExtractor":
    from meisho.evaluate.papers import check_model
    from meisho.extractors.base import load_extractor

    extractor = load_extractor(settings.model, device=device, **settings.options)
    check_model(settings, given, getattr(extractor, "backbone", ""), extractor.provenance.values)
    return extractor


def _say_paper(settings: "EvaluationSettings") -> str:
    from meisho.evaluate.papers import PAPERS

    return f"{settings.paper}: {PAPERS[settings.paper].sentence}" if settings.paper else ""


def _load_dataset(settings: "EvaluationSettings") -> "Dataset":
    from meisho.datasets.base import load_dataset
    from meisho.datasets.distractors import add_distractors
    from meisho.evaluate.papers import PAPERS, cut_boxes

    loaded = load_dataset(settings.dataset, settings.root)
    if settings.paper and PAPERS[settings.paper].whole_boxes:
        loaded = replace(loaded, queries=cut_boxes(loaded.queries))
    return add_distractors(loaded, settings.distractors) if settings.distractors else loaded


def _folder_of(settings: "EvaluationSettings", loaded: "Dataset") -> Path:
    names_itself = settings.dataset in ("folder", "csv") or settings.distractors
    name = loaded.name if names_itself else settings.dataset
    return Path("runs") / (f"{name}-random" if settings.model == "random" else name)


def _resolved(settings: "EvaluationSettings", extractor: "GlobalExtractor") -> "EvaluationSettings":
    """Return the settings with every option of the model said."""
    provenance = extractor.provenance
    options = {name: value for name, value in provenance.values.items() if value is not None}
    return replace(settings, model=provenance.extractor, options=options)


def check_evaluation(to: Path) -> None:
    """Refuse a folder in which `write_evaluation` would replace what is of no evaluation.

    Raises:
        InputError: It is so.
    """
    check_outputs(to, _FILES)
    check_page(to / "report.html")


def write_evaluation(evaluation: "Evaluation", to: Path) -> Path:
    """Save the figures, the per-query scores, the drawings and the page; return the page's path."""
    from meisho.web.curves import draw_report
    from meisho.web.pages import write_report_page

    report, ranking, dataset = evaluation.report, evaluation.ranking, evaluation.dataset
    report.save(to)
    drawings = draw_report(report, ranking, dataset)
    drawings.save(to)
    page = to / "report.html"
    compare = evaluation.pairs.compare if evaluation.pairs else None
    write_report_page(page, report, ranking, dataset, compare=compare, drawings=drawings)
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
        say((f"  {difference}", "dim"))
    for setup in comparison:
        say(setup.sentence)


def print_report(report: "Report") -> None:
    """Print a report as a table."""
    from rich.table import Table

    from meisho.evaluate.report_table import COUNTED

    say(strong(report.dataset), f": {report.conditions}")
    for line in report.methods:
        say(line)
    figures = report.table
    table = Table("metric", *figures.setups, box=None, pad_edge=False, header_style="dim")
    for metric, cells in figures.rows:
        table.add_row(metric, *map(_highlighted, cells))
    table.add_row(*(Text(cell, style="dim") for cell in (COUNTED, *map(str, figures.counts))))
    out.print_table(table)
    for warning in report.warnings:
        tell(("warning: ", "bold yellow"), warning)


def print_sweep(sweep: "Sweep") -> None:
    """Print a sweep as a table: the main figure of each setup beside the costs."""
    report = sweep.entries[0].report
    headline = report.headline
    say(
        strong(report.dataset),
        f": {count(report.num_queries, 'query')}, {count(report.num_database, 'photo')}; "
        f"protocol {report.protocol}",
    )
    say(f"model {report.provenance.summary}")
    mains = {figure.setup: figure.metric for figure in reversed(report.figures)}
    setups = [setup for setup in dict.fromkeys(figure.setup for figure in report.figures)]
    heads = [f"{headline.metric} {setup}" if setup == headline.setup else setup for setup in setups]
    table = Table("", "rerank", *heads, box=None, pad_edge=False, header_style="dim")
    for head in ("ms per query", "once, s", "bytes per photo"):
        table.add_column(head, justify="right")
    for entry, worth in zip(sweep.entries, sweep.on_frontier, strict=True):
        figures = [entry.report.figure(mains[setup], setup) for setup in setups]
        cells = [_highlighted(f.text if f.setup == headline.setup else f.text.split()[0]) for f in figures]
        costs = (f"{entry.query_ms:.2f}", f"{entry.once_seconds:.1f}", f"{entry.bytes_per_photo:,.0f}")
        table.add_row("*" if worth else "", entry.reranking or "none", *cells, *costs)
    out.print_table(table)
    out.print(
        "* no other row is at least as good, as fast and as small, and better in one of these", style="dim"
    )


def _sweep_json(sweep: "Sweep") -> list[dict[str, object]]:
    return [
        {
            "rerank": entry.reranking,
            "figures": [asdict(figure) for figure in entry.report.figures],
            "query_ms": entry.query_ms,
            "once_seconds": entry.once_seconds,
            "bytes_per_photo": entry.bytes_per_photo,
            "on_frontier": worth,
        }
        for entry, worth in zip(sweep.entries, sweep.on_frontier, strict=True)
    ]


def _highlighted(cell: str) -> Text:
    """Show "value [low, high]" with the value in bold."""
    value, _, interval = cell.partition(" ")
    return Text.assemble((value, "bold"), " ", (interval, "dim"))


def report_json(report: "Report") -> dict[str, object]:
    """Return a report for machines, without the scores of each query."""
    return {key: value for key, value in asdict(report).items() if key != "query_scores"}
