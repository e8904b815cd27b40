"""Matches: pairs of local features that look alike in two photos."""

from dataclasses import dataclass

import numpy as np

from meisho.arrays import Float32Array, Int64Array, read_only
from meisho.errors import InputError


@dataclass(frozen=True, eq=False)
class Matches:
    """M matches between the local features of a query and of one database photo.

    Attributes:
        rows: (M, 2) int64, read-only; rows of the query's and of the database photo's feature.
        similarities: (M,) float32, read-only; higher is better.

    Raises:
        InputError: The shapes do not fit.
    """

    rows: Int64Array
    similarities: Float32Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", read_only(self.rows, np.int64))
        object.__setattr__(self, "similarities", read_only(self.similarities, np.float32))
        if self.rows.shape != (len(self.similarities), 2) or self.similarities.ndim != 1:
            raise InputError(
                f"matches: rows must be (M, 2) and similarities (M,), got {self.rows.shape} "
                f"and {self.similarities.shape}"
            )

    def __len__(self) -> int:
        return len(self.rows)


def check_match_options(ratio: float | None, min_similarity: float | None) -> None:
    """Check the options of a nearest-neighbour matcher.

    Raises:
        InputError: An option is outside its range.
    """
    if ratio is not None and not 0 < ratio <= 1:
        raise InputError(f"matching: ratio must be above 0 and at most 1, got {ratio}")
    if min_similarity is not None and not -1 <= min_similarity <= 1:
        raise InputError(f"matching: min_similarity must be from -1 to 1, got {min_similarity}")
