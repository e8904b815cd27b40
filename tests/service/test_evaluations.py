"""Evaluations in a service: a labelled set is checked, scored as the command does, and looked at by query."""

import json
import shutil

import pytest

from meisho.datasets.base import load_dataset
from meisho.describing import Describer
from meisho.errors import DatasetError, InputError
from meisho.extractors.base import load_extractor
from meisho.progress import silent
from meisho.run.evaluating import evaluate_dataset
from meisho.run.indexing import index_folder
from meisho.service.evaluations import (
    DESCRIBED_FOLDER,
    EVALUATIONS_FOLDER,
    Evaluations,
    forget_described,
    run_evaluation,
)
from meisho.service.problems import RefusedError
from service.conftest import paint

TABLE = "file,label,role\n" + "".join(
    f"{folder}/{number}.jpg,{folder},\n" for folder in "abc" for number in range(3)
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Nine photos of three labels, in the real model at a small size."""
    root = tmp_path_factory.mktemp("evaluations")
    for number, folder in enumerate("abc"):
        for copy in range(3):
            paint(root / "photos" / folder / f"{copy}.jpg", 10 * number + copy // 2)
    paint(root / "outside.jpg", 5)
    extractor = load_extractor("default", max_side_px=64)
    index_folder(root / "photos", root / "c", Describer(extractor, num_workers=0))
    return root


@pytest.fixture
def evaluations(place):
    return Evaluations(place / "c")


def run(place, about):
    return run_evaluation(place / "c", {"evaluation": about.id}, "auto", silent)


def test_the_figures_are_those_of_the_command(place, evaluations, tmp_path):
    about = evaluations.prepare(TABLE, name="my photos")
    with pytest.raises(RefusedError, match="has no figures"):
        evaluations.report(about.id)
    assert run(place, about)["message"].startswith("my photos: ")
    (place / "photos" / "labels.csv").write_text(TABLE)
    dataset = load_dataset("csv", place / "photos" / "labels.csv")
    describer = Describer(load_extractor("default", max_side_px=64), num_workers=0)
    expected = evaluate_dataset(dataset, describer, tmp_path / "c").report
    (place / "photos" / "labels.csv").unlink()
    report = evaluations.report(about.id)
    assert report.figures == expected.figures
    assert [s.average_precision for s in report.query_scores] == [
        s.average_precision for s in expected.query_scores
    ]
    assert evaluations.all()[0] == (about, report)


def test_queries_come_worst_first_with_what_they_found_and_missed(place, evaluations):
    about = evaluations.prepare(TABLE, name="n")
    run(place, about)
    queries = evaluations.queries(about.id)
    scores = [query["ap"] for query in queries]
    assert len(queries) == 9 and scores == sorted(scores)
    for query in queries:
        assert query["query"] not in [answer["id"] for answer in query["answers"]]  # itself is junk
        assert len(query["answers"]) == 8 and sum(answer["right"] for answer in query["answers"]) == 2
        right = [answer["id"].split("/")[0] == query["query"].split("/")[0] for answer in query["answers"]]
        assert right == [answer["right"] for answer in query["answers"]] and query["missed"] == []


def test_described_sets_that_no_labelled_set_uses_are_removed_a_few_at_a_time(place, evaluations):
    described = place / "c" / EVALUATIONS_FOLDER / DESCRIBED_FOLDER
    kept, gone = (evaluations.prepare(table, name="n") for table in (TABLE, TABLE.rpartition("c/0")[0]))
    for about in (kept, gone):
        run(place, about)
    used = {path.name for path in described.iterdir()}
    shutil.rmtree(place / "c" / EVALUATIONS_FOLDER / gone.id)
    (described / ("0" * 32 + ".gone")).mkdir()  # as a kill leaves it
    for letter in "123":
        (described / (letter * 32)).mkdir()
        (described / (letter * 32) / "file").write_text("described with another model")
    steps = [forget_described(place / "c", most=2) for _ in range(4)]
    assert steps == [2, 2, 1, 0]
    assert {path.name for path in described.iterdir()} < used
    run(place, kept)
    assert evaluations.report(kept.id).figures


def test_two_are_compared_query_by_query(place, evaluations):
    plain, reranked = (evaluations.prepare(TABLE, name="n", rerank=rerank) for rerank in ("", "alpha-qe:k=2"))
    for about in (plain, reranked):
        run(place, about)
    (setup,) = evaluations.compare(plain.id, reranked.id)
    assert setup.num_queries == 9 and setup.difference == pytest.approx(setup.second - setup.first)
    other = evaluations.prepare(TABLE.replace("a/0.jpg,a", "a/0.jpg,b"), name="other labels")
    run(place, other)
    with pytest.raises(InputError, match="different ground truths"):
        evaluations.compare(plain.id, other.id)
    described = place / "c" / EVALUATIONS_FOLDER / "described"
    assert len([*described.iterdir()]) == 1  # all of them are of the same photos


def test_a_table_or_a_folder_of_the_photo_folder_is_named_by_its_path(place, evaluations):
    about = evaluations.prepare(".", name="folders are labels")
    run(place, about)
    assert evaluations.report(about.id).num_queries == 9


REFUSED = {
    "outside": ("file,label\n../outside.jpg,a\n../outside.jpg,a\n", "lies outside of the photo folder"),
    "absolute": ("file,label\n/etc/passwd,a\nb/0.jpg,a\n", "lies outside of the photo folder"),
    "a path outside": ("../", "lies outside of the photo folder"),
    "no photo": (
        "file,label\ngone.jpg,a\na/0.jpg,a\n",
        "labels.csv:2: no photo 'gone.jpg' below the photo folder",
    ),
    "no label": ("file\na/0.jpg\n", "labels.csv:1: the header needs the column 'label'"),
    "nothing": ("\n", "dataset is empty"),
    "one photo": ("file,label\na/0.jpg,a\n", None),
    "a broken row": ("file,label\na/0.jpg\n", "labels.csv:2: has 1 cells"),
    "binary": ("file,label\n\0,a\nb,a\n", "labels.csv:2: holds a NUL byte"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_labelled_set_is_refused_in_words(place, evaluations, kind):
    text, words = REFUSED[kind]
    if words is None:
        evaluations.prepare(text, name="n")  # scored as nothing to find, as the command does
        return
    with pytest.raises((InputError, DatasetError), match=words) as refused:
        evaluations.prepare(text, name="n")
    assert EVALUATIONS_FOLDER not in str(refused.value)


def test_links_out_of_the_photo_folder_are_refused(place, evaluations):
    link = place / "photos" / "link.jpg"
    link.symlink_to(place / "outside.jpg")
    try:
        with pytest.raises(InputError, match="outside of the photo folder"):
            evaluations.prepare("file,label\nlink.jpg,a\na/0.jpg,a\n", name="n")
    finally:
        link.unlink()


@pytest.mark.parametrize("id", ["", "..", "0" * 15, "../../etc", "described", "f" * 16])
def test_other_ids_are_refused(evaluations, id):
    with pytest.raises(RefusedError, match="there is no evaluation"):
        evaluations.about(id)


def test_rerankers_are_checked_before_a_job_begins(evaluations):
    with pytest.raises(InputError, match="no reranker is called 'dbb'"):
        evaluations.prepare(TABLE, name="n", rerank="dbb")
    with pytest.raises(InputError, match="needs local features, and the collection holds none"):
        evaluations.prepare(TABLE, name="n", rerank="geometric:first=5")


def test_what_is_kept_is_json(place, evaluations):
    about = evaluations.prepare(TABLE, name='<b>"é塔', rerank="")
    run(place, about)
    folder = place / "c" / EVALUATIONS_FOLDER / about.id
    assert json.loads((folder / "queries.json").read_text("utf-8"))
    assert evaluations.about(about.id).name == '<b>"é塔'
