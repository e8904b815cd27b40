"""Descriptors of published layouts are those of the authors' own code, on checkpoints drawn by one rule.

The numbers in `golden.json` were computed with the authors' code on the same tensors and images; the
docstring of each converter says which repository and commit. `checkpoints.py` makes the checkpoints anew.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import CHECKPOINTS, SIZES
from drawn import draw_images, draw_state, summarise

from meisho.extractors.backbone import create_backbone
from meisho.extractors.base import load_extractor
from meisho.extractors.published.base import BY_NAME_ONLY, LAYOUTS

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())
PROVED_ELSEWHERE = {"parts", "timm-folder"}
"""Layouts of nobody's code, and of code that is at hand: see `test_files.py`."""


REST_LEFT = {"dolg", "delg-pytorch", "cvnet", "superglobal", "salad", "dinov2"}
"""Layouts whose checkpoints hold more than the network that describes."""


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_descriptors_are_those_of_the_authors(name, tmp_path):
    write, options, model = CHECKPOINTS[name]
    path = tmp_path / "model.pth"
    write(path)
    if model in BY_NAME_ONLY:
        extractor = load_extractor(f"published:{model}", weights=str(path), device="cpu", **options)
    else:
        extractor = load_extractor(str(path), device="cpu", **options)
    images = draw_images(*SIZES.get(name, (96, 128)))
    vectors = extractor.extract(images)
    assert vectors.shape == (2, extractor.dim)
    np.testing.assert_allclose(summarise(vectors), GOLDEN[name], rtol=0, atol=1e-4)
    assert extractor.provenance.extractor == f"published:{model}"
    assert (extractor.remarks != ()) == (model in REST_LEFT)


def test_every_layout_is_proved():
    assert {model.partition(":")[0] for _, _, model in CHECKPOINTS.values()} | PROVED_ELSEWHERE == set(
        LAYOUTS
    )
    assert {*CHECKPOINTS, "timm convnext_tiny"} == set(GOLDEN)


def test_timms_own_filter_takes_weights_of_a_first_publisher(tmp_path):
    """Checked against facebookresearch/ConvNeXt at commit 048efce: the mean of its last map, without norm."""
    torch.save({"model": draw_state("convnext-tiny")}, tmp_path / "convnext_tiny_1k_224_ema.pth")
    extractor = load_extractor(
        "timm:convnext_tiny",
        weights=str(tmp_path / "convnext_tiny_1k_224_ema.pth"),
        pooling="avg",
        device="cpu",
    )
    vectors = summarise(extractor.extract(draw_images()))
    np.testing.assert_allclose(vectors, GOLDEN["timm convnext_tiny"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("prefix", ["visual.trunk.", "module.visual.trunk."])
def test_the_image_part_of_an_openclip_model_is_taken(prefix, tmp_path):
    model = "test_vit"
    state = create_backbone(model, seed=3).state_dict()
    others = {"logit_scale": torch.ones(()), "text.positions": torch.ones(3, 2)}
    inner = {f"{prefix}{key}": value for key, value in state.items()}
    torch.save({**inner, **others}, tmp_path / "clip.pth")
    extractor = load_extractor(f"timm:{model}", weights=str(tmp_path / "clip.pth"), device="cpu")
    plain = load_extractor(f"timm:{model}", weights="none:3", device="cpu")
    assert extractor.provenance.weights_sha256 == plain.provenance.weights_sha256
