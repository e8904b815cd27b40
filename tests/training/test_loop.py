import pytest
import torch
from torch import nn

from meisho.training.loop import _synchronise_batch_norms
from meisho.training.network import build_descriptor
from meisho.training.recipe import ModelRecipe

CUDA = torch.device("cuda")


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_resnet"])
def test_batch_norms_that_see_all_processes_change_no_descriptor(backbone):
    network = build_descriptor(ModelRecipe(backbone, "none:0")).eval()
    names = list(network.state_dict())
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = network(images)
        _synchronise_batch_norms(network.backbone, CUDA)
        assert torch.equal(network(images), before)
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms and all(isinstance(m, nn.SyncBatchNorm) for m in norms)
    assert list(network.state_dict()) == names
