"""Progress: how far a run is, told to whoever wants to show it."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with the stage ("describe"), how much of it is done, and how much there is; 0: not known."""


def silent(stage: str, done: int, total: int) -> None:
    """Show nothing."""
