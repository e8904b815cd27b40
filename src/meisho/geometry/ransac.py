"""Geometric verification: which matches agree on one geometric model.

OpenCV's MAGSAC++ [Barath et al. 2020, arXiv:1912.05909] is the default; PoseLib [Larsson, LO-RANSAC] and
DEGENSAC [Chum et al. 2005] are optional packages, chosen by name; "torch" verifies many pairs at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Literal

import cv2
import numpy as np

from meisho.arrays import BoolArray, Float32Array, Float64Array, read_only
from meisho.errors import InputError, MissingDependencyError, needs_extra
from meisho.tables import load_named, require_name

Model = Literal["homography", "affine", "fundamental"]
Method = Literal["magsac", "poselib", "degensac", "torch"]
Points = Float32Array | Float64Array

MIN_MATCHES: dict[str, int] = {"homography": 4, "affine": 3, "fundamental": 7}
"""Model -> number of matches that determine it; fewer matches give 0 inliers."""

_MIN_SPREAD = 1e-3  # width / length of the inliers; below this they lie on a line
_MAX_ZOOM = 10.0  # linear; SIFT and its successors match up to about 6


@dataclass(frozen=True)
class RansacOptions:
    """How matches are verified.

    Args:
        model: "homography" (a plane, or a camera that only rotates), "affine" (a distant plane), or
            "fundamental" (any rigid scene; less strict, as a match need only lie near a line).
        method: "magsac" (OpenCV's MAGSAC++), "poselib" or "degensac", which have no affine model, or "torch",
            which has no other: all pairs together, on a GPU where there is one.
        reproj_threshold_px: Maximum error of an inlier, px of the original database photo: its distance from
            the mapped query point, or the Sampson distance for a fundamental matrix.
        threshold_share: The same threshold as a fraction of the database photo's longer side; replaces
            `reproj_threshold_px` unless None.
        confidence: Stop once the best model has been found with this probability; "torch" draws all samples.
        max_iterations: Maximum number of minimal samples.
        seed: Seed for the samples; the same matches, options and seed give the same result.
        plausible_only: Return 0 inliers if two photos of the same thing cannot be related by the homography
            or affine map found; see `is_plausible_homography`.

    Raises:
        InputError: The model or method is unknown, the method does not support the model, or a number is
            outside its range.
    """

    model: Model = "homography"
    method: Method = "magsac"
    reproj_threshold_px: float = 8.0
    threshold_share: float | None = None
    confidence: float = 0.999
    max_iterations: int = 1000
    seed: int = 0
    plausible_only: bool = True

    def __post_init__(self) -> None:
        require_name(self.model, MIN_MATCHES, what="model of RANSAC")
        methods = [method for method, model in (*_ESTIMATORS, *_TOGETHER) if model == self.model]
        if self.method not in methods:
            raise InputError(
                f"RANSAC: no method {self.method!r} for a model {self.model!r}; "
                f"choose one of {', '.join(methods)}"
            )
        ranges = {
            "reproj_threshold_px": self.reproj_threshold_px > 0,
            "threshold_share": self.threshold_share is None or 0 < self.threshold_share < 1,
            "confidence": 0 < self.confidence < 1,
            "max_iterations": self.max_iterations >= 1,
            "seed": 0 <= self.seed < 2**31,
        }
        for name, inside in ranges.items():
            if not inside:
                raise InputError(f"RANSAC: {name} = {getattr(self, name)} is outside its range")

    def threshold_for(self, database_size_px: tuple[int, int] | None) -> float:
        """Return the maximum error of an inlier, px of a database photo of (width, height) px.

        Raises:
            InputError: `threshold_share` is set and the photo's size is None.
        """
        if self.threshold_share is None:
            return self.reproj_threshold_px
        if database_size_px is None:
            raise InputError("RANSAC: threshold_share needs the database photo's size in pixels")
        return self.threshold_share * max(database_size_px)


@dataclass(frozen=True, eq=False)
class Verification:
    """The model that M matches agree on.

    Attributes:
        model: "homography", "affine" or "fundamental".
        query_to_database: (3, 3) float64, read-only; None if no model was found. A homography or affine map
            takes homogeneous px of the query to those of the database photo; its lower right entry is 1. A
            fundamental matrix F takes a query point to its line in the database photo,
            p_database^T F p_query = 0, and has unit norm.
        inliers: (M,) bool, read-only; the matches within the threshold of that model.
    """

    model: Model
    query_to_database: Float64Array | None
    inliers: BoolArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "inliers", read_only(self.inliers, np.bool_))
        if self.query_to_database is not None:
            object.__setattr__(self, "query_to_database", read_only(self.query_to_database, np.float64))

    @property
    def num_inliers(self) -> int:
        """The number of inliers."""
        return int(np.count_nonzero(self.inliers))


def verify(
    query_points: Points,
    database_points: Points,
    options: RansacOptions | None = None,
    *,
    database_size_px: tuple[int, int] | None = None,
) -> Verification:
    """Find the model that most matches agree on.

    Inliers are counted the same way for every method: by the error of each match under the model found. There
    are 0 inliers if there are too few matches, no model is found, or the inliers do not determine it (all on
    one line, or at too few distinct points, in either photo). A minimal sample always fits some model: 4
    inliers of a homography prove nothing.

    Args:
        query_points: (M, 2) x, y in px of the original query photo.
        database_points: (M, 2) x, y in px of the original database photo; row i matches `query_points[i]`.
        options: Model, method and thresholds; None: a homography by MAGSAC++, 8 px.
        database_size_px: Width and height of the database photo; needed only for `threshold_share`.

    Raises:
        InputError: The shapes do not fit, or a number is not finite.
        MissingDependencyError: The method's package is not installed.
    """
    return verify_many([(query_points, database_points)], options, database_sizes_px=[database_size_px])[0]


def verify_many(
    pairs: Sequence[tuple[Points, Points]],
    options: RansacOptions | None = None,
    *,
    database_sizes_px: Sequence[tuple[int, int] | None],
) -> list[Verification]:
    """Find for each of B pairs of photos the model that most of their matches agree on; see `verify`.

    A pair's answer does not depend on the others.

    Args:
        pairs: B times the points (M, 2) of the query and of the database photo; M may differ.
        options: As for `verify`.
        database_sizes_px: B times width and height of the database photo; needed only for `threshold_share`.

    Raises:
        InputError: The shapes do not fit, or a number is not finite.
        MissingDependencyError: The method's package is not installed.
    """
    options = RansacOptions() if options is None else options
    points = [_check_points(*pair) for pair in pairs]
    thresholds_px = [options.threshold_for(size) for size in database_sizes_px]
    place = _TOGETHER.get((options.method, options.model))
    if place is None:
        return [_verify(*pair, px, options) for pair, px in zip(points, thresholds_px, strict=True)]
    with needs_extra("torch", f"the RANSAC method {options.method!r}"):
        estimate: _TogetherEstimator = load_named(options.method, {options.method: place}, what="method")
    matrices = estimate(points, thresholds_px, max_iterations=options.max_iterations, seed=options.seed)
    return [
        _judge(*pair, matrix, px, options)
        for pair, matrix, px in zip(points, matrices, thresholds_px, strict=True)
    ]


def _verify(
    query: Float64Array, database: Float64Array, threshold_px: float, options: RansacOptions
) -> Verification:
    nothing = Verification(options.model, None, np.zeros(len(query), np.bool_))
    if len(query) < MIN_MATCHES[options.model]:
        return nothing
    estimates = [_ESTIMATORS[options.method, options.model]]
    if options.model == "fundamental":
        estimates.append(_fundamental_of_plane)
    for estimate in estimates:
        matrix = estimate(query, database, threshold_px, options)
        found = _judge(query, database, matrix, threshold_px, options)
        if found.query_to_database is not None:
            return found
    return nothing


def _judge(
    query: Float64Array,
    database: Float64Array,
    matrix: Float64Array | None,
    threshold_px: float,
    options: RansacOptions,
) -> Verification:
    """Return the inliers of a model; none without one, where they do not determine it, or not plausible."""
    nothing = Verification(options.model, None, np.zeros(len(query), np.bool_))
    if matrix is None or not np.isfinite(matrix).all():
        return nothing
    inliers = matching_errors_px(query, database, matrix, options.model) <= threshold_px
    if not _is_determined(query[inliers], database[inliers], options.model):
        return nothing
    if options.plausible_only and not _is_plausible(matrix, query[inliers], options.model):
        return nothing
    return Verification(options.model, matrix, inliers)


def is_plausible_homography(H_query_to_database: Float64Array, query_points: Points) -> bool:
    """Return whether a homography can relate two photos of the same thing, judged at some points.

    It must keep all points on one side of the horizon, not mirror them (a plane is not seen from behind), and
    neither enlarge nor shrink any of them by more than 10 times in any direction.

    Args:
        H_query_to_database: (3, 3) map of homogeneous px.
        query_points: (P, 2) x, y in px, the points to judge it at: the inliers.
    """
    projected = _homogeneous(query_points) @ H_query_to_database.T
    depth = projected[:, 2]
    if not len(depth) or not (np.all(depth > 0) or np.all(depth < 0)):
        return False
    there = projected[:, :2] / depth[:, None]
    upper, lower = H_query_to_database[:2, :2], H_query_to_database[2, :2]
    jacobians = (upper - there[:, :, None] * lower) / depth[:, None, None]  # (P, 2, 2)
    areas = np.linalg.det(jacobians)
    zooms = np.linalg.svd(jacobians, compute_uv=False)  # (P, 2), the larger first
    return bool((areas > 0).all() and zooms.max() <= _MAX_ZOOM and zooms.min() >= 1 / _MAX_ZOOM)


def matching_errors_px(
    query_points: Points, database_points: Points, query_to_database: Float64Array, model: Model
) -> Float64Array:
    """Return the error (M,) of each match, px of the database photo.

    For a homography or affine map this is the distance between the mapped point and its match, infinite
    beyond the horizon. For a fundamental matrix it is the Sampson distance [Hartley & Zisserman 2004, eq.
    11.9], which takes both photos into account.
    """
    mapped = _homogeneous(query_points) @ query_to_database.T
    if model == "fundamental":
        return _sampson_distances(query_points, database_points, query_to_database, mapped)
    depth = mapped[:, 2:]
    finite = np.abs(depth) > np.finfo(np.float64).tiny
    there = mapped[:, :2] / np.where(finite, depth, 1)
    return np.where(finite[:, 0], np.linalg.norm(there - database_points, axis=1), np.inf)


def _sampson_distances(
    query_points: Points, database_points: Points, F: Float64Array, lines: Float64Array
) -> Float64Array:
    there = _homogeneous(database_points)
    back = there @ F
    slope = np.sqrt((lines[:, :2] ** 2).sum(axis=1) + (back[:, :2] ** 2).sum(axis=1))
    residual = np.abs((there * lines).sum(axis=1))
    return np.where(slope > 0, residual / np.where(slope > 0, slope, 1), np.inf)


def _homogeneous(points: Points) -> Float64Array:
    return np.column_stack([points, np.ones(len(points))])


def _check_points(query_points: Points, database_points: Points) -> tuple[Float64Array, Float64Array]:
    query = np.ascontiguousarray(query_points, np.float64)
    database = np.ascontiguousarray(database_points, np.float64)
    if query.ndim != 2 or query.shape[1] != 2 or query.shape != database.shape:
        raise InputError(
            f"RANSAC: points must be (M, 2) in both photos, got {query.shape} and {database.shape}"
        )
    if not (np.isfinite(query).all() and np.isfinite(database).all()):
        raise InputError("RANSAC: a point is NaN or infinite")
    return query, database


def _is_plausible(matrix: Float64Array, query: Float64Array, model: Model) -> bool:
    return model == "fundamental" or is_plausible_homography(matrix, query)


def _is_determined(query: Float64Array, database: Float64Array, model: Model) -> bool:
    return all(_are_spread(points, MIN_MATCHES[model]) for points in (query, database))


def _are_spread(points: Float64Array, least: int) -> bool:
    """Return whether (P, 2) points take at least `least` distinct places that are not all on one line."""
    if len(points) < least or len(np.unique(points[:, 0] + 1j * points[:, 1])) < least:
        return False
    covariance = np.cov(points, rowvar=False, bias=True)
    variances = np.linalg.eigvalsh(covariance)  # ascending
    return bool(variances[0] > _MIN_SPREAD**2 * variances[1])


# ---- the estimators: (M, 2), (M, 2), threshold, options -> (3, 3) matrix, or None


def _usac_params(threshold_px: float, options: RansacOptions) -> cv2.UsacParams:
    """Return OpenCV's own settings for USAC_MAGSAC, with a seed (modules/calib3d/src/usac)."""
    params = cv2.UsacParams()
    params.sampler = cv2.SAMPLING_UNIFORM
    params.score = cv2.SCORE_METHOD_MAGSAC
    params.loMethod = cv2.LOCAL_OPTIM_SIGMA
    params.loSampleSize, params.loIterations = (75, 15) if options.model == "homography" else (50, 10)
    params.threshold = threshold_px
    params.confidence = options.confidence
    params.maxIterations = options.max_iterations
    params.randomGeneratorState = options.seed
    params.isParallel = False  # with threads, the result would depend on their timing
    return params


def _homography_by_magsac(
    query: Float64Array, database: Float64Array, threshold_px: float, options: RansacOptions
) -> Float64Array | None:
    H, _ = cv2.findHomography(query, database, _usac_params(threshold_px, options))
    return _scaled_to_corner(H)


def _affine_by_magsac(
    query: Float64Array, database: Float64Array, threshold_px: float, options: RansacOptions
) -> Float64Array | None:
    A, _ = cv2.estimateAffine2D(query, database, _usac_params(threshold_px, options))
    return None if A is None else np.vstack([A, [0, 0, 1]])


def _fundamental_by_magsac(
    query: Float64Array, database: Float64Array, threshold_px: float, options: RansacOptions
) -> Float64Array | None:
    try:
        F, _ = cv2.findFundamentalMat(query, database, _usac_params(threshold_px, options))
    except cv2.error:  # it sometimes raises when the points determine no model
        return None
    return _scaled_to_unit(F)


def _homography_by_poselib(
    query: Float64Array, database: Float64Array, threshold_px: float, options: RansacOptions
) -> Float64Array | None:
    settings = {**_poselib_settings(options), "max_reproj_error": threshold_px}
    return _scaled_to_corner(_import("poselib").estimate_homography(query, database, settings)[0])


def _fundamental_by_poselib(
    query: Float64Array, database: Float64Array, threshold_px: float, options: RansacOptions
) -> Float64Array | None:
    settings = {**_poselib_settings(options), "max_epipolar_error": threshold_px}
    return _scaled_to_unit(_import("poselib").estimate_fundamental(query, database, settings)[0])


def _poselib_settings(options: RansacOptions) -> dict[str, object]:
    return {
        "max_iterations": options.max_iterations,
        "min_iterations": min(100, options.max_iterations),
        "success_prob": options.confidence,
        "seed": options.seed,
    }


def _homography_by_degensac(
    query: Float64Array, database: Float64Array, threshold_px: float, options: RansacOptions
) -> Float64Array | None:
    pydegensac = _import("pydegensac")
    H, _ = pydegensac.findHomography(
        query, database, threshold_px, options.confidence, options.max_iterations, seed=options.seed
    )
    return _scaled_to_corner(H)


def _fundamental_by_degensac(
    query: Float64Array, database: Float64Array, threshold_px: float, options: RansacOptions
) -> Float64Array | None:
    if len(query) < 8:  # it rejects 7 matches, which determine up to three matrices
        return None
    pydegensac = _import("pydegensac")
    F, _ = pydegensac.findFundamentalMatrix(
        query, database, threshold_px, options.confidence, options.max_iterations, seed=options.seed
    )
    return _scaled_to_unit(F)


def _fundamental_of_plane(
    query: Float64Array, database: Float64Array, threshold_px: float, options: RansacOptions
) -> Float64Array | None:
    """Return a fundamental matrix of photos related by a homography: copies and few matches often give none.

    Any [e]x H is such a matrix [Hartley & Zisserman 2004, section 13.1]; the epipole e is taken at infinity,
    to the side.
    """
    H = _ESTIMATORS[options.method, "homography"](query, database, threshold_px, options)
    if H is None or not np.isfinite(H).all():
        return None
    agree = np.count_nonzero(matching_errors_px(query, database, H, "homography") <= threshold_px)
    if agree < max(MIN_MATCHES["fundamental"], len(query) / 2):
        return None
    return _scaled_to_unit(np.array([[0.0, 0, 0], [0, 0, -1], [0, 1, 0]]) @ H)


def _import(package: str) -> ModuleType:
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"this RANSAC method needs {package}; run pip install 'meisho[ransac]', "
            "or choose the method 'magsac'"
        ) from error


