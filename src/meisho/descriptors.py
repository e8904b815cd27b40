"""Descriptors: one vector per photo, the photos' ids, and where the vectors came from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Any, Self

import numpy as np

from meisho.arrays import Float32Array, read_only
from meisho.documents import Fields, parse_json
from meisho.errors import InputError
from meisho.stored_vectors import StoredVectors
from meisho.texts import count

UNIT_TOLERANCE = 1e-3
"""How far the length of an L2-normalised vector may be from 1; bf16 networks round before they normalise."""
_FEW = 100
PLACES = ("weights", "whitening", "local_weights")
"""Options that say where a file is; `weights_sha256` covers what is in it."""


@dataclass(frozen=True)
class Provenance:
    """Where descriptors came from; two sets of descriptors can be compared only when theirs are equal.

    Attributes:
        extractor: Name of the extractor, for example "timm_gem".
        options: Its resolved options as canonical JSON: every option, defaults included, keys sorted.
        weights_sha256: Digest of the weights that were used, or "" where there are none.
    """

    extractor: str
    options: str = "{}"
    weights_sha256: str = ""

    @classmethod
    def from_options(cls, extractor: str, options: dict[str, object], weights_sha256: str = "") -> Self:
        """Build from a plain mapping of JSON values."""
        return cls(extractor, json.dumps(options, sort_keys=True, ensure_ascii=False), weights_sha256)

    def differences(self, other: "Provenance") -> list[str]:
        """Name every option in which the two differ, as "option: mine / theirs"; empty when equal.

        Where files of weights were read from does not matter as long as their content is the same.
        """
        if self == other:
            return []
        mine, theirs = self._flat(), other._flat()
        if self.weights_sha256 and self.weights_sha256 == other.weights_sha256:
            mine, theirs = _without_places(mine), _without_places(theirs)
        keys = sorted(mine.keys() | theirs.keys())
        if "members" in keys and mine != theirs:
            return [f"model: {self._named()} / {other._named()}"]
        return [f"{k}: {mine.get(k)} / {theirs.get(k)}" for k in keys if mine.get(k) != theirs.get(k)]

    @property
    def summary(self) -> str:
        """One line: the extractor and the options that shape its descriptors, without those that are off."""
        return f"{self.extractor} {'; '.join(describe_options(self.values))}".rstrip()

    @property
    def values(self) -> dict[str, Any]:
        """The options, parsed.

        Raises:
            InputError: They are no JSON object.
        """
        fields = parse_json(self.options, source=f"the options of {self.extractor:.80}", error=InputError)
        return dict(fields.values)

    def to_json(self) -> str:
        """Return one JSON object."""
        return json.dumps({f.name: getattr(self, f.name) for f in dataclass_fields(self)}, ensure_ascii=False)

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read a provenance from a document.

        Raises:
            MeishoError: The error of the document: a text is missing, or the options are no JSON object.
        """
        own = {field.name for field in dataclass_fields(cls)}
        if unknown := sorted(fields.values.keys() - own):
            fields.fail(f"the key {fields.key + unknown[0]!r:.80} is not known")
        options = fields.text("options")
        parse_json(options, source=f"{fields.source}: {fields.key}options", error=fields.error)
        return cls(fields.text("extractor"), options, fields.text("weights_sha256"))

    def _named(self) -> str:
        return f"{self.summary} ({self.weights_sha256[:16] or 'no weights'})"

    def _flat(self) -> dict[str, object]:
        options = self.values
        return {"extractor": self.extractor, "weights_sha256": self.weights_sha256, **options}


def _without_places(value: Any) -> Any:
    """Leave out where files are, in the options of an ensemble's members too."""
    if isinstance(value, dict):
        return {name: _without_places(part) for name, part in value.items() if name not in PLACES}
    return [_without_places(part) for part in value] if isinstance(value, list) else value


def describe_options(options: dict[str, Any]) -> list[str]:
    """Return the options that shape descriptors as people read them; those of an ensemble in a line each."""
    if "members" not in options:
        return [", ".join(f"{name} {value}" for name, value in options.items() if value not in (None, [1.0]))]
    lines = [
        f"{weight:g} × {member['extractor']} {'; '.join(describe_options(member['options']))}".rstrip()
        for weight, member in zip(options["member_weights"], options["members"], strict=True)
    ]
    return [*lines, f"whitening {options['whitening']}"] if "whitening" in options else lines


