"""Judging: how sure it is that the photos that were found show the query's place."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from meisho.arrays import Float32Array, Float64Array, Int64Array
from meisho.certainty import CALIBRATIONS, Calibration, Judgement, PairEvidence, judge
from meisho.descriptors import Provenance
from meisho.run.state import State
from meisho.store.metadata import Metadata

if TYPE_CHECKING:  # a question without a chain does without OpenCV
    from meisho.geometry.base import LocalMatcher
    from meisho.geometry.ransac import RansacOptions
    from meisho.photo_pair import PhotoPair, StoredPairs


@dataclass(frozen=True, eq=False)
class Judging:
    """Judges the answers to queries.

    Attributes:
        queries: (A, D) descriptors as they were asked with; of turned queries, of each position.
        state: The collection that answered.
        pairs: Verified pairs of queries and answers; None where none were verified.
    """

    queries: Float32Array
    state: State
    pairs: "StoredPairs | None" = None

    @cached_property
    def calibration(self) -> Calibration | None:
        """What turns evidence into probability; None where these models were not calibrated."""
        if self.pairs is None:
            return find_calibration(self.state.metadata)
        return find_calibration(self.state.metadata, self.pairs.matcher, self.pairs.ransac)

    def gather(
        self, asked: Int64Array, rows: Int64Array, pairs: "Sequence[PhotoPair]" = ()
    ) -> list[PairEvidence]:
        """Return what is known of B pairs: rows of `queries` (B,), and of the database (B,).

        Of the descriptors nothing is asked where nothing is calibrated.
        """
        if self.calibration is None or not len(rows):
            return [pair.evidence for pair in pairs] or [PairEvidence()] * len(rows)
        similarities = np.einsum(
            "bd,bd->b", self.queries[asked], self.state.snapshot.descriptors.vectors[rows]
        )
        each = sorted(set(asked.tolist()))  # `np.unique` would import numpy.ma: 3 % of a search
        places = np.searchsorted(each, asked)
        background = np.einsum("qd,sd->qs", self.queries[each], self.state.background)
        gaps = measure_gaps(similarities, background, places)
        signs = list(zip(similarities.tolist(), gaps.tolist(), strict=True))
        if not pairs:
            return [PairEvidence(similarity=similarity, gap=gap) for similarity, gap in signs]
        return [
            replace(pair.evidence, similarity=similarity, gap=gap)
            for pair, (similarity, gap) in zip(pairs, signs, strict=True)
        ]

    def judge(self, evidence: Sequence[PairEvidence]) -> list[Judgement]:
        """Say of each pair whether it shows the same place."""
        calibration = self.calibration
        return [judge(each, calibration) for each in evidence]


def find_calibration(
    metadata: Metadata, matcher: "LocalMatcher | None" = None, ransac: "RansacOptions | None" = None
) -> Calibration | None:
    """Return what was calibrated for the models of a collection, and how pairs are verified, if so."""
    how = ""
    if matcher is not None and ransac is not None and metadata.local_provenance is not None:
        how = name_verification(metadata.local_provenance, matcher, ransac)
    return CALIBRATIONS.get((fingerprint(metadata.provenance), how))


def measure_gaps(
    similarities: Float32Array, background: Float32Array, places: Int64Array | None = None
) -> Float64Array:
    """Return how far similarities (B,) lie above their queries' background, in spreads of it.

    Args:
        similarities: Those of B pairs.
        background: (Q, S) those of Q queries with photos of no account: their median is where the background
            lies, and the way down to the lowest sixth is its spread. What lies above may be the query's own
            place.
        places: (B,) the query of each pair; None: each has its own.
    """
    ordered = np.sort(background.astype(np.float64), axis=1)
    middle, low = _quantile(ordered, 1 / 2), _quantile(ordered, 1 / 6)
    spread = np.maximum(middle - low, _LEAST_SPREAD)
    if places is not None:
        middle, spread = middle[places], spread[places]
    return np.asarray((similarities - middle) / spread)


def _quantile(ordered: Float64Array, share: float) -> Float64Array:
    """Return a quantile (Q,) of ascending rows (Q, S), as `np.quantile` does in five times the time."""
    place = share * (ordered.shape[1] - 1)
    below = int(place)
    above = min(below + 1, ordered.shape[1] - 1)
    values: Float64Array = ordered[:, below] + (place - below) * (ordered[:, above] - ordered[:, below])
    return values


_LEAST_SPREAD = 0.02
"""Of the similarities of a query's background, which a few photos may not show."""


def fingerprint(provenance: Provenance) -> str:
    """Name a model by what its descriptors depend on."""
    return _digest(provenance.to_json())


def name_verification(provenance: Provenance, matcher: "LocalMatcher", ransac: "RansacOptions") -> str:
    """Name local features and how they are verified."""
    return _digest(f"{provenance.to_json()} {matcher!r} {ransac!r}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
