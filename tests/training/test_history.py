import math
from dataclasses import replace

from PIL import Image

from meisho.training.history import EpochRecord, plot_history, write_history

FIELDS = dict.fromkeys(EpochRecord.__dataclass_fields__, math.nan)
START = EpochRecord(**{**FIELDS, "epoch": 0, "step": 0, "size_px": 64, "validation_map": 0.4})
FIRST = replace(
    START, epoch=1, rate=0.1, loss=3.0, head_loss=3.0, pair_loss=0.0, other_loss=0.0, validation_map=0.5
)
SECOND = replace(FIRST, epoch=2, size_px=96, loss=2.5, head_loss=2.0, pair_loss=0.5, accuracy=0.9)


def height_px(records, path):
    plot_history(records, path)
    with Image.open(path) as picture:
        return picture.height


def test_the_curves_have_a_panel_for_each_thing_that_was_measured(tmp_path):
    everything = height_px([START, FIRST, SECOND], tmp_path / "a.png")
    without_accuracy = height_px([START, FIRST], tmp_path / "b.png")
    losses_alone = height_px([replace(FIRST, validation_map=math.nan)], tmp_path / "c.png")
    assert everything > without_accuracy > losses_alone
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "c.png"]


def test_curves_of_a_network_that_was_only_validated_are_drawn(tmp_path):
    assert height_px([START], tmp_path / "curves.png") > 0


def test_a_table_leaves_empty_what_was_not_measured(tmp_path):
    write_history([START, SECOND], tmp_path / "history.csv")
    heading, start, second = (tmp_path / "history.csv").read_text().splitlines()
    assert heading.split(",")[:5] == ["epoch", "step", "size_px", "rate", "loss"]
    assert start.startswith("0,0,64,,,") and second.startswith("2,0,96,0.1,2.5,2,0.5,0,0.9,0.5,")
