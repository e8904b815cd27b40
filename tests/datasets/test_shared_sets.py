"""The real photos beside the repository as data sets (benchmarks/shared_sets.py)."""

import pytest

from meisho.datasets.base import load_dataset
from meisho.datasets.photo_files import missing_photos

pytestmark = pytest.mark.shared


def test_the_eval_set_is_63_queries_against_gallery_junk_and_distractors(shared_data, shared_sets, tmp_path):
    dataset = load_dataset("csv", shared_sets.write_eval_csv(shared_data, tmp_path / "eval.csv"))
    assert len(dataset.queries) == 63
    assert len(dataset.database) == 328 + 33 + 360 == 721
    assert missing_photos(dataset) == ()
    truth = dataset.ground_truth
    right = {row for rows in truth.positives for row in rows}
    junk = {row for rows in truth.junk for row in rows}
    assert len(right) == 328  # each landmark of the gallery is asked for
    assert len(junk) == 33
    assert not right & junk
    assert min(len(rows) for rows in truth.positives) > 0


def test_a_query_of_the_eval_set_shares_its_landmark_with_its_positives_and_junk(
    shared_data, shared_sets, tmp_path
):
    landmark_of = {r["file"]: r["landmark"] for r in shared_sets.read_records(shared_data)}
    dataset = load_dataset("csv", shared_sets.write_eval_csv(shared_data, tmp_path / "eval.csv"))
    names = [landmark_of[photo.id] for photo in dataset.database]
    for query, rows, junk in zip(
        dataset.queries, dataset.ground_truth.positives, dataset.ground_truth.junk, strict=True
    ):
        same = [row for row, name in enumerate(names) if name == landmark_of[query.id]]
        assert same == sorted([*rows, *junk])
