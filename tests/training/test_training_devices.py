"""What is trained does not depend on the device or the precision, but for rounding."""

import math

import numpy as np
import pytest

from devices import NEEDS_GPU
from meisho.extractors.base import load_extractor
from meisho.training.train import train

WAYS = [
    ("cpu", "bf16", 0.02),
    *(
        pytest.param("cuda", *way, marks=NEEDS_GPU)
        for way in (("float32", 1e-3), ("bf16", 0.02), ("fp16", 0.02))
    ),
]
"""Device, precision, and how much losses may differ from those of float32 on the CPU, relative."""


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize(("device", "precision", "tolerance"), WAYS)
def test_a_run_learns_what_float32_on_the_cpu_learns(
    make_recipe, tmp_path, images, device, precision, tolerance
):
    tables = {
        "augmentation": {"name": "crop", "on_device": True},
        "head": {"options": {"scale": 10.0}},
        "optimiser": {"backbone_rate": 1e-4, "head_rate": 1e-3},
        # norms over maps of one cell would magnify what is rounded a hundred times
        "model": {"batch_norm": False},
        "schedule": {"freeze_batch_norm": True, "sizes": [{"px": 64}], "ema_decay": 0.9},
    }
    exact = train(make_recipe(**tables), tmp_path / "exact")
    hardware = {"precision": precision, "device": "cpu" if device == "cpu" else "auto"}
    found = train(make_recipe(**tables, hardware=hardware), tmp_path / "found")
    for ours, theirs in zip(found.history, exact.history, strict=True):
        assert ours.step == theirs.step
        assert ours.loss == pytest.approx(theirs.loss, rel=tolerance, nan_ok=math.isnan(theirs.loss))
    assert not math.isnan(exact.history[-1].loss)
    here, there = (
        load_extractor(str(tmp_path / name / "best"), device=where).extract(images)
        for name, where in (("found", device), ("exact", "cpu"))
    )
    assert (here * there).sum(axis=1).min() > 0.99
    there = load_extractor(str(tmp_path / "found" / "best"), device="cpu").extract(images)
    np.testing.assert_allclose(here, there, rtol=0, atol=1e-3)  # the same weights on both devices
