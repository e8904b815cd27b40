import json
import shutil

import numpy as np
import pytest

from meisho.descriptors import Descriptors, concatenate_descriptors
from meisho.errors import InputError, MismatchError
from meisho.extractors.base import load_extractor
from meisho.extractors.checkpoint import save_checkpoint
from meisho.extractors.ensemble import Ensemble
from meisho.extractors.network import build_network
from meisho.extractors.options import TimmGeMOptions
from meisho.extractors.restoring import restore_extractor
from meisho.extractors.timm_gem import to_torch
from meisho.whitening import fit_pca_whitening

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def members():
    return [load_extractor(f"timm:{name}", weights="none:0") for name in ("test_resnet", "test_vit")]


def test_the_dot_product_is_the_weighted_mean_of_cosines(members):
    first, second = (member.extract(IMAGES) for member in members)
    vectors = load_extractor("ensemble:timm:test_resnet*3+timm:test_vit", weights="none:0").extract(IMAGES)
    expected = (3 * first @ first.T + second @ second.T) / 4
    np.testing.assert_allclose(vectors @ vectors.T, expected, rtol=0, atol=1e-5)


def test_plain_arrays_are_joined_whatever_their_lengths():
    """Cosines 0 and .6 of two photos, weights 1 and 4: (0 + 4 · .6) / 5 = .48."""
    first = np.array([[2, 0], [0, 3]], np.float32)
    second = np.array([[5, 0, 0], [0.6, 0.8, 0]], np.float32)
    joined = concatenate_descriptors([first, second], weights=[1, 4])
    assert joined.shape == (2, 5) and joined.dtype == np.float32
    np.testing.assert_allclose(joined @ joined.T, [[1, 0.48], [0.48, 1]], atol=1e-6)
    np.testing.assert_array_equal(first, [[2, 0], [0, 3]])


@pytest.mark.parametrize(
    ("parts", "weights"),
    [
        ([], None),
        ([np.ones((2, 3)), np.ones((3, 3))], None),
        ([np.ones(3)], None),
        ([np.ones((2, 3))] * 2, [1]),
        ([np.ones((2, 3))] * 2, [0, 0]),
        ([np.ones((2, 3))] * 2, [1, -1]),
        ([np.ones((2, 3))] * 2, [1, np.nan]),
    ],
)
def test_what_cannot_be_joined_is_refused(parts, weights):
    with pytest.raises(InputError, match=r"join|give one each"):
        concatenate_descriptors(parts, weights=weights)


def test_every_member_is_in_the_provenance(members):
    ensemble = Ensemble(members, [2, 1])
    options = json.loads(ensemble.provenance.options)
    assert [m["extractor"] for m in options["members"]] == ["timm:test_resnet", "timm:test_vit"]
    assert options["member_weights"] == [2, 1]
    other = Ensemble(members[::-1], [2, 1])
    assert ensemble.provenance.differences(other.provenance)


def test_a_member_may_move(tmp_path):
    options = TimmGeMOptions(weights="none:3")
    save_checkpoint(build_network("test_resnet", options), "test_resnet", options, tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    loaded = [load_extractor(f"ensemble:{tmp_path / name}+{tmp_path / name}") for name in ("a", "b")]
    assert loaded[0].provenance.differences(loaded[1].provenance) == []
    assert loaded[0].provenance != loaded[1].provenance


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("ensemble:", {}, "is no model"),
        ("ensemble:timm:test_resnet", {}, "two models or more"),
        ("ensemble:timm:test_resnet*0+timm:test_vit", {}, "weight above 0"),
        ("ensemble:timm:test_resnet*x+timm:test_vit", {}, "no number behind"),
        ("ensemble:timm:test_resnet+tim:test_vit", {}, "Did you mean 'timm'"),
    ],
)
def test_a_wrong_specification_is_told(model, options, message):
    with pytest.raises(InputError, match=message):
        load_extractor(model, weights="none:0", **options)


def test_members_of_different_sizes_are_refused(members):
    small = load_extractor("timm:test_resnet", weights="none:0", max_side_px=64)
    with pytest.raises(InputError, match=r"384 px bicubic, 64 px bicubic.*--size"):
        Ensemble([members[0], small])


def test_a_whitening_comes_after_all_members(members, tmp_path):
    plain, path = Ensemble(members), tmp_path / "w.safetensors"
    described = plain.extract(IMAGES)
    fitted = fit_pca_whitening(Descriptors(("a", "b", "c"), described, plain.provenance), dim=2)
    fitted.save(path)
    whitened = Ensemble(members, whitening=str(path))
    assert whitened.dim == 2
    np.testing.assert_array_equal(whitened.extract(IMAGES), fitted.transform(described))
    assert whitened.provenance.differences(plain.provenance)
    assert restore_extractor(whitened.provenance).provenance == whitened.provenance
    path.rename(tmp_path / "moved.safetensors")
    moved = {"whitening": str(tmp_path / "moved.safetensors")}
    assert restore_extractor(whitened.provenance, places=moved).dim == 2


def test_a_whitening_of_other_descriptors_is_refused_and_both_models_named(members, tmp_path):
    described = members[0].extract(IMAGES)
    path = tmp_path / "w.safetensors"
    fit_pca_whitening(Descriptors(("a", "b", "c"), described, members[0].provenance), dim=2).save(path)
    with pytest.raises(MismatchError, match=r"model: timm:test_resnet .* / ensemble 1 × timm:test_resnet "):
        Ensemble(members, whitening=str(path))
    with pytest.raises(InputError, match="whitening=3: must be text"):
        Ensemble(members, whitening=3)


def test_an_ensemble_is_no_single_network(members):
    with pytest.raises(InputError, match="side by side are no single network; name one"):
        to_torch(Ensemble(members))
