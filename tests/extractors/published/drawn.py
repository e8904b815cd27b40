"""Checkpoints drawn by a rule that needs only names and shapes: the authors' code was fed with the same.

`keys/NAME.txt` lists the names and shapes of a model of the authors' code, such as "conv1.weight 64 3 7 7".
"""

import zlib
from pathlib import Path

import numpy as np
import torch

KEYS = Path(__file__).parent / "keys"


def read_table(name):
    """Return name -> shape of the tensors of a model, in the authors' order."""
    lines = (KEYS / f"{name}.txt").read_text().splitlines()
    return {line.split()[0]: tuple(map(int, line.split()[1:])) for line in lines}


def draw_tensor(key, shape):
    """Return a tensor that depends on its name and shape alone."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if key.endswith(("pos_embed", "cls_token")):
        values = rng.normal(0, 1, shape)
    elif len(shape) > 1 and np.prod(shape[1:]) > 1:
        values = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
    elif key.endswith(("running_var", ".weight", "gamma")):
        values = rng.uniform(0.5, 1.5, shape)
    elif key.endswith(".p"):
        values = rng.uniform(2.5, 3.5, shape)
    else:
        values = rng.normal(0, 0.1, shape)
    if key.startswith("fc_t."):
        values *= 1e-3  # DOLG's global feature, else so large that its local ones do not count
    return torch.from_numpy(np.asarray(values, np.float32))


def draw_state(name):
    """Return a state dict with the names and shapes of `keys/NAME.txt`."""
    return {key: draw_tensor(key, shape) for key, shape in read_table(name).items()}


def draw_images(height=96, width=128):
    """Return two images of coarse patches and noise: (2, height, width, 3) uint8."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 200, (2, -(-height // 16), -(-width // 16), 3))
    patches = coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]
    return (patches + rng.integers(0, 56, patches.shape)).astype(np.uint8)


def summarise(vectors):
    """Return the first four values of each row, and its products with four drawn vectors: (N, 8) float64."""
    drawn = np.random.default_rng(4).normal(size=(4, vectors.shape[1]))
    vectors = np.asarray(vectors, np.float64)
    return np.concatenate([vectors[:, :4], vectors @ drawn.T], axis=1)
