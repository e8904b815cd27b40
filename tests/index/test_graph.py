"""Neighbour graphs against a sorted matrix of products, while photos come and go."""

import logging

import numpy as np
import pytest

from meisho.errors import InputError
from meisho.index import begun_lists, neighborhoods
from meisho.index import graph as graph_module
from meisho.index.begun_lists import BegunLists
from meisho.index.exact import ExactIndex
from meisho.index.faiss_index import IVFPQIndex
from meisho.index.graph import NeighborGraph
from meisho.index.graph_files import load_graph, remove_graph, save_graph
from meisho.index.scoring import score_all


def make_vectors(number, *, dim=16, seed=0, num_places=None):
    generator = np.random.default_rng(seed)
    places = generator.standard_normal((num_places or max(1, number // 5), dim))
    vectors = places[generator.integers(0, len(places), number)]
    vectors = vectors + 0.5 * generator.standard_normal(vectors.shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def build(vectors, keys=None, k=6):
    keys = np.arange(len(vectors), dtype=np.uint64) if keys is None else keys
    return NeighborGraph.build(ExactIndex.build(vectors), vectors, keys, k=k)


def list_plainly(vectors, k):
    """Neighbours (N, k) by a full sort, -1 at the end; their scores; the lowest score with any row."""
    scores = score_all(vectors, vectors)
    lowest = scores.min(axis=1, initial=np.inf)
    np.fill_diagonal(scores, -np.inf)
    order = np.argsort(-scores, axis=1, kind="stable")[:, : min(k, len(vectors) - 1)]
    rows = np.full((len(vectors), k), -1)
    best = np.full((len(vectors), k), -np.inf, np.float32)
    rows[:, : order.shape[1]] = order
    best[:, : order.shape[1]] = np.take_along_axis(scores, order, axis=1)
    return rows, best, lowest


def check(graph, vectors, k):
    rows, scores, whole = graph.find(np.arange(len(vectors)), k)
    expected_rows, expected_scores, lowest = list_plainly(vectors, k)
    np.testing.assert_array_equal(scores, expected_scores)
    np.testing.assert_array_equal(rows, expected_rows)
    assert whole.all()
    np.testing.assert_allclose(graph.find_lowest(np.arange(len(vectors))), lowest, atol=1e-6)


WORLDS = {
    "places": make_vectors(150),
    "copies": np.repeat(make_vectors(12), 9, axis=0),
    "all alike": np.repeat(make_vectors(1), 30, axis=0),
    "fewer than k": make_vectors(4),
    "two": make_vectors(2),
    "one": make_vectors(1),
    "none": make_vectors(3)[:0],
    "zero vectors": np.concatenate([make_vectors(20), np.zeros((9, 16), np.float32)]),
}


@pytest.mark.parametrize("name", WORLDS)
def test_a_graph_by_exact_search_holds_the_true_neighbours(name):
    vectors = WORLDS[name]
    graph = build(vectors)
    check(graph, vectors, 6)
    check(graph, vectors, 3)
    assert len(graph) == len(vectors) and graph.recall == 1


CHANGES = {
    "photos come": (range(90), range(100)),
    "photos come between others": (range(0, 100, 2), range(100)),
    "photos go": (range(100), range(3, 97)),
    "many photos go": (range(100), range(0, 100, 3)),
    "photos come and go": (range(80), range(15, 100)),
    "the order changes": (range(100), [*range(99, -1, -1)]),
    "nothing is left": (range(100), range(100, 107)),
    "all go": (range(100), range(0)),
    "the first come": (range(0), range(5)),
    "a few become many": (range(5), range(8)),
    "a few become more than a list holds": (range(6), range(11)),
    "nothing changes": (range(100), range(100)),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_grown_graph_is_the_graph_built_anew(name, share, monkeypatch):
    vectors = make_vectors(110)
    before, after = (np.array(rows, np.int64) for rows in CHANGES[name])
    graph = build(vectors[before], before.astype(np.uint64))
    monkeypatch.setattr(graph_module, "MOST_ADDED_SHARE", share)  # 0: whatever comes, it is built anew
    present = vectors[after]
    grown = graph.grow(ExactIndex.build(present), present, after.astype(np.uint64))
    check(grown, present, 5)  # of 6 one may be missing
    np.testing.assert_array_equal(grown.keys, after)
    assert grown.recall == 1


def test_a_graph_that_grows_often_stays_exact():
    vectors, generator = make_vectors(300, num_places=20), np.random.default_rng(1)
    present = np.arange(60)
    graph = build(vectors[present], present.astype(np.uint64))
    for _ in range(25):
        gone = generator.choice(present, 4, replace=False)
        new = generator.choice(np.setdiff1d(np.arange(300), present), 9, replace=False)
        present = np.setdiff1d(np.union1d(present, new), gone)
        now = vectors[present]
        graph = graph.grow(ExactIndex.build(now), now, present.astype(np.uint64))
        rows, scores, whole = graph.find(np.arange(len(now)), 5)
        expected_rows, expected_scores, _ = list_plainly(now, 5)
        np.testing.assert_array_equal(rows, expected_rows)
        np.testing.assert_array_equal(scores, expected_scores)
        assert whole.all()


def test_a_few_lists_are_searched_for_where_few_photos_went():
    vectors = make_vectors(200)
    graph, asked = build(vectors, k=12), []
    now = vectors[2:]

    class Counting(ExactIndex):
        def search(self, queries, top):
            asked.append(len(queries))
            return super().search(queries, top)

    grown = graph.grow(Counting(now), now, np.arange(2, 200, dtype=np.uint64))
    assert sum(asked) == 0
    check(grown, now, 10)


def test_a_graph_follows_photos_that_went_and_knows_which_lists_fell_short():
    vectors = make_vectors(100)
    graph = build(vectors).follow(np.arange(20, 103, dtype=np.uint64))
    rows, scores, whole = graph.find(np.arange(83), 6)
    expected_rows, expected_scores, _ = list_plainly(vectors[20:], 6)
    assert whole[:80].any() and not whole[:80].all() and not whole[80:].any()
    for row in range(80):
        held = (rows[row] >= 0).sum()
        assert (held == 6) == whole[row]
        np.testing.assert_array_equal(rows[row, :held], expected_rows[row, :held])
        np.testing.assert_array_equal(scores[row, :held], expected_scores[row, :held])
    assert (rows[80:] == -1).all() and np.isnan(graph.find_lowest(np.arange(80, 83))).all()


def test_more_than_it_holds_is_not_whole():
    rows, _, whole = build(make_vectors(50)).find(np.array([3, 4]), 9)
    assert not whole.any() and (rows[:, 6:] == -1).all()


def test_a_graph_by_an_approximate_index_says_its_recall():
    vectors = make_vectors(4000, dim=32)
    keys = np.arange(4000, dtype=np.uint64)
    graph = NeighborGraph.build(IVFPQIndex.build(vectors), vectors, keys, k=6)
    truth = list_plainly(vectors, 6)[0]
    shares = [np.isin(*pair).mean() for pair in zip(truth, graph.neighbors, strict=True)]
    assert 0.9 < graph.recall <= 1 and abs(graph.recall - np.mean(shares)) < 0.05


def test_of_many_rows_the_farthest_is_looked_for_among_some(monkeypatch):
    vectors = make_vectors(900)
    monkeypatch.setattr(neighborhoods, "FAR_FROM_ROWS", 500)
    monkeypatch.setattr(neighborhoods, "_FAR_SAMPLE", 300)
    lowest, truth = build(vectors).find_lowest(np.arange(900)), list_plainly(vectors, 1)[2]
    assert (lowest >= truth).all() and (lowest > truth).any() and np.abs(lowest - truth).max() < 0.4


def test_a_saved_graph_is_read_as_it_was(tmp_path):
    vectors = make_vectors(60)
    for number in (60, 40):  # the second in place of the first
        graph = build(vectors[:number])
        save_graph(graph, tmp_path)
        read = load_graph(tmp_path)
        for name in ("keys", "neighbors", "similarities", "farthest", "lowest"):
            np.testing.assert_array_equal(getattr(read, name), getattr(graph, name))
        assert (read.recall, read.k) == (graph.recall, graph.k)
        assert len([*tmp_path.iterdir()]) == 2
    remove_graph(tmp_path)
    assert load_graph(tmp_path) is None and not [*tmp_path.iterdir()]


def test_a_graph_of_nothing_is_saved_too(tmp_path):
    save_graph(build(make_vectors(3)[:0]), tmp_path)
    assert len(load_graph(tmp_path)) == 0


def test_a_graph_that_follows_others_is_not_saved(tmp_path):
    with pytest.raises(InputError, match="grow"):
        save_graph(build(make_vectors(9)).follow(np.arange(1, 9, dtype=np.uint64)), tmp_path)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


FAULTS = {
    "a bit of the lists flips": lambda lists, record: flip(lists),
    "a bit of the record flips": lambda lists, record: flip(record),
    "the lists are cut": lambda lists, record: lists.write_bytes(lists.read_bytes()[:-8]),
    "the lists are empty": lambda lists, record: lists.write_bytes(b""),
    "the lists are gone": lambda lists, record: lists.unlink(),
    "the record is empty": lambda lists, record: record.write_bytes(b""),
    "the record is of other things": lambda lists, record: record.write_text('{"kind": "exact"}'),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_graph_is_said_and_not_read(name, tmp_path, caplog):
    save_graph(build(make_vectors(60)), tmp_path)
    FAULTS[name](next(tmp_path.glob("*.lists")), tmp_path / "graph.json")
    with caplog.at_level(logging.WARNING):
        assert load_graph(tmp_path) is None
    assert "graph" in caplog.text and "build it again" in caplog.text


def test_no_neighbour_is_refused():
    with pytest.raises(InputError, match="k is 0"):
        build(make_vectors(9), k=0)


def test_a_build_goes_on_from_the_lists_that_were_found(tmp_path, monkeypatch):
    monkeypatch.setattr(graph_module, "ROWS_AT_ONCE", 100)
    monkeypatch.setattr(begun_lists, "ROWS_AT_ONCE", 100)
    vectors, keys = make_vectors(850), np.arange(850, dtype=np.uint64)
    whole = NeighborGraph.build(Counting(vectors), vectors, keys, k=8)
    with pytest.raises(KeyboardInterrupt):
        NeighborGraph.build(
            Counting(vectors, most=350), vectors, keys, k=8, begun=BegunLists(tmp_path, keys, 8)
        )
    [file] = tmp_path.iterdir()
    for content, left in {file.read_bytes(): 550, spoil(file.read_bytes()): 750, b"": 850}.items():
        file.write_bytes(content)
        searcher = Counting(vectors)
        again = NeighborGraph.build(searcher, vectors, keys, k=8, begun=BegunLists(tmp_path, keys, 8))
        assert searcher.asked == left
        np.testing.assert_array_equal(again.neighbors, whole.neighbors)
        np.testing.assert_array_equal(again.similarities, whole.similarities)
    other = BegunLists(tmp_path, keys[::-1], 8)
    assert len(other.read()[0]) == 0


def spoil(content):
    """Change a byte of the second block of lists."""
    place = 100 * 8 * 8 + 8 + 17
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


class Counting:
    """Exact search that counts its queries, and is interrupted when there are more than `most`."""

    def __init__(self, vectors, most=10**9):
        self.index, self.most, self.asked = ExactIndex.build(vectors), most, 0

    def search(self, queries, top):
        self.asked += len(queries)
        if self.asked > self.most:
            raise KeyboardInterrupt
        return self.index.search(queries, top)
