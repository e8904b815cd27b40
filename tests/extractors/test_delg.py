import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from meisho.errors import ConfigError, InputError, WeightsError
from meisho.extractors.delg import SCALES, Delg, build_delg, list_cells

TINY = {"backbone": "test_resnet", "weights": "none:0", "device": "cpu"}


def test_the_global_branch_describes_as_a_network_of_its_own():
    network = build_delg("test_resnet", "none:0", None, 128).eval()
    images = torch.rand(2, 3, 96, 130, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        output = network(images)
        torch.testing.assert_close(output.vectors, network.global_branch(images))
        torch.testing.assert_close(output.local.attention, network.find_local(images).attention)
    assert output.local.descriptors.shape == (2, 128, 6, 9)


def test_the_local_losses_do_not_reach_the_trunk_and_the_global_one_does():
    network = build_delg("test_resnet", "none:0", None, 64)
    output = network(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    (output.local.pooled.sum() + output.local.reconstruction_error).backward(retain_graph=True)
    assert all(p.grad is None for p in network.global_branch.parameters())
    assert all(p.grad is not None for p in network.local_head.parameters())
    before = [p.grad.clone() for p in network.local_head.parameters()]
    output.vectors.sum().backward()
    after = [p.grad for p in network.local_head.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.global_branch.parameters())


@pytest.mark.parametrize(("backbone", "dim"), [("resnet18", 128), ("resnet50", 32)])
def test_a_cell_looks_at_the_pixel_where_its_keypoint_is(backbone, dim):
    network = build_delg(backbone, "none:0", None, dim).eval()
    assert network.stride_px == 16
    noise = torch.rand(1, 3, 288, 320, generator=torch.Generator().manual_seed(0)).requires_grad_()
    trunk = network.global_branch.backbone
    feature_map = trunk.forward_intermediates(noise, indices=2, intermediates_only=True)[0]
    row, column = 9, 10  # in the middle, so that no padding is seen
    (gradient,) = torch.autograd.grad(feature_map[0, :, row, column].sum(), noise)
    weights = gradient.square().sum(dim=(0, 1))
    y = (weights.sum(dim=1) * torch.arange(288)).sum() / weights.sum()
    x = (weights.sum(dim=0) * torch.arange(320)).sum() / weights.sum()
    cell = list_cells(feature_map)[row * feature_map.shape[3] + column]
    assert cell.tolist() == [column, row]
    np.testing.assert_allclose([x, y], 16 * cell, atol=2)


def test_cells_of_all_scales_compete_and_the_best_are_kept():
    image = np.random.default_rng(0).integers(0, 256, (160, 192, 3), dtype=np.uint8)
    every = Delg(**TINY, max_keypoints=10_000, min_score=1e-6).extract(image)
    cells = sum(-(-round(160 * s) // 16) * -(-round(192 * s) // 16) for s in SCALES)
    # at scale 0.25 the image of 40 x 48 px is above the least side of 32; nothing is padded
    assert len(every) == cells
    few = Delg(**TINY, max_keypoints=30, min_score=1e-6).extract(image)
    assert np.array_equal(few.scores, every.scores[:30])
    assert np.array_equal(few.keypoints, every.keypoints[:30])
    least = float(every.scores[100])
    strict = Delg(**TINY, max_keypoints=10_000, min_score=least).extract(image)
    assert len(strict) == (every.scores >= least).sum() < len(every)


@pytest.mark.parametrize("scale", SCALES)
def test_keypoints_of_a_scale_lie_a_cell_apart(scale):
    image = np.random.default_rng(0).integers(0, 256, (160, 192, 3), dtype=np.uint8)
    features = Delg(**TINY, scales=(scale,), max_keypoints=10_000, min_score=1e-6).extract(image)
    height, width = round(160 * scale), round(192 * scale)
    x = np.unique(features.keypoints[:, 0])
    np.testing.assert_allclose(np.diff(x), 16 * 192 / width, rtol=1e-4)
    np.testing.assert_allclose(x[0], 0.5 * 192 / width - 0.5, atol=1e-4)
    np.testing.assert_allclose(features.scales, 16 * np.sqrt(160 / height * 192 / width), rtol=1e-4)


def test_a_trained_local_head_is_loaded_and_told_by_its_digest(tmp_path):
    trained = build_delg("test_resnet", "none:5", None, 128).local_head
    with torch.no_grad():
        trained.attention[3].bias.add_(2)
    save_file(trained.state_dict(), tmp_path / "head.safetensors")
    path = str(tmp_path / "head.safetensors")
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    before, after = Delg(**TINY), Delg(**TINY, local_weights=path)
    assert after.extract(image).scores.min() > before.extract(image).scores.max()
    assert after.provenance.weights_sha256 != before.provenance.weights_sha256
    assert json.loads(after.provenance.options)["local_weights"] == path
    with pytest.raises(WeightsError, match="do not fit"):
        Delg(**TINY, local_weights=path, dim=64)


def test_what_cannot_be_is_told():
    with pytest.raises(InputError, match="no feature maps at several scales; choose a ResNet"):
        Delg(backbone="test_vit", weights="none:0")
    with pytest.raises(ConfigError, match="scales"):
        Delg(**TINY, scales=())
    with pytest.raises(ConfigError, match=r"scales\[1\]=-1"):
        Delg(**TINY, scales=(1.0, -1))
