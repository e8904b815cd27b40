import numpy as np
import pytest

from meisho.asmk.codebook import Codebook
from meisho.errors import CollectionError, InputError
from meisho.ranking import NO_ROW, Ranking
from meisho.rerank.asmk import AsmkReranker
from meisho.rerank.chain import build_chain, parse_chain
from meisho.rerank.evidence import Evidence
from rerank.places import make_evidence, make_ranking

LOCAL = make_evidence(num_places=5, views=4)
RANKING = make_ranking(LOCAL)
OPTIONS = {"words": 200}


class StoredFeatures:
    """Local features that can say what they are of, as those of a collection."""

    def __init__(self, fingerprint="these"):
        self.query, self.fingerprint, self.num_read = LOCAL.query, fingerprint, 0

    def database(self, rows):
        self.num_read += len(rows)
        return LOCAL.database(rows)


def rerank(ranking=RANKING, source=LOCAL, *, skip=None, **options):
    return AsmkReranker(**OPTIONS | options).rerank(ranking, Evidence(local=source), skip=skip)


def test_local_features_alone_find_the_photos_of_the_place():
    places = np.sort(rerank(order="local").ranks[:, :4], axis=1)
    np.testing.assert_array_equal(places, np.arange(20).reshape(5, 4))


def test_the_combined_score_is_the_first_score_and_the_weighted_root_of_the_similarity():
    reranker = AsmkReranker(**OPTIONS, weight=2, alpha=2)
    reranked = reranker.rerank(RANKING, Evidence(local=LOCAL))
    inverted = reranker.index(LOCAL, 20)
    for query_row in range(5):
        first = np.empty(20, np.float32)
        first[RANKING.ranks[query_row]] = RANKING.scores[query_row]
        expected = first + 2 * np.sqrt(reranker.compare(LOCAL.query(query_row), inverted))
        np.testing.assert_array_equal(reranked.ranks[query_row], np.argsort(-expected, kind="stable"))
        np.testing.assert_allclose(reranked.scores[query_row], -np.sort(-expected), rtol=1e-6)


def test_without_weight_the_order_stays():
    np.testing.assert_array_equal(rerank(weight=0).ranks, RANKING.ranks)


@pytest.mark.parametrize("order", ["combined", "local"])
def test_only_the_first_are_put_in_order(order):
    reranked = rerank(first=6, order=order)
    np.testing.assert_array_equal(np.sort(reranked.ranks[:, :6]), np.sort(RANKING.ranks[:, :6]))
    np.testing.assert_array_equal(reranked.ranks[:, 6:], RANKING.ranks[:, 6:])


def test_skipped_rows_take_no_place_among_the_first():
    skip = tuple(row[:3] for row in RANKING.ranks)
    reranked = rerank(first=6, order="local", skip=skip)
    np.testing.assert_array_equal(np.sort(reranked.ranks[:, :6]), np.sort(RANKING.ranks[:, 3:9]))


def test_equal_similarities_go_by_first_score():
    nothing = make_evidence(num_places=5, views=4, num_common=0)
    for row, photo in enumerate(nothing.of_database):
        nothing.of_database[row] = photo.first(0)
    np.testing.assert_array_equal(rerank(source=nothing, order="local").ranks, RANKING.ranks)


def test_the_inverted_file_is_built_once_for_the_same_local_features():
    source = StoredFeatures()
    reranker = AsmkReranker(**OPTIONS)
    for _ in range(3):
        reranker.rerank(RANKING, Evidence(local=source))
    assert source.num_read == 2 * 20  # once for the codebook, once for the entries


def test_a_saved_file_is_used_again_and_made_anew_for_other_photos_or_options(tmp_path):
    file = tmp_path / "asmk.npz"
    first, again, other = StoredFeatures(), StoredFeatures(), StoredFeatures("others")
    expected, found = rerank(source=first, file=file), rerank(source=again, file=file)
    assert (first.num_read, again.num_read) == (40, 0)
    np.testing.assert_array_equal(found.scores, expected.scores)
    rerank(source=other, file=file)
    assert other.num_read == 40
    rerank(source=other, file=file, idf=False)
    assert other.num_read == 80


def test_a_file_for_local_features_that_say_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match="photos of a collection only"):
        rerank(file=tmp_path / "asmk.npz")


def test_a_given_codebook_is_used(tmp_path):
    centers = LOCAL.of_database[0].descriptors[:30]
    Codebook(centers).save(tmp_path / "words.npz")
    reranker = AsmkReranker(codebook=tmp_path / "words.npz")
    np.testing.assert_array_equal(reranker.index(LOCAL, 20).codebook.centers, centers)
    with pytest.raises(CollectionError, match=r"none\.npz"):
        rerank(codebook=tmp_path / "none.npz")


def test_lists_without_answers_read_nothing():
    source = StoredFeatures()
    empty = Ranking(
        RANKING.query_ids, RANKING.database_ids, np.full((5, 2), NO_ROW), np.full((5, 2), -np.inf)
    )
    np.testing.assert_array_equal(rerank(empty, source).ranks, empty.ranks)
    assert source.num_read == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "best"}, "no order is called"),
        ({"first": -1}, "first -1"),
        ({"words": 0}, "words 0"),
        ({"assignments": 0}, "assignments 0"),
        ({"weight": -1.0}, "weight -1"),
        ({"alpha": 0.0}, "alpha 0"),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        AsmkReranker(**options)


def test_it_is_built_from_text_and_says_its_options():
    chain = build_chain(parse_chain("asmk:first=0:order=local:words=256:file=my.meisho/asmk.npz"))
    assert chain.needs_local and chain.permutes and not chain.uses_skip
    assert "words=256" in chain.text and "file=my.meisho/asmk.npz" in chain.text and "_kept" not in chain.text
