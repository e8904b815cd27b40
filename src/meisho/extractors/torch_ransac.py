"""RANSAC in torch: the affine maps of many pairs of photos at once, which a GPU finds in the time of one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from meisho.arrays import Float64Array, Int64Array
from meisho.extractors.devices import choose_device

PointPair = tuple[Float64Array, Float64Array]

MAX_BYTES = {"cuda": 1 << 30, "cpu": 1 << 24}
"""Device type -> maximum size of one matrix of the errors of all samples, bytes."""

_SAMPLE = 3  # matches that determine an affine map
_REFINED = 8  # samples of each pair that are refined, the best ones
_REFINEMENTS = 4  # least squares over the inliers, each from those of the one before
_MIN_AREA = 1e-4  # of a sample's triangle, twice, in units of the points' spread; a flatter one says nothing


def estimate_affine_maps(
    pairs: Sequence[PointPair],
    thresholds_px: Sequence[float],
    *,
    max_iterations: int = 1000,
    seed: int = 0,
    device: str = "auto",
) -> list[Float64Array | None]:
    """Estimate the affine map that most matches of each of B pairs agree on.

    As many samples of three matches as are allowed are tried. Each is scored by the squared errors of all
    matches, cut off at the threshold [MSAC; Torr and Zisserman 2000, CVIU 78], and the best are refined by
    least squares over their inliers. A pair's map depends neither on the other pairs nor, but for rounding,
    on the device.

    Args:
        pairs: B times the points (M, 2) of the query and of the database photo, px; M may differ.
        thresholds_px: (B,) maximum errors of inliers, px of the database photo.
        max_iterations: Samples of each pair.
        seed: Seed of the samples.
        device: "auto", "cpu" or "cuda".

    Returns:
        B times (3, 3) float64, from query to database; None where no three matches determine one.

    Raises:
        ConfigError: There is no such device.
    """
    place = choose_device(device)
    found: list[Float64Array | None] = [None] * len(pairs)
    for rows in _chunks([len(query) for query, _ in pairs], max_iterations, MAX_BYTES[place.type]):
        padded = _pad([pairs[row] for row in rows], [thresholds_px[row] for row in rows], place)
        maps = _refine(padded, _best_samples(padded, max_iterations, seed))
        for row, matrix in zip(rows, _to_px(padded, maps), strict=True):
            found[row] = matrix if np.isfinite(matrix).all() else None
    return found


@dataclass(frozen=True, eq=False)
class _Padded:
    """B pairs, padded to M matches.

    Attributes:
        query: (B, M, 3) float32, homogeneous; moved and scaled to mean 0 and size 1.
        database: (B, M, 2) float32, px; moved to mean 0.
        counts: (B,) int64, matches; those behind them are padding.
        squares: (B, 1) float32, squared thresholds, px².
        to_query: (B, 3, 3) float64, from px of the query to `query`.
        from_database: (B, 3, 3) float64, from `database` to px.
    """

    query: Tensor
    database: Tensor
    counts: Tensor
    squares: Tensor
    to_query: Float64Array
    from_database: Float64Array


def _chunks(counts: Sequence[int], iterations: int, max_bytes: int) -> Iterator[Int64Array]:
    """Yield the rows of pairs with enough matches, those of like numbers together, as memory allows."""
    rows = np.argsort(counts, kind="stable")
    rows = rows[np.take(counts, rows) >= _SAMPLE]
    first = 0
    for last in range(1, len(rows) + 1):
        if last == len(rows) or 4 * (last + 1 - first) * counts[rows[last]] * iterations > max_bytes:
            yield rows[first:last]
            first = last


def _pad(pairs: Sequence[PointPair], thresholds_px: Sequence[float], place: torch.device) -> _Padded:
    to_query, from_database = (np.tile(np.eye(3), (len(pairs), 1, 1)) for _ in range(2))
    queries, databases = [], []
    for row, (query, database) in enumerate(pairs):
        size = max(float(query.std()), 1e-6)  # px; all matches may lie at one point
        to_query[row, :2, :2] /= size
        to_query[row, :2, 2] = -query.mean(axis=0) / size
        from_database[row, :2, 2] = database.mean(axis=0)
        homogeneous = np.column_stack([query, np.ones(len(query))]) @ to_query[row].T
        queries.append(torch.from_numpy(homogeneous).float())
        databases.append(torch.from_numpy(database - database.mean(axis=0)).float())
    return _Padded(
        pad_sequence(queries, batch_first=True).to(place),
        pad_sequence(databases, batch_first=True).to(place),
        torch.tensor([len(query) for query in queries], device=place),
        torch.tensor(thresholds_px, dtype=torch.float32, device=place)[:, None] ** 2,
        to_query,
        from_database,
    )


@torch.inference_mode()
def _best_samples(padded: _Padded, iterations: int, seed: int) -> Tensor:
    """Return the maps (B, R, 2, 3) of the best samples; fewer than `_REFINED` where there are fewer."""
    rows = _draw_samples(padded.counts, iterations, seed)  # (B, S, 3)
    pairs = torch.arange(len(rows), device=rows.device)[:, None, None]
    query, database = padded.query[pairs, rows], padded.database[pairs, rows]  # (B, S, 3, 3), (B, S, 3, 2)
    areas = torch.linalg.det(query)
    flat = areas.abs() < _MIN_AREA
    query = torch.where(flat[..., None, None], torch.eye(3, device=rows.device), query)
    maps = torch.linalg.solve(query, database).transpose(-1, -2)
    costs = _costs(padded, maps).masked_fill_(flat, torch.inf)
    best = costs.topk(min(_REFINED, iterations), dim=1, largest=False).indices
    chosen: Tensor = maps.gather(1, best[..., None, None].expand(-1, -1, 2, 3))
    return chosen


def _draw_samples(counts: Tensor, iterations: int, seed: int) -> Tensor:
    """Draw (B, S, 3) different matches; what a pair gets depends on its number of matches alone."""
    generator = torch.Generator().manual_seed(seed)
    parts = torch.rand((iterations, _SAMPLE), generator=generator, dtype=torch.float64).to(counts.device)
    left = counts[:, None, None] - torch.arange(_SAMPLE, device=counts.device)
    first, second, third = (parts * left).long().unbind(dim=-1)  # among those that are left
    second = second + (second >= first)
    for taken in (torch.minimum(first, second), torch.maximum(first, second)):
        third = third + (third >= taken)
    return torch.stack([first, second, third], dim=-1)


def _square_errors(padded: _Padded, maps: Tensor) -> Tensor:
    """Return (B, S, M) px² of maps (B, S, 2, 3); infinite for the padding."""
    there = maps.flatten(1, 2) @ padded.query.transpose(1, 2)
    there = there.view(*maps.shape[:3], -1)
    there -= padded.database.transpose(1, 2)[:, None]  # (B, S, 2, M)
    errors: Tensor = there.square_().sum(dim=2)
    padding = torch.arange(errors.shape[2], device=errors.device) >= padded.counts[:, None]
    return errors.masked_fill_(padding[:, None], torch.inf)


def _costs(padded: _Padded, maps: Tensor) -> Tensor:
    """Return (B, S): squared errors cut off at the threshold, summed."""
    return torch.minimum(_square_errors(padded, maps), padded.squares[..., None]).sum(dim=2)


@torch.inference_mode()
def _refine(padded: _Padded, maps: Tensor) -> Tensor:
    """Fit (B, R, 2, 3) maps to their inliers, while that makes them better; return the best, (B, 2, 3)."""
    costs = _costs(padded, maps)
    query, database = padded.query.double(), padded.database.double()
    for _ in range(_REFINEMENTS):
        weights = (_square_errors(padded, maps) <= padded.squares[..., None]).double()
        normal = torch.einsum("brm,bmi,bmj->brij", weights, query, query)
        right = torch.einsum("brm,bmi,bmj->brij", weights, query, database)
        fitted = torch.linalg.solve_ex(normal, right).result.transpose(-1, -2).float()
        of_fitted = _costs(padded, fitted)
        better = of_fitted < costs  # false where the inliers do not determine a map
        maps = torch.where(better[..., None, None], fitted, maps)
        costs = torch.where(better, of_fitted, costs)
    best = costs.argmin(dim=1)
    maps = maps[torch.arange(len(maps), device=maps.device), best]
    return maps.masked_fill(costs.amin(dim=1).isinf()[:, None, None], torch.nan)


def _to_px(padded: _Padded, maps: Tensor) -> Float64Array:
    """Return (B, 3, 3) float64, from px to px; not finite where there is no map."""
    matrices = np.tile(np.eye(3), (len(maps), 1, 1))
    matrices[:, :2] = maps.double().cpu().numpy()
    found: Float64Array = padded.from_database @ matrices @ padded.to_query
    return found
