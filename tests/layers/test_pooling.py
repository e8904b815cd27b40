import numpy as np
import pytest
import torch

from meisho.extractors.numpy_pooling import pool_gem
from meisho.layers.pooling import (
    GEM_EPS,
    POOLINGS,
    AveragePooling,
    ClassToken,
    GeM,
    MaxPooling,
    RegionalGeM,
    mix_regions,
    pool_scales,
)

GOLDEN_FEATURES = torch.arange(24).reshape(1, 2, 3, 4) / 10


@pytest.mark.parametrize(
    ("p", "expected"),
    [(1.0, [0.55, 1.75]), (3.0, [0.71334922, 1.81560493]), (4.6, [0.78210014, 1.86190510])],
)
def test_gem_gives_the_golden_values(p, expected):
    # p = 1: the mean of 0, .1 ... 1.1 is .55 and of 1.2 ... 2.3 is 1.75
    np.testing.assert_allclose(GeM(p)(GOLDEN_FEATURES)[0].numpy(), expected, rtol=0, atol=1e-6)


def test_gem_counts_negative_features_as_nothing():
    features = torch.tensor([[[[-1.0, 2.0], [0.0, 3.0]]]])
    assert GeM(3)(features).item() == pytest.approx(2.0606427, abs=1e-6)  # ((8 + 27) / 4) ** (1/3)


def test_gem_agrees_with_a_slow_version():
    features = torch.randn(3, 5, 4, 7, generator=torch.Generator().manual_seed(0))
    for p in (1.5, 3.0, 7.0):
        slow = np.zeros((3, 5))
        for image in range(3):
            for channel in range(5):
                values = [max(float(v), GEM_EPS) ** p for v in features[image, channel].flatten()]
                slow[image, channel] = (sum(values) / len(values)) ** (1 / p)
        np.testing.assert_allclose(GeM(p)(features).numpy(), slow, rtol=1e-5)


def test_gem_of_half_precision_features_does_not_overflow():
    features = torch.full((1, 1, 2, 2), 200.0, dtype=torch.float16)  # 200³ is more than float16 holds
    pooled = GeM(3)(features)
    assert pooled.dtype == torch.float32
    assert pooled.item() == pytest.approx(200, rel=1e-5)


def test_learned_power_moves_and_stays_finite_where_features_are_zero():
    pooling = GeM(3, learned=True)
    features = torch.zeros(1, 2, 3, 3, requires_grad=True)
    pooling(features).sum().backward()
    assert torch.isfinite(pooling.p.grad)
    assert torch.isfinite(features.grad).all()
    pooling.zero_grad()
    pooling(GOLDEN_FEATURES).sum().backward()
    assert pooling.p.grad > 0  # a larger power weighs the larger features more
    assert list(pooling.state_dict()) == ["p"]


def test_fixed_power_is_no_parameter():
    assert list(GeM(3).parameters()) == []
    assert list(GeM(3).state_dict()) == []
    assert repr(GeM(3)) == "GeM(p=3, learned=False)"


def test_superglobals_gem_gives_the_golden_value():
    features = (torch.arange(6) / 6).reshape(1, 1, 2, 3)
    assert GeM(4.6)(features).item() == pytest.approx(0.6137158, abs=1e-6)


def test_regional_gem_gives_the_golden_values():
    mixed = mix_regions((torch.arange(64) / 64).reshape(1, 1, 8, 8))
    np.testing.assert_allclose(mixed.flatten()[:3], [0.1007350, 0.1100901, 0.1223415], rtol=0, atol=1e-6)


def test_regional_gem_agrees_with_a_slow_version():
    features = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    raised = np.maximum(features.numpy(), GEM_EPS)
    padded = np.pad(raised, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    slow = np.empty_like(raised)
    for y in range(6):
        for x in range(5):
            window = padded[:, :, y : y + 5, x : x + 5]
            slow[:, :, y, x] = (raised[:, :, y, x] + (window**2.5).mean(axis=(2, 3)) ** (1 / 2.5)) / 2
    np.testing.assert_allclose(mix_regions(features), slow, rtol=1e-5)
    pooled = (slow**3).mean(axis=(2, 3)) ** (1 / 3)
    np.testing.assert_allclose(RegionalGeM(3)(features), pooled, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (7, 1)])
def test_a_constant_map_of_any_size_stays_as_it_is(shape):
    features = torch.full((1, 2, *shape), 0.7)
    np.testing.assert_allclose(mix_regions(features), features, rtol=1e-5)


