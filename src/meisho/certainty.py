"""Certainty: how sure it is that a query and a database photo show the same place, and the words for it.

The one rule by which everything says "same place": the table of a search, its pages, groups of photos, and
`meisho match`. Where the models of a collection were calibrated it is a probability; elsewhere it is a number
of inliers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["same", "maybe", "unknown"]

SAME, MAYBE = 0.9, 0.5
"""Probabilities from which the words are "same" and "maybe"; below, it is "unknown"."""

CHANCE_INLIERS = 5
"""Inliers that photos of different places reach by chance; only those beyond them count."""

LEAST_INLIERS: dict[str, int] = {"homography": 15, "affine": 15, "fundamental": 45}
"""Model -> inliers from which two photos are said to show the same place, where nothing was calibrated.

At most one of 1,000 pairs of photos of two landmarks has as many: pairs of the split `train`, see
`benchmarks/evaluate_walks.py --choose`, with the default options and the extractor for which that number is
the largest, rounded up to a multiple of 5. Without a ratio test mutual neighbours agree by chance several
times as often.
"""


@dataclass(frozen=True)
class PairEvidence:
    """What is known of a query and a database photo.

    Attributes:
        similarity: Dot product of their descriptors.
        gap: How far that lies above what the query has with photos of no account, in spreads of these; see
            `Background`.
        num_matches: Matches of their local features; None, as all below, where they were not verified.
        num_inliers: Those that agree on one geometry.
        model: That geometry: "affine", "homography" or "fundamental".
        overlap_query: Share of the query, 0 to 1, that the other shows; None where the geometry does not say.
        overlap_photo: Share of the other photo that the query shows; likewise.
        slant: How far the geometry turns and squeezes: 0 for none of it, 1 for a turn by 90 degrees, or to a
            line; None likewise.
    """

    similarity: float | None = None
    gap: float | None = None
    num_matches: int | None = None
    num_inliers: int | None = None
    model: str | None = None
    overlap_query: float | None = None
    overlap_photo: float | None = None
    slant: float | None = None


@dataclass(frozen=True)
class Judgement:
    """What a pair is said to be.

    Attributes:
        verdict: Whether both show the same place; None where nothing was verified or calibrated.
        probability: How probable that is, 0 to 1; None where the models were not calibrated.
        overlap_query: See `PairEvidence`.
        overlap_photo: See there too.
    """

    verdict: Verdict | None = None
    probability: float | None = None
    overlap_query: float | None = None
    overlap_photo: float | None = None


def judge(evidence: PairEvidence, calibration: "Calibration | None" = None) -> Judgement:
    """Say whether a pair shows the same place: by probability where calibrated, else by number of inliers."""
    probability = None if calibration is None else calibration.probability(evidence)
    overlaps = evidence.overlap_query, evidence.overlap_photo
    if probability is not None:
        return Judgement(say(probability), probability, *overlaps)
    if evidence.num_inliers is None or evidence.model is None:
        return Judgement()
    enough = evidence.num_inliers >= LEAST_INLIERS[evidence.model]
    return Judgement("same" if enough else "unknown", None, *overlaps)


def say(probability: float) -> Verdict:
    """Return the word for a probability."""
    return "same" if probability >= SAME else "maybe" if probability >= MAYBE else "unknown"


def is_not_here(probabilities: Sequence[float | None]) -> bool:
    """Say whether a query's place is probably not in the collection: none of its answers is even "maybe"."""
    return all((probability or 0.0) < MAYBE for probability in probabilities)


@dataclass(frozen=True)
class Calibration:
    """A logistic model: the log odds are a weighted sum of what the evidence says.

    Attributes:
        weights: Name of a sign, see `read_signs`, -> weight.
        bias: Added to the sum.
    """

    weights: Mapping[str, float]
    bias: float

    def probability(self, evidence: PairEvidence) -> float | None:
        """Return the probability that a pair shows the same place; None where evidence is missing."""
        signs = read_signs(evidence)
        if not self.weights.keys() <= signs.keys():
            return None
        odds = self.bias + sum(weight * signs[name] for name, weight in self.weights.items())
        return 1 / (1 + math.exp(-min(max(odds, -30.0), 30.0)))


def read_signs(evidence: PairEvidence) -> dict[str, float]:
    """Return what speaks for and against a pair as numbers of a like size, by name."""
    signs: dict[str, float] = {}
    if evidence.similarity is not None and evidence.gap is not None:
        signs |= {"similarity": evidence.similarity, "gap": evidence.gap}
    if evidence.num_inliers is not None:
        beyond = math.log1p(max(evidence.num_inliers - CHANCE_INLIERS, 0))
        straight = 0.0 if evidence.slant is None else 1 - evidence.slant
        signs |= {"beyond": beyond, "plausible": beyond * straight}
    return signs


_DRAWN = "9b0da0cd0307261d"  # tf_efficientnet_lite2, GeM, 384 px, taught by drawn places: the default model
_LARGE = "b6147c63e18dcf47"  # the same and that of _SMALL at 384 px, side by side
_SMALL = "49696daf366d57e4"  # tf_efficientnet_lite0, GeM, 224 px, taught likewise
_IMAGENET = "aecf7e1df3c35211"  # the default model with ImageNet's weights
_XFEAT = "c336c52db32a128d"  # the 1000 best at 640 px, mutual neighbours, an affine map
_SIFT = "c96150e2bc2744de"  # likewise

CALIBRATIONS: dict[tuple[str, str], Calibration] = {
    (_DRAWN, ""): Calibration({"similarity": 17.305, "gap": 0.328}, -12.234),
    (_DRAWN, _XFEAT): Calibration(
        {"similarity": 9.815, "gap": 0.44, "beyond": 0.534, "plausible": 1.152}, -9.54
    ),
    (_DRAWN, _SIFT): Calibration({"similarity": 15.44, "gap": 0.349, "plausible": 2.151}, -11.562),
    (_LARGE, ""): Calibration({"similarity": 19.815, "gap": 0.224}, -12.73),
    (_LARGE, _XFEAT): Calibration(
        {"similarity": 13.292, "gap": 0.319, "beyond": 0.307, "plausible": 1.313}, -10.544
    ),
    (_LARGE, _SIFT): Calibration(
        {"similarity": 18.177, "gap": 0.249, "beyond": 0.04, "plausible": 2.086}, -12.231
    ),
    (_SMALL, ""): Calibration({"similarity": 15.777, "gap": 0.505}, -11.57),
    (_SMALL, _XFEAT): Calibration(
        {"similarity": 8.571, "gap": 0.684, "beyond": 0.575, "plausible": 1.192}, -9.679
    ),
    (_SMALL, _SIFT): Calibration(
        {"similarity": 13.407, "gap": 0.573, "beyond": 0.13, "plausible": 2.214}, -10.972
    ),
    (_IMAGENET, ""): Calibration({"similarity": 24.66, "gap": 1.193}, -21.384),
    (_IMAGENET, _XFEAT): Calibration(
        {"similarity": 14.255, "gap": 1.268, "beyond": 0.385, "plausible": 1.37}, -15.207
    ),
    (_IMAGENET, _SIFT): Calibration(
        {"similarity": 21.468, "gap": 1.204, "beyond": 0.29, "plausible": 1.148}, -19.42
    ),
}
"""(name of the global model, of local features and how they are verified; "" for none) -> model.

Measured on 2026-11-28 and 29 by `benchmarks/calibrate.py`, where the protocol stands: 2,520 pairs of 105
photos of 21 landmarks with their 12 nearest, each asked with its place there and not. The names are those of
`meisho.run.judging`.
"""