def _scaled_to_corner(H: Float64Array | None) -> Float64Array | None:
    if H is None or H.shape != (3, 3) or H[2, 2] == 0:
        return None
    scaled: Float64Array = H / H[2, 2]
    return scaled


def _scaled_to_unit(F: Float64Array | None) -> Float64Array | None:
    if F is None or F.shape != (3, 3) or not F.any():
        return None
    return F / np.linalg.norm(F)


_Estimator = Callable[[Float64Array, Float64Array, float, RansacOptions], Float64Array | None]
_ESTIMATORS: dict[tuple[str, str], _Estimator] = {
    ("magsac", "homography"): _homography_by_magsac,
    ("magsac", "affine"): _affine_by_magsac,
    ("magsac", "fundamental"): _fundamental_by_magsac,
    ("poselib", "homography"): _homography_by_poselib,
    ("poselib", "fundamental"): _fundamental_by_poselib,
    ("degensac", "homography"): _homography_by_degensac,
    ("degensac", "fundamental"): _fundamental_by_degensac,
}
"""(method, model) -> estimator; a new method takes one function and one line."""


_TogetherEstimator = Callable[..., list[Float64Array | None]]
_TOGETHER: dict[tuple[str, str], str] = {
    ("torch", "affine"): "meisho.extractors.torch_ransac:estimate_affine_maps",
}
"""(method, model) -> "module:function" that estimates those of many pairs at once."""
