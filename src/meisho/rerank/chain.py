"""Chains: rerankers one after another, by name, with options."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from importlib import import_module
from typing import Any

from meisho.config import config_values, parse_config
from meisho.errors import ConfigError, InputError
from meisho.ground_truth import Rows
from meisho.ranking import Ranking
from meisho.rerank.base import RERANKERS, Refiner, Reranker
from meisho.rerank.evidence import Evidence
from meisho.rerank.neighbors import rank_by_vectors

NEEDS_LOCAL = frozenset({"geometric", "asmk"})
"""Rerankers that look at local features."""


@dataclass(frozen=True)
class Step:
    """One reranker of a chain, the name it goes by, and that of its matcher where one was asked for."""

    name: str
    reranker: Reranker
    matcher: str | None = None

    @property
    def text(self) -> str:
        """Return the name and every option, as `--rerank` takes them."""
        matcher = [] if self.matcher is None else [f"matcher={self.matcher}"]
        return ":".join([self.name, *_option_texts(self.reranker), *matcher])


@dataclass(frozen=True)
class Chain:
    """Rerankers, one after another; a step that makes better descriptors hands them on to the next.

    Attributes:
        steps: The rerankers in order.
    """

    steps: tuple[Step, ...]

    @property
    def permutes(self) -> bool:
        """Whether every list keeps the rows that it had."""
        return all(step.reranker.permutes for step in self.steps)

    @property
    def needs_local(self) -> bool:
        """Whether a step looks at local features."""
        return any(step.name in NEEDS_LOCAL for step in self.steps)

    @property
    def uses_skip(self) -> bool:
        """Whether a step verifies a shortlist, from which junk can be kept out."""
        return any(getattr(step.reranker, "uses_skip", False) for step in self.steps)

    @property
    def depth(self) -> int:
        """How many answers the steps look at, at the most."""
        return max((getattr(step.reranker, "depth", 0) for step in self.steps), default=0)

    @property
    def text(self) -> str:
        """Return the steps as `--rerank` takes them."""
        return ",".join(step.text for step in self.steps)

    def rerank(self, ranking: Ranking, evidence: Evidence, *, skip: Rows | None = None) -> Ranking:
        """Rerank by each step in turn; see `Reranker.rerank`."""
        for step in self.steps:
            if isinstance(step.reranker, Refiner):
                evidence = step.reranker.refine(ranking, evidence)
                ranking = rank_by_vectors(ranking, evidence)
            else:
                ranking = step.reranker.rerank(ranking, evidence, skip=skip)
        return ranking


def parse_chain(text: str) -> list[dict[str, Any]]:
    """Read "dba:k=10,alpha-qe,geometric:first=50:ransac.model=affine" into one table per step.

    Raises:
        ConfigError: A step or an option is empty, or an option has no value or two.
    """
    return [_parse_step(part.strip(), text) for part in text.split(",")]


def build_chain(
    tables: Sequence[Mapping[str, Any]],
    *,
    source: str = "--rerank",
    load_matcher: Callable[[str], Any] | None = None,
) -> Chain:
    """Build a chain from one table per step: its name, and the options that are not the default.

    Args:
        tables: As `parse_chain` or a run's TOML has them.
        source: Where they come from, for messages.
        load_matcher: Loads what `matcher = "NAME"` of the geometric reranker names.

    Raises:
        ConfigError: No reranker has that name, or no option, or a value is of the wrong type or outside its
            range.
    """
    return Chain(tuple(_build_step(dict(table), source, load_matcher) for table in tables))


def load_reranker_class(name: str) -> Any:
    """Return the class of the reranker of that name.

    Raises:
        ConfigError: There is none.
    """
    if name not in RERANKERS:
        near = difflib.get_close_matches(name, RERANKERS, n=1, cutoff=0)
        raise ConfigError(
            f"no reranker is called {name!r}; the nearest is {near[0]!r} (all: {', '.join(RERANKERS)})"
        )
    module, _, class_name = RERANKERS[name].partition(":")
    return getattr(import_module(module), class_name)


def _build_step(table: dict[str, Any], source: str, load_matcher: Callable[[str], Any] | None) -> Step:
    if not isinstance(table.get("name"), str):
        raise ConfigError(f"{source}: a step has no name; choose one of {', '.join(RERANKERS)}")
    name = table.pop("name")
    reranker_class = load_reranker_class(name)
    matcher = table.pop("matcher", None) if load_matcher else None
    source = f"{source} {name}"
    try:
        reranker = parse_config(_complete(table, reranker_class), reranker_class, source=source)
        if matcher is not None and load_matcher:
            reranker = _with_matcher(reranker, matcher, load_matcher, source)
    except ConfigError:
        raise
    except InputError as error:
        raise ConfigError(f"{source}: {error}") from error
    return Step(name, reranker, matcher)


def _complete(table: dict[str, Any], reranker_class: Any) -> dict[str, Any]:
    """Fill tables of options, such as `ransac`, with the defaults of this reranker."""
    given = {f.name: f.default for f in fields(reranker_class)}
    defaults = {k: v for k, v in given.items() if is_dataclass(v) and not isinstance(v, type)}
    return {
        key: config_values(defaults[key]) | dict(value)
        if key in defaults and isinstance(value, Mapping)
        else value
        for key, value in table.items()
    }


def _with_matcher(reranker: Any, matcher: Any, load_matcher: Callable[[str], Any], source: str) -> Any:
    if "matcher" not in {f.name for f in fields(reranker)}:
        raise ConfigError(f"{source}: takes no matcher")
    if not isinstance(matcher, str):
        raise ConfigError(f"{source}: matcher is {matcher!r:.80}, expected its name")
    return replace(reranker, matcher=load_matcher(matcher))


def _parse_step(part: str, text: str) -> dict[str, Any]:
    name, *options = (word.strip() for word in part.split(":"))
    if not name:
        raise ConfigError(f"--rerank {text}: a name is missing; choose from {', '.join(RERANKERS)}")
    table: dict[str, Any] = {"name": name}
    for option in options:
        key, sign, value = (word.strip() for word in option.partition("="))
        if not (key and sign and value):
            raise ConfigError(
                f"--rerank {text}: {part!r} is not NAME:OPTION=VALUE; for example alpha-qe:k=10:alpha=3"
            )
        _set(table, key, _value(value), text)
    return table


def _set(table: dict[str, Any], key: str, value: Any, text: str) -> None:
    """Set "outer.inner" of nested tables, once."""
    *outer, last = key.split(".")
    for word in outer:
        inner = table.setdefault(word, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--rerank {text}: {word} is set as a whole and in part ({key}); choose one")
        table = inner
    if last in table:
        twice = "is the step itself, no option" if key == "name" else "is set twice; choose one"
        raise ConfigError(f"--rerank {text}: {key} {twice}")
    table[last] = value


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text


def _option_texts(options: Any, prefix: str = "") -> list[str]:
    texts = []
    for field in fields(options):
        value = getattr(options, field.name)
        if field.name == "matcher":
            continue  # an object: the step knows its name
        if is_dataclass(value):
            texts += _option_texts(value, f"{prefix}{field.name}.")
        elif value is not None:
            texts.append(f"{prefix}{field.name}={str(value).lower() if isinstance(value, bool) else value}")
    return texts
