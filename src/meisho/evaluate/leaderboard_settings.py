"""Settings of a leaderboard: models, data sets and chains, as a TOML file names them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meisho.errors import ConfigError
from meisho.tables import find_repeated, require_name

RANDOM = "random"
"""The model that ranks at random, see `meisho.evaluate.random_baseline`."""
NO_CHAIN = "none"
"""The chain without a reranker."""
_MOST_LETTERS = 80


@dataclass(frozen=True)
class CityEntry:
    """A toy city by its words; it is drawn where it is not there.

    Attributes:
        landmarks: Landmarks.
        views: Database photos of each.
        distractors: Photos of other streets.
        seed: Each seed is another city.
    """

    landmarks: int = 48
    views: int = 12
    distractors: int = 240
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in {"landmarks": 2, "views": 1, "distractors": 0, "seed": 0}.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}, must be at least {least}")

    @property
    def words(self) -> str:
        """The words in one, as the name of a folder."""
        return f"{self.landmarks}x{self.views}+{self.distractors}-seed{self.seed}"


@dataclass(frozen=True)
class DatasetEntry:
    """A data set.

    Attributes:
        dataset: Its kind, as `meisho evaluate` takes it: toycity, roxford5k, ukbench, csv, ...
        root: Its folder, or the CSV file; a city that is drawn needs none.
        name: Its name in the table; "" for that of its kind.
        city: For toycity: what is drawn where it is not there.
        distractors: A folder of photos that are added to the database and are right for no query.
    """

    dataset: str
    root: Path | None = None
    name: str = ""
    city: CityEntry | None = None
    distractors: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _name(self.name or self.dataset, "name"))
        if self.city is not None and self.dataset != "toycity":
            raise ConfigError(
                f"{self.name}: city is given, but the data set is {self.dataset!r}; leave it out"
            )
        if self.root is None and self.city is None:
            raise ConfigError(f"{self.name}: the key 'root' is missing; add where the data set lies")


@dataclass(frozen=True)
class ModelEntry:
    """A model.

    Attributes:
        model: As `meisho evaluate --model` takes it.
        name: Its name in the table; "" for the model itself.
        options: Options of the model, such as max_side_px.
    """

    model: str
    name: str = ""
    options: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _name(self.name or self.model, "name"))
        if self.is_random and self.options:
            raise ConfigError(f"{self.name}: the model 'random' describes no photo; leave its options out")

    @property
    def is_random(self) -> bool:
        """Whether it ranks at random, without a look at a photo."""
        return self.model == RANDOM


@dataclass(frozen=True)
class ChainEntry:
    """A chain of rerankers.

    Attributes:
        rerank: As `meisho evaluate --rerank` takes it, or "none".
        name: Its name in the table; "" for the chain itself.
        local: Local features where the chain needs them: sift, xfeat, aliked or a folder of trained ones.
    """

    rerank: str
    name: str = ""
    local: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _name(self.name or self.rerank, "name"))

    @property
    def is_none(self) -> bool:
        """Whether nothing is reranked."""
        return self.rerank == NO_CHAIN


@dataclass(frozen=True)
class BaselineEntry:
    """The row that all others are compared with, by its names.

    Attributes:
        model: Name of the model; "" for the first.
        chain: Name of the chain; "" for the first.
    """

    model: str = ""
    chain: str = ""


@dataclass(frozen=True)
class LeaderboardSettings:
    """A leaderboard.

    As TOML::

        [baseline]
        model = "off the shelf"

        [[datasets]]
        dataset = "toycity"
        city = { landmarks = 48, seed = 7 }

        [[datasets]]
        dataset = "roxford5k"
        root = "data/roxford5k"
        distractors = "data/revisitop1m"

        [[models]]
        name = "off the shelf"
        model = "default"

        [[models]]
        model = "random"

        [[chains]]
        rerank = "none"

        [[chains]]
        rerank = "alpha-qe,geometric"
        local = "sift"

    Attributes:
        datasets: Data sets, in the order of the tables.
        models: Models, in the order of the rows.
        chains: Chains, in the order of a model's rows. The model "random" has a row for "none" alone.
        baseline: The row that the others are compared with.
        seed: Seeds the bootstrap of the intervals and the paired tests.
    """

    datasets: tuple[DatasetEntry, ...]
    models: tuple[ModelEntry, ...]
    chains: tuple[ChainEntry, ...]
    baseline: BaselineEntry = field(default_factory=BaselineEntry)
    seed: int = 0

    def __post_init__(self) -> None:
        for key in ("datasets", "models", "chains"):
            _check_names(key, [entry.name for entry in getattr(self, key)])
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"seed is {self.seed}, must be from 0 to {2**32 - 1}")
        if any(model.is_random for model in self.models) and not any(chain.is_none for chain in self.chains):
            raise ConfigError(
                "the model 'random' cannot be reranked; add a chain with rerank = \"none\", or leave it out"
            )
        self._complete_baseline()

    def chains_of(self, model: ModelEntry) -> tuple[ChainEntry, ...]:
        """Return the chains that a model has rows for."""
        return tuple(chain for chain in self.chains if chain.is_none or not model.is_random)

    def _complete_baseline(self) -> None:
        model = self.baseline.model or self.models[0].name
        require_name(model, [entry.name for entry in self.models], what="model of [baseline]")
        known = [c.name for c in self.chains_of(next(m for m in self.models if m.name == model))]
        chain = self.baseline.chain or known[0]
        require_name(chain, known, what=f"chain of [baseline] with the model {model!r}")
        object.__setattr__(self, "baseline", BaselineEntry(model, chain))


def _name(name: str, key: str) -> str:
    if not name.strip() or len(name) > _MOST_LETTERS or not name.isprintable():
        raise ConfigError(
            f"{key} is {name!r:.100}, must be printable text of 1 to {_MOST_LETTERS} letters; set a name"
        )
    return name


def _check_names(key: str, names: Sequence[str]) -> None:
    if not names:
        raise ConfigError(f"{key} is empty; add at least one [[{key}]]")
    if (twice := find_repeated(names)) is not None:
        raise ConfigError(f"{key}: the name {twice!r} stands twice; give each a name of its own")
