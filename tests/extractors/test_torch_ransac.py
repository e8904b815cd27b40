import numpy as np
import pytest

from devices import DEVICES
from meisho.errors import ConfigError
from meisho.extractors import torch_ransac
from meisho.extractors.torch_ransac import estimate_affine_maps

TRUE = np.array([[0.9, -0.3, 120.0], [0.4, 1.1, -60.0], [0, 0, 1]])
CORNERS = np.array([[0, 0, 1], [640, 0, 1], [0, 480, 1], [640, 480, 1.0]])


def make_pair(num_true, num_random, *, seed=0, noise_px=0.5):
    generator = np.random.default_rng(seed)
    query = generator.uniform(0, [640, 480], (num_true + num_random, 2))
    database = np.column_stack([query, np.ones(len(query))]) @ TRUE[:2].T
    database[:num_true] += generator.normal(0, noise_px, (num_true, 2))
    database[num_true:] = generator.uniform(0, [640, 480], (num_random, 2))
    return query, database


def error_px(matrix):
    return np.linalg.norm((CORNERS @ (matrix - TRUE).T)[:, :2], axis=1).max()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("num_true", "num_random"), [(3, 0), (100, 0), (60, 40), (60, 140), (100, 400)])
def test_the_map_is_found_among_random_matches(device, num_true, num_random):
    noise_px = 0.5 if num_true > 3 else 0
    pair = make_pair(num_true, num_random, noise_px=noise_px)
    (matrix,) = estimate_affine_maps([pair], [4.0], device=device)
    assert matrix.dtype == np.float64 and matrix[2].tolist() == [0, 0, 1]
    assert error_px(matrix) < (3 if noise_px else 0.01)


@pytest.mark.parametrize("device", DEVICES)
def test_a_pair_s_map_depends_neither_on_the_others_nor_on_device_and_memory(device, monkeypatch):
    pairs = [make_pair(30, count, seed=count) for count in (0, 10, 70, 200)]
    pairs[2:2] = [make_pair(2, 0), make_pair(0, 0)]
    limits = [4.0, 3.0, 4.0, 4.0, 8.0, 4.0]
    alone = [estimate_affine_maps([p], [px], device="cpu")[0] for p, px in zip(pairs, limits, strict=True)]
    for most_bytes in (1, 4 * 1000 * 2 * 100, 1 << 30):
        monkeypatch.setattr(torch_ransac, "MAX_BYTES", dict.fromkeys(("cpu", "cuda"), most_bytes))
        together = estimate_affine_maps(pairs, limits, device=device)
        assert [matrix is None for matrix in together] == [False, False, True, True, False, False]
        for found, expected in zip(together, alone, strict=True):
            if expected is not None:
                np.testing.assert_allclose(CORNERS @ found.T, CORNERS @ expected.T, atol=0.05)


def test_matrices_stay_within_the_memory_that_is_given(monkeypatch):
    sizes, square_errors = [], torch_ransac._square_errors

    def watch(padded, maps):
        errors = square_errors(padded, maps)
        sizes.append(errors.nbytes)
        return errors

    monkeypatch.setattr(torch_ransac, "_square_errors", watch)
    monkeypatch.setattr(torch_ransac, "MAX_BYTES", {"cpu": 4 * 500 * 3 * 50})
    estimate_affine_maps([make_pair(50, 0)] * 7, [4.0] * 7, max_iterations=500, device="cpu")
    assert max(sizes) == 4 * 500 * 3 * 50
    assert sizes.count(max(sizes)) == 2  # three pairs, three, and one


@pytest.mark.parametrize("device", DEVICES)
def test_matches_that_determine_nothing_give_no_map_or_a_finite_one(device):
    line = np.column_stack([np.arange(20.0), 2 * np.arange(20.0)])
    point = np.full((20, 2), 7.0)
    for pair in [(line, line), (point, point), (line, point), (point, line)]:
        (matrix,) = estimate_affine_maps([pair], [4.0], device=device)
        assert matrix is None or np.isfinite(matrix).all()


def test_samples_are_of_three_different_matches_and_all_are_drawn():
    import torch

    rows = torch_ransac._draw_samples(torch.tensor([3, 5]), 2000, 0)
    assert rows.shape == (2, 2000, 3)
    for pair, count in zip(rows.tolist(), (3, 5), strict=True):
        kinds = {tuple(sample) for sample in pair}
        assert all(len(set(kind)) == 3 and min(kind) >= 0 and max(kind) < count for kind in kinds)
        assert len(kinds) == count * (count - 1) * (count - 2)


def test_no_pair_is_an_answer_and_no_device_is_refused():
    assert estimate_affine_maps([], [], device="cpu") == []
    with pytest.raises(ConfigError, match="device"):
        estimate_affine_maps([], [], device="abacus")
