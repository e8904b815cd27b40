"""The command line: parse, call, show. One file per command; `app` and `models` are what they share."""

from meisho.cli import (  # noqa: F401  # they join `app`
    datasets_look,
    demo,
    evaluate,
    export,
    index,
    info,
    match,
    search,
    submit,
    train,
    whiten,
)
from meisho.cli.app import app, main

__all__ = ["app", "main"]
