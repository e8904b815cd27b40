"""ASMK as it is written down, feature by feature, in float64."""

import numpy as np


def nearest(descriptor, centers, count):
    return np.argsort(((centers - descriptor) ** 2).sum(axis=1), kind="stable")[:count]


def aggregate(descriptors, centers, *, assignments=1, binary=True):
    """Word -> unit residual, or its signs -1 and 1."""
    sums = {}
    for descriptor in np.asarray(descriptors, np.float64):
        for word in nearest(descriptor, centers, assignments):
            sums[word] = sums.get(word, 0) + descriptor - centers[word]
    if binary:
        return {word: np.where(total > 0, 1, -1) for word, total in sums.items()}
    return {word: total / np.linalg.norm(total) for word, total in sums.items()}


def similarity(u, alpha, threshold):
    return np.sign(u) * abs(u) ** alpha if u >= threshold else 0.0


def scores(query, database, centers, *, assignments=1, binary=True, idf=True, alpha=3.0, threshold=0.0):
    """(N,) scores of a query (K, D) with database photos (K_n, D)."""
    photos = [aggregate(photo, centers, binary=binary) for photo in database]
    asked = aggregate(query, centers, assignments=assignments, binary=binary)
    counts = [sum(word in photo for photo in photos) for word in range(len(centers))]
    weight = [np.log(len(photos) / n) ** 2 if idf and n else 1.0 for n in counts]
    length = np.sqrt(sum(weight[word] for word in asked))
    found = []
    for photo in photos:
        total = 0.0
        for word in set(asked) & set(photo):
            u = asked[word] @ photo[word] / (len(centers[0]) if binary else 1)
            total += weight[word] * similarity(u, alpha, threshold)
        own = np.sqrt(sum(weight[word] for word in photo))
        found.append(total / (own * length) if own * length else 0.0)
    return np.array(found)
