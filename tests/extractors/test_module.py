"""A torch module of one's own as an extractor."""

import inspect
import json
import re
import textwrap

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

import meisho
from meisho.errors import ConfigError, InputError
from meisho.images import ImageOptions


def make_network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return nn.Sequential(nn.Conv2d(3, 12, 5, stride=4), nn.BatchNorm2d(12), nn.Dropout(0.5), *pooled)


def random_images(count=3, height=64, width=96):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_it_normalises_pixels_and_descriptors():
    network, images = make_network().eval(), random_images()
    extractor = meisho.wrap_module(network, "mine", mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), device="cpu")
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    pixels = (pixels - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.4]).view(
        3, 1, 1
    )
    with torch.inference_mode():
        expected = functional.normalize(network(pixels)).numpy()
    np.testing.assert_allclose(extractor.extract(images), expected, rtol=0, atol=1e-5)
    assert extractor.dim == 12 and extractor.extract(images[:0]).shape == (0, 12)
    alone = np.concatenate([extractor.extract(images[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(extractor.extract(images), alone, rtol=0, atol=1e-5)


def test_the_module_is_left_as_it_was_and_may_change_afterwards():
    network, images = make_network().train(), random_images()
    extractor = meisho.wrap_module(network, "mine", device="cpu")
    before, provenance = extractor.extract(images), extractor.provenance
    assert network.training
    with torch.no_grad():
        network[0].weight.mul_(-2)
    assert np.array_equal(extractor.extract(images), before)
    assert meisho.wrap_module(network, "mine").provenance.weights_sha256 != provenance.weights_sha256


def test_its_provenance_tells_what_changes_the_descriptors():
    options = ImageOptions(max_side_px=128)
    provenances = [
        meisho.wrap_module(make_network(), "mine").provenance,
        meisho.wrap_module(make_network(), "other").provenance,
        meisho.wrap_module(make_network(1), "mine").provenance,
        meisho.wrap_module(make_network(), "mine", mean=(0.5, 0.5, 0.5)).provenance,
        meisho.wrap_module(make_network(), "mine", image_options=options).provenance,
    ]
    assert len(set(provenances)) == 5
    assert provenances[0] == meisho.wrap_module(make_network(), "mine", device="cpu").provenance
    assert json.loads(provenances[4].options)["max_side_px"] == 128
    with pytest.raises(InputError, match="'module:mine' is a module of your own: give the extractor"):
        meisho.load_extractor("module:mine")


def test_a_module_that_gives_no_vectors_is_told():
    with pytest.raises(
        InputError, match=r"module:map: gave \(1, 4, 62, 62\) for 1 images.*end it with a pooling"
    ):
        meisho.wrap_module(nn.Conv2d(3, 4, 3), "map")
    with pytest.raises(ConfigError, match="choose auto, cpu or cuda"):
        meisho.wrap_module(make_network(), "mine", device="tpu")


def test_the_example_runs(tmp_path):
    for row, image in enumerate(random_images()):
        Image.fromarray(image).save(tmp_path / f"{row}.png")
    text = re.search(r"For example::\n\n(.*?)\n\n    A coll", meisho.wrap_module.__doc__, re.DOTALL).group(1)
    names = {"torch": torch, "meisho": meisho, "folder": tmp_path}
    exec(textwrap.dedent(text), names)
    assert names["descriptors"].vectors.shape == (3, 64)
    assert inspect.signature(meisho.wrap_module).parameters["device"].default == "auto"
