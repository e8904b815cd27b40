"""Devices that tests run on: the CPU always, a GPU where there is one."""

import pytest
import torch

NEEDS_GPU = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
)
"""Marks of a parameter that needs a GPU; for a whole test: `@on_gpu`."""

DEVICES = ("cpu", pytest.param("cuda", marks=NEEDS_GPU))
"""For `pytest.mark.parametrize`: what is true on a GPU is tested on the CPU too."""


def on_gpu(test):
    """Run a test where there is a GPU."""
    for mark in NEEDS_GPU:
        test = mark(test)
    return test
