"""The mark of our drawings: all that saves one marks it, and nothing else is taken for one."""

import ast
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meisho.datasets.statistics import ClassStatistics
from meisho.descriptors import Provenance
from meisho.errors import InputError
from meisho.evaluate.report import Figure, Report
from meisho.evaluate.sweep import Sweep, SweepEntry
from meisho.geometry.ransac import Verification
from meisho.local_features import LocalFeatures
from meisho.marks import PICTURE_SUFFIXES, is_our_drawing, save_drawing
from meisho.matches import Matches
from meisho.photo_pair import PhotoPair
from meisho.photos import Photo
from meisho.training.history import EpochRecord, plot_history
from meisho.web.drawing import draw_matches
from meisho.web.frontier import draw_sweep
from meisho.web.histogram import draw_histogram
from meisho.web.tiles import PagePhotos, Tile

PACKAGE = Path(__file__).parent.parent / "src" / "meisho"


def make_pair(folder):
    Image.effect_noise((120, 80), 90).save(folder / "photo.png")
    photo = Photo("photo", folder / "photo.png")
    features = LocalFeatures(np.array([[9.5, 24.5]], np.float32), np.ones((1, 2)), np.ones(1), (120, 80))
    found = Verification("affine", np.eye(3), np.ones(1, bool))
    return PhotoPair(photo, photo, features, features, Matches(np.array([[0, 0]]), np.ones(1)), found)


def draw_page(path):
    page = PagePhotos(path.parent / "page.html")
    page.add_matches([Tile("photo", "plain", "", "", rank=1)], [make_pair(path.parent)], "matches")
    (page.folder / "matches-1.jpg").rename(path)


def draw_counts(path):
    statistics = ClassStatistics(3, 1, 3, 3, 3, 3, "x", 0, 1.0, 1, 0.0)
    draw_histogram(np.array([3]), statistics, path, title="one")


def draw_chains(path):
    figure = Figure("revisitop_map", "medium", 0.5, 0.4, 0.6, 3)
    report = Report("toy", "revisitop", Provenance("x"), "", False, 9, 3, (figure,), ())
    draw_sweep(Sweep((SweepEntry("", report),)), path)


def draw_curves(path):
    values = dict.fromkeys(EpochRecord.__dataclass_fields__, 0.5) | {"epoch": 1, "step": 1, "size_px": 64}
    plot_history([EpochRecord(**values)], path)


DRAWN = {
    "match.jpg": lambda path: draw_matches(make_pair(path.parent), path),
    "match.JPEG": lambda path: draw_matches(make_pair(path.parent), path),
    "match.png": lambda path: draw_matches(make_pair(path.parent), path),
    "match.webp": lambda path: draw_matches(make_pair(path.parent), path),
    "page.jpg": draw_page,
    "counts.png": draw_counts,
    "counts.svg": draw_counts,
    "curves.png": draw_curves,
    "sweep.png": draw_chains,
}
"""A file name -> what draws it; a new writer of pictures is one line here."""


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawing_is_known_by_its_mark(tmp_path, name):
    DRAWN[name](tmp_path / name)
    assert is_our_drawing(tmp_path / name)
    if not name.endswith("svg"):
        with Image.open(tmp_path / name) as picture:
            picture.load()
    if name.startswith("match"):
        assert not is_our_drawing(tmp_path / "photo.png")


@pytest.mark.parametrize("suffix", sorted(PICTURE_SUFFIXES))
@pytest.mark.parametrize("size", [(1, 1), (1500, 1200)])
def test_the_mark_stands_where_it_is_looked_for(tmp_path, suffix, size):
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    path = tmp_path / f"drawing{suffix}"
    save_drawing(Image.fromarray(noise), path, quality=95)
    assert is_our_drawing(path)
    Image.fromarray(noise).save(path)
    assert not is_our_drawing(path)


@pytest.mark.parametrize("name", ["drawing.bmp", "drawing", "drawing.tif"])
def test_a_drawing_that_could_not_be_marked_is_not_saved(tmp_path, name):
    with pytest.raises(InputError, match="a drawing cannot be saved as"):
        save_drawing(Image.new("RGB", (2, 2)), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_read_is_no_drawing(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    for path in (*tmp_path.iterdir(), tmp_path, tmp_path / "missing", Path("a\0b"), Path("/dev/zero")):
        assert not is_our_drawing(path)


MAY_SAVE_PICTURES = {"marks.py", "images.py", "training/photo_cache.py", "toycity/photo.py"}
"""The last three make thumbnails, stored photos and photos of the drawn city: no drawings of ours."""


def calls_of(path):
    tree = ast.parse(path.read_text())
    return [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]


def test_no_module_saves_a_picture_without_the_mark():
    figures = 0
    for path in PACKAGE.rglob("*.py"):
        draws = (
            "from PIL import" in path.read_text() and str(path.relative_to(PACKAGE)) not in MAY_SAVE_PICTURES
        )
        for call in calls_of(path):
            assert not (draws and call.func.attr == "save"), f"{path}:{call.lineno}: use save_drawing"
            if call.func.attr == "savefig":
                figures += 1
                given = [ast.unparse(k.value) for k in call.keywords if k.arg == "metadata"]
                assert "FIGURE_METADATA" in "".join(given), f"{path}:{call.lineno}: give FIGURE_METADATA"
    assert figures == 3
