import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import get_pretrained_cfg

from meisho.errors import ConfigError, InputError
from meisho.extractors import backbone
from meisho.extractors.backbone import (
    create_backbone,
    fit_images,
    read_traits,
    round_to_multiple,
    spread_tokens,
)
from meisho.extractors.base import load_extractor


def random_images(height, width):
    return np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "dim", "multiple_px", "prefix_tokens"),
    [
        ("resnet18", 512, 1, 0),  # (B, C, H, W)
        ("swin_tiny_patch4_window7_224", 768, 4, 0),  # (B, H, W, C)
        ("mambaout_femto", 288, 1, 0),  # (B, H, W, C), any size
        ("vit_tiny_patch16_224", 192, 16, 1),  # tokens
        ("test_vit", 64, 16, 1),
        ("pvt_v2_b0", 256, 1, 0),  # its patches overlap: any size
    ],
)
def test_maps_and_tokens_of_any_size_are_described(name, dim, multiple_px, prefix_tokens):
    extractor = load_extractor(f"timm:{name}", weights="none:0")
    traits = extractor.network.traits
    assert (traits.multiple_px, traits.prefix_tokens, traits.fixed_size_px) == (
        multiple_px,
        prefix_tokens,
        None,
    )
    assert extractor.image_options.multiple_px == (16 if multiple_px == 16 else 32)
    for shape in [(100, 150), (64, 64)]:
        assert extractor.extract(random_images(*shape)).shape == (1, dim)


def test_a_backbone_of_one_size_gets_that_size():
    extractor = load_extractor("timm:visformer_tiny", weights="none:0")
    assert extractor.network.traits.fixed_size_px == (224, 224)
    assert np.isfinite(extractor.extract(random_images(40, 300))).all()


def test_patch_tokens_are_pooled_without_the_class_token():
    extractor = load_extractor("timm:test_vit", weights="none:0", pooling="avg")
    pixels = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        tokens = extractor.network.backbone.forward_features(pixels)
        pooled = extractor.network(pixels)
    assert tokens.shape == (1, 1 + 4 * 6, 64)
    torch.testing.assert_close(pooled, tokens[:, 1:].mean(dim=1))


def test_class_token_pooling_takes_the_first_token():
    extractor = load_extractor("timm:test_vit", weights="none:0", pooling="cls")
    pixels = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        tokens = extractor.network.backbone.forward_features(pixels)
        torch.testing.assert_close(extractor.network(pixels), tokens[:, 0])


def test_a_convolutional_network_has_no_class_token():
    with pytest.raises(ConfigError, match="no class token"):
        load_extractor("timm:test_resnet", weights="none:0", pooling="cls")


def test_features_that_cannot_be_pooled_are_refused():
    extractor = load_extractor("timm:crossvit_9_240", weights="none:0")  # gives a list of two
    with pytest.raises(ConfigError, match="neither a map nor tokens"):
        extractor.extract(random_images(64, 64))


def test_a_shape_that_the_backbone_refuses_is_explained():
    extractor = load_extractor("timm:hrnet_w18_small", weights="none:0")  # its branches must halve evenly
    with pytest.raises(ConfigError, match=r"150 × 100 px.*multiple_px=32"):
        extractor.extract(random_images(100, 150))
    assert extractor.extract(random_images(96, 160)).shape[0] == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet43", "did you mean resnet34"),
        ("resnet34.a9", "no weights tagged 'a9'; tags: a1_in1k"),
        ("qqqqqqqq", "list_models"),
        ("", "no model ''"),
        ("hf-hub:someone/something", "no model 'hf-hub:someone/something'"),
    ],
)
def test_an_unknown_backbone_names_the_nearest(name, message):
    with pytest.raises(InputError) as caught:
        create_backbone(name)
    assert message in str(caught.value)


def test_random_weights_depend_on_their_seed_alone():
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first, again, other = (create_backbone("test_resnet", seed=s).state_dict() for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    key = next(iter(first))
    assert torch.equal(first[key], again[key])
    assert not torch.equal(first[key], other[key])


def test_small_images_are_padded_by_their_edge_and_others_left_alone():
    traits = read_traits(create_backbone("test_resnet"))
    small = torch.arange(2 * 40.0).reshape(1, 1, 2, 40).expand(1, 3, 2, 40)
    padded = fit_images(small, traits)
    assert padded.shape == (1, 3, 32, 40)
    assert torch.equal(padded[0, 0, 2:], small[0, 0, 1:].expand(30, 40))
    large = torch.zeros(1, 3, 33, 47)
    assert fit_images(large, traits) is large


@pytest.mark.parametrize(
    ("length", "multiple", "expected"), [(1, 14, 14), (20, 14, 14), (21, 14, 28), (28, 14, 28), (7, 1, 7)]
)
def test_sides_are_rounded_to_the_nearest_multiple(length, multiple, expected):
    assert round_to_multiple(length, multiple) == expected


def test_maps_with_channels_last_are_turned():
    traits = read_traits(create_backbone("mambaout_femto"))
    assert traits.channels_last
    assert spread_tokens(torch.zeros(2, 5, 7, 288), traits).shape == (2, 288, 5, 7)


def test_making_a_backbone_leaves_every_generator_as_it_was(monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("the GPUs were seeded"))
    before = torch.get_rng_state()
    first, again, other = (create_backbone("test_resnet", seed=seed) for seed in (3, 3, 4))
    load_extractor("timm:test_resnet", weights="none:1", projection_dim=8)
    assert torch.equal(torch.get_rng_state(), before)
    weights = [next(model.parameters()) for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_hub_file_of_a_model_that_timm_reads_its_own_way_is_plain_weights(monkeypatch, tmp_path):
    name = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    assert get_pretrained_cfg(name).custom_load  # the first publisher's are .npz
    published = timm.create_model(name)
    save_file(published.state_dict(), tmp_path / "model.safetensors")
    monkeypatch.setattr(backbone, "fetch_hub_file", lambda _: tmp_path / "model.safetensors")
    loaded = create_backbone(name, pretrained=True).state_dict()
    assert loaded
    for key, value in loaded.items():
        assert torch.equal(value, published.state_dict()[key])
