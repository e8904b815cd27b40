"""Collections of the shared photos whose places are known, for `calibrate.py` and `bench_groups.py`.

- `fit`: up to 20 photos of each landmark of the split `train`, among every second distractor. It chooses.
- `eval`: all photos of the split `eval`, among all distractors. It is reported.

Two photos of one landmark show one place, of two landmarks or sites they do not. Nobody labelled the photos
of one site of distractors (floors of a tower, streets of a town), nor `junk`: such pairs do not count.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meisho.arrays import BoolArray, Int64Array
from meisho.describing import Describer
from meisho.extractors.base import load_extractor
from meisho.extractors.local_base import load_local_extractor
from meisho.local_describing import LocalDescriber
from meisho.run.indexing import IndexOptions, index_folder
from meisho.run.state import State, load_state
from shared_sets import Record, read_records

MOST_OF_A_LANDMARK = 20
SPLITS = {"fit": "train", "eval": "eval"}


@dataclass(frozen=True, eq=False)
class RealPlaces:
    """A collection and what its photos show.

    Attributes:
        state: The collection.
        places: (N,) number of the landmark or site of each photo.
        is_landmark: (N,) whether that is a landmark.
        is_junk: (N,) whether it shows its landmark hardly.
        is_query: (N,) whether the benchmark asks with it; of `fit`, all photos of landmarks.
    """

    state: State
    places: Int64Array
    is_landmark: BoolArray
    is_junk: BoolArray
    is_query: BoolArray

    def same(self, rows: Int64Array) -> BoolArray:
        """Return which of (P, 2) pairs show one place."""
        return self.places[rows[:, 0]] == self.places[rows[:, 1]]

    def counted(self, rows: Int64Array) -> BoolArray:
        """Return of which of (P, 2) pairs it is known whether they show one place."""
        unlabelled = self.is_junk | ~self.is_landmark
        return ~self.same(rows) | ~unlabelled[rows].any(axis=1)


def open_places(shared: Path, folder: Path, name: str, local: str, model: str = "default") -> RealPlaces:
    """Make the collection below `folder` where it is not there yet, and open it."""
    records = choose_records(read_records(shared), name)
    by_file = {record["file"].replace("/", "__"): record for record in records}
    path = folder / f"{name}-{local}-{model}.meisho"
    if not (path / "collection.json").exists():
        photos = link_photos(shared, folder / name, records)
        local_describer = LocalDescriber(load_local_extractor(local))
        describer = Describer(load_extractor(model))
        index_folder(photos, path, describer, options=IndexOptions(local=local_describer))
    state = load_state(path.absolute())
    own = [by_file[Path(photo_id).name] for photo_id in state.snapshot.descriptors.ids]
    sites = [site_of(record) for record in own]
    numbers = {site: number for number, site in enumerate(dict.fromkeys(sites))}
    return RealPlaces(
        state,
        np.array([numbers[site] for site in sites]),
        np.array([record["split"] != "distractor" for record in own]),
        np.array([record["role"] == "junk" for record in own]),
        np.array([record["split"] == "train" or record["role"] == "query" for record in own]),
    )


def choose_records(records: list[Record], name: str) -> list[Record]:
    """Return the photos of a collection."""
    records = sorted(records, key=lambda record: record["file"].replace("/", "__"))
    landmarks = [record for record in records if record["split"] == SPLITS[name]]
    distractors = [record for record in records if record["split"] == "distractor"]
    if name == "eval":
        return [*landmarks, *distractors]
    taken = Counter[str]()
    kept = []
    for record in landmarks:
        taken[record["landmark"]] += 1
        if taken[record["landmark"]] <= MOST_OF_A_LANDMARK:
            kept.append(record)
    return [*kept, *distractors[::2]]


def link_photos(shared: Path, folder: Path, records: list[Record]) -> Path:
    """Make a folder of links to photos."""
    for record in records:
        link = folder / record["split"] / record["file"].replace("/", "__")
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to((shared / "photos" / record["file"]).resolve())
    return folder


def site_of(record: Record) -> str:
    """Return the landmark; of a distractor, the site: all floors of the tower are one."""
    return record["landmark"].partition("/")[0]
