"""The command line: parse, call, show. One file per command; `app` and `models` are what they share."""

from meisho.cli import demo, index, search, evaluate, match, whiten, info, datasets_look, train, export  # noqa: F401, I001  # as in --help
from meisho.cli.app import app, main

__all__ = ["app", "main"]
