"""`meisho demo`."""

from pathlib import Path
from typing import Annotated

import typer

from meisho.cli.app import Device, Json, app, own_command, print_json, progress_bars, say, shell_line, strong
from meisho.cli.evaluate import evaluate_with, print_report, report_json, write_evaluation
from meisho.cli.models import load_model


@app.command()
def demo(
    to: Annotated[
        Path, typer.Option(help="Folder for the drawn city, its collection and the report.")
    ] = Path("demo"),
    landmarks: Annotated[int, typer.Option(min=2, help="Landmarks to draw.")] = 48,
    views: Annotated[int, typer.Option(min=3, help="Photos of each landmark.")] = 12,
    distractors: Annotated[int, typer.Option(min=0, help="Photos of other streets.")] = 240,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw a toy city, index it, search it, score it, and write a page to look at.

    Example: meisho demo --to demo
    """
    from meisho.datasets.base import load_dataset
    from meisho.describing import Describer
    from meisho.toycity import build_toycity

    city = to / "toycity"
    with progress_bars() as report_progress:
        build_toycity(
            city,
            landmarks=landmarks,
            views=views,
            distractors=distractors,
            progress=lambda done, total: report_progress("draw the city", done, total),
        )
        dataset = load_dataset("toycity", city)
        evaluation = evaluate_with(dataset, to, Describer(load_model(None, device=device)), report_progress)
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
    say("Now your own photos:      ", strong(own))
