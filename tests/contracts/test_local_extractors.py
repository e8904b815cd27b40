"""What every extractor of local features promises. A new line in the table needs one in `EXAMPLES`."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import meisho.extractors.local_base as local_base
from meisho.arrays import UInt8Array
from meisho.descriptors import Provenance
from meisho.errors import ConfigError, InputError
from meisho.extractors.local_base import LOCAL_EXTRACTORS, load_local_extractor
from meisho.images import ImageOptions
from meisho.local_describing import LocalDescriber
from meisho.local_features import LocalFeatures
from meisho.photos import Box, Photo

EXAMPLES = {
    "sift": {"max_keypoints": 200, "max_side_px": 320},
    "xfeat": {"max_keypoints": 200, "max_side_px": 320},
    "aliked": {"max_keypoints": 200, "max_side_px": 320},
    "delg": {"max_keypoints": 200, "max_side_px": 320, "backbone": "test_resnet", "weights": "none:0"},
}
UNTRAINED = {"backbone": "resnet18", "weights": "none:1"}  # delg's default wants weights from a hub
SHAPES = [(1, 1), (1, 384), (384, 1), (3, 5), (31, 97), (40, 3000)]


def make_template():
    """Run the template that stands in the docstring of `extractors.local_base`."""
    code = re.search(r"LOCAL_EXTRACTORS`::\n\n(    class .*)", local_base.__doc__, re.DOTALL).group(1)
    nouns = (np, Provenance, ImageOptions, LocalFeatures, UInt8Array)
    names = dict(zip(("np", "Provenance", "ImageOptions", "LocalFeatures", "UInt8Array"), nouns, strict=True))
    exec("if True:\n" + code, names)
    return names["Brightest"]()


@pytest.fixture(scope="module", params=[*LOCAL_EXTRACTORS, "template"])
def extractor(request):
    if request.param == "template":
        return make_template()
    assert request.param in EXAMPLES, f"add options for {request.param!r} to EXAMPLES in this file"
    return load_local_extractor(request.param, **EXAMPLES[request.param])


def draw_shapes(height, width, seed=0):
    """Draw bright quadrangles on a dark ground: corners that every extractor finds."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 40, np.uint8)
    for _ in range(40):
        corners = rng.uniform(0, [width, height], (4, 2)).astype(np.int32)
        color = [int(value) for value in rng.integers(60, 256, 3)]
        cv2.fillConvexPoly(image, cv2.convexHull(corners), color, cv2.LINE_AA)
    return image


def equal(a, b):
    arrays = ((f.keypoints, f.descriptors, f.scores) for f in (a, b))
    return a.size_px == b.size_px and all(np.array_equal(*pair) for pair in zip(*arrays, strict=True))


def test_features_are_of_the_stated_dimension_and_best_first(extractor):
    features = extractor.extract(draw_shapes(192, 256))
    assert len(features) >= 10
    assert features.descriptors.shape == (len(features), extractor.dim)
    assert features.size_px == (256, 192)
    assert (np.diff(features.scores) <= 0).all()
    arrays = [features.keypoints, features.descriptors, features.scores]
    assert {a.dtype for a in arrays} == {np.dtype(np.float32)}


def test_descriptors_of_a_network_or_sift_are_of_length_1(extractor):
    if type(extractor).__name__ == "Brightest":
        pytest.skip("the template's descriptors are colours")
    lengths = np.linalg.norm(extractor.extract(draw_shapes(192, 256)).descriptors, axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_keypoints_lie_on_the_image_whatever_its_shape(extractor, height, width):
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    features = extractor.extract(noise)
    assert features.descriptors.shape == (len(features), extractor.dim)
    assert features.size_px == (width, height)
    assert (features.keypoints >= -0.5).all()
    assert (features.keypoints <= np.array([width, height]) - 0.5).all()


@pytest.mark.parametrize("value", [0, 127, 255])
def test_an_image_without_texture_has_no_features(extractor, value):
    if type(extractor).__name__ in ("Brightest", "Delg"):
        pytest.skip("the template takes the brightest pixels, an untrained network any cells")
    features = extractor.extract(np.full((96, 128, 3), value, np.uint8))
    assert features.keypoints.shape == (0, 2)
    assert features.descriptors.shape == (0, extractor.dim)
    assert features.scores.shape == (0,)
    if features.scales is not None:
        assert features.scales.shape == (0,)


def test_the_number_of_features_is_at_most_the_one_asked_for(extractor):
    image = draw_shapes(400, 500)
    assert len(extractor.extract(image)) <= EXAMPLES["sift"]["max_keypoints"]


def test_the_same_image_gives_the_same_features(extractor):
    image = draw_shapes(192, 256)
    assert equal(extractor.extract(image), extractor.extract(image))


def test_the_image_is_not_written_into_and_may_be_read_only(extractor):
    image = draw_shapes(100, 140)
    before = image.copy()
    first = extractor.extract(image)
    assert np.array_equal(image, before)
    image.setflags(write=False)
    assert equal(extractor.extract(image), first)


def test_a_view_of_an_image_is_an_image(extractor):
    image = draw_shapes(120, 160)
    mirrored = image[:, ::-1]
    assert equal(extractor.extract(mirrored), extractor.extract(np.ascontiguousarray(mirrored)))


def test_what_is_no_image_is_refused(extractor):
    if type(extractor).__name__ == "Brightest":
        pytest.skip("the template checks nothing")
    for wrong in (np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3), np.float32)):
        with pytest.raises(InputError, match="must be"):
            extractor.extract(wrong)
    with pytest.raises(InputError, match="must be"):
        extractor.extract(np.zeros((0, 9, 3), np.uint8))


