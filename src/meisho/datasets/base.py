"""Data sets: what every one of them gives, and the table of those that are known by name.

A new data set is one file in this folder and one line in `DATASETS`::

    def load_my_set(root: Path) -> Dataset:
        database = tuple(Photo(p.stem, p) for p in sorted((root / "jpg").glob("*.jpg")))
        queries = database[:2]
        positives, junk = database_rows([[2, 3], [4]]), database_rows([[0], [1]])  # per query
        ground_truth = GroundTruth(positives, junk)
        return Dataset("my_set", root, database, queries, ground_truth, protocol="retrieval")
"""

from pathlib import Path

from meisho.datasets.dataset import Dataset, Protocol
from meisho.tables import load_named

__all__ = ["DATASETS", "Dataset", "Protocol", "load_dataset"]

DATASETS: dict[str, str] = {
    "toycity": "meisho.toycity:load_toycity",
    "roxford5k": "meisho.datasets.revisitop:load_roxford5k",
    "rparis6k": "meisho.datasets.revisitop:load_rparis6k",
    "oxford5k": "meisho.datasets.oxford5k:load_oxford5k",
    "paris6k": "meisho.datasets.oxford5k:load_paris6k",
    "gldv2": "meisho.datasets.gldv2:load_gldv2",
    "gldv2_train": "meisho.datasets.gldv2_train:load_gldv2_train",
    "gldv2_clean": "meisho.datasets.gldv2_train:load_gldv2_clean",
    "gldv2_micro": "meisho.datasets.gldv2_train:load_gldv2_micro",
    "ukbench": "meisho.datasets.ukbench:load_ukbench",
    "folder": "meisho.datasets.image_folder:load_image_folder",
    "csv": "meisho.datasets.csv_table:load_csv_table",
}


def load_dataset(name: str, root: str | Path) -> Dataset:
    """Load the data set called `name` from the folder (or file) `root`; "~" is your home folder.

    Raises:
        InputError: No data set has that name.
        DatasetError: Its files are not as they must be.
    """
    dataset: Dataset = load_named(name, DATASETS, what="data set")(Path(root).expanduser())
    return dataset