@dataclass(frozen=True, eq=False)
class Descriptors:
    """Global descriptors of N photos.

    Attributes:
        ids: (N,) ids of the photos, unique, in database order.
        vectors: (N, D) float32, read-only; L2-normalised when an extractor made them. Of a large collection
            a `meisho.stored_vectors.StoredVectors`, which reads from its file what is asked for.
        provenance: Where they came from.

    Raises:
        InputError: The shapes do not fit, or an id stands twice.
    """

    ids: Sequence[str]
    vectors: Float32Array
    provenance: Provenance

    def __post_init__(self) -> None:
        vectors: Any = self.vectors
        if not isinstance(vectors, StoredVectors):
            vectors = read_only(vectors, np.float32)
        if vectors.ndim != 2 or len(vectors) != len(self.ids):
            raise InputError(
                f"descriptors: {len(self.ids)} ids need vectors (N, D), got shape {vectors.shape}"
            )
        if isinstance(self.ids, tuple) and len(set(self.ids)) != len(self.ids):
            twice = next(i for i in self.ids if self.ids.count(i) > 1)
            raise InputError(f"descriptors: the id {twice!r} appears more than once")
        object.__setattr__(self, "vectors", vectors)

    def __repr__(self) -> str:
        photos, extractor = count(len(self), "photo"), self.provenance.extractor
        return f"Descriptors({photos}, vectors {self.vectors.shape}, {extractor})"

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        """D, the number of dimensions."""
        return int(self.vectors.shape[1])

    def select(self, ids: Sequence[str]) -> "Descriptors":
        """Return the descriptors of `ids`, in that order.

        Raises:
            InputError: An id is not among them.
        """
        row_of = {photo_id: row for row, photo_id in enumerate(self.ids)}
        missing = [i for i in ids if i not in row_of]
        if missing:
            raise InputError(
                f"descriptors: {len(missing)} ids have no descriptor, the first is {missing[0]!r}"
            )
        return Descriptors(tuple(ids), self.vectors[[row_of[i] for i in ids]], self.provenance)


def normalize_rows(vectors: Float32Array) -> Float32Array:
    """Return (N, D) rows scaled to unit L2 length; a zero row stays zero. Never writes into `vectors`."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Float32Array = np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)
    return scaled


def concatenate_descriptors(
    parts: Sequence[Float32Array], *, weights: Sequence[float] | None = None
) -> Float32Array:
    """Join descriptors of the same photos by several models.

    Each row of a part is scaled to length 1 and then by sqrt(weight / sum of weights), so that the dot
    product of two joined rows is the weighted mean of the parts' cosines, and a joined row has length 1.

    Args:
        parts: M matrices (N, D_m).
        weights: One for each part, 0 or more and not all 0; all alike when not given.

    Returns:
        (N, sum of D_m) float32.

    Raises:
        InputError: There are no parts, their numbers of rows differ, or the weights cannot be.
    """
    if not parts or any(part.ndim != 2 or len(part) != len(parts[0]) for part in parts):
        raise InputError(
            f"cannot join descriptors of shapes {[part.shape for part in parts]}; give (N, D) of the same "
            "photos"
        )
    given = np.asarray([1.0] * len(parts) if weights is None else weights, np.float64)
    if given.shape != (len(parts),) or not np.isfinite(given).all() or given.min() < 0 or not given.any():
        raise InputError(
            f"weights {given.tolist()} of {len(parts)} descriptors: give one each, 0 or more, not all 0"
        )
    scales = np.sqrt(given / given.sum()).astype(np.float32)
    return np.concatenate([normalize_rows(p) * s for p, s in zip(parts, scales, strict=True)], axis=1)


def describe_faults(descriptors: Descriptors) -> list[str]:
    """Say in words what is wrong with descriptors: NaN, constant, or not normalised; empty when sound."""
    vectors = descriptors.vectors
    if len(vectors) == 0:
        return ["there are no descriptors"]
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))  # one pass; NaN and infinity show in it
    if not np.isfinite(lengths).all() and not (finite := np.isfinite(vectors).all(axis=1)).all():
        first = descriptors.ids[int(np.argmin(finite))]
        return [
            f"{int((~finite).sum())} of {count(len(vectors), 'descriptor')} hold NaN or infinity "
            f"(first: {first!r})"
        ]
    faults = []
    if len(vectors) > 1 and _is_constant(vectors[:_FEW]) and _is_constant(vectors):
        faults.append("all descriptors are the same vector: every ranking of them is a tie")
    if np.abs(lengths - 1).max() > UNIT_TOLERANCE:
        faults.append(
            f"descriptors are not L2-normalised (lengths {lengths.min():.3g} to {lengths.max():.3g}): "
            "their dot products are not cosine similarities"
        )
    return faults


def _is_constant(vectors: Float32Array) -> bool:
    return float(np.ptp(vectors, axis=0).max()) < 1e-6


def check_unit_length(vectors: Float32Array, extractor: str) -> None:
    """Refuse vectors (B, D) of another length than 1; zero vectors and NaN are left to `describe_faults`.

    Args:
        vectors: What an extractor returned for B images.
        extractor: Its name, for the message.

    Raises:
        InputError: A vector is neither of length 1 nor zero.
    """
    lengths = np.linalg.norm(vectors, axis=1)
    wrong = (np.abs(lengths - 1) > UNIT_TOLERANCE) & (lengths > 0)
    if wrong.any():
        raise InputError(
            f"extractor {extractor!r} returned vectors of length {lengths[wrong].min():.3g} to "
            f"{lengths[wrong].max():.3g}; descriptors are compared by dot product and must have length 1: "
            "return meisho.normalize_rows(vectors)"
        )
