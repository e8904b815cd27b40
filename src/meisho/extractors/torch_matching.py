"""Matching by mutual nearest neighbours in torch: many database photos at once on a GPU."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from meisho.arrays import BoolArray, Float32Array, Int64Array
from meisho.errors import InputError
from meisho.extractors.devices import choose_device
from meisho.extractors.local_input import check_whole
from meisho.local_features import LocalFeatures
from meisho.matches import Matches, check_match_options

MAX_BYTES = {"cuda": 1 << 30, "cpu": 1 << 25}
"""Device type -> default for the maximum size of the similarity matrix, bytes."""


class TorchMutualMatcher:
    """Matches like `meisho.geometry.matching.MutualMatcher`, but B photos in one product.

    The matches are the same, even for equally near features, unless two similarities differ by less than the
    rounding of a float32 product. Photos are padded to the one with the most features, and as many are taken
    together as memory allows. It is faster on a GPU; on a CPU, the two take about the same time.

    Args:
        ratio: See `meisho.geometry.matching.match_many`.
        min_similarity: See `meisho.geometry.matching.match_many`.
        device: "auto", "cpu" or "cuda".
        max_bytes: Maximum size of the float32 similarity matrix, but never less than one photo's. Default:
            1 GiB on a GPU; 32 MiB on a CPU, where a matrix of this size stays close to the caches.

    Raises:
        InputError: `ratio` or `min_similarity` is outside its range.
        ConfigError: There is no such device, or `max_bytes` is not positive.
    """

    def __init__(
        self,
        *,
        ratio: float | None = 0.9,
        min_similarity: float | None = None,
        device: str = "auto",
        max_bytes: int | None = None,
    ) -> None:
        check_match_options(ratio, min_similarity)
        self._ratio = ratio
        self._least = -np.inf if min_similarity is None else min_similarity
        self._device = choose_device(device)
        self._max_bytes = MAX_BYTES[self._device.type] if max_bytes is None else max_bytes
        check_whole(max_bytes=self._max_bytes)

    @torch.inference_mode()
    def match(self, query: LocalFeatures, database: Sequence[LocalFeatures]) -> list[Matches]:
        """Match a query with each of B database photos.

        Returns:
            B values, with matches in the order of the query's rows, and their cosine similarities.

        Raises:
            InputError: The descriptors of two photos have different dimensions.
        """
        _check_dimensions(query, database)
        if not len(query):
            return [_no_matches() for _ in database]
        ours = self._unit_rows(query.descriptors)
        found: list[Matches] = []
        for chunk in self._chunks(database, len(query)):
            found += self._match_chunk(ours, chunk)
        return found

    def _chunks(self, database: Sequence[LocalFeatures], num_query: int) -> Iterator[list[LocalFeatures]]:
        """Split the photos, in order, into runs whose padded matrix fits in `max_bytes`."""
        chunk: list[LocalFeatures] = []
        for features in database:
            longest = max(map(len, [*chunk, features]))
            if chunk and 4 * (len(chunk) + 1) * longest * num_query > self._max_bytes:
                yield chunk
                chunk = []
            chunk.append(features)
        if chunk:
            yield chunk

    def _match_chunk(self, ours: Tensor, photos: list[LocalFeatures]) -> list[Matches]:
        if not any(map(len, photos)):
            return [_no_matches() for _ in photos]
        counts = [len(photo) for photo in photos]
        stacked = self._unit_rows(np.concatenate([photo.descriptors for photo in photos]))
        padded = pad_sequence(list(torch.split(stacked, counts)), batch_first=True)  # (B, K, D)
        similarities = padded @ ours.T  # (B, K, Kq)
        places = torch.arange(padded.shape[1], device=self._device)
        lengths = torch.tensor(counts, device=self._device)
        similarities.masked_fill_((places >= lengths[:, None])[:, :, None], -torch.inf)
        rows, best, kept = (found.cpu().numpy() for found in self._choose(similarities))
        return [_to_matches(*each) for each in zip(rows, best, kept, strict=True)]

    def _choose(self, similarities: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Choose matches by (B, K, Kq) similarities, which are overwritten.

        Returns:
            (B, Kq) rows of the nearest features, their similarities, and whether they match.
        """
        best, rows = similarities.max(dim=1)  # the lower row if tied
        back = similarities.argmax(dim=2).gather(1, rows)  # the query row nearest to each query row's nearest
        kept = (back == torch.arange(back.shape[1], device=self._device)) & (best >= self._least)
        kept &= best > -torch.inf  # a photo without features
        if self._ratio is not None:
            similarities.scatter_(1, rows[:, None], -torch.inf)
            second = similarities.amax(dim=1)  # -inf, infinitely far, if there is no second
            kept &= 1 - best < self._ratio**2 * (1 - second)
        return rows, best, kept

    def _unit_rows(self, descriptors: Float32Array) -> Tensor:
        rows = torch.from_numpy(np.array(descriptors, np.float32)).to(
            self._device
        )  # a copy: torch warns otherwise
        return functional.normalize(rows, dim=1, eps=float(np.finfo(np.float32).tiny))


def _to_matches(rows: Int64Array, best: Float32Array, kept: BoolArray) -> Matches:
    query_rows = np.flatnonzero(kept)
    return Matches(np.stack([query_rows, rows[kept]], axis=1), best[kept])


def _no_matches() -> Matches:
    return Matches(np.empty((0, 2), np.int64), np.empty(0, np.float32))


def _check_dimensions(query: LocalFeatures, database: Sequence[LocalFeatures]) -> None:
    dim = query.descriptors.shape[1]
    for photo, features in enumerate(database):
        if features.descriptors.shape[1] != dim:
            raise InputError(
                f"matching: descriptors of the database photo {photo} must be (K, {dim}), got shape "
                f"{features.descriptors.shape}; use the same extractor for both photos"
            )
