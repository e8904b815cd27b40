import numpy as np
import pytest
import torch

from meisho.layers.pooling import GEM_EPS, POOLINGS, AveragePooling, ClassToken, GeM, MaxPooling

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