def test_features_of_a_box_are_those_of_the_box_in_px_of_the_whole_photo(extractor, tmp_path):
    photo = np.full((300, 420, 3), 40, np.uint8)  # the ground's colour: resizing looks beyond the box
    photo[70:250, 160:380] = draw_shapes(180, 220)
    photo[:20] = draw_shapes(20, 420)
    Image.fromarray(photo).save(tmp_path / "whole.png")
    Image.fromarray(photo[60:260, 150:390]).save(tmp_path / "cut.png")
    of_box = LocalDescriber(extractor).describe(Photo("a", tmp_path / "whole.png", Box(150, 60, 390, 260)))
    of_cut = LocalDescriber(extractor).describe(Photo("b", tmp_path / "cut.png"))
    assert len(of_box) == len(of_cut) >= 10
    assert of_box.size_px == (420, 300)
    np.testing.assert_allclose(of_box.keypoints, of_cut.keypoints + np.array([150, 60]), atol=1e-3)
    assert np.array_equal(of_box.descriptors, of_cut.descriptors)


@pytest.mark.parametrize("size_px", [(1, 1), (2, 1), (40, 3000), (3000, 40)])
def test_photos_of_any_shape_have_features_on_them_or_none(extractor, size_px, tmp_path):
    width, height = size_px
    Image.fromarray(draw_shapes(height, width)).save(tmp_path / "photo.png")
    features = LocalDescriber(extractor).describe(Photo("a", tmp_path / "photo.png"))
    assert features.size_px == size_px
    assert (features.keypoints >= -0.5).all()
    assert (features.keypoints <= np.array(size_px) - 0.5).all()


def test_provenance_makes_the_same_extractor_again(extractor):
    provenance = extractor.provenance
    options = json.loads(provenance.options)
    assert provenance == Provenance.from_options(provenance.extractor, options, provenance.weights_sha256)
    if type(extractor).__name__ == "Brightest":
        pytest.skip("the template has no line in the table")
    again = load_local_extractor(provenance.extractor, **options)
    image = draw_shapes(100, 140)
    assert again.provenance == provenance
    assert again.image_options == extractor.image_options
    assert equal(again.extract(image), extractor.extract(image))


@pytest.mark.parametrize("name", LOCAL_EXTRACTORS)
def test_every_option_but_the_device_is_in_the_provenance(name):
    default = json.loads(
        load_local_extractor(name, **(UNTRAINED if name == "delg" else {})).provenance.options
    )
    options = json.loads(load_local_extractor(name, **EXAMPLES[name]).provenance.options)
    assert set(default) == set(options)
    assert {k: v for k, v in options.items() if v != default[k]} == EXAMPLES[name]
    assert "device" not in default


@pytest.mark.parametrize("name", LOCAL_EXTRACTORS)
@pytest.mark.parametrize("value", [0, -3, 2.5, True])
def test_a_number_of_keypoints_must_be_whole_and_positive(name, value):
    with pytest.raises(ConfigError, match=r"max_keypoints.*whole number"):
        load_local_extractor(name, max_keypoints=value)


@pytest.mark.parametrize("name", LOCAL_EXTRACTORS)
def test_a_device_is_used_by_networks_and_no_matter_to_others(name):
    load_local_extractor(name, device="cpu", **EXAMPLES[name])
    if name == "sift":
        load_local_extractor(name, device="cuda:99", **EXAMPLES[name])
    else:
        with pytest.raises(ConfigError, match="device='cuda:99': torch finds"):
            load_local_extractor(name, device="cuda:99", **EXAMPLES[name])


def test_unknown_names_and_options_are_told_with_what_there_is():
    with pytest.raises(InputError, match="choose one of sift, xfeat, aliked, delg"):
        load_local_extractor("surf")
    with pytest.raises(ConfigError, match="has no option 'max_keypoint'; the nearest is 'max_keypoints'"):
        load_local_extractor("sift", max_keypoint=3)


def test_every_line_of_the_table_has_an_example():
    assert set(EXAMPLES) == set(LOCAL_EXTRACTORS)
    assert Path(local_base.__file__).read_text().count("\n") < 80
