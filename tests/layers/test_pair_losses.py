import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses, miners
from pytorch_metric_learning.reducers import MeanReducer

from meisho.errors import ConfigError
from meisho.layers.pair_losses import (
    NO_ROW,
    PairLoss,
    Tuples,
    contrastive_loss,
    mine_in_batch,
    mine_negatives,
    triplet_loss,
)


def make_batch(size=24, num_classes=5, dim=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    descriptors = torch.randn(size, dim, generator=generator).requires_grad_()
    return descriptors, torch.randint(num_classes, (size,), generator=generator)


def unit(vectors):
    return (vectors / vectors.norm(dim=1, keepdim=True)).detach().double().numpy()


def make_tuples():
    return Tuples(
        torch.tensor([0, 1, 5]), torch.tensor([2, 3, 6]), torch.tensor([[4, 7], [8, NO_ROW], [9, 10]])
    )


def test_contrastive_loss_worked_by_hand():
    # d² = 2 - 2 cos; anchor (1, 0), positive (0, 1): d² = 2, ½ d² = 1; negative (.8, .6): d² = .4,
    # d = .6324555, ½ (.7 - .6324555)² = .0022811; negative (-1, 0): d = 2, beyond the margin
    descriptors = torch.tensor([[2.0, 0], [0, 3], [0.8, 0.6], [-1, 0]])
    tuples = Tuples(torch.tensor([0]), torch.tensor([1]), torch.tensor([[2, 3]]))
    assert contrastive_loss(descriptors, tuples, margin=0.7).item() == pytest.approx(1.0022811, abs=1e-6)


def test_contrastive_loss_agrees_with_a_slow_version():
    descriptors, _ = make_batch()
    tuples, rows = make_tuples(), unit(descriptors)
    total = 0.0
    for anchor, positive, negatives in zip(
        tuples.anchors, tuples.positives, tuples.negatives.tolist(), strict=True
    ):
        total += 0.5 * np.sum((rows[anchor] - rows[positive]) ** 2)
        for negative in negatives:
            if negative != NO_ROW:
                distance = np.linalg.norm(rows[anchor] - rows[negative])
                total += 0.5 * max(0.0, 1.3 - distance) ** 2
    assert contrastive_loss(descriptors, tuples, margin=1.3).item() == pytest.approx(total / 3, rel=1e-5)


def test_triplet_loss_of_given_rows_agrees_with_a_slow_version():
    descriptors, _ = make_batch()
    tuples, rows = make_tuples(), unit(descriptors)
    every = []
    for anchor, positive, negatives in zip(
        tuples.anchors, tuples.positives, tuples.negatives.tolist(), strict=True
    ):
        near = np.linalg.norm(rows[anchor] - rows[positive])
        every += [
            max(0.0, near - np.linalg.norm(rows[anchor] - rows[negative]) + 0.3)
            for negative in negatives
            if negative != NO_ROW
        ]
    assert len(every) == 5
    assert triplet_loss(descriptors, tuples, margin=0.3).item() == pytest.approx(np.mean(every), rel=1e-5)


@pytest.mark.parametrize(("soft", "margin"), [(False, 0.1), (False, 1.0), (True, 0.0)])
def test_batch_hard_triplets_equal_those_of_pytorch_metric_learning(soft, margin):
    descriptors, labels = make_batch()
    reference = losses.TripletMarginLoss(margin=margin, smooth_loss=soft, reducer=MeanReducer())
    expected = reference(descriptors, labels, miners.BatchHardMiner()(descriptors, labels))
    loss = PairLoss("triplet", margin=margin, soft=soft)(descriptors, labels)
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, descriptors)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, descriptors)[0], atol=1e-6, rtol=1e-4)


def test_every_positive_with_every_negative_equals_all_triplets_of_pytorch_metric_learning():
    descriptors, labels = make_batch()
    # mean over triplets, where every anchor has the same number of negatives
    labels = torch.arange(24) // 4
    expected = losses.TripletMarginLoss(margin=0.2, reducer=MeanReducer())(descriptors, labels)
    loss = PairLoss("triplet", positives="all", num_negatives=100, margin=0.2)(descriptors, labels)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("positives", ["all", "hardest"])
