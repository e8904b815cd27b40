"""Solids from rings and paths."""

import numpy as np
import pytest

from meisho.toycity.canvas import Canvas
from meisho.toycity.shapes import ball, block, loft, moved, patch, ring, tube, turned

STONE = Canvas(np.full((64, 64, 3), 128, dtype=np.uint8), 8).texture()
SOLIDS = {
    "loft": lambda: loft([ring((0, 0, z), (r, r)) for r, z in ((2, 0), (1, 3), (1.5, 5))], STONE),
    "cone": lambda: loft([ring((0, 0, 0), (2, 1)), ring((0, 0, 4), (0, 0))], STONE),
    "ball": lambda: ball((0, 0, 2), (1, 2, 1.5), STONE),
    "tube": lambda: tube([(0, 0, 0), (0.1, 0, 2), (0, 0.2, 4)], [0.5, 0.6, 0.4], STONE),
    "lying tube": lambda: tube([(-2, 0, 1), (0, 0.1, 1), (2, 0, 1)], [0.5, 0.6, 0.4], STONE),
    "block": lambda: block((-1, 1), (-2, 2), (0, 3), STONE),
    "turned block": lambda: turned(block((-1, 1), (-2, 2), (0, 3), STONE), 0.7, (0.0, 0.0)),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_faces_look_outward(name):
    parts = SOLIDS[name]()
    middle = np.concatenate([p.corners for p in parts]).mean(axis=0)
    for part in parts:
        face = part.corners.mean(axis=0)
        axis = middle.copy()
        if "tube" in name:  # long: the nearest point of its axis
            axis[2 if name == "tube" else 0] = face[2 if name == "tube" else 0]
        assert part.normal @ (face - axis) > 0


@pytest.mark.parametrize("name", SOLIDS)
def test_corners_lie_in_the_plane_of_their_surface(name):
    for part in SOLIDS[name]():
        off = (part.corners - part.corners[0]) @ part.normal
        assert np.abs(off).max() < 0.12 * np.ptp(part.corners, axis=0).max()
        assert part.u @ part.v == pytest.approx(0, abs=1e-6)


def test_the_texture_goes_on_from_one_face_to_the_next():
    """On a prism no texel is squeezed: neighbours agree on the texel of each corner that they share."""
    parts = loft([ring((0, 0, z), (2, 2), sides=8) for z in (0.0, 1.0, 2.5)], STONE)
    texels = {}
    for number, part in enumerate(parts):
        for corner in part.corners:
            at = (corner - part.origin) @ part.u, (corner - part.origin) @ part.v
            if number % 8 == 7 and np.allclose(corner[:2], parts[0].corners[0][:2]):
                continue  # the seam
            texels.setdefault(tuple(np.round(corner, 3)), []).append(at)
    assert max(map(len, texels.values())) == 4
    for found in texels.values():
        assert np.ptp(np.array(found), axis=0).max() < 2e-3


def test_a_patch_without_area_is_none():
    a, b, c = (np.array(v, dtype=float) for v in ((0, 0, 0), (1, 0, 0), (2, 0, 0)))
    assert patch([a, a, b], STONE) is None
    assert patch([a, b, c], STONE) is None
    assert patch([a, b, b + np.array([0, 0, 1]), a], STONE) is not None


def test_moving_takes_the_texture_along():
    part = block((-1, 1), (-2, 2), (0, 3), STONE)[0]
    there = moved(turned([part], np.pi / 2, (0.0, 0.0)), (5.0, 0.0, 1.0))[0]
    before = (part.corners - part.origin) @ np.column_stack([part.u, part.v])
    after = (there.corners - there.origin) @ np.column_stack([there.u, there.v])
    np.testing.assert_allclose(before, after, atol=1e-3)
    assert there.normal @ [1, 0, 0] == pytest.approx(1, abs=1e-6)
