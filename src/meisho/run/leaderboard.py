"""Leaderboards: models x data sets x chains, cell by cell; what is done is kept, and what fails is named.

Everything that the settings name is looked for before the first photo is described. The descriptors of a
model on a data set are made once for all chains, the local features of a data set once for all models.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from meisho.datasets.base import Dataset, load_dataset
from meisho.datasets.distractors import add_distractors
from meisho.datasets.photo_files import check_photos
from meisho.describing import Describer
from meisho.descriptors import Provenance
from meisho.documents import one_line
from meisho.errors import ConfigError, InputError, MeishoError, MissingFileError, lacks_memory
from meisho.evaluate.leaderboard import Cell, Costs, Leaderboard
from meisho.evaluate.leaderboard_settings import (
    ChainEntry,
    DatasetEntry,
    LeaderboardSettings,
    ModelEntry,
)
from meisho.extractors.base import GlobalExtractor, load_extractor
from meisho.extractors.local_base import LocalExtractor, load_local_extractor
from meisho.local_describing import LocalDescriber
from meisho.progress import Progress, silent
from meisho.rerank.chain import Chain, build_chain
from meisho.run.cells import digest_cell, digest_dataset, digest_of, load_cell, place_of, save_cell
from meisho.run.evaluating import (
    LocalEvidence,
    Searched,
    evaluate_random,
    find_local_evidence,
    search_dataset,
)
from meisho.toycity import build_toycity

COLLECTIONS, CITIES = "collections", "cities"
_TIMED_QUERIES = 8
_FLOAT_BYTES = 4
_SMALLEST_PX = 32


@dataclass(frozen=True)
class Means:
    """How photos are fed to models, and where these compute.

    Attributes:
        describe: Extractor -> what describes photos with it.
        find_local: Extractor of local features -> what finds them in photos.
        device: Where networks compute: "auto", "cpu", "cuda".
    """

    describe: Callable[[GlobalExtractor], Describer] = Describer
    find_local: Callable[[LocalExtractor], LocalDescriber] = LocalDescriber
    device: str = "auto"


def run_leaderboard(
    settings: LeaderboardSettings,
    to: Path,
    *,
    means: Means | None = None,
    source: str = "leaderboard",
    progress: Progress = silent,
) -> Leaderboard:
    """Make every cell that is not there yet, and compare all of them.

    Args:
        settings: What is scored.
        to: The folder of the leaderboard: cells, collections, drawn cities.
        means: How photos are fed to models.
        source: Where the settings come from, for messages.
        progress: Called as photos, and "cells", are done; a cell that it is told of is on the disk.

    Raises:
        ConfigError: A name is not known, a file is missing, or an option cannot be; nothing was done yet.
    """
    means = means or Means()
    models = [_check_model(entry, means, source) for entry in settings.models]
    chains = [_check_chain(entry, means, source) for entry in settings.chains]
    there = [entry for entry in settings.datasets if not _is_to_be_drawn(entry, to)]
    loaded = {entry.name: _load(entry, to, source) for entry in there}
    board = _Board(settings, to, means, progress)
    cells: list[Cell] = []
    for entry in settings.datasets:
        if entry.name not in loaded:
            _draw(entry, to, progress)
        dataset = loaded.get(entry.name) or _load(entry, to, source)
        cells += [replace(cell, dataset=entry.name) for cell in board.make(dataset, models, chains)]
    return Leaderboard.of(cells, settings.baseline, seed=settings.seed)


@dataclass(frozen=True)
class _Model:
    entry: ModelEntry
    provenance: Provenance
    failure: str = ""


@dataclass(frozen=True)
class _Chain:
    entry: ChainEntry
    chain: Chain | None = None
    local: Provenance | None = None
    failure: str = ""

    @property
    def depth(self) -> int:
        return self.chain.depth if self.chain else 0

    @property
    def full_text(self) -> str:
        return self.chain.full_text if self.chain else ""


class _Board:
    """A leaderboard under way."""

    def __init__(self, settings: LeaderboardSettings, to: Path, means: Means, progress: Progress) -> None:
        self._settings, self._to, self._means, self._progress = settings, to, means, progress
        per_dataset = sum(len(settings.chains_of(model)) for model in settings.models)
        self._done, self._total = 0, per_dataset * len(settings.datasets)

    def make(self, dataset: Dataset, models: list[_Model], chains: list[_Chain]) -> Iterator[Cell]:
        """Yield the cells of a data set, those that were kept and those that are made now."""
        on = _OnDataset(self._to, self._means, self._settings.seed, self._progress, dataset)
        for model in models:
            known = {chain.name for chain in self._settings.chains_of(model.entry)}
            for cell in on.make(model, [chain for chain in chains if chain.entry.name in known]):
                self._done += 1
                self._progress("cells", self._done, self._total)
                yield cell


class _OnDataset:
    """The cells of one data set."""

    def __init__(self, to: Path, means: Means, seed: int, progress: Progress, dataset: Dataset) -> None:
        self._to, self._means, self._seed, self._progress = to, means, seed, progress
        self._dataset = dataset
        self._digest = digest_dataset(dataset)
        self._found: dict[Provenance, LocalEvidence] = {}

    def make(self, model: _Model, chains: list[_Chain]) -> Iterator[Cell]:
        """Yield the cells of a model in the order of the chains; each is kept before it is yielded."""
        digests = [
            digest_cell(self._digest, model.provenance, chain.full_text, chain.local, seed=self._seed)
            for chain in chains
        ]
        kept = [load_cell(digest, self._to) for digest in digests]
        pending = [chain for chain, found in zip(chains, kept, strict=True) if found is None]
        searched: _Prepared | None = None
        for chain, digest, found in zip(chains, digests, kept, strict=True):
            cell = Cell("", model.entry.name, chain.entry.name, None, folder=place_of(digest))
            if found is not None:
                yield replace(cell, report=found[0], costs=found[1])
                continue
            if searched is None:
                searched = self._prepare(model, max(each.depth for each in pending))
            made = self._make_cell(cell, searched, chain)
            if made.report is not None:
                save_cell(made, digest, self._to)
            yield made

    def _prepare(self, model: _Model, depth: int) -> "_Prepared":
        """Describe and search the data set, or say why that cannot be."""
        if model.failure or model.entry.is_random:
            return _Prepared(failure=model.failure)
        try:
            means = self._means
            describer = means.describe(_load_model(model.entry, means.device))
            folder = self._collection(model.provenance)
            searched = search_dataset(
                self._dataset, describer, folder, depth=depth, seed=self._seed, progress=self._progress
            )
            return _Prepared(searched, _time_describing(describer, self._dataset))
        except Exception as error:  # the others go on, whatever ended this one
            return _Prepared(failure=_explain(error))

    def _make_cell(self, cell: Cell, prepared: "_Prepared", chain: _Chain) -> Cell:
        if failure := prepared.failure or chain.failure:
            return replace(cell, failure=failure, folder="")
        try:
            if prepared.searched is None:
                return replace(cell, report=evaluate_random(self._dataset, seed=self._seed).report)
            found = None if chain.entry.local is None else self._find_local(chain)
            return _enter(cell, prepared.searched, prepared.describe_ms, chain, found)
        except Exception as error:  # as above
            return replace(cell, failure=_explain(error), folder="")

    def _find_local(self, chain: _Chain) -> LocalEvidence:
        """Find the local features of the data set once, beside a descriptor that costs next to nothing."""
        assert chain.entry.local is not None and chain.local is not None, "the chain was checked"
        if chain.local not in self._found:
            means = self._means
            tiny = means.describe(load_extractor("default", device=means.device, max_side_px=_SMALLEST_PX))
            local = means.find_local(load_local_extractor(chain.entry.local, device=means.device))
            self._found[chain.local] = find_local_evidence(
                self._dataset,
                tiny,
                self._collection(chain.local, tiny.provenance),
                local,
                device=means.device,
                progress=self._progress,
            )
        return self._found[chain.local]

    def _collection(self, *made_by: Provenance) -> Path:
        """Return the collection of the data set by a model, or by local features and a model."""
        places = [self._dataset.name, str(self._dataset.root.absolute())]
        return self._to / COLLECTIONS / digest_of([*places, *map(asdict, made_by)])[:32]


@dataclass(frozen=True)
class _Prepared:
    """A data set that a model has described and searched; None for the random one, or where that failed."""

    searched: Searched | None = None
    describe_ms: float = 0.0
    failure: str = ""


def _enter(
    cell: Cell, searched: Searched, describe_ms: float, chain: _Chain, found: LocalEvidence | None
) -> Cell:
    entry = searched.enter(cell.chain, chain.chain, found)
    assert searched.evidence.database is not None, "it was searched"
    costs = Costs(
        describe_ms,
        searched.search_ms,
        entry.query_ms,
        entry.once_seconds,
        _FLOAT_BYTES * searched.evidence.database.shape[1] + entry.bytes_per_photo,
    )
    return replace(cell, report=entry.report, costs=costs)


def _time_describing(describer: Describer, dataset: Dataset) -> float:
    """Return the median wall time, ms, to read and describe one query alone, in this process."""
    alone = replace(describer, num_workers=0)
    times = []
    for query in dataset.queries[:_TIMED_QUERIES]:
        start = time.perf_counter()
        alone.describe([query])
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def _check_model(entry: ModelEntry, means: Means, source: str) -> _Model:
    """Load a model once, to know its provenance; where only the machine lacks something, its cells fail."""
    if entry.is_random:
        return _Model(entry, Provenance("random"))
    with _at(source, "models", entry.name):
        try:
            return _Model(entry, _load_model(entry, means.device).provenance)
        except (InputError, MissingFileError):
            raise
        except MeishoError as error:
            return _Model(entry, Provenance(entry.model), _explain(error))


def _check_chain(entry: ChainEntry, means: Means, source: str) -> _Chain:
    with _at(source, "chains", entry.name):
        if entry.is_none and entry.local is None:
            return _Chain(entry)
        chain = None if entry.is_none else build_chain(entry.rerank, source="rerank", device=means.device)
        if chain is None or (entry.local is not None and not chain.needs_local):
            raise ConfigError(f"no step looks at local features; leave local = {entry.local!r} out")
        if entry.local is None:
            if chain.needs_local:
                raise ConfigError('a step looks at local features; add local = "sift" (or xfeat, aliked)')
            return _Chain(entry, chain)
        try:
            local = load_local_extractor(entry.local, device=means.device).provenance
        except (InputError, MissingFileError):
            raise
        except MeishoError as error:
            return _Chain(entry, chain, failure=_explain(error))
        return _Chain(entry, chain, local)


def _load_model(entry: ModelEntry, device: str) -> GlobalExtractor:
    return load_extractor(entry.model, device=device, **entry.options)


def _root_of(entry: DatasetEntry, to: Path) -> Path:
    if entry.root is not None:
        return entry.root.expanduser()
    assert entry.city is not None, "the settings were checked"
    return to / CITIES / entry.city.words


def _is_to_be_drawn(entry: DatasetEntry, to: Path) -> bool:
    return entry.city is not None and not _root_of(entry, to).exists()


def _draw(entry: DatasetEntry, to: Path, progress: Progress) -> None:
    assert entry.city is not None, "only a city is drawn"
    build_toycity(
        _root_of(entry, to),
        **asdict(entry.city),
        progress=lambda done, total: progress(f"draw {entry.name}", done, total),
    )


def _load(entry: DatasetEntry, to: Path, source: str) -> Dataset:
    """Load a data set with its distractors; all of its photos are there."""
    root = _root_of(entry, to)
    with _at(source, "datasets", entry.name):
        if entry.city is not None:
            build_toycity(root, **asdict(entry.city))  # draws nothing: it refuses another city that is there
        dataset = load_dataset(entry.dataset, root)
        if entry.distractors is not None:
            dataset = add_distractors(dataset, entry.distractors)
        check_photos(dataset)
    return dataset


@contextmanager
def _at(source: str, key: str, name: str) -> Iterator[None]:
    """Say where in the settings stands what is refused inside."""
    try:
        yield
    except (InputError, MissingFileError) as error:
        raise ConfigError(f"{source}: [[{key}]] {name!r}: {error}") from error


def _explain(error: Exception) -> str:
    """Say in one line why a cell failed."""
    if lacks_memory(error) and not isinstance(error, MeishoError):
        return "there is not enough memory"
    if isinstance(error, MeishoError):
        return one_line(error)
    return one_line(f"unexpected {type(error).__name__}: {error}")
