"""Labelled photos that are cheap to make: each landmark has a pattern, each photo its own light and place."""

import numpy as np
from PIL import Image


def write_places(root, *, landmarks=6, photos=6, side_px=64, seed=0):
    """Write ROOT/LABEL/N.png; returns root."""
    rng = np.random.default_rng(seed)
    for landmark in range(landmarks):
        folder = root / f"place_{landmark}"
        folder.mkdir(parents=True)
        pattern = rng.integers(0, 256, (8, 8, 3)).repeat(side_px // 8 + 2, 0).repeat(side_px // 8 + 2, 1)
        for number in range(photos):
            y, x = rng.integers(0, 16, 2)
            light = rng.uniform(0.6, 1.0)
            cut = pattern[y : y + side_px, x : x + side_px] * light + rng.normal(0, 10, (side_px, side_px, 3))
            Image.fromarray(cut.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return root


def recipe_values(root, **tables):
    """Values of a recipe that takes about a second: test_resnet at 32 px on the photos of `write_places`."""
    values = {
        "data": {"dataset": "folder", "root": str(root), "cache_side_px": 64},
        "model": {
            "backbone": "test_resnet",
            "weights": "none:0",
            "projection_dim": 16,
            "batch_norm": True,
            "max_side_px": 64,
        },
        "sampling": {"batch_size": 8},
        "optimiser": {"backbone_rate": 1e-3, "head_rate": 1e-2},
        "schedule": {"epochs": 2, "sizes": [{"px": 32}]},
        "validation": {"share": 0.34, "at_start": False},
        "hardware": {"workers": 0, "device": "cpu"},
    }
    for name, table in tables.items():
        values[name] = {**values.get(name, {}), **table} if isinstance(table, dict) else table
    return values
