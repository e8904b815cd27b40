import pytest
import torch

from meisho.errors import ConfigError
from meisho.extractors.base import load_extractor
from meisho.extractors.devices import check_precision, choose_device
from meisho.extractors.machine import describe_device


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_what_needs_cuda_is_refused_without_it():
    for options in ({"precision": "fp16"}, {"device": "cuda"}, {"device": "cuda:3"}):
        with pytest.raises(ConfigError, match=r"CUDA"):
            load_extractor("default", **options)
    assert choose_device("auto") == torch.device("cpu")
    assert describe_device() == "cpu"


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "cpu0"])
def test_an_unknown_device_is_named(device):
    with pytest.raises(ConfigError, match=f"device='{device}': choose auto, cpu or cuda"):
        choose_device(device)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_cpu_computes_these(precision):
    check_precision(precision, torch.device("cpu"))
