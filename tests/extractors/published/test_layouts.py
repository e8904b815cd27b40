"""Descriptors of published layouts are those of the authors' own code, on checkpoints drawn by one rule.

The numbers in `golden.json` were computed with the authors' code on the same tensors and images; the
docstring of each converter says which repository and commit. `checkpoints.py` makes the checkpoints anew.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from checkpoints import CHECKPOINTS, SIZES
from drawn import draw_images, summarise

from meisho.extractors.base import load_extractor
from meisho.extractors.published.base import BY_NAME_ONLY, LAYOUTS

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())
PROVED_ELSEWHERE = {"parts", "timm-folder"}
"""Layouts of nobody's code, and of code that is at hand: see `test_files.py`."""


REST_LEFT = {"dolg", "delg-pytorch", "cvnet", "superglobal", "salad", "dinov2"}
"""Layouts whose checkpoints hold more than the network that describes."""


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_descriptors_are_those_of_the_authors(name, tmp_path):
    write, options, model = CHECKPOINTS[name]
    path = tmp_path / "model.pth"
    write(path)
    if model in BY_NAME_ONLY:
        extractor = load_extractor(f"published:{model}", weights=str(path), device="cpu", **options)
    else:
        extractor = load_extractor(str(path), device="cpu", **options)
    images = draw_images(*SIZES.get(name, (96, 128)))
    vectors = extractor.extract(images)
    assert vectors.shape == (2, extractor.dim)
    np.testing.assert_allclose(summarise(vectors), GOLDEN[name], rtol=0, atol=1e-4)
    assert extractor.provenance.extractor == f"published:{model}"
    assert (extractor.remarks != ()) == (model in REST_LEFT)


def test_every_layout_is_proved():
    assert {model.partition(":")[0] for _, _, model in CHECKPOINTS.values()} | PROVED_ELSEWHERE == set(
        LAYOUTS
    )
    assert set(CHECKPOINTS) == set(GOLDEN)
