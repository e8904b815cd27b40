"""Run by `python -m meisho.cli`."""

from meisho.cli import main

main()
