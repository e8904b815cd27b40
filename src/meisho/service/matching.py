"""Matching: two photos, and the local features by which they agree, as JSON for a drawing."""

import threading
from functools import cache

import numpy as np

from meisho.arrays import BoolArray
from meisho.certainty import judge
from meisho.extractors.local_base import load_local_extractor
from meisho.geometry.matching import MutualMatcher
from meisho.local_describing import LocalDescriber
from meisho.photo_pair import PhotoPair
from meisho.photos import Box, Photo
from meisho.rerank.geometric import verify_photos
from meisho.service.answering import resolve, rounded
from meisho.service.metrics import timed, times_so_far
from meisho.service.models import Match, MatchRequest
from meisho.service.shared import Service

MOST_LINES = 500
MOST_OUTLIERS = 200
_loading = threading.Lock()


def answer_match(service: Service, request: MatchRequest) -> Match:
    """Compare two photos as `meisho search --verify` does.

    A collection without local features is compared by SIFT, found in both photos now.

    Raises:
        MeishoError: They cannot be compared.
    """
    asked = resolve(service, request)
    opened = asked.opened
    stored = opened.photo(request.answer)
    part = None if request.other_box is None else Box.parse(request.other_box, source="other_box")
    with timed("verify"):
        if opened.local_name is not None and part is None:
            query = asked.stored.id if asked.stored is not None and request.box is None else asked.photo
            pair = opened.finder.compare(query, stored.id)
        else:
            other = service.queries.stored_photo(stored, stored.key, part)
            query_photo = asked.photo
            if asked.stored is not None and request.box is None:
                query_photo = service.queries.stored_photo(asked.stored, asked.stored.key)
            pair = _compare_now(query_photo, other, opened.local_name)
    return _match(pair, opened.finder.version)


def _compare_now(query: Photo, other: Photo, local: str | None) -> PhotoPair:
    """Compare two photos by local features that are found now."""
    describer = _describer("sift" if local is None else local)
    ours, theirs = describer.describe(query), describer.describe(other)
    pair = verify_photos(ours, [theirs], matcher=MutualMatcher())[0]
    return PhotoPair(query, other, ours, theirs, pair.matches, pair.verification)


@cache
def _describer(local: str) -> LocalDescriber:
    with _loading:
        return LocalDescriber(load_local_extractor(local))


def _match(pair: PhotoPair, version: int) -> Match:
    verification, matrix = pair.verification, pair.verification.query_to_database
    judgement = pair.judgement or judge(pair.evidence)
    inliers = verification.inliers
    return Match(
        version=version,
        inliers=verification.num_inliers,
        matches=len(pair.matches),
        verdict=judgement.verdict or "unknown",
        probability=rounded(judgement.probability),
        model=verification.model,
        H_query_to_photo=None if matrix is None else matrix.tolist(),
        overlap_query=rounded(judgement.overlap_query),
        overlap_photo=rounded(judgement.overlap_photo),
        query_size_px=pair.query_features.size_px,
        photo_size_px=pair.database_features.size_px,
        lines=_lines(pair, inliers, MOST_LINES),
        outliers=_lines(pair, ~inliers, MOST_OUTLIERS),
        timings_ms=times_so_far(),
    )


def _lines(pair: PhotoPair, chosen: BoolArray, most: int) -> list[tuple[float, float, float, float]]:
    """Return lines (xq, yq, xp, yp), px of the upright photos, the most similar features first."""
    matches = pair.matches
    order = np.argsort(-matches.similarities[chosen], kind="stable")[:most]
    rows = matches.rows[chosen][order]
    points = np.hstack(
        [pair.query_features.keypoints[rows[:, 0]], pair.database_features.keypoints[rows[:, 1]]]
    )
    return [(a, b, c, d) for a, b, c, d in np.round(points.astype(np.float64), 1).tolist()]
