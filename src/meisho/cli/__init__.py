"""The command line: parse, call, show.

One file per command, found by the table `meisho.cli.app.COMMANDS` and imported when it is called, so
that a command costs no more than it needs. `options` holds what several of them take, `checks` what is
refused before any work begins, `app` how things are printed.
"""

from meisho.cli.app import app, load_commands, main

__all__ = ["app", "load_commands", "main"]
