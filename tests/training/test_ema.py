import pytest
import torch
from torch import nn

from meisho.training.ema import MovingAverage


def test_the_average_follows_by_the_ramp_and_then_by_the_decay():
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = MovingAverage(network, 0.2)
    nn.init.ones_(network.weight)
    # n = 1: keeps 1/10; n = 2: min(.2, 2/11) = 2/11; n = 3: min(.2, 3/12) = .2
    expected = 0.0
    for kept in (1 / 10, 2 / 11, 0.2):
        average.update(network)
        expected = kept * expected + (1 - kept)
        assert float(average.network.weight) == pytest.approx(expected, abs=1e-6)
    assert average.num_updates == 3


def test_statistics_are_averaged_and_counters_copied_and_the_network_is_left_alone():
    network = nn.BatchNorm1d(2)
    average = MovingAverage(network, 0.9)
    network(torch.tensor([[0.0, 10.0], [2.0, 30.0]]))
    before = {k: v.clone() for k, v in network.state_dict().items()}
    average.update(network)
    assert int(average.network.num_batches_tracked) == 1
    torch.testing.assert_close(average.network.running_mean, 0.9 * network.running_mean)
    assert not average.network.training and network.training
    assert not any(p.requires_grad for p in average.network.parameters())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
