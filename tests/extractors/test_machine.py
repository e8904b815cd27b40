import subprocess
import sys

import pytest

from meisho.errors import ConfigError, MissingDependencyError
from meisho.extractors import machine
from meisho.extractors.machine import describe_device, has_cuda, require_torch, split_device


@pytest.mark.parametrize(
    ("device", "parts"),
    [("auto", ("auto", 0)), ("cpu", ("cpu", 0)), ("cuda", ("cuda", 0)), ("cuda:3", ("cuda", 3))],
)
def test_a_device_is_a_kind_and_a_number(device, parts):
    assert split_device(device) == parts


@pytest.mark.parametrize("device", ["tpu", "cuda:", "cuda:x", "cuda:-1", "cpu0", "auto:1", ""])
def test_another_device_is_named(device):
    with pytest.raises(ConfigError, match=f"device='{device}': choose auto, cpu or cuda"):
        split_device(device)


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_gpus_are_none_and_torch_is_not_asked(hidden, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert not has_cuda() and describe_device() == "cpu"
    code = "import sys, meisho.extractors.machine as m; m.has_cuda(); print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_signs_of_a_gpu_without_one_are_checked_with_torch(monkeypatch):
    import torch

    monkeypatch.setattr(machine, "_shows_gpu", lambda: True)
    assert has_cuda() == torch.cuda.is_available()


def test_missing_packages_are_named_with_the_extra(monkeypatch):
    require_torch("this")
    monkeypatch.setattr(machine, "has_package", lambda name: name != "timm")
    with pytest.raises(MissingDependencyError, match=r"^this needs timm; run pip install 'meisho\[local\]'$"):
        require_torch("this", extra="local")
