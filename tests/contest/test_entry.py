"""Entries: the same answers by every way, scored as evaluation scores them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from meisho.contest.entry import (
    InCollections,
    InMemory,
    JoinedDescriptors,
    Reranking,
    collection_name,
    make_entry,
    score_entry,
)
from meisho.contest.local_features import LocalFeaturesOnDemand
from meisho.contest.submit import ContestFiles, submit_retrieval, with_unread_photos
from meisho.datasets.base import load_dataset
from meisho.datasets.contest import find_contest_photos
from meisho.datasets.gldv2 import read_retrieval_solution
from meisho.describing import Describer
from meisho.descriptors import Descriptors, Provenance
from meisho.errors import DatasetError, InputError
from meisho.evaluate.gldv2 import gldv2_map_at_100
from meisho.local_describing import LocalDescriber
from meisho.rerank.chain import build_chain, parse_chain
from meisho.run.evaluating import evaluate_dataset
from meisho.submission import read_submission
from toy_features import Corners


def photos_of(contest, **options):
    return find_contest_photos(contest / "test", contest / "index", **options)


def files_of(contest, **options):
    return ContestFiles(contest / "test", contest / "index", **options)


def in_memory(contest, *extractors, **options):
    describe = InMemory()
    return make_entry(
        photos_of(contest),
        [Describer(extractor, num_workers=0) for extractor in extractors],
        describe_database=describe,
        describe_queries=describe,
        **options,
    )


def solution_of(contest, ranking):
    path = contest / "test" / "retrieval_solution_v2.1.csv"
    return read_retrieval_solution(path, ranking.database_ids, place="index")


def score_of(report):
    return next(f.value for f in report.figures if (f.metric, f.setup) == ("gldv2_map_at_100", "all"))


def test_the_score_is_that_of_evaluation(contest, mean_color, tmp_path):
    submitted = submit_retrieval(
        files_of(contest, solution=contest / "test" / "retrieval_solution_v2.1.csv"),
        [Describer(mean_color(), num_workers=0)],
        tmp_path / "s.csv",
        work=tmp_path / "work",
    )
    evaluation = evaluate_dataset(
        load_dataset("gldv2", contest), Describer(mean_color(), num_workers=0), tmp_path / "c"
    )
    assert submitted.report.figures == evaluation.report.figures
    assert submitted.report.dataset == evaluation.report.dataset
    assert submitted.report.ground_truth_sha256 == evaluation.report.ground_truth_sha256
    assert 0.3 < score_of(submitted.report) < 1
    again = read_submission(tmp_path / "s.csv", submitted.entry.ranking.database_ids)
    truth = solution_of(contest, again)
    rows = [again.query_ids.index(query_id) for query_id in truth.query_ids]
    read_back = replace(again, query_ids=truth.query_ids, ranks=again.ranks[rows], scores=again.scores[rows])
    assert gldv2_map_at_100(read_back, truth.ground_truth) == pytest.approx(score_of(submitted.report))


@pytest.mark.parametrize("channels", [[(0, 1, 2)], [(0, 1), (2, 0), (1,)]])
def test_collections_and_memory_give_the_same_answers(contest, mean_color, tmp_path, channels):
    models = [mean_color(some) for some in channels]
    memory = in_memory(contest, *models)
    describe = InCollections(tmp_path / "database", contest / "index")
    stored = make_entry(
        photos_of(contest),
        [Describer(model, num_workers=0) for model in models],
        describe_database=describe,
        describe_queries=replace(describe, folder=tmp_path / "queries", photo_root=contest / "test"),
    )
    assert stored.ranking.query_ids == memory.ranking.query_ids
    assert stored.ranking.database_ids == memory.ranking.database_ids
    assert np.array_equal(stored.ranking.ranks, memory.ranking.ranks)
    assert np.array_equal(stored.ranking.scores, memory.ranking.scores)
    assert len(list((tmp_path / "database").iterdir())) == len(models)


def test_an_ensemble_ranks_by_the_mean_similarity(contest, mean_color):
    models = [mean_color((0, 1)), mean_color((2, 0))]
    alone = [in_memory(contest, model).ranking for model in models]
    together = in_memory(contest, *models).ranking
    dense = [np.take_along_axis(r.scores, np.argsort(r.ranks, axis=1), axis=1) for r in (*alone, together)]
    assert np.allclose(dense[2], (dense[0] + dense[1]) / 2, atol=1e-6)
    assert not np.array_equal(together.ranks, alone[0].ranks)


def test_joined_descriptors_keep_the_photos_that_all_models_know():
    rng = np.random.default_rng(0)
    first = Descriptors(("a", "b", "c"), rng.normal(size=(3, 4)).astype(np.float32), Provenance("x"))
    second = Descriptors(("c", "a"), rng.normal(size=(2, 2)).astype(np.float32), Provenance("y"))
    joined = JoinedDescriptors(["a", "b", "c"], [4, 2])
    joined.put(0, first)
    joined.put(1, second)
    result = joined.finish()
    assert result.ids == ("a", "c")
    assert np.allclose(np.linalg.norm(result.vectors, axis=1), 1)
    cosine = lambda m, i, j: m[i] @ m[j] / np.linalg.norm(m[i]) / np.linalg.norm(m[j])  # noqa: E731
    mean = (cosine(first.vectors, 0, 2) + cosine(second.vectors, 1, 0)) / 2
    assert result.vectors[0] @ result.vectors[1] == pytest.approx(mean, abs=1e-6)
    members = json.loads(result.provenance.options)["members"]
    assert [json.loads(member)["extractor"] for member in members] == ["x", "y"]


def test_after_a_stop_only_what_is_missing_is_described(contest, mean_color, tmp_path):
    def submit(extractor):
        describers = [Describer(extractor, batch_size=2, num_workers=0)]
        arguments = (files_of(contest), describers, tmp_path / "s.csv")
        return submit_retrieval(*arguments, work=tmp_path / "work")

    import meisho.update

    before, meisho.update.COMMIT_PHOTOS = meisho.update.COMMIT_PHOTOS, 2
    try:
        with pytest.raises(KeyboardInterrupt):
            submit(mean_color(stop_after=20))
        assert not (tmp_path / "s.csv").exists()
        second = mean_color()
        submit(second)
    finally:
        meisho.update.COMMIT_PHOTOS = before
    assert 30 + 7 - 20 <= second.count < 30
    third = mean_color()
    submit(third)
    assert third.count == 0


def test_photos_that_cannot_be_read_are_passed_over(contest, mean_color, tmp_path):
    broken = sorted((contest / "index").rglob("*.jpg"))[0]
    broken.write_bytes(b"\xff\xd8 no more")
    lost = sorted((contest / "test").rglob("*.jpg"))[0]
    lost.write_bytes(b"")
    submitted = submit_retrieval(
        files_of(contest, solution=contest / "test" / "retrieval_solution_v2.1.csv"),
        [Describer(mean_color(), num_workers=0)],
        tmp_path / "s.csv",
        work=tmp_path / "work",
    )
    assert {error.path for error in submitted.entry.errors} == {broken, lost}
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert len(lines) == 1 + 7
    assert [line for line in lines if line.endswith(",")] == [f"{lost.stem},"]
    assert broken.stem not in (tmp_path / "s.csv").read_text()
    scores = {q.query_id: q.average_precision for q in submitted.report.query_scores if q.setup == "all"}
    assert scores.get(lost.stem, 0) == 0
    counts = [q.num_positives for q in submitted.report.query_scores]
    assert min(counts) == 5  # an answer that cannot be read is still one that was missed


def test_unread_photos_are_in_the_database_and_never_found(contest, mean_color):
    ranking = in_memory(contest, mean_color()).ranking
    more = with_unread_photos(ranking, [*ranking.database_ids[:3], "unread"])
    assert more.database_ids == (*ranking.database_ids, "unread")
    assert np.array_equal(more.ranks, ranking.ranks)


def test_queries_of_the_solution_that_were_not_asked_count_as_0(contest, mean_color):
    entry = in_memory(contest, mean_color())
    solution = solution_of(contest, entry.ranking)
    whole = score_entry(entry.ranking, solution, provenance=entry.provenance)
    keep = [row for row, q in enumerate(entry.ranking.query_ids) if q != solution.query_ids[0]]
    part = replace(
        entry.ranking,
        query_ids=tuple(entry.ranking.query_ids[row] for row in keep),
        ranks=entry.ranking.ranks[keep],
        scores=entry.ranking.scores[keep],
    )
    less = score_entry(part, solution, provenance=entry.provenance)
    first = next(q.average_precision for q in whole.query_scores if q.query_id == solution.query_ids[0])
    assert first > 0
    assert score_of(less) == pytest.approx(score_of(whole) - first / 6)


def test_rerankers_work_by_name_and_find_local_features_only_where_they_look(contest, mean_color):
    chain = build_chain(parse_chain("geometric:first=4"))
    local = Corners()
    entry = in_memory(contest, mean_color(), reranking=Reranking(chain, LocalDescriber(local, num_workers=0)))
    assert entry.reranking == "geometric:first=4"
    assert 7 < local.count <= 7 + 28
    plain = in_memory(contest, mean_color()).ranking
    assert [sorted(row[:4]) for row in entry.ranking.ranks] == [sorted(row[:4]) for row in plain.ranks]
    with pytest.raises(InputError, match="needs local features; say --local"):
        Reranking(chain)


def test_local_features_on_demand_are_those_of_the_photos(contest):
    photos = photos_of(contest)
    gone = photos.database[3]
    gone.path.write_bytes(b"")
    describer = LocalDescriber(Corners(), num_workers=0)
    source = LocalFeaturesOnDemand(photos.queries, photos.database, describer, max_bytes=5_000)
    for rows in ([5, 2, 5], [2, 3], [7, 8, 9, 2]):
        found = source.database(np.array(rows))
        for row, features in zip(rows, found, strict=True):
            if row == 3:
                assert len(features) == 0
            else:
                wanted = LocalDescriber(Corners()).describe(photos.database[row])
                assert np.array_equal(features.descriptors, wanted.descriptors)
    assert len(source.query(0)) == 2


def test_what_cannot_be_submitted_is_said_before_any_work(contest, mean_color, tmp_path):
    model = mean_color()

    def submit(queries=contest / "test", database=contest / "index", **options):
        to = tmp_path / "s.csv"
        files = ContestFiles(queries, database, **options)
        submit_retrieval(files, [Describer(model, num_workers=0)], to, work=tmp_path / "w")

    (tmp_path / "other.csv").write_text("id,images\nfeedfeedfeedfeed,\n")
    with pytest.raises(DatasetError, match="none of the 1 queries to answer is there"):
        submit(sample=tmp_path / "other.csv")
    with pytest.raises(DatasetError, match="no such folder"):
        submit(queries=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no photo found below it"):
        submit(database=tmp_path / "empty")
    (tmp_path / "s2.csv").write_text("id,images,Usage\nq,feedfeedfeedfeed,Public\n")
    with pytest.raises(DatasetError, match=r"s2\.csv:2: .*'q' is not a photo id"):
        submit(solution=tmp_path / "s2.csv")
    (tmp_path / "s3.csv").write_text("id,images,Usage\nfeed,feedfeedfeedfeed,Public\n")
    with pytest.raises(
        DatasetError, match=r"s3\.csv:2: 1 photos, such as 'feedfeedfeedfeed', are not in .*index"
    ):
        submit(solution=tmp_path / "s3.csv")
    twin = next((contest / "index").rglob("*.jpg"))
    (contest / "index" / twin.name).write_bytes(twin.read_bytes())
    with pytest.raises(DatasetError, match="two photos have the name"):
        submit()
    assert model.count == 0
    assert not (tmp_path / "w").exists()


def test_a_collection_is_named_by_its_model_and_options_not_by_where_weights_lie():
    def name(weights, size, digest="d"):
        options = {"weights": weights, "max_side_px": size}
        return collection_name(Provenance.from_options("timm:resnet34", options, digest))

    assert name("/a/w", 224) == name("/b/w", 224)
    assert len({name("/a", 224), name("/a", 256), name("/a", 224, "e")}) == 3
    assert name("/a", 224).startswith("timm-resnet34-")
