"""Features of ranked photos, read from a collection: the right ones, few times, within bounds."""

import numpy as np
import pytest

from meisho.descriptors import Provenance
from meisho.errors import CollectionError
from meisho.local_features import LocalFeatures
from meisho.ranking import Ranking
from meisho.rerank.evidence import Evidence
from meisho.rerank.geometric import GeometricReranker
from meisho.store.collection import Collection
from meisho.store.records import PhotoRecord
from meisho.stored_features import CollectionFeatures, StoredFeatures

DIM = 32
NONE = LocalFeatures(np.empty((0, 2)), np.empty((0, DIM)), np.empty(0), (640, 480))


def features_of(number, *, shift_px=0.0, noise=0.0):
    """60 features of a place; shifted and with noise, of another photo of the same place."""
    rng = np.random.default_rng(number)
    descriptors = rng.standard_normal((60, DIM)) + noise * np.random.default_rng(99).standard_normal(
        (60, DIM)
    )
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    keypoints = rng.uniform(0, 400, (60, 2)) + shift_px
    return LocalFeatures(keypoints, descriptors, np.ones(60), (640, 480))


@pytest.fixture
def collection(tmp_path):
    made = Collection.create(tmp_path / "c", photo_root=tmp_path, provenance=Provenance("x"), dim=2)
    made = made.enable_local(Provenance("y"), DIM)
    with made.writer() as writer:
        contents = [f"{n:064x}" for n in range(6)]
        writer.add_descriptors(contents, np.ones((6, 2), np.float32))
        writer.put_records([PhotoRecord(f"p{n}", c, 1, 1, 640, 480) for n, c in enumerate(contents)])
        writer.add_local_features(contents[:5], [features_of(n) for n in range(5)])
    return made


IDS = [f"p{n}" for n in (5, 4, 3, 2, 1, 0)]


def test_rows_are_answered_in_order_and_a_photo_without_features_by_none(collection):
    source = CollectionFeatures(StoredFeatures(collection, IDS, max_bytes=20_000), [NONE])
    for rows in ([1, 0, 5, 1], [5, 4, 3, 2, 1, 0], [], [2]):
        found = source.database(np.array(rows, np.int64))
        assert len(found) == len(rows)
        for row, features in zip(rows, found, strict=True):
            if row == 0:
                assert (len(features), features.descriptors.shape) == (0, (0, DIM))
            else:
                np.testing.assert_allclose(
                    features.keypoints, features_of(5 - row).keypoints, atol=0.2
                )  # of 400 px
    assert source.query(0) is NONE


def test_what_was_asked_for_last_is_kept_and_no_more(collection, monkeypatch):
    one = StoredFeatures(collection, IDS).read(np.array([1]))[0].num_bytes + 1_000  # and Python's share
    source, read = StoredFeatures(collection, IDS, max_bytes=3 * one), []
    original = source._reader.read
    monkeypatch.setattr(source._reader, "read", lambda rows: (read.append(rows.tolist()), original(rows))[1])
    for rows in ([1, 2, 3], [3, 1], [4], [1], [2]):
        source.read(np.array(rows))
    assert read == [[1, 2, 3], [4], [2]]


def test_a_collection_without_local_features_is_refused(tmp_path):
    made = Collection.create(tmp_path / "c", photo_root=tmp_path, provenance=Provenance("x"), dim=2)
    with pytest.raises(CollectionError, match="holds no local features"):
        StoredFeatures(made, [])


def test_a_ranking_is_reranked_from_stored_features(collection):
    queries = [features_of(3, shift_px=25, noise=0.2), features_of(0, shift_px=-4, noise=0.2)]
    source = CollectionFeatures(StoredFeatures(collection, IDS), queries)
    ranks = np.tile(np.arange(6), (2, 1))
    ranking = Ranking(("q3", "q0"), tuple(IDS), ranks, np.tile(np.linspace(0.6, 0.5, 6), (2, 1)))
    reranked = GeometricReranker(order="inliers").rerank(ranking, Evidence(local=source))
    assert [reranked.ids_of(query)[0] for query in (0, 1)] == ["p3", "p0"]
    assert reranked.scores[0, 0] > 50


def test_the_fingerprint_tells_photos_contents_and_features_from_others(collection):
    def fingerprint(ids=IDS):
        return StoredFeatures(collection, ids).fingerprint

    first = fingerprint()
    assert fingerprint() == first
    assert len({first, fingerprint(IDS[1:]), fingerprint(IDS[::-1])}) == 3
    with collection.writer() as writer:
        writer.add_local_features([f"{5:064x}"], [features_of(5)])
    with_features = fingerprint()
    with collection.writer() as writer:
        writer.put_records([PhotoRecord("p0", f"{1:064x}", 1, 1, 640, 480)])
    assert len({first, with_features, fingerprint()}) == 3
