"""`meisho leaderboard`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from meisho.cli.app import app, out, print_json, say, strong
from meisho.cli.bars import progress_bars
from meisho.cli.options import BatchSize, Device, Json, Memory, ModelChoice, Workers
from meisho.errors import MeishoError
from meisho.outputs import check_outputs
from meisho.texts import count, printable

if TYPE_CHECKING:  # a command imports what it needs when it is called
    from meisho.evaluate.leaderboard import Leaderboard, Row
    from meisho.run.leaderboard import Means


@app.command(short_help="Score models on data sets by chains of rerankers, in one table.")
def leaderboard(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A TOML file that names data sets, models and chains."),
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", "--out", metavar="FOLDER", help="Folder for the tables and cells. Default: runs/FILE."
        ),
    ] = None,
    device: Device = "auto",
    batch_size: BatchSize = 16,
    workers: Workers = None,
    memory: Memory = None,
    as_json: Json = False,
) -> None:
    """Score models on data sets by chains of rerankers, and compare each with a baseline.

    What was done is kept: after a kill or a change of the file, only the missing cells are made.

    Example: meisho leaderboard examples/leaderboard.toml --to runs/leaderboard
    """
    from meisho.config import load_config
    from meisho.evaluate.leaderboard_files import BOARD_FILES, board_values, save_leaderboard
    from meisho.evaluate.leaderboard_settings import LeaderboardSettings
    from meisho.run.leaderboard import run_leaderboard

    settings = load_config(file, LeaderboardSettings)
    to = to or Path("runs") / file.stem
    check_outputs(to, BOARD_FILES, inputs=[file])
    choice = ModelChoice(device=device, batch_size=batch_size, workers=workers, memory=memory)
    with progress_bars() as report_progress:
        board = run_leaderboard(
            settings, to, means=_means(choice), source=str(file), progress=report_progress
        )
    page, *_ = save_leaderboard(board, to)
    if as_json:
        print_json(board_values(board))
    else:
        print_leaderboard(board)
        say("\nThe same as a page: ", strong(page))
    if failed := board.failed:
        raise MeishoError(
            f"{count(len(failed), 'cell')} of {len(board.rows)} failed, the first is {failed[0].names}: "
            f"{failed[0].failure}; mend it and run the same command again, which makes only what is missing"
        )


def _means(choice: ModelChoice) -> "Means":
    from meisho.local_describing import LocalDescriber
    from meisho.run.leaderboard import Means

    return Means(
        describe=choice.describer_of,
        find_local=lambda extractor: LocalDescriber(extractor, choice.workers, choice.memory_bytes),
        device=choice.device,
    )


def print_leaderboard(board: "Leaderboard") -> None:
    """Print a table for each data set; its best row has a star."""
    from meisho.evaluate.leaderboard_files import HEADS, name_figure, say_dataset

    for rows in board.datasets:
        said = say_dataset(rows)
        say(strong(rows[0].cell.dataset), f": {said}" if said else "")
        heads = ("", "model", "chain", name_figure(rows), "difference", "p")
        table = Table(*heads, box=None, pad_edge=False, header_style="dim")
        for head in HEADS:
            table.add_column(head, justify="right")
        for row in rows:
            table.add_row(*_cells(row))
        out.print_table(table)
        out.print()
    out.print("* the best of its data set; p: paired sign-flip test against the baseline", style="dim")


def _cells(row: "Row") -> list[Text]:
    from meisho.evaluate.leaderboard_files import row_texts

    figure, *rest = row_texts(row)
    value, _, interval = figure.partition(" ")
    failed = row.cell.report is None
    shown = Text(figure, style="red") if failed else Text.assemble((value, "bold"), " ", (interval, "dim"))
    names = (row.cell.model, row.cell.chain)
    return [
        Text("*" if row.is_best else ""),
        *(Text(printable(name)) for name in names),
        shown,
        *map(Text, rest),
    ]
