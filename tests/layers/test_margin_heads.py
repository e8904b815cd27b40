import math

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from devices import on_gpu
from meisho.errors import ConfigError
from meisho.layers.margin_heads import HEADS, make_head

GOLDEN_CENTRES = torch.tensor([[1.0, 0], [0, 1], [-1, 0]])
GOLDEN_FEATURES = torch.tensor([[2.0, 0], [1, 1], [-1, 0.2]])
GOLDEN_LABELS = torch.tensor([0, 1, 0])


def make_golden_head(**options):
    head = make_head("arcface", 3, 2, margin_rad=0.3, **options)
    head.load_full_weight(GOLDEN_CENTRES[:, None])
    return head


def make_chunked_head(*arguments, chunk_classes, **options):
    head = make_head(*arguments, **options)
    head.chunk_classes = chunk_classes
    return head


def make_batch(num_classes=13, dim=6, size=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(size, dim, generator=generator).requires_grad_()
    return features, torch.randint(num_classes, (size,), generator=generator)


def give_unit_size(head):
    """The shorter the rows of a weight, the greater its gradient: that of a fresh head is hard to compare."""
    head.weight.data.div_(head.weight.data.std())
    return head


def gradients_of(loss, head, features):
    return torch.autograd.grad(loss, [features, head.weight])


def test_arcface_gives_the_golden_values():
    # row 2: cos θ = -.9805807 is beyond 180° - m, so the logit is 30 (-.9805807 - .3 sin .3) = -32.077103
    expected = [[28.660095, 0, -30], [21.213203, 13.996817, -21.213203], [-32.077103, 5.883484, 29.417421]]
    head = make_golden_head()
    logits = head.logits(GOLDEN_FEATURES, GOLDEN_LABELS)
    np.testing.assert_allclose(logits.detach().numpy(), expected, atol=2e-5)
    assert head(GOLDEN_FEATURES, GOLDEN_LABELS).item() == pytest.approx(22.9038792, abs=1e-5)


def test_softmax_gives_the_golden_value_without_margin():
    head = make_head("softmax", 3, 2)
    head.load_full_weight(GOLDEN_CENTRES[:, None])
    assert head(GOLDEN_FEATURES, GOLDEN_LABELS).item() == pytest.approx(19.8426628, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "reference", "reference_options"),
    [
        ("arcface", {"margin_rad": 0.3}, "ArcFaceLoss", {"margin": math.degrees(0.3)}),
        ("arcface", {"margin_rad": 1.2}, "ArcFaceLoss", {"margin": math.degrees(1.2)}),
        ("cosface", {"margin": 0.35}, "CosFaceLoss", {"margin": 0.35}),
        (
            "arcface",
            {"margin_rad": 0.5, "sub_centres": 3},
            "SubCenterArcFaceLoss",
            {"margin": math.degrees(0.5), "sub_centers": 3},
        ),
    ],
)
def test_losses_and_gradients_equal_those_of_pytorch_metric_learning(
    name, options, reference, reference_options
):
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    features, labels = make_batch()
    head = give_unit_size(make_chunked_head(name, 13, 6, scale=20, chunk_classes=5, **options))
    other = getattr(losses, reference)(num_classes=13, embedding_size=6, scale=20, **reference_options)
    other.W.data = head.weight.detach().flatten(0, 1).T.clone()  # its columns: K centres of class 0, ...
    loss, expected = head(features, labels), other(features, labels)
    torch.testing.assert_close(loss, expected)
    of_features, of_weight = gradients_of(loss, head, features)
    expected_gradients = torch.autograd.grad(expected, [features, other.W])
    torch.testing.assert_close(of_features, expected_gradients[0], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(of_weight.flatten(0, 1), expected_gradients[1].T, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(("sub_centres", "label_smoothing"), [(1, 0.0), (1, 0.1), (2, 0.2)])
def test_the_loss_by_chunks_is_the_cross_entropy_of_the_logits(name, sub_centres, label_smoothing):
    features, labels = make_batch()
    head = make_chunked_head(
        name,
        13,
        6,
        class_sizes=list(range(1, 14)),
        sub_centres=sub_centres,
        label_smoothing=label_smoothing,
        chunk_classes=4,
    )
    give_unit_size(head)
    if name == "curricular":
        head.margin.t.fill_(0.4)
    head.eval()  # CurricularFace would move t
    loss = head(features, labels)
    expected = functional.cross_entropy(
        head.logits(features, labels), labels, label_smoothing=label_smoothing
    )
    torch.testing.assert_close(loss, expected)
    for got, wanted in zip(
        gradients_of(3 * loss, head, features), gradients_of(3 * expected, head, features), strict=True
    ):
        torch.testing.assert_close(got, wanted, atol=1e-6, rtol=1e-4)


@on_gpu
@pytest.mark.parametrize("name", HEADS)
def test_a_gpu_gives_the_loss_and_gradients_of_the_cpu(name):
    features, labels = make_batch()
    head = give_unit_size(make_chunked_head(name, 13, 6, class_sizes=range(1, 14), chunk_classes=4))
    loss = head(features, labels)
    of_features, of_weight = gradients_of(loss, head, features)
    on_gpu = give_unit_size(make_chunked_head(name, 13, 6, class_sizes=range(1, 14), chunk_classes=4)).cuda()
    features = features.detach().cuda().requires_grad_()
    with torch.autocast("cuda", torch.float16):
        gpu_loss = on_gpu(features, labels.cuda())
    torch.testing.assert_close(gpu_loss.cpu(), loss, atol=1e-4, rtol=1e-4)
    for got, wanted in zip(gradients_of(gpu_loss, on_gpu, features), (of_features, of_weight), strict=True):
        torch.testing.assert_close(got.cpu(), wanted, atol=1e-4, rtol=1e-3)


class LargestTensor(TorchDispatchMode):
    """Watches what torch makes inside; `numel` is that of the largest tensor."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.numel = max(self.numel, result.numel())
        return result


@pytest.mark.parametrize("sub_centres", [1, 2])
def test_the_matrix_of_logits_is_never_made(sub_centres):
    features, labels = make_batch(num_classes=1000, dim=4, size=64)
    head = make_chunked_head("arcface", 1000, 4, sub_centres=sub_centres, chunk_classes=50)
    with LargestTensor() as watch:
        head(features, labels).backward()
    assert watch.numel < 10_000 < 64 * 1000  # the weight itself has 8,000 numbers at most
    with LargestTensor() as watch:
        functional.cross_entropy(head.logits(features, labels), labels).backward()
    assert watch.numel >= 64 * 1000  # so the watch sees it where it is made


def test_gradients_are_finite_at_the_class_centre_and_opposite_and_at_zero():
    centres = torch.tensor([[3.0, 4], [0, 1]])[:, None]
    for name in HEADS:
        head = make_head(name, 2, 2, class_sizes=[1, 1])
        head.load_full_weight(centres)
        features = torch.tensor([[3.0, 4], [-3, -4], [0, 0], [0, 1e-20]], requires_grad=True)
        head(features, torch.tensor([0, 0, 0, 1])).backward()
        assert features.grad.isfinite().all()
        assert head.weight.grad.isfinite().all()


def test_everything_is_float32_inside_autocast():
    features, labels = make_batch()
    half = features.detach().bfloat16().requires_grad_()
    head = make_head("arcface", 13, 6)
    with torch.autocast("cpu", torch.bfloat16):
        loss = head(half, labels)
        assert head.logits(half, labels).dtype == torch.float32
    loss.backward()
    assert loss.dtype == torch.float32 and half.grad.dtype == torch.bfloat16
    assert torch.equal(loss, head(half.detach().float(), labels))


def test_rare_classes_have_greater_margins():
    # a n^-λ + b with .5, 1/4, .05: 1 photo .55, 16 photos .5 / 2 + .05 = .3, 10,000 photos .5 / 10 + .05 = .1
    head = make_head("dynamic", 3, 2, class_sizes=[1, 16, 10_000])
    np.testing.assert_allclose(head.margin.margins_rad, [0.55, 0.3, 0.1], rtol=1e-6)
    features, labels = torch.tensor([[1.0, 0]] * 3), torch.tensor([0, 1, 2])
    head.load_full_weight(torch.tensor([[0.0, 1]] * 3)[:, None])  # all at 90°: cos(90° + m) = -sin m
    targets = head.logits(features, labels).diagonal() / 30
    np.testing.assert_allclose(targets.detach(), -np.sin([0.55, 0.3, 0.1]), rtol=1e-5)


def slow_curricular(cosines, labels, t, margin):
    logits = cosines.copy()
    for row, label in enumerate(labels):
        angle = math.acos(cosines[row, label])
        with_margin = math.cos(angle + margin)
        for column in range(cosines.shape[1]):
            if column != label and cosines[row, column] > with_margin:
                logits[row, column] = cosines[row, column] * (t + cosines[row, column])
        is_past = angle + margin >= math.pi
        logits[row, label] = cosines[row, label] - margin * math.sin(margin) if is_past else with_margin
    return logits


def test_curricular_follows_the_formulas_of_its_paper():
    features, labels = make_batch(dim=3)
    head = make_chunked_head("curricular", 13, 3, margin_rad=0.5, scale=7, chunk_classes=4)
    directions = functional.normalize(features.detach(), dim=1)
    cosines = (directions @ functional.normalize(head.weight[:, 0].detach(), dim=1).T).double().numpy()
    mean = cosines[np.arange(40), labels].mean()
    t = 0.0
    for _ in range(3):
        loss = head(features, labels)
        t = 0.01 * mean + 0.99 * t  # moved before it is used, as in the official code
        assert head.margin.t.item() == pytest.approx(t, rel=1e-5)
        slow = 7 * torch.from_numpy(slow_curricular(cosines, labels.tolist(), t, 0.5))
        torch.testing.assert_close(
            loss.double(), functional.cross_entropy(slow, labels), rtol=1e-5, atol=1e-5
        )
    head.eval()(features, labels)
    head.train().logits(features, labels)
    assert head.margin.t.item() == pytest.approx(t, rel=1e-5)  # neither evaluation nor looking moves it


def test_classes_are_told_by_the_nearest_of_all_centres():
    features, _ = make_batch()
    head = make_chunked_head("arcface", 13, 6, sub_centres=2, chunk_classes=4)
    centres = functional.normalize(head.weight.detach(), dim=-1)
    cosines = torch.einsum("bd,ckd->bck", functional.normalize(features, dim=1), centres).amax(dim=2)
    assert torch.equal(head.classify(features), cosines.argmax(dim=1))


def test_a_head_learns_to_tell_classes_apart():
    features, labels = make_batch(num_classes=5, dim=8, size=50)
    clustered = features.detach() + 3 * torch.eye(8)[labels]
    head = make_head("arcface", 5, 8)
    assert (head.classify(clustered) == labels).float().mean() < 0.5
    for _ in range(15):
        (of_weight,) = torch.autograd.grad(head(clustered, labels), head.weight)
        head.weight.data -= 2e-4 * of_weight
    assert (head.classify(clustered) == labels).float().mean() > 0.9


def test_the_first_weights_depend_on_the_seed_alone():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, same, other = (make_head("arcface", 5000, 2, seed=seed).weight for seed in (1, 1, 2))
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.std().item() == pytest.approx(0.01, rel=0.05)
    assert len(first.flatten(1).unique(dim=0)) == 5000


def test_weights_are_stored_and_curricular_stores_its_t_too():
    assert list(make_head("arcface", 3, 2).state_dict()) == ["weight"]
    assert list(make_head("dynamic", 3, 2, class_sizes=[1, 2, 3]).state_dict()) == ["weight"]
    assert list(make_head("curricular", 3, 2).state_dict()) == ["weight", "margin.t"]


def test_wrong_options_are_named():
    with pytest.raises(ConfigError, match="no head is called 'arc'; the nearest is 'arcface'"):
        make_head("arc", 3, 2)
    with pytest.raises(ConfigError, match=r"'cosface' has no option 'margin_rad'; the nearest is 'margin'"):
        make_head("cosface", 3, 2, margin_rad=0.3)
    with pytest.raises(ValueError, match="number of photos of each class"):
        make_head("dynamic", 3, 2)
    with pytest.raises(ValueError, match="2 class sizes for 3 classes"):
        make_head("dynamic", 3, 2, class_sizes=[1, 2])
    with pytest.raises(ValueError, match="label_smoothing is 1"):
        make_head("arcface", 3, 2, label_smoothing=1)
    with pytest.raises(ValueError, match="must be positive"):
        make_head("arcface", 3, 2, scale=0)
    with pytest.raises(ValueError, match="labels must be from 0 to 2"):
        make_head("arcface", 3, 2)(torch.ones(2, 2), torch.tensor([0, 3]))
