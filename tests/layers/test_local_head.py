import torch
from torch.nn import functional

from meisho.layers.local_head import LocalHead


def make_features(seed=0, shape=(2, 24, 5, 7)):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_shapes_and_signs():
    maps = LocalHead(24, dim=16).eval()(make_features())
    assert maps.descriptors.shape == (2, 16, 5, 7)
    assert maps.attention.shape == (2, 1, 5, 7)
    assert maps.pooled.shape == (2, 24)
    assert maps.reconstruction_error.shape == ()
    assert (maps.attention > 0).all()


def test_pooling_weighs_the_features_by_attention_cell_by_cell():
    head, features = LocalHead(24, dim=16).eval(), make_features()
    maps = head(features)
    expected = torch.zeros(2, 24)
    for image in range(2):
        for row in range(5):
            for column in range(7):
                cell = features[image, :, row, column]
                expected[image] += maps.attention[image, 0, row, column] * cell / cell.norm() / 35
    torch.testing.assert_close(maps.pooled, expected)


def test_the_reconstruction_error_is_that_of_the_autoencoder():
    head, features = LocalHead(24, dim=16).eval(), make_features()
    decoded = functional.relu(head.decoder(head.encoder(features)))
    torch.testing.assert_close(head(features).reconstruction_error, ((decoded - features) ** 2).mean())


def test_no_gradient_leaves_the_head_and_every_part_of_it_gets_one():
    head, features = LocalHead(24, dim=16), make_features().requires_grad_()
    maps = head(features)
    (maps.pooled.square().sum() + 10 * maps.reconstruction_error + maps.descriptors.sum()).backward()
    assert features.grad is None
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
    assert all(p.grad.abs().sum() > 0 for name, p in head.named_parameters() if name != "attention.0.bias")


def test_the_autoencoder_and_the_attention_can_be_trained():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head, classifier = LocalHead(24, dim=16), torch.nn.Linear(24, 2)
    # cells of the left half belong to the landmark: only their first channels tell the class
    features = make_features(1, (16, 24, 4, 8))
    labels = torch.arange(16) % 2
    features[labels == 1, :4, :, :4] += 2
    optimizer = torch.optim.Adam([*head.parameters(), *classifier.parameters()], lr=0.01)
    first = last = None
    for _ in range(150):
        maps = head(features)
        loss = functional.cross_entropy(classifier(maps.pooled), labels) + 10 * maps.reconstruction_error
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        last = maps.reconstruction_error.item()
        first = last if first is None else first
    assert last < 0.5 * first
    assert (classifier(head.eval()(features).pooled).argmax(dim=1) == labels).all()
