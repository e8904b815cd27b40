"""Local descriptors around known centres, so that no near tie decides a word."""

import numpy as np

from meisho.local_features import LocalFeatures


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def make_centers(num_words=40, dim=64, seed=0):
    return unit(np.random.default_rng(seed).standard_normal((num_words, dim)))


def make_photos(centers, count=12, *, features=30, noise=0.6, seed=1):
    """Photos of up to `features` descriptors; the last has none."""
    generator = np.random.default_rng(seed)
    photos = []
    for number in range(count):
        size = 0 if number == count - 1 else int(generator.integers(features // 2, features))
        near = centers[generator.integers(0, len(centers), size)]
        photos.append(unit(near + noise * unit(generator.standard_normal(near.shape))))
    return photos


def features_of(descriptors):
    count = len(descriptors)
    return LocalFeatures(np.zeros((count, 2)), descriptors, np.zeros(count), (640, 480))
