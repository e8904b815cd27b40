"""Chains: rerankers one after another, by name, with options."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from typing import Any

from meisho.config import config_values, parse_config
from meisho.errors import ConfigError, InputError
from meisho.geometry.base import load_matcher
from meisho.ground_truth import Rows
from meisho.ranking import Ranking
from meisho.rerank.base import RERANKERS, Refiner, Reranker
from meisho.rerank.evidence import Evidence
from meisho.rerank.neighbors import rank_by_vectors
from meisho.tables import load_named


@dataclass(frozen=True)
class Step:
    """One reranker of a chain, the name it goes by, and that of its matcher where one was asked for."""

    name: str
    reranker: Reranker
    matcher: str | None = None

    @property
    def text(self) -> str:
        """Return the name and the options that are not the default, as `--rerank` takes them."""
        return self._text(_defaults(type(self.reranker)))

    @property
    def full_text(self) -> str:
        """Return the name and every option, as `--rerank` takes them."""
        return self._text({})

    def _text(self, defaults: Mapping[str, object]) -> str:
        matcher = [] if self.matcher is None else [f"matcher={self.matcher}"]
        return ":".join([self.name, *_option_texts(self.reranker, defaults), *matcher])


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
        return any(step.reranker.needs_local for step in self.steps)

    @property
    def uses_skip(self) -> bool:
        """Whether a step verifies a shortlist, from which junk can be kept out."""
        return any(step.reranker.uses_skip for step in self.steps)

    @property
    def depth(self) -> int:
        """How many answers the steps look at, at the most."""
        return max((step.reranker.depth for step in self.steps), default=0)

    @property
    def text(self) -> str:
        """Return the steps and the options that are not the default, as `--rerank` takes them."""
        return ",".join(step.text for step in self.steps)

    @property
    def full_text(self) -> str:
        """Return the steps with every option: what stays true when a default changes."""
        return ",".join(step.full_text for step in self.steps)

    def rerank(self, ranking: Ranking, evidence: Evidence, *, skip: Rows | None = None) -> Ranking:
        """Rerank by each step in turn; see `Reranker.rerank`."""
        warnings = ranking.warnings
        for step in self.steps:
            if isinstance(step.reranker, Refiner):
                evidence = step.reranker.refine(ranking, evidence)
                ranking = rank_by_vectors(ranking, evidence)
            else:
                ranking = step.reranker.rerank(ranking, evidence, skip=skip)
                if not step.reranker.permutes and evidence.among is not None:
                    ranking = ranking.among(evidence.among)
        return ranking if ranking.warnings == warnings else replace(ranking, warnings=warnings)


def parse_chain(text: str, *, source: str = "chain") -> list[dict[str, object]]:
    """Read "dba:k=10,alpha-qe,geometric:first=50:ransac.model=affine" into one table per step.

    Args:
        text: The chain.
        source: Where it comes from, for messages, such as "--rerank".

    Raises:
        ConfigError: A step or an option is empty, or an option has no value or two.
    """
    return [_parse_step(part.strip(), f"{source} {text}") for part in text.split(",")]


def build_chain(
    steps: str | Sequence[Mapping[str, object]], *, source: str = "chain", device: str = "auto"
) -> Chain:
    """Build a chain from a text, or from one table per step.

    Args:
        steps: "alpha-qe:k=10,geometric:matcher=lightglue"; or tables of a step's name and the options that
            are not the default, as `parse_chain` or a run's TOML has them.
        source: Where it comes from, for messages, such as "--rerank".
        device: "auto", "cpu" or "cuda", for a matcher that has a network.

    Raises:
        ConfigError: No reranker has that name, or no option, or a value is of the wrong type or outside its
            range.
    """
    tables = parse_chain(steps, source=source) if isinstance(steps, str) else steps
    return Chain(tuple(_build_step(dict(table), source, device) for table in tables))


def load_reranker_class(name: str) -> type[Reranker]:
    """Return the class of the reranker of that name.

    Raises:
        ConfigError: There is none.
    """
    found: type[Reranker] = load_named(name, RERANKERS, what="reranker")
    return found


def _build_step(table: dict[str, Any], source: str, device: str) -> Step:
    name = table.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f"{source}: a step has no name; choose one of {', '.join(RERANKERS)}")
    reranker_class = load_reranker_class(name)
    matcher = table.pop("matcher", None)
    source = f"{source} {name}"
    try:
        reranker = parse_config(_complete(table, reranker_class), reranker_class, source=source)
        if matcher is not None:
            reranker = _with_matcher(reranker, matcher, device)
    except InputError as error:
        if str(error).startswith(source):
            raise
        raise ConfigError(f"{source}: {error}") from error
    return Step(name, reranker, matcher)


def _complete(table: Mapping[str, object], reranker_class: type[Reranker]) -> dict[str, object]:
    """Fill tables of options, such as `ransac`, with the defaults of this reranker."""
    defaults = _defaults(reranker_class)
    return {
        key: config_values(defaults[key]) | dict(value)
        if is_dataclass(defaults.get(key)) and isinstance(value, Mapping)
        else value
        for key, value in table.items()
    }


def _with_matcher(reranker: Reranker, matcher: object, device: str) -> Reranker:
    if "matcher" not in _defaults(type(reranker)):
        raise ConfigError("takes no matcher")
    if not isinstance(matcher, str):
        raise ConfigError(f"matcher is {matcher!r:.80}, expected its name")
    return replace(reranker, matcher=load_matcher(matcher, device=device))  # type: ignore[type-var]


def _defaults(reranker_class: type) -> dict[str, object]:
    """Return option -> its default, of a dataclass."""
    found: dict[str, object] = {}
    for field in fields(reranker_class):
        if field.default_factory is not MISSING:
            found[field.name] = field.default_factory()
        elif field.default is not MISSING:
            found[field.name] = field.default
    return found


def _parse_step(part: str, where: str) -> dict[str, object]:
    name, *options = (word.strip() for word in part.split(":"))
    if not name:
        raise ConfigError(f"{where}: a name is missing; choose from {', '.join(RERANKERS)}")
    table: dict[str, object] = {"name": name}
    for option in options:
        key, sign, value = (word.strip() for word in option.partition("="))
        if not (key and sign and value):
            raise ConfigError(
                f"{where}: {part!r} is not NAME:OPTION=VALUE; for example alpha-qe:k=10:alpha=3"
            )
        _set(table, key, _value(value), where)
    return table


def _set(table: dict[str, object], key: str, value: object, where: str) -> None:
    """Set "outer.inner" of nested tables, once."""
    *outer, last = key.split(".")
    for word in outer:
        inner = table.setdefault(word, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{where}: {word} is set as a whole and in part ({key}); choose one")
        table = inner
    if last in table:
        twice = "is the step itself, no option" if key == "name" else "is set twice; choose one"
        raise ConfigError(f"{where}: {key} {twice}")
    table[last] = value


def _value(text: str) -> bool | int | float | str:
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text


def _option_texts(options: object, defaults: Mapping[str, object], prefix: str = "") -> list[str]:
    """Write out the options of a dataclass that differ from the defaults; all where there are none."""
    texts = []
    for field in fields(options):  # type: ignore[arg-type]
        value = getattr(options, field.name)
        if field.name == "matcher":
            continue  # an object: the step knows its name
        default = defaults.get(field.name)
        if is_dataclass(value):
            inner = vars(default) if is_dataclass(default) else {}
            texts += _option_texts(value, inner, f"{prefix}{field.name}.")
        elif value is not None and not (field.name in defaults and value == default):
            texts.append(f"{prefix}{field.name}={str(value).lower() if isinstance(value, bool) else value}")
    return texts