def test_scales_are_pooled_by_mean_maximum_or_between():
    descriptors = torch.tensor([[[0.6, -0.8]], [[0.8, 0.6]]])  # one image at two scales
    assert pool_scales(descriptors)[0].tolist() == pytest.approx([0.7, -0.1])
    assert pool_scales(descriptors, float("inf"))[0].tolist() == pytest.approx([0.8, 0.6])
    # above -.8: 1.4 and 1.6, 0 and 1.4; sqrt((1.96 + 2.56) / 2) - .8 and sqrt(1.96 / 2) - .8
    assert pool_scales(descriptors, 2.0)[0].tolist() == pytest.approx([0.7033296, 0.1899495])


def test_average_and_max():
    assert AveragePooling()(GOLDEN_FEATURES)[0].tolist() == pytest.approx([0.55, 1.75])
    assert MaxPooling()(GOLDEN_FEATURES)[0].tolist() == pytest.approx([1.1, 2.3])


def test_class_token_is_the_first():
    tokens = torch.arange(12.0).reshape(1, 3, 4)
    assert ClassToken()(tokens).tolist() == [[0.0, 1.0, 2.0, 3.0]]


@pytest.mark.parametrize("name", POOLINGS)
def test_every_pooling_has_a_name_and_does_not_write_into_features(name):
    features = torch.randn(2, 5, 4) if name == "cls" else torch.randn(2, 4, 3, 3)
    before = features.clone()
    assert POOLINGS[name](3.0)(features).shape == (2, 4)
    assert torch.equal(features, before)


MAPS = {
    "zeros": np.zeros((2, 4, 5)),
    "ones": np.ones((2, 4, 5)),
    "tiny": np.full((2, 4, 5), 1e-30),
    "one place": np.eye(20)[3].reshape(1, 4, 5),
    "large": np.linspace(1e3, 1e4, 40).reshape(2, 4, 5),
    "huge": np.linspace(1e29, 1e30, 40).reshape(2, 4, 5),
    "negative": np.full((2, 4, 5), -3.0),
    "1 x 1": np.full((2, 1, 1), 7.0),
}
EXTREME_POWERS = (0.01, 1.0, 3.0, 7.0, 38.0, 50.0, 1e3, 1e6, np.inf)


@pytest.mark.parametrize("p", EXTREME_POWERS)
@pytest.mark.parametrize("name", MAPS)
def test_gem_is_finite_and_lies_between_mean_and_maximum_at_any_power(name, p):
    features = np.maximum(MAPS[name], GEM_EPS).astype(np.float32)
    pooled = pool_gem(MAPS[name].astype(np.float32), p)
    by_torch = GeM(p)(torch.tensor(MAPS[name], dtype=torch.float32)[None])[0].numpy()
    np.testing.assert_allclose(pooled, by_torch, rtol=1e-3)
    places = features.shape[1] * features.shape[2]
    largest, exact = features.max(axis=(1, 2)), np.float64(p)
    assert np.isfinite(pooled).all() and (pooled <= largest * 1.0001).all()
    low = largest * places ** (-1 / exact) if p >= 1 else features.min(axis=(1, 2))
    assert (pooled >= low * 0.999).all()  # with p to infinity, it is the maximum
    if p >= 1:
        assert (pooled >= features.mean(axis=(1, 2)) * 0.999).all()


@pytest.mark.parametrize("p", [p for p in EXTREME_POWERS if np.isfinite(p)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", MAPS)
def test_gradients_of_gem_are_finite_at_any_power(name, dtype, p):
    features = torch.tensor(MAPS[name], dtype=torch.float32).clamp(max=6e4).to(dtype)[None].requires_grad_()
    pooling = GeM(p, learned=True)
    pooling(features).sum().backward()
    assert torch.isfinite(features.grad).all()
    assert torch.isfinite(pooling.p.grad)


@pytest.mark.parametrize("p", [1.5, 3.0, 50.0, 1e4])
def test_pooled_scales_stay_between_the_mean_and_the_maximum(p):
    descriptors = torch.tensor([[[0.1, 0.2, 0.01]], [[0.3, 0.1, 0.02]]])
    pooled = pool_scales(descriptors, p)
    assert (pooled >= descriptors.mean(dim=0) - 1e-6).all()
    assert (pooled <= descriptors.amax(dim=0) + 1e-6).all()
    assert p < 1e4 or torch.allclose(pooled, pool_scales(descriptors, np.inf), rtol=1e-3)
    assert torch.isfinite(pool_scales(torch.full((2, 1, 3), 0.5), p)).all()