def test_mining_in_the_batch_agrees_with_a_slow_version(positives):
    descriptors, labels = make_batch(seed=3)
    labels[0] = 99  # no positive: no anchor, but a negative of others
    rows, expected = unit(descriptors), []
    for anchor in range(24):
        cosines = rows @ rows[anchor]
        partners = [i for i in range(24) if i != anchor and labels[i] == labels[anchor]]
        others = sorted((i for i in range(24) if labels[i] != labels[anchor]), key=lambda i: -cosines[i])
        if positives == "hardest":
            partners = sorted(partners, key=lambda i: cosines[i])[:1]
        expected += [(anchor, partner, *others[:3]) for partner in partners]
    tuples = mine_in_batch(descriptors, labels, num_negatives=3, positives=positives)
    found = torch.column_stack([tuples.anchors, tuples.positives, tuples.negatives])
    assert found.tolist() == [list(row) for row in expected]


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
@pytest.mark.parametrize("name", ["contrastive", "triplet"])
def test_a_batch_without_pairs_or_without_negatives_has_no_loss_but_a_gradient(name, labels):
    descriptors, _ = make_batch(size=3)
    loss = PairLoss(name)(descriptors, torch.tensor(labels))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(descriptors.grad, torch.zeros(3, 4))


def test_gradients_are_finite_where_descriptors_are_equal():
    descriptors = torch.ones(4, 3, requires_grad=True)
    for name in ("contrastive", "triplet"):
        loss = PairLoss(name)(descriptors, torch.tensor([0, 0, 1, 1]))
        (gradient,) = torch.autograd.grad(loss, descriptors)
        assert loss > 0 and gradient.isfinite().all()


@pytest.mark.parametrize("one_per_label", [True, False])
def test_negatives_of_a_pool_agree_with_a_slow_version(one_per_label):
    anchors, anchor_labels = make_batch(size=11)
    pool, pool_labels = make_batch(size=40, num_classes=4, seed=1)
    found = mine_negatives(
        anchors, anchor_labels, pool, pool_labels, num_negatives=5, one_per_label=one_per_label, chunk=4
    )
    expected = []
    for anchor, label in zip(unit(anchors), anchor_labels.tolist(), strict=True):
        rows, seen = [], set()
        for row in np.argsort(-(unit(pool) @ anchor), kind="stable"):
            other = int(pool_labels[row])
            if other != label and not (one_per_label and other in seen) and len(rows) < 5:
                rows.append(int(row))
                seen.add(other)
        expected.append(rows + [NO_ROW] * (5 - len(rows)))
    assert found.tolist() == expected
    assert (found == NO_ROW).any() == one_per_label  # 4 labels give 3 or 4 negatives


def test_pairs_come_near_and_others_go_away_by_the_gradient():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(8) // 2
    for name in ("contrastive", "triplet"):
        descriptors = torch.randn(8, 5, generator=generator).requires_grad_()
        loss_of = PairLoss(name, num_negatives=3, margin=0.9)
        first = loss_of(descriptors, labels).item()
        for _ in range(40):
            (gradient,) = torch.autograd.grad(loss_of(descriptors, labels), descriptors)
            descriptors.data -= 0.5 * gradient
        assert loss_of(descriptors, labels).item() < 0.2 * first


def test_losses_are_float32_inside_autocast():
    descriptors, labels = make_batch()
    with torch.autocast("cpu", torch.bfloat16):
        loss = PairLoss("contrastive")(descriptors.bfloat16(), labels)
    assert loss.dtype == torch.float32


def test_wrong_options_are_named():
    with pytest.raises(ConfigError, match="no pair loss is called 'pairs'; the nearest is"):
        PairLoss("pairs")
    with pytest.raises(ConfigError, match=r"'contrastive' has no option 'soft'; the nearest is .*margin"):
        PairLoss("contrastive", soft=True)
    with pytest.raises(ValueError, match="positives must be"):
        PairLoss("triplet", positives="easy")
    with pytest.raises(ValueError, match="do not fit"):
        Tuples(torch.tensor([0]), torch.tensor([1, 2]), torch.tensor([[3]]))
