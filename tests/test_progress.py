"""What a run waits for: counted by a clock that the test moves, in real pipelines."""

from functools import partial

import pytest
from PIL import Image

from meisho import decoding, hashing, update
from meisho.describing import Describer
from meisho.hashing import name_contents
from meisho.photo_folder import find_photos
from meisho.progress import (
    DECODING,
    DESCRIBING,
    READING,
    SAVING,
    Stages,
    find_bottleneck,
)
from meisho.run.indexing import index_photos
from meisho.store.writer import CollectionWriter
from toy_features import MeanColor


class Clock:
    """Stands still until it is moved."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def move(self, seconds=1.0):
        self.now += seconds


def test_each_moment_belongs_to_the_innermost_stage():
    clock = Clock()
    stages = Stages(clock)
    clock.move(100)  # before any stage
    with stages.at("outer"):
        clock.move(1)
        with stages.at("inner"):
            clock.move(2)
        clock.move(4)
        with pytest.raises(KeyError), stages.at("inner"):
            clock.move(8)
            raise KeyError
        clock.move(16)
    clock.move(100)
    assert stages.seconds() == {"outer": 21, "inner": 10}


def test_waiting_counts_what_items_take_to_come_and_not_what_is_done_with_them():
    clock = Clock()
    stages = Stages(clock)

    def items():
        for item in "abc":
            clock.move(1)
            with stages.at("within"):
                clock.move(10)
            yield item
        clock.move(5)

    found = []
    for item in stages.waiting("items", items()):
        clock.move(1000)
        found.append(item)
    assert found == ["a", "b", "c"]
    assert stages.seconds() == {"items": 8, "within": 30}


@pytest.mark.parametrize(
    ("seconds", "least_seconds", "bottleneck"),
    [
        ({}, 0, None),
        ({"a": 0.0}, 0, None),
        ({"a": 6.0, "b": 3.0, "c": 2.0}, 0, "a"),
        ({"a": 2.0, "b": 7.0, "c": 4.0}, 0, "b"),
        ({"a": 5.0, "b": 5.0}, 0, None),  # no stage has more than half
        ({"a": 4.0, "b": 3.0, "c": 3.0}, 0, None),
        ({"a": 4.9}, 5, None),
        ({"a": 5.0}, 5, "a"),
    ],
)
def test_the_bottleneck_takes_more_than_half(seconds, least_seconds, bottleneck):
    assert find_bottleneck(seconds, least_seconds=least_seconds) == bottleneck


def slow(function, clock):
    """Return a function that takes a second of the clock."""

    def do(*arguments, **options):
        clock.move()
        return function(*arguments, **options)

    return do


@pytest.mark.parametrize("stage", [READING, DECODING, DESCRIBING, SAVING])
def test_where_a_run_is_slow_is_its_bottleneck(stage, tmp_path, monkeypatch):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(8):
        Image.new("RGB", (40, 30), (30 * number, 9, 90)).save(folder / f"{number}.png")
    clock = Clock()
    stages = Stages(clock)
    place, name = {
        READING: (hashing, "name_content"),
        DECODING: (decoding, "load_sized_image"),
        DESCRIBING: (MeanColor, "extract"),
        SAVING: (CollectionWriter, "put_records"),
    }[stage]
    monkeypatch.setattr(place, name, slow(getattr(place, name), clock))
    in_step = partial(name_contents, num_threads=1, max_waiting=1)  # hashed only while they are waited for
    monkeypatch.setattr(update, "name_contents", in_step)
    describer = Describer(MeanColor(), batch_size=2, num_workers=0)
    summary = index_photos(find_photos(folder), tmp_path / "c.meisho", describer, stages=stages)
    assert summary.described == 8
    assert find_bottleneck(summary.stages) == stage
    assert summary.stages[stage] == clock.now > 0
