import pytest
import torch
from torch.nn import functional

from meisho.layers.local_head import LocalHead
from meisho.layers.local_losses import LocalLoss


def make_features(requires_grad=False):
    features = torch.rand(6, 24, 4, 5, generator=torch.Generator().manual_seed(0))
    return features.requires_grad_(requires_grad), torch.tensor([0, 1, 2, 0, 1, 2])


def test_the_total_weighs_attention_and_reconstruction_as_the_paper_does():
    features, labels = make_features()
    maps, loss = LocalHead(24, dim=8)(features), LocalLoss(24, 3)
    result = loss(maps, labels)
    torch.testing.assert_close(
        result.attention, functional.cross_entropy(loss.classifier(maps.pooled), labels)
    )
    assert torch.equal(result.reconstruction, maps.reconstruction_error)
    assert result.total.item() == pytest.approx(result.attention.item() + 10 * result.reconstruction.item())
    half = LocalLoss(24, 3, attention_weight=0.5, reconstruction_weight=0)
    half.load_state_dict(loss.state_dict())
    assert half(maps, labels).total.item() == pytest.approx(0.5 * result.attention.item())


def test_no_gradient_reaches_the_trunk_and_each_loss_trains_its_part():
    features, labels = make_features(requires_grad=True)
    head, loss = LocalHead(24, dim=8), LocalLoss(24, 3)
    losses = loss(head(features), labels)
    losses.attention.backward(retain_graph=True)
    assert head.attention[0].weight.grad.abs().sum() > 0
    assert loss.classifier.weight.grad.abs().sum() > 0
    losses.reconstruction.backward()
    assert head.encoder.weight.grad.abs().sum() > 0
    assert features.grad is None


def test_losses_are_float32_inside_autocast():
    features, labels = make_features()
    head, loss = LocalHead(24, dim=8), LocalLoss(24, 3)
    with torch.autocast("cpu", torch.bfloat16):
        losses = loss(head(features), labels)
    assert losses.total.dtype == losses.attention.dtype == torch.float32
