import math

import pytest

from meisho.training.meter import Meter


def record(meter, num_steps):
    return meter.record(epoch=1, step=7, num_steps=num_steps, size_px=64, rate=0.5)


def test_an_epoch_is_the_mean_of_its_steps():
    meter = Meter()
    meter.count((4.0, 3.0, 1.0, 0.0), 2.0, num_photos=8, seconds=1.0)
    meter.count((2.0, 1.0, 1.0, 0.0), math.inf, num_photos=8, seconds=3.0)  # fp16 left this step out
    meter.waited = 1.0
    done = record(meter, 2)
    assert (done.loss, done.head_loss, done.pair_loss, done.other_loss) == (3.0, 2.0, 1.0, 0.0)
    assert done.gradient_norm == 2.0  # of the one that is finite
    assert (done.images_per_second, done.waiting, done.seconds) == (4.0, 0.25, 4.0)
    assert math.isnan(done.validation_map) and math.isnan(done.accuracy)


def test_an_epoch_without_a_step_divides_by_nothing():
    done = record(Meter(), 0)
    assert (done.loss, done.images_per_second) == (0.0, 0.0) and math.isnan(done.gradient_norm)


def test_waiting_ends_with_the_items_and_passes_their_errors_on():
    def items():
        yield 1
        raise ValueError("broken")

    meter, seen = Meter(), []
    assert list(meter.wait_for(iter([1, 2]))) == [1, 2] and meter.waited > 0
    with pytest.raises(ValueError, match="broken"):
        for item in meter.wait_for(items()):
            seen.append(item)
    assert seen == [1]
