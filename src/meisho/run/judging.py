"""Judging: how sure it is that the photos that were found show the query's place."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
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

    @property
    def calibration(self) -> Calibration | None:
        """What turns evidence into probability; None where these models were not calibrated."""
        if self.pairs is None:
            return find_calibration(self.state.metadata)
        return find_calibration(self.state.metadata, self.pairs.matcher, self.pairs.ransac)

    def gather(
        self, asked: Int64Array, rows: Int64Array, pairs: "Sequence[PhotoPair]" = ()
    ) -> list[PairEvidence]:
        """Return what is known of B pairs: rows of `queries` (B,), and of the database (B,)."""
        if not len(rows):
            return []
        similarities = np.einsum(
            "bd,bd->b", self.queries[asked], self.state.snapshot.descriptors.vectors[rows]
        )
        different, places = np.unique(asked, return_inverse=True)  # one query has many answers
        middles, spreads = measure_background(self.queries[different] @ self.state.background.T)
        gaps = (similarities - middles[places]) / spreads[places]
        local = [pair.evidence for pair in pairs] or [PairEvidence()] * len(rows)
        return [
            replace(each, similarity=float(similarity), gap=float(gap))
            for each, similarity, gap in zip(local, similarities, gaps, strict=True)
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


def measure_gaps(similarities: Float32Array, background: Float32Array) -> Float64Array:
    """Return how far similarities (B,) lie above their queries' background, in spreads of it.

    Args:
        similarities: Those of B pairs.
        background: (B, S) those of the same queries with photos of no account: their median is where the
            background lies, and the way down to the lowest sixth is its spread. What lies above may be the
            query's own place.
    """
    middles, spreads = measure_background(background)
    return np.asarray((similarities - middles) / spreads)


def measure_background(background: Float32Array) -> tuple[Float64Array, Float64Array]:
    """Return where the backgrounds (B, S) of B queries lie, (B,), and their spreads, see `measure_gaps`."""
    middles, lows = np.quantile(background.astype(np.float64), [1 / 2, 1 / 6], axis=1)
    return middles, np.maximum(middles - lows, _LEAST_SPREAD)


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
