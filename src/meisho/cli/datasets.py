"""`meisho datasets`: the group of commands that get, check, look at and split data sets."""

import typer

from meisho.cli.app import app

datasets_app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Get, check, look at and split data sets.",
)
app.add_typer(datasets_app, name="datasets")
