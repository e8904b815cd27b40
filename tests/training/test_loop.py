import pytest
import torch
from torch import nn

from meisho.training.data import load_training_data
from meisho.training.loop import _synchronise_batch_norms
from meisho.training.train import make_task


@pytest.mark.parametrize(
    ("kind", "backbone", "left_alone"),
    [
        ("descriptors", "test_efficientnet", ["neck"]),  # its batch norms hold the activations
        ("descriptors", "test_resnet", ["neck"]),
        ("delg-local", "test_resnet", []),
    ],
)
def test_batch_norms_that_see_all_processes_change_no_loss(make_recipe, kind, backbone, left_alone):
    recipe = make_recipe(kind=kind, model={"backbone": backbone}, local={"dim": 8})
    task = make_task(recipe, load_training_data(recipe))
    network = task.network.eval()
    keys = list(network.state_dict())
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = network(images, torch.tensor([0, 1])).values()
        _synchronise_batch_norms(task, torch.device("cuda"))
        assert torch.equal(network(images, torch.tensor([0, 1])).values(), before)
    norms = {n: m for n, m in network.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    assert len(norms) > 1
    assert [n for n, m in norms.items() if not isinstance(m, nn.SyncBatchNorm)] == left_alone
    assert list(network.state_dict()) == keys
    assert {id(p) for p in task.rest.parameters()} <= {id(p) for p in network.parameters()}
