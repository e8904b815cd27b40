"""What every extractor promises, whoever wrote it. A new line in `EXTRACTORS` needs one in `EXAMPLES`."""

import json
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

import meisho.extractors.base as base
from meisho.arrays import Float32Array, UInt8Array
from meisho.descriptors import Provenance, normalize_rows
from meisho.extractors.base import EXTRACTORS, load_extractor
from meisho.images import ImageOptions

SHAPES = [(1, 1), (1, 384), (384, 1), (31, 97), (20, 640), (97, 130)]


def make_default(_folder):
    return load_extractor("default")


def make_drawn(_folder):
    return load_extractor("drawn")


def make_imagenet(_folder):
    return load_extractor("imagenet")


def make_small(_folder):
    return load_extractor("small")


def make_large(_folder):
    return load_extractor("large")


def make_timm(_folder):
    return load_extractor("timm:test_vit", weights="none:0", scales=(1.0, 0.5))


def make_checkpoint(folder):
    from meisho.extractors.checkpoint import save_checkpoint
    from meisho.extractors.network import build_network
    from meisho.extractors.options import TimmGeMOptions

    options = TimmGeMOptions(weights="none:3", p=2.5, projection_dim=24)
    save_checkpoint(build_network("test_resnet", options), "test_resnet", options, folder)
    return load_extractor(str(folder))


def make_ensemble(_folder):
    return load_extractor("ensemble:timm:test_vit*2+timm:test_resnet", weights="none:0")


def make_onnx(folder):
    from meisho.extractors.checkpoint import save_checkpoint
    from meisho.extractors.network import build_network
    from meisho.extractors.options import TimmGeMOptions
    from meisho.training.export import export_onnx

    options = TimmGeMOptions(weights="none:3", p=2.5, projection_dim=24, scales=(1.0, 0.7), max_side_px=96)
    save_checkpoint(build_network("test_resnet", options), "test_resnet", options, folder)
    export_onnx(str(folder), folder / "model.onnx", side_px=64)
    return load_extractor(f"onnx:{folder / 'model.onnx'}")


def make_published(folder):
    """Write a backbone in parts, as a training script saves them."""
    from meisho.extractors.backbone import create_backbone

    backbone = create_backbone("test_resnet", seed=3)
    neck = {"weight": torch.eye(24, backbone.num_features), "bias": torch.linspace(-1, 1, 24)}
    content = {"backbone": backbone.state_dict(), "arch": "test_resnet", "p": 2.5, "neck": neck}
    torch.save(content, folder / "parts.pth")
    return load_extractor(str(folder / "parts.pth"), device="cpu")


EXAMPLES = {
    "default": make_default,
    "drawn": make_drawn,
    "imagenet": make_imagenet,
    "small": make_small,
    "large": make_large,
    "timm": make_timm,
    "onnx": make_onnx,
    "checkpoint": make_checkpoint,
    "published": make_published,
    "ensemble": make_ensemble,
}


NAMES = tuple(EXTRACTORS)


@pytest.fixture(scope="module")
def template():
    """Put the template that stands in the docstring of `extractors.base` into the table."""
    code = re.search(r"EXTRACTORS`.*::\n\n(    class .*)", base.__doc__, re.DOTALL).group(1)
    module = types.ModuleType("mean_color")
    vars(module).update(
        np=np,
        Provenance=Provenance,
        ImageOptions=ImageOptions,
        normalize_rows=normalize_rows,
        UInt8Array=UInt8Array,
        Float32Array=Float32Array,
    )
    exec("if True:\n" + code, vars(module))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "mean_color", module)
        patch.setitem(EXTRACTORS, "mean_color", "mean_color:MeanColor")
        yield "mean_color"


@pytest.fixture(scope="module", params=[*NAMES, "template"])
def extractor(request, tmp_path_factory):
    if request.param == "template":
        return load_extractor(request.getfixturevalue("template"), device="cpu")
    assert request.param in EXAMPLES, f"add an example of {request.param!r} to EXAMPLES in this file"
    return EXAMPLES[request.param](tmp_path_factory.mktemp("checkpoint"))


def random_images(count, height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_descriptors_are_normalised_float32_of_the_stated_dimension(extractor):
    vectors = extractor.extract(random_images(3, 96, 128))
    assert vectors.shape == (3, extractor.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_the_same_images_give_the_same_descriptors(extractor):
    images = random_images(2, 96, 128)
    assert np.array_equal(extractor.extract(images), extractor.extract(images))


def test_a_descriptor_does_not_depend_on_its_batch(extractor):
    images = random_images(4, 96, 128)
    images[2] = 255
    alone = np.concatenate([extractor.extract(images[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(extractor.extract(images), alone, rtol=0, atol=1e-5)


def test_different_images_have_different_descriptors(extractor):
    images = random_images(2, 96, 128)
    images[0, :, :, 0] //= 2
    first, second = extractor.extract(images)
    assert np.abs(first - second).max() > 1e-4


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_every_shape_has_a_finite_descriptor(extractor, height, width):
    vectors = extractor.extract(random_images(1, height, width))
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("value", [0, 255])
def test_plain_images_have_finite_descriptors(extractor, value):
    assert np.isfinite(extractor.extract(np.full((1, 64, 64, 3), value, np.uint8))).all()


def test_images_are_not_written_into_and_may_be_read_only(extractor):
    images = random_images(1, 40, 50)
    before = images.copy()
    extractor.extract(images)
    assert np.array_equal(images, before)
    images.setflags(write=False)
    extractor.extract(images)


def test_image_options_and_provenance_are_given(extractor):
    assert isinstance(extractor.image_options, ImageOptions)
    options = json.loads(extractor.provenance.options)
    assert extractor.provenance == Provenance.from_options(
        extractor.provenance.extractor, options, extractor.provenance.weights_sha256
    )  # the options are in their canonical form


def test_provenance_makes_the_same_extractor_again(extractor):
    provenance = extractor.provenance
    again = load_extractor(provenance.extractor, **json.loads(provenance.options), device="cpu")
    images = random_images(2, 60, 80)
    assert again.provenance == provenance
    assert again.image_options == extractor.image_options
    assert np.array_equal(again.extract(images), extractor.extract(images))


def test_every_line_of_the_table_has_an_example():
    assert set(EXAMPLES) == set(NAMES)
    assert Path(base.__file__).read_text().count("\n") < 80
