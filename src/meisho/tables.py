"""Tables of what is known by name, "name" -> "module:object": imported on use; other names are refused."""

import difflib
import inspect
from collections.abc import Collection, Iterable, Mapping
from importlib import import_module
from typing import Any

from meisho.errors import ConfigError

OTHER_WORDS = {"size": "max_side_px"}
"""Words of the command line for an option that spelling alone would not find."""


def find_repeated(names: Iterable[str]) -> str | None:
    """Return the first name that stands there for the second time; None where each is there once."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def load_named(name: str, table: Mapping[str, str], *, what: str) -> Any:
    """Import what a table holds under a name.

    Args:
        name: A name that the user gave.
        table: Name -> "module:object".
        what: The kind of thing, for the message: "reranker".

    Raises:
        ConfigError: The table has no such name.
    """
    require_name(name, table, what=what)
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)


def make_named(
    name: str, table: Mapping[str, str], options: Mapping[str, object], *, what: str, device: str = "auto"
) -> Any:
    """Import what a table holds under a name, and call it with options.

    Args:
        name: A name that the user gave.
        table: Name -> "module:object": a class or function.
        options: Its keyword arguments that are not the default.
        what: The kind of thing, for the message: "matcher".
        device: Where to compute: the argument `device` of those that have one; others have no choice.

    Raises:
        ConfigError: The table has no such name, or the object no such argument.
    """
    make = load_named(name, table, what=what)
    known = inspect.signature(make).parameters
    if not any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()
    ):  # or it checks itself
        require_options(options, known, of=name)
    return make(**({"device": device} if "device" in known else {}) | dict(options))


def require_name(name: str, known: Collection[str], *, what: str) -> None:
    """Refuse a name that is not known.

    Raises:
        ConfigError: It is not; the message names the nearest and all.
    """
    if name not in known:
        raise ConfigError(f"no {what} is called {name!r:.80}; {say_nearest(name, known)}")


def require_options(options: Iterable[str], known: Collection[str], *, of: str) -> None:
    """Refuse options that are not known.

    Args:
        options: The names that were given.
        known: The names that there are.
        of: What takes them, for the message: "sift".

    Raises:
        ConfigError: One is not known; the message names the nearest and all.
    """
    for name in options:
        if name not in known:
            raise ConfigError(f"{of} has no option {name!r:.80}; {say_nearest(name, known)}")


def say_nearest(name: str, known: Collection[str]) -> str:
    """Return "the nearest is 'b' (all: a, b)" for a message."""
    if not known:
        return "there are none"
    return f"the nearest is {find_nearest(name, known)[0]!r} (all: {', '.join(known)})"


def find_nearest(name: str, known: Collection[str], *, most: int = 1, cutoff: float = 0.0) -> list[str]:
    """Return the known names that are spelt most like a name, the nearest first.

    Args:
        name: What the user gave.
        known: What there is.
        most: How many are returned at the most.
        cutoff: Least likeness, 0 (anything) to 1 (the same), as in `difflib`.
    """
    if OTHER_WORDS.get(name) in known:
        return [OTHER_WORDS[name]]
    return difflib.get_close_matches(name, known, n=most, cutoff=cutoff)
