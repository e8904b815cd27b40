import itertools
import json
import math

import pytest
import torch
from torch import nn

from meisho.errors import DivergedError
from meisho.training import accelerator as accelerator_module
from meisho.training import train as train_module
from meisho.training.data import load_training_data
from meisho.training.learner import synchronise_batch_norms
from meisho.training.loop import Loop
from meisho.training.network import TrainingNetwork
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
        synchronise_batch_norms(task, torch.device("cuda"))
        assert torch.equal(network(images, torch.tensor([0, 1])).values(), before)
    norms = {n: m for n, m in network.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    assert len(norms) > 1
    assert [n for n, m in norms.items() if not isinstance(m, nn.SyncBatchNorm)] == left_alone
    assert list(network.state_dict()) == keys
    assert {id(p) for p in task.rest.parameters()} <= {id(p) for p in network.parameters()}


@pytest.fixture
def train_in_fp16(make_recipe, tmp_path, monkeypatch):
    """Train in fp16 with its scaler, on the CPU; the gradients of the first so many steps are not finite."""
    make, head_loss = train_module.make_accelerator, TrainingNetwork._head_loss

    def make_accelerator(hardware):
        accelerator = make(hardware)
        accelerator.scaler, accelerator.native_amp = torch.amp.GradScaler("cpu", init_scale=2.0**-10), True
        return accelerator

    def start(broken_steps):
        counter = itertools.count()

        def broken(self, *arguments):
            loss = head_loss(self, *arguments)
            if loss.requires_grad and next(counter) < broken_steps:
                loss.register_hook(lambda gradient: gradient * torch.nan)
            return loss

        monkeypatch.setattr(TrainingNetwork, "_head_loss", broken)
        monkeypatch.setattr(accelerator_module, "check_precision", lambda precision, device: None)
        monkeypatch.setattr(train_module, "make_accelerator", make_accelerator)
        recipe = make_recipe(hardware={"precision": "fp16"}, schedule={"ema_decay": 0.9})
        return train_module.train(recipe, tmp_path / "run")

    return start


@pytest.mark.filterwarnings("ignore:torch.cuda.amp.GradScaler is enabled")
def test_a_step_that_fp16_leaves_out_counts_neither_in_the_average_nor_in_the_norm(
    train_in_fp16, monkeypatch
):
    done, step = [], Loop._step
    monkeypatch.setattr(Loop, "_step", lambda self, parts: done.append(step(self, parts)) or done[-1])
    result = train_in_fp16(broken_steps=2)
    norms = [one.norm for one in done]
    assert [math.isfinite(norm) for norm in norms] == [False, False, True, True, True, True]
    assert result.history[0].gradient_norm == norms[2] > 0
    state = json.loads((result.folder / "state" / "state.json").read_text())
    assert state["num_updates"] == 4 and state["progress"]["step"] == 6


@pytest.mark.filterwarnings("ignore:torch.cuda.amp.GradScaler is enabled")
def test_fp16_whose_gradients_are_never_finite_stops(train_in_fp16):
    with pytest.raises(DivergedError, match=r"the gradient of .* is not, .*; choose bf16 or float32"):
        train_in_fp16(broken_steps=99)
