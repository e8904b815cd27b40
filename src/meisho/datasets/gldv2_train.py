"""Google Landmarks v2 for training, its clean list, and GLDv2-micro, as data sets to evaluate on.

The layouts are those of the publisher, and of the contests, which is the same::

    ROOT/train.csv (or ROOT/train/, ROOT/metadata/)    id,landmark_id[,url]
    ROOT/train_clean.csv                               landmark_id,images
    ROOT/train/a/b/c/abc….jpg

    ROOT/gldv2_micro.csv                               filename,landmark_id
    ROOT/images/*.jpg

Each photo is asked for among all the others and is junk in its own ranking; a photo that is alone with its
landmark is searched, but not asked for.
"""

from pathlib import Path

from meisho.datasets.base import Dataset
from meisho.datasets.labelled import LabelledPhoto, dataset_of_labels
from meisho.datasets.labels import Labels, load_labels
from meisho.photos import Photo


def load_gldv2_train(root: Path) -> Dataset:
    """Load the photos for training. They need not be there yet.

    Raises:
        DatasetError: The table is not there, or has broken rows.
    """
    return _load("gldv2_train", root)


def load_gldv2_clean(root: Path) -> Dataset:
    """Load the photos of the clean list. They need not be there yet.

    Raises:
        DatasetError: The table is not there, or has broken rows.
    """
    return _load("gldv2_clean", root)


def load_gldv2_micro(root: Path) -> Dataset:
    """Load the chapter's excerpt. Its photos need not be there yet.

    Raises:
        DatasetError: The table is not there, or has broken rows.
    """
    return _load("gldv2_micro", root)


def _load(name: str, root: Path) -> Dataset:
    labels = load_labels(name, root)
    return dataset_of_labels(name, root, label_photos(labels), sha256=labels.sha256)


def label_photos(labels: Labels) -> list[LabelledPhoto]:
    """Return the photos of labels without roles: to ask for and to search, where they are not alone."""
    alone = (labels.counts == 1)[labels.classes].tolist()
    return [
        LabelledPhoto(
            Photo(name, labels.path_of(row)),
            labels.class_names[labels.classes[row]],
            "database" if alone[row] else "both",
        )
        for row, name in enumerate(labels.names)
    ]
