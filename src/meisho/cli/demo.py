"""`meisho demo`."""

from pathlib import Path
from typing import Annotated

import typer

from meisho.cli.app import app, own_command, print_json, say, shell_line, strong
from meisho.cli.bars import progress_bars
from meisho.cli.evaluate import check_evaluation, print_report, report_json, write_evaluation
from meisho.cli.options import MANY, Device, Json, ModelChoice


@app.command(short_help="Draw a toy city, index it, search it and score it.")
def demo(
    to: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder for the drawn city, its collection and the report.")
    ] = Path("demo"),
    landmarks: Annotated[int, typer.Option(metavar="N", min=2, max=MANY, help="Landmarks to draw.")] = 48,
    views: Annotated[int, typer.Option(metavar="N", min=3, max=MANY, help="Photos of each landmark.")] = 12,
    distractors: Annotated[
        int, typer.Option(metavar="N", min=0, max=MANY, help="Photos of other streets.")
    ] = 240,
    kinds: Annotated[
        str, typer.Option(metavar="NAMES", help="Kinds of places, with commas: building,tower,statue, ...")
    ] = "building",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw a toy city, index it, search it, score it, and write a page to look at.

    Example: meisho demo --to demo
    """
    from meisho.datasets.base import load_dataset
    from meisho.run.evaluating import evaluate_dataset
    from meisho.toycity import Variety, build_toycity

    variety = Variety(tuple(name.strip() for name in kinds.split(",")))
    check_evaluation(to)
    city = to / "toycity"
    describer = ModelChoice(device=device).describer()
    with progress_bars() as report_progress:
        build_toycity(
            city,
            landmarks=landmarks,
            views=views,
            distractors=distractors,
            variety=variety,
            progress=lambda done, total: report_progress("draw the city", done, total),
        )
        dataset = load_dataset("toycity", city)
        evaluation = evaluate_dataset(dataset, describer, to / "collection", progress=report_progress)
    page = write_evaluation(evaluation, to)
    if as_json:
        print_json({"report": str(page), **report_json(evaluation.report)})
        return
    print_report(evaluation.report)
    command = own_command()
    query = dataset.queries[0].path
    question = shell_line(command, "search", to / "collection", query, "--html", to / "answer.html")
    own = shell_line(command, "index", "PATH/TO/YOUR/PHOTOS", "--to", "my.meisho")
    say("\nLook at the answers:      ", strong(page))
    say("Ask the city a question:  ", question)
    say("Or in your browser:       ", shell_line(command, "serve", to / "collection", "--open"))
    say("Now your own photos:      ", strong(own))
