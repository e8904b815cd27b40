"""Whitening: a linear map that decorrelates the dimensions of descriptors, fitted once and saved.

`fit_pca_whitening` needs only descriptors; `fit_learned_whitening` needs pairs of photos of the same thing.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np
from safetensors.numpy import save

from meisho.array_files import read_safetensors
from meisho.arrays import Float32Array, Float64Array, Int64Array, read_only
from meisho.descriptors import Descriptors, Provenance, normalize_rows
from meisho.documents import Fields, is_there, one_line, parse_json
from meisho.errors import InputError, MismatchError, MissingFileError, WeightsError
from meisho.files import write_bytes
from meisho.outputs import WHITENING, check_output

Kind = Literal["pca", "learned"]
_NO_WHITENING = "not a whitening file"
PCA_SHRINKAGE = 1000.0
"""Little but a turn, after which few dimensions are enough: with less, a whitening that is fitted on the
photos that are searched takes away what tells their places apart (benchmarks/bench_whiten.py)."""
LEARNED_SHRINKAGE = 10.0
"""The best of 0.1, 1 and 10 with a few hundred photos (docs/LOG.md); less needs far more pairs."""

_FEW_PHOTOS = 10
_LEAST_SHARE = 0.2
_MANY_PER_DIM = 4


@dataclass(frozen=True, eq=False)
class Whitening:
    """x -> projection (x - mean), then L2 normalisation.

    Attributes:
        mean: (D,) float32, read-only; what is taken away.
        projection: (D', D) float32, read-only; rows by decreasing eigenvalue.
        kind: "pca" or "learned".
        source: Provenance of the descriptors that it was fitted on; it applies to no others.

    Raises:
        InputError: The shapes do not fit, or a value is not finite.
    """

    mean: Float32Array
    projection: Float32Array
    kind: Kind
    source: Provenance

    def __post_init__(self) -> None:
        mean, projection = read_only(self.mean, np.float32), read_only(self.projection, np.float32)
        if mean.ndim != 1 or projection.ndim != 2 or projection.shape[1] != len(mean):
            raise InputError(f"whitening: mean {mean.shape} and projection {projection.shape} do not fit")
        if not (np.isfinite(mean).all() and np.isfinite(projection).all()):
            raise InputError("whitening: holds NaN or infinity; fit it on more descriptors or with shrinkage")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "projection", projection)

    @property
    def dim(self) -> int:
        """D', the number of output dimensions."""
        return len(self.projection)

    def transform(self, vectors: Float32Array) -> Float32Array:
        """Whiten (N, D) vectors: (N, D') float32, L2-normalised; a vector equal to the mean becomes zero."""
        whitened: Float32Array = np.asarray((vectors - self.mean) @ self.projection.T, np.float32)
        return normalize_rows(whitened)

    def apply(self, descriptors: Descriptors) -> Descriptors:
        """Whiten descriptors; their provenance then names this whitening by its digest.

        Raises:
            MismatchError: They have another provenance than those it was fitted on.
        """
        provenance = self.origin_after(descriptors.provenance, f"sha256:{self._digest()}")
        return Descriptors(descriptors.ids, self.transform(descriptors.vectors), provenance)

    def origin_after(self, provenance: Provenance, name: str) -> Provenance:
        """Return the provenance of descriptors that this whitening, under a name, has been applied to.

        Raises:
            MismatchError: They have another provenance than those it was fitted on.
        """
        self.check_source(provenance)
        options = provenance.values | {"whitening": name}
        return Provenance.from_options(provenance.extractor, options, self.digest_after(provenance))

    def check_source(self, provenance: Provenance) -> None:
        """Check that this whitening applies to descriptors of this provenance.

        Raises:
            MismatchError: It does not; the message names each option that differs.
        """
        differences = self.source.differences(provenance)
        if differences:
            raise MismatchError(
                "the whitening was fitted on other descriptors (fitted on / given): "
                f"{'; '.join(differences)}; fit one on descriptors like those given"
            )

    def digest_after(self, provenance: Provenance) -> str:
        """Return a digest of the weights in `provenance` followed by this whitening."""
        return hashlib.sha256(f"{provenance.weights_sha256} {self._digest()}".encode()).hexdigest()

    def _digest(self) -> str:
        return hashlib.sha256(self.mean.tobytes() + self.projection.tobytes()).hexdigest()

    def save(self, path: Path) -> None:
        """Write one safetensors file, atomically.

        Raises:
            InputError: The file is there and is no whitening.
        """
        check_output(path, WHITENING)
        metadata = {"kind": self.kind, "source": self.source.to_json()}
        write_bytes(path, save({"mean": self.mean, "projection": self.projection}, metadata))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file written by `save`.

        Raises:
            WeightsError: There is no such file, or it is not a whitening.
        """
        if not is_there(path):
            raise MissingFileError(f"{path}: no such whitening file; make one with 'meisho whiten'")
        file = read_safetensors(path, error=WeightsError, advice=_NO_WHITENING)
        facts = Fields(file.metadata, str(path), WeightsError, _NO_WHITENING)
        source = parse_json(facts.text("source"), source=f"{path}: source", error=WeightsError)
        kind = facts.text("kind")
        if kind not in get_args(Kind) or not {"mean", "projection"} <= file.arrays.keys():
            facts.fail("holds no mean and projection of a known kind")
        try:
            mean, projection = (file.arrays[name] for name in ("mean", "projection"))
            return cls(mean, projection, kind, Provenance.read(source))  # type: ignore[arg-type]  # checked
        except (InputError, ValueError, TypeError) as error:
            raise WeightsError(f"{path}: {_NO_WHITENING} ({one_line(error)})") from error


def whitening_doubts(
    num: int, full_dim: int, *, learned: bool = False, dim: int | None = None, shrinkage: float | None = None
) -> tuple[str, ...]:
    """Say in which ways a whitening is known to harm retrieval on other photos (benchmarks/bench_whiten.py).

    Args:
        num: N photos that it is fitted on.
        full_dim: D of their descriptors.
        learned: Whether from pairs, instead of by PCA.
        dim: As asked for.
        shrinkage: As asked for.
    """
    least_dim, many = math.ceil(full_dim * _LEAST_SHARE), _MANY_PER_DIM * full_dim
    usual = LEARNED_SHRINKAGE if learned else PCA_SHRINKAGE
    doubts = []
    if num < _FEW_PHOTOS:
        doubts.append(f"fitted on {num} photos, fewer than {_FEW_PHOTOS}")
    if dim is not None and dim < least_dim:
        doubts.append(f"{dim} of {full_dim} dimensions are kept, fewer than {least_dim}")
    if shrinkage is not None and shrinkage < usual and num < many:
        harm = "" if learned else " (one of 1, fitted on the photos that are searched, halved mAP)"
        doubts.append(
            f"a shrinkage of {shrinkage:g}, below {usual:,g}, asks for {many:,} photos, not {num:,}{harm}"
        )
    return tuple(doubts)


def check_whitening_dim(dim: int | None, num: int, full_dim: int) -> None:
    """Check that N descriptors of D dimensions can be whitened to D' of them.

    Raises:
        InputError: They cannot: N photos vary in at most N - 1 directions.
    """
    if dim is not None and not 1 <= dim <= full_dim:
        raise InputError(f"whitening: dim={dim} must be between 1 and {full_dim}")
    if dim is not None and num - 1 < dim < full_dim:
        raise InputError(_too_few(num, num - 1, dim))


def fit_pca_whitening(
    descriptors: Descriptors, *, dim: int | None = None, shrinkage: float | None = None
) -> Whitening:
    """Fit a whitening that gives `descriptors` an identity covariance, but for shrinkage [Jégou & Chum 2012].

    The covariance divides by N. N descriptors vary in at most N - 1 directions. With shrinkage the other
    directions are kept too, as if they varied by the shrinkage alone: other photos do vary there. Without it
    they are left out, and N must be larger than the number of directions, plus one: descriptors that are
    whitened in all directions they vary in, and no others, are all at one distance.

    Args:
        descriptors: N descriptors of D dimensions, N ≥ 2.
        dim: D', how many directions of largest variance to keep; None keeps all.
        shrinkage: Added to each eigenvalue, as a fraction of the mean eigenvalue; None: `PCA_SHRINKAGE`. A
            larger value makes the map gentler, which helps with few descriptors; of the mean, too, only the
            part 1 / (1 + (shrinkage / `PCA_SHRINKAGE`)²) is taken away: half of it by default.

    Raises:
        InputError: There are too few descriptors for `dim` or for no shrinkage, or they do not vary.
    """
    shrinkage = PCA_SHRINKAGE if shrinkage is None else shrinkage
    _check_enough(descriptors, dim, shrinkage)
    vectors = descriptors.vectors.astype(np.float64)
    mean = vectors.mean(axis=0)
    centred = vectors - mean
    values, directions = _principal_directions(centred.T @ centred / len(centred))
    varying = int(np.count_nonzero(values))
    _check_varying(len(vectors), varying, dim, shrinkage, descriptors.dim)
    kept = dim or (len(values) if shrinkage else varying)
    scale = 1 / np.sqrt(values[:kept] + shrinkage * values.sum() / len(mean))
    projection = directions[:kept] * scale[:, None]
    mean = mean / (1 + (shrinkage / PCA_SHRINKAGE) ** 2)
    return Whitening(mean.astype(np.float32), projection.astype(np.float32), "pca", descriptors.provenance)


def fit_learned_whitening(
    descriptors: Descriptors,
    query_rows: Int64Array,
    positive_rows: Int64Array,
    *,
    dim: int | None = None,
    shrinkage: float | None = None,
) -> Whitening:
    """Fit a discriminative whitening from pairs of photos of the same thing.

    First the differences within pairs are whitened, then all descriptors are rotated to their principal
    directions: "linear discriminant projections" [Mikolajczyk & Matas 2007], as used by Radenović et al.,
    arXiv:1711.02512. The formula is that of cirtorch's `whitenlearn`, except that `whitenlearn` silently adds
    to the diagonal where this function needs `shrinkage`.

    Args:
        descriptors: N descriptors of D dimensions.
        query_rows: (P,) row of one photo of each pair.
        positive_rows: (P,) row of the other photo.
        dim: D', how many directions to keep; None keeps all.
        shrinkage: Added to the diagonal of the within-pair covariance, as a fraction of its mean; None:
            `LEARNED_SHRINKAGE`. It must be above 0 if there are fewer pairs than dimensions, and large if
            there are few landmarks: with 10 landmarks, 10 was best and 0.1 much worse than no whitening. Of
            the mean, the part 1 / (1 + shrinkage / `LEARNED_SHRINKAGE`) is taken away.

    Raises:
        InputError: The rows do not pair, or there are too few of them.
    """
    shrinkage = LEARNED_SHRINKAGE if shrinkage is None else shrinkage
    _check_enough(descriptors, dim, shrinkage)
    vectors = descriptors.vectors.astype(np.float64)
    _check_pairs(query_rows, positive_rows, len(vectors))
    mean = vectors[query_rows].mean(axis=0)  # only the queries, as in cirtorch
    differences = vectors[query_rows] - vectors[positive_rows]
    within = differences.T @ differences / len(differences)
    within[np.diag_indices_from(within)] += shrinkage * np.trace(within) / len(within)
    whitener = _inverse_cholesky(within)
    turned = (vectors - mean) @ whitener.T
    values, directions = _principal_directions(turned.T @ turned)
    if dim and dim > (varying := int(np.count_nonzero(values))) and varying < descriptors.dim:
        raise InputError(_too_few(len(vectors), varying, dim))
    projection = directions[: dim or len(directions)] @ whitener
    mean = mean / (1 + shrinkage / LEARNED_SHRINKAGE)
    return Whitening(
        mean.astype(np.float32), projection.astype(np.float32), "learned", descriptors.provenance
    )


def _check_enough(descriptors: Descriptors, dim: int | None, shrinkage: float) -> None:
    if len(descriptors) < 2:
        raise InputError(f"whitening: needs at least 2 descriptors, got {len(descriptors)}")
    if not np.isfinite(descriptors.vectors).all():
        raise InputError("whitening: a descriptor holds NaN or infinity")
    check_whitening_dim(dim, len(descriptors), descriptors.dim)
    if not 0 <= shrinkage < 1e6:
        raise InputError(f"whitening: shrinkage={shrinkage} must be at least 0 and below 1,000,000")


def _check_varying(num: int, varying: int, dim: int | None, shrinkage: float, full: int) -> None:
    """Refuse directions that nothing has been learned of, and a map that puts all at one distance."""
    if dim is not None and varying < dim < full:
        raise InputError(_too_few(num, varying, dim))
    if not shrinkage and num - 1 <= min(dim or varying, varying):
        raise InputError(
            f"whitening: {num} descriptors whitened in {varying} directions without shrinkage are all at one "
            f"distance; set shrinkage, for example to {PCA_SHRINKAGE:g}, give fewer dimensions or more photos"
        )


def _too_few(num: int, varying: int, dim: int) -> str:
    return (
        f"whitening: {num} descriptors vary in {varying} directions, too few for dim={dim}; give at most "
        f"{varying}, no dim at all, or more photos"
    )


def _check_pairs(query_rows: Int64Array, positive_rows: Int64Array, count: int) -> None:
    if len(query_rows) != len(positive_rows) or len(query_rows) == 0:
        raise InputError(
            f"whitening: needs pairs, got {len(query_rows)} queries and {len(positive_rows)} positives"
        )
    rows = np.concatenate([query_rows, positive_rows])
    if rows.min() < 0 or rows.max() >= count:
        raise InputError(f"whitening: a pair names a row outside the {count} descriptors")


def _principal_directions(covariance: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return eigenvalues, largest first, 0 for directions without variance, and all directions as rows."""
    values, columns = np.linalg.eigh(covariance)
    varies = values > max(values[-1], 0) * len(values) * np.finfo(np.float64).eps
    if not varies.any():
        raise InputError("whitening: the descriptors are all the same; there is nothing to whiten")
    return np.where(varies, values, 0)[::-1], columns[:, ::-1].T


def _inverse_cholesky(covariance: Float64Array) -> Float64Array:
    try:
        return np.linalg.inv(np.linalg.cholesky(covariance))
    except np.linalg.LinAlgError as error:
        raise InputError(
            "whitening: too few different pairs for this many dimensions; give more pairs, or set shrinkage, "
            "for example to 0.1"
        ) from error
