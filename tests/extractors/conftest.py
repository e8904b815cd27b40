"""Fixtures of the extractors' tests."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def quadrangles():
    """An image (224, 288, 3) with corners of every kind; read-only."""
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(0)
    image = np.full((224, 288, 3), 60, np.uint8)
    for _ in range(60):
        corners = cv2.convexHull(rng.uniform(0, [288, 224], (4, 2)).astype(np.int32))
        cv2.fillConvexPoly(image, corners, [int(v) for v in rng.integers(0, 256, 3)], cv2.LINE_AA)
    image.setflags(write=False)
    return image
