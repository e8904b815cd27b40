"""`meisho submit`: a contest's submission, or a bundle that makes one where there is no network."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meisho.cli.app import app, note, print_json, say, strong, tell
from meisho.cli.bars import progress_bars
from meisho.cli.evaluate import print_report, report_json
from meisho.cli.options import (
    LOCAL_NAMES,
    BatchSize,
    Device,
    Enlarge,
    Json,
    ModelChoice,
    Precision,
    Rerank,
    Scales,
    Seed,
    Size,
    Workers,
    load_chain,
)
from meisho.errors import InputError
from meisho.outputs import SUBMISSION, check_output, check_output_folder
from meisho.texts import count

if TYPE_CHECKING:  # a command imports what it needs when it is called
    from meisho.contest.submit import Submitted

submit_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Make a contest's submission, or a bundle that makes it offline.",
    short_help="Make a contest's submission, or a bundle for it.",
)
app.add_typer(submit_app, name="submit")

_SHOWN = 5

Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="default, timm:NAME or a checkpoint directory; several make an ensemble of equal weights.",
    ),
]

Local = Annotated[
    str | None, typer.Option(metavar="NAME", help=f"Local features for rerankers that verify: {LOCAL_NAMES}.")
]


Queries = Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the query photos; subfolders too.")]
Database = Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the photos that are searched.")]
To = Annotated[Path, typer.Option(metavar="FILE", help="The submission, a CSV file.")]
Sample = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="The contest's sample submission: the queries to answer, in its order."
    ),
]
Solution = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The right answers, retrieval_solution_v2.1.csv, for a local score."),
]
Work = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Folder that keeps the descriptors. Default: SUBMISSION.work."),
]


@submit_app.command("gld-retrieval", short_help="Write a submission for Google's landmark retrieval.")
def gld_retrieval(
    queries: Queries,
    database: Database,
    to: To = Path("submission.csv"),
    model: Models = None,
    sample: Sample = None,
    solution: Solution = None,
    work: Work = None,
    rerank: Rerank = None,
    local: Local = None,
    size: Size = None,
    enlarge: Enlarge = None,
    scales: Scales = None,
    precision: Precision = None,
    device: Device = "auto",
    batch_size: BatchSize = 16,
    workers: Workers = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Rank the database for each query and write the table that Google's landmark retrieval contests take.

    If it was interrupted, the same command continues.

    Example: meisho submit gld-retrieval --queries test --database index --model runs/city/best
    """
    from meisho.contest.entry import load_reranking
    from meisho.contest.submit import ContestFiles, submit_retrieval

    for folder in (queries, database):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
    work = work or to.with_name(f"{to.stem}.work")
    check_output(to, SUBMISSION, inputs=filter(None, (sample, solution)))
    check_output_folder(work)
    reranking = load_reranking(rerank, local, device=device, num_workers=workers)
    how = ModelChoice(
        size=size,
        enlarge=enlarge,
        scales=scales,
        precision=precision,
        device=device,
        batch_size=batch_size,
        workers=workers,
    )
    describers = [replace(how, model=name).describer() for name in model or ["default"]]
    with progress_bars() as report_progress:
        submitted = submit_retrieval(
            ContestFiles(queries, database, sample, solution),
            describers,
            to,
            work=work,
            reranking=reranking,
            seed=seed,
            progress=report_progress,
        )
    if as_json:
        print_json(_submitted_json(submitted, to))
    else:
        _print_submitted(submitted, to)


def _submitted_json(submitted: "Submitted", to: Path) -> dict[str, object]:
    entry = submitted.entry
    return {
        "submission": str(to),
        "queries": len(entry.query_ids),
        "answered": len(entry.ranking.query_ids),
        "database": len(entry.ranking.database_ids),
        "skipped": [{"path": str(error.path), "reason": error.reason} for error in entry.errors],
        "warnings": list(entry.warnings),
        "score": report_json(submitted.report) if submitted.report else None,
    }


def _print_submitted(submitted: "Submitted", to: Path) -> None:
    entry = submitted.entry
    for error in entry.errors[:_SHOWN]:
        tell(("skipped ", "yellow"), str(error))
    if len(entry.errors) > _SHOWN:
        tell(f"... and {len(entry.errors) - _SHOWN:,} more photos were skipped")
    for warning in () if submitted.report else entry.warnings:  # a report prints them too
        tell(("warning: ", "bold yellow"), warning)
    answered, wanted = len(entry.ranking.query_ids), len(entry.query_ids)
    if answered < wanted:
        note(
            f"{wanted - answered:,} of {wanted:,} queries have no photo that can be read; "
            "their rows are empty"
        )
    say(
        strong(to),
        f": {count(wanted, 'query')}, up to {min(100, entry.ranking.depth)} of "
        f"{len(entry.ranking.database_ids):,} database photos each",
    )
    if submitted.report:
        print_report(submitted.report)


@submit_app.command("bundle", short_help="Make a folder that makes a submission offline.")
def bundle(
    to: Annotated[Path, typer.Option(metavar="FILE", help="The bundle's folder, new or empty.")],
    model: Models = None,
    queries: Annotated[
        str, typer.Option(help="Folder of the query photos where the notebook will run.", metavar="FOLDER")
    ] = "/kaggle/input/landmark-retrieval-2021/test",
    database: Annotated[
        str, typer.Option(help="Folder of the database photos where the notebook will run.", metavar="FOLDER")
    ] = "/kaggle/input/landmark-retrieval-2021/index",
    sample: Annotated[
        str | None, typer.Option(metavar="FILE", help="The sample submission there: the queries to answer.")
    ] = None,
    wheel: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A further wheel to install there; may be repeated."),
    ] = None,
    rerank: Rerank = None,
    local: Local = None,
    size: Size = None,
    enlarge: Enlarge = None,
    scales: Scales = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier bundle.")] = False,
    as_json: Json = False,
) -> None:
    """Make a folder with meisho's wheel, the weights and a notebook that makes a submission offline.

    Upload it as a data set, add it to a notebook, and run notebook.ipynb.

    Example: meisho submit bundle --model runs/city/best --to bundle
    """
    from meisho.contest.bundle import NotebookPlaces, check_free, write_bundle

    check_output_folder(to)
    check_free(to, overwrite=overwrite)
    load_chain(rerank, "cpu")
    how = ModelChoice(size=size, enlarge=enlarge, scales=scales, device="cpu")
    extractors = [replace(how, model=name).load() for name in model or ["default"]]
    files = write_bundle(
        to,
        extractors,
        places=NotebookPlaces(queries, database, sample),
        wheels=wheel or (),
        rerank=rerank,
        local=local,
        overwrite=overwrite,
    )
    sizes = {file.relative_to(to).as_posix(): file.stat().st_size for file in files}
    if as_json:
        print_json({"bundle": str(to), "files": sizes})
        return
    for name, size_bytes in sizes.items():
        say(f"{size_bytes / 1e6:9.2f} MB  {name}")
    say("Run it there: ", strong(to / "notebook.ipynb"))
