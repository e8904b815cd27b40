import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from meisho.errors import ConfigError
from meisho.extractors.base import load_extractor
from meisho.layers.margin_heads import make_head
from meisho.layers.pair_losses import PairLoss
from meisho.training.network import (
    LossWeights,
    TrainingNetwork,
    build_descriptor,
    distillation_loss,
    extraction_network,
    fold_batch_norm,
)
from meisho.training.recipe_tables import ModelRecipe


def small(**options):
    return build_descriptor(ModelRecipe(**{"backbone": "test_resnet", "weights": "none:0", **options}))


def used_norm(dim):
    norm = nn.BatchNorm1d(dim)
    with torch.no_grad():
        for values, low, high in (
            (norm.running_mean, -1, 1),
            (norm.running_var, 0.5, 2),
            (norm.weight, 0.5, 2),
            (norm.bias, -1, 1),
        ):
            values.uniform_(low, high)
    return norm.eval()


@pytest.mark.parametrize("projection", [nn.Linear(8, 5), nn.Linear(8, 5, bias=True), nn.Identity()])
def test_a_folded_batch_norm_does_what_the_two_did(projection):
    torch.manual_seed(0)
    norm = used_norm(5 if isinstance(projection, nn.Linear) else 8)
    features = torch.randn(4, 8)
    folded = fold_batch_norm(projection, norm)
    torch.testing.assert_close(folded(features), norm(projection(features)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dim", [None, 16])
def test_extraction_describes_as_the_head_sees(dim):
    torch.manual_seed(0)
    network = TrainingNetwork(small(projection_dim=dim), batch_norm=True)
    network.neck = used_norm(network.descriptor.dim)
    images = torch.randn(2, 3, 64, 64)
    network.eval()
    with torch.no_grad():
        torch.testing.assert_close(
            extraction_network(network)(images), network.describe(images), atol=1e-4, rtol=1e-4
        )
    assert isinstance(network.neck, nn.BatchNorm1d)  # the trained network is left as it was


def test_an_identity_starts_from_the_descriptors_off_the_shelf():
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    off_the_shelf = load_extractor("timm:test_resnet", weights="none:0", p=2.0, max_side_px=64)
    dim = off_the_shelf.dim
    for options in ({}, {"projection_dim": dim, "projection_start": "identity"}):
        network = small(p=2.0, **options)
        with torch.no_grad():
            pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() * off_the_shelf._gain
            vectors = functional.normalize(network(pixels + off_the_shelf._bias)).numpy()
        np.testing.assert_allclose(vectors, off_the_shelf.extract(images), atol=1e-5)


def test_the_random_projection_depends_on_the_seed_alone():
    torch.manual_seed(1)
    first = build_descriptor(ModelRecipe("test_resnet", "none:0", projection_dim=4), seed=3)
    torch.manual_seed(2)
    second = build_descriptor(ModelRecipe("test_resnet", "none:0", projection_dim=4), seed=3)
    other = build_descriptor(ModelRecipe("test_resnet", "none:0", projection_dim=4), seed=4)
    assert torch.equal(first.projection.weight, second.projection.weight)
    assert not torch.equal(first.projection.weight, other.projection.weight)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"projection_dim": 7, "projection_start": "identity"}, "needs projection_dim="),
        ({"learn_p": True, "pooling": "max"}, "has no power"),
    ],
)
def test_a_model_that_cannot_be_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        small(**options)


def test_the_total_is_the_weighted_sum_of_the_losses():
    torch.manual_seed(0)
    descriptor = small(projection_dim=16)
    network = TrainingNetwork(
        descriptor,
        head=make_head("arcface", 3, 16),
        pair_loss=PairLoss("triplet"),
        distillation_loss=distillation_loss("cosine"),
        weights=LossWeights(2.0, 3.0, 5.0),
    ).eval()
    images, labels, teacher = torch.randn(6, 3, 32, 32), torch.tensor([0, 0, 1, 1, 2, 2]), torch.randn(6, 16)
    with torch.no_grad():
        losses = network(images, labels, teacher)
        features = descriptor(images)
        assert losses.head == network.head(features, labels)
        assert losses.pairs == network.pair_loss(features, labels)
        assert losses.other == (1 - functional.cosine_similarity(features, teacher)).mean()
    expected = 2 * losses.head + 3 * losses.pairs + 5 * losses.other
    torch.testing.assert_close(losses.total, expected)
    assert losses.values().tolist() == [
        float(v) for v in (losses.total, losses.head, losses.pairs, losses.other)
    ]


def test_losses_to_a_teacher_by_hand():
    own, teacher = torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    # cosines 1 and 0; squared distances 0 and 2; own similarities [[1, 0], [0, 1]], the teacher's all 1
    assert float(distillation_loss("cosine")(own, teacher)) == pytest.approx(0.5)
    assert float(distillation_loss("mse")(own, teacher)) == pytest.approx(1.0)
    assert float(distillation_loss("similarity")(own, teacher)) == pytest.approx(0.5)
    wide = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert float(distillation_loss("similarity")(own, wide)) == pytest.approx(0.5)
