import itertools
import math

import pytest
import torch
from torch import nn

from meisho.errors import ConfigError
from meisho.training.recipe_tables import FreezeRecipe, ScheduleRecipe, SizeRecipe
from meisho.training.schedule import freeze_parameters, frozen_names, rate_factor, size_at, unknown_names


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        # 11 steps, two of them warm-up, end .1: the cosine goes from step 1 to step 10 in nine parts
        (0, 0.5),
        (1, 1.0),
        (4, 0.1 + 0.9 * (1 + math.cos(math.pi / 3)) / 2),  # 3 of 9 parts: .775
        (10, 0.1),
        (11, 0.1),
    ],
)
def test_the_rate_rises_in_a_line_and_falls_by_half_a_cosine(step, factor):
    assert rate_factor(step, 11, warmup_steps=2, end=0.1) == pytest.approx(factor, abs=1e-12)


def test_the_rate_of_the_chapter_truly_falls():
    # script 12: 1e-4 to 1e-6; a schedule whose end equals its start was the fault
    rates = [1e-4 * rate_factor(step, 1000, end=0.01) for step in range(1000)]
    assert rates[0] == 1e-4
    assert rates[-1] == pytest.approx(1e-6, rel=1e-12)
    assert all(a > b for a, b in itertools.pairwise(rates))


def test_a_schedule_of_one_step_is_at_its_top():
    assert rate_factor(0, 1, end=0.5) == 1.0


def test_sizes_and_freezes_follow_the_epoch():
    sizes = (SizeRecipe(224, 3), SizeRecipe(160), SizeRecipe(288, 5))
    assert [size_at(e, sizes) for e in range(7)] == [160, 160, 160, 224, 224, 288, 288]
    freezes = (FreezeRecipe(("backbone",), 0, 2), FreezeRecipe(("backbone.conv1",), 1))
    assert [frozen_names(e, freezes) for e in range(4)] == [
        ("backbone",),
        ("backbone", "backbone.conv1"),
        ("backbone.conv1",),
        ("backbone.conv1",),
    ]


def test_freezing_by_name_takes_whole_names_and_is_undone():
    network = nn.ModuleDict({"conv": nn.Linear(2, 2), "conv_head": nn.Linear(2, 2)})
    network["conv"].weight.grad = torch.ones(2, 2)
    assert freeze_parameters(network, ["conv"]) == 2
    trained = [name for name, p in network.named_parameters() if p.requires_grad]
    assert trained == ["conv_head.weight", "conv_head.bias"]
    assert network["conv"].weight.grad is None
    assert freeze_parameters(network, ["conv.weight"]) == 1
    assert freeze_parameters(network, []) == 0
    assert all(p.requires_grad for p in network.parameters())
    assert unknown_names(network, ["conv", "conv_h", "conv.weight"]) == ["conv_h"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"warmup_epochs": 11.0}, "warmup_epochs"),
        ({"end": 1.5}, "end=1.5"),
        ({"sizes": (SizeRecipe(224, 1),)}, "from_epoch = 0"),
        ({"sizes": (SizeRecipe(16),)}, r"sizes\.px=16: must be from 32"),
        ({"ema_decay": 1.0}, "ema_decay"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        ScheduleRecipe(**values)
