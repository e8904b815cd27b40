"""A collection with vectors in their file, an approximate index and a graph answers as one in memory."""

import numpy as np
import pytest

from meisho.descriptors import Descriptors, Provenance, normalize_rows
from meisho.index import live as live_module
from meisho.index.graph_files import has_graph, load_graph
from meisho.rerank.base import RERANKERS
from meisho.rerank.chain import build_chain, load_reranker_class
from meisho.rerank.evidence import Evidence
from meisho.run.refreshing import BUILD_INDEX, refresh_index
from meisho.run.reranking import Reranking
from meisho.run.state import load_state
from meisho.searching import search
from meisho.store import snapshot_files
from meisho.store.collection import Collection
from meisho.store.records import PhotoRecord
from meisho.stored_vectors import StoredVectors

DIM, NUM_PLACES, PER_PLACE = 32, 160, 10
MADE_BY = Provenance("test")
GLOBAL = [name for name in RERANKERS if getattr(load_reranker_class(name), "needs_local", False) is not True]


def make_vectors(generator, places):
    centres = normalize_rows(np.random.default_rng(1).standard_normal((NUM_PLACES, DIM)).astype(np.float32))
    noise = generator.standard_normal((len(places), DIM)).astype(np.float32)
    return normalize_rows(centres[places] + 0.08 * noise)


def put(writer, names, vectors):
    contents = [f"{name:064x}" for name in names]
    writer.add_descriptors(contents, vectors)
    writer.put_records(
        [PhotoRecord(f"{n}", c, 1, 1, 1, 1, file=f"{n}") for n, c in zip(names, contents, strict=True)]
    )


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A collection that grew and shrank, the vectors that it holds now, and queries."""
    path, generator = tmp_path_factory.mktemp("large"), np.random.default_rng(0)
    places = generator.permutation(np.repeat(np.arange(NUM_PLACES), PER_PLACE))
    vectors = make_vectors(generator, places)
    collection = Collection.create(path / "c", photo_root=path, provenance=MADE_BY, dim=DIM)
    with pytest.MonkeyPatch.context() as patch, collection.writer() as writer:
        patch.setattr(snapshot_files, "LARGE_BYTES", 0)
        put(writer, range(1500), vectors[:1500])
        refresh_index(collection, "ivfpq", graph=True)
        put(writer, range(1500, 1600), vectors[1500:])
        writer.remove([str(n) for n in range(0, 1600, 40)])
        refresh_index(collection)
        yield collection, vectors[np.arange(1600) % 40 > 0], make_vectors(generator, np.arange(20))


@pytest.mark.parametrize("text", [*GLOBAL, "dba,alpha-qe", "alpha-qe,k-reciprocal"])
def test_every_reranker_answers_as_over_vectors_in_memory(large, text):
    collection, vectors, asked = large
    state, chain = load_state(collection.path), build_chain(text)
    database = state.snapshot.descriptors
    assert isinstance(database.vectors, StoredVectors) and not state.index.is_exact and state.graph
    queries = Descriptors(tuple(map(str, range(20))), asked, MADE_BY)
    ranking = search(queries, database, index=state.index, top=50)
    rerank = Reranking(collection.path, "cpu", 2**30).with_chain(chain)(state, (), queries, None)
    found = rerank(ranking).ranks[:, :10]
    in_memory = Descriptors(database.ids, vectors, MADE_BY)
    expected = chain.rerank(search(queries, in_memory, top=50), Evidence(asked, vectors)).ranks[:, :10]
    shared = [len(np.intersect1d(a, b)) for a, b in zip(found, expected, strict=True)]
    assert np.mean(shared) >= 9.5


def test_the_graph_grows_with_the_collection_until_it_is_not_wanted(large):
    collection, vectors, _ = large
    folder = collection.path / "index"
    assert len(load_graph(folder)) == len(vectors)
    refresh_index(collection, graph=False)
    assert not has_graph(folder)
    refresh_index(collection)
    assert not has_graph(folder)


def test_an_interrupted_build_goes_on_while_the_old_index_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(live_module, "STEP_ROWS", 400)
    vectors = make_vectors(np.random.default_rng(3), np.arange(3000) % NUM_PLACES)
    collection = Collection.create(tmp_path / "c", photo_root=tmp_path, provenance=MADE_BY, dim=DIM)
    with collection.writer() as writer:
        put(writer, range(1200), vectors[:1200])
        refresh_index(collection, "ivfpq")
        put(writer, range(1200, 3000), vectors[1200:])
        with pytest.raises(KeyboardInterrupt):
            refresh_index(collection, progress=stop_at(1200))
        assert load_state(collection.path).index.num_added == 1800  # by the index before
        steps = []
        refresh_index(collection, progress=lambda *done: steps.append(done))
    assert steps == [(BUILD_INDEX, done, 3000) for done in (1600, 2000, 2400, 2800)]
    assert load_state(collection.path).index.num_added == 0
    assert not (collection.path / "index/unfinished").exists()


def stop_at(number):
    def progress(stage, done, total):
        if (stage, total) == (BUILD_INDEX, 3000) and done >= number:
            raise KeyboardInterrupt

    return progress
