import json

import numpy as np
import pytest
from PIL import Image

from meisho.certainty import CALIBRATIONS, Calibration, PairEvidence, judge
from meisho.errors import InputError
from meisho.extractors.base import load_extractor
from meisho.extractors.local_base import load_local_extractor
from meisho.geometry.matching import MutualMatcher
from meisho.local_describing import LocalDescriber
from meisho.rerank.geometric import RETRIEVAL_RANSAC
from meisho.run.finding import Finder
from meisho.run.indexing import IndexOptions, index_folder
from meisho.run.judging import fingerprint, measure_gaps, name_verification
from walls import draw_view

DESCRIBED = Calibration({"similarity": 2.0, "gap": 0.1}, -1.0)
VERIFIED = Calibration({"similarity": 2.0, "gap": 0.0, "beyond": 1.0, "plausible": 1.0}, -6.0)


@pytest.fixture
def finder(tmp_path, describer):
    """Three walls, two views of each, with local features."""
    folder = tmp_path / "walls"
    folder.mkdir()
    for wall in range(3):
        for view in range(2):
            draw_view(wall, view, folder / f"{wall}-{view}.png")
    local = LocalDescriber(load_local_extractor("sift"), num_workers=0)
    index_folder(folder, tmp_path / "c", describer, IndexOptions(local=local))
    return Finder.open(tmp_path / "c", extractor=describer.extractor)


@pytest.fixture
def calibrated(finder, monkeypatch):
    """The same, after its models were calibrated."""
    metadata = finder._state.metadata
    how = name_verification(metadata.local_provenance, MutualMatcher(), RETRIEVAL_RANSAC)
    name = fingerprint(metadata.provenance)
    monkeypatch.setitem(CALIBRATIONS, (name, ""), DESCRIBED)
    monkeypatch.setitem(CALIBRATIONS, (name, how), VERIFIED)
    return finder


@pytest.fixture
def query(tmp_path):
    return draw_view(1, 4, tmp_path / "query.png")


def test_without_a_calibration_nothing_is_said_but_by_inliers(finder, query):
    found = finder.find(query, top=6)
    assert {(answer.probability, answer.verdict) for answer in found[0]} == {(None, None)}
    assert found.not_here(0) is None
    with pytest.raises(InputError, match="was never measured for these models"):
        found.at_least(0.5)
    found = finder.find(query, top=6, chain="geometric:first=6")
    assert {answer.id for answer in found[0] if answer.verdict == "same"} == {"1-0.png", "1-1.png"}
    assert {answer.probability for answer in found[0]} == {None}


@pytest.mark.parametrize("model", ["default", "large", "small", "imagenet"])
def test_the_models_that_come_with_meisho_are_calibrated(model):
    name = fingerprint(load_extractor(model).provenance)
    how = name_verification(load_local_extractor("sift").provenance, MutualMatcher(), RETRIEVAL_RANSAC)
    assert {(name, ""), (name, how)} <= CALIBRATIONS.keys()


def test_probabilities_are_those_of_the_evidence(calibrated, query):
    found = calibrated.find(query, top=6)
    vectors = calibrated.descriptors.vectors
    asked = calibrated.describer.describe([found.queries[0]]).vectors[0]
    gaps = measure_gaps(vectors @ asked, np.tile(vectors @ asked, (6, 1)))
    for answer, row in zip(found[0], found.ranking.ranks[0], strict=True):
        evidence = PairEvidence(similarity=float(vectors[row] @ asked), gap=gaps[row])
        assert answer.probability == pytest.approx(judge(evidence, DESCRIBED).probability, abs=1e-6)
        assert (answer.num_inliers, answer.overlap_query) == (None, None)


def test_verified_answers_are_surer_and_tell_the_overlap(calibrated, query):
    found = calibrated.find(query, top=6, chain="geometric:first=6")
    answers = {answer.id: answer for answer in found[0]}
    assert {name for name, answer in answers.items() if answer.verdict == "same"} == {"1-0.png", "1-1.png"}
    # the views are 380 x 330 px; they are moved by (40, 30) and (0, 30)
    moved, below = answers["1-0.png"], answers["1-1.png"]
    assert moved.overlap_query == pytest.approx(340 * 300 / (380 * 330), abs=0.02)
    assert below.overlap_photo == pytest.approx(300 / 330, abs=0.02)
    assert [pair.same_place for pair in found.compare(0)] == [answer.same_place for answer in found[0]]


@pytest.mark.parametrize("least", [0.0, 0.5, 1.0])
def test_only_answers_as_probable_as_asked_stay(calibrated, query, least):
    found = calibrated.find(query, top=6, chain="geometric:first=6")
    kept = found.at_least(least)
    assert kept[0] == [answer for answer in found[0] if answer.probability >= least]
    assert len(kept.compare(0)) == len(kept[0])
    assert len(kept) == 1


def test_a_place_that_is_not_there_is_probably_not_here(calibrated, query, tmp_path):
    stranger = draw_view(7, 0, tmp_path / "stranger.png")
    found = calibrated.find([query, stranger], top=6, chain="geometric:first=6")
    assert [found.not_here(row) for row in range(2)] == [False, True]
    assert found.at_least(0.9).not_here(1) is True


def test_each_position_of_a_turned_query_is_judged_by_itself(calibrated, query, tmp_path):
    Image.open(query).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png")
    found = calibrated.find(tmp_path / "turned.png", top=6, chain="geometric:first=6", turned=True)
    best = found[0][0]
    (evidence, _), *_ = found.judge(0)
    assert best.id in {"1-0.png", "1-1.png"}
    assert evidence.slant == pytest.approx(0 if best.turned == 90 else 1, abs=0.01)


@pytest.mark.parametrize(
    ("background", "gap"),
    [([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 0.3 / 0.2), ([0.3] * 5, 0.3 / 0.02), ([0.6], 0.0)],
)
def test_the_gap_is_counted_in_spreads_of_the_lower_half(background, gap):
    found = measure_gaps(np.array([0.6], np.float32), np.array([background], np.float32))
    assert found[0] == pytest.approx(gap, rel=1e-4)


@pytest.mark.parametrize("number", [1, 2, 6, 512])
def test_the_gap_is_counted_by_numpy_s_quantiles(number):
    background = np.random.default_rng(number).normal(0.3, 0.1, (4, number)).astype(np.float32)
    middle, low = np.quantile(background.astype(np.float64), [1 / 2, 1 / 6], axis=1)
    expected = (0.9 - middle) / np.maximum(middle - low, 0.02)
    np.testing.assert_allclose(measure_gaps(np.full(4, 0.9), background), expected, rtol=1e-9)


def test_search_prints_words_and_leaves_out_what_is_not_sure(calibrated, query, run, monkeypatch):
    import meisho.run.finding

    monkeypatch.setattr(
        meisho.run.finding, "restore_extractor", lambda *_, **__: calibrated.describer.extractor
    )
    code, out, err = run("search", calibrated.path, query, "--verify", "6", "--min-probability", "0.9")
    assert code == 0, err
    assert out.count("same place") >= 2
    assert "Sure: " in out
    facts = json.loads(run("search", calibrated.path, query, "--verify", "6", "--json")[1])
    assert facts["not_here"] is False
    verdicts = {each["id"]: (each["verdict"], each["probability"] >= 0.9) for each in facts["answers"]}
    assert verdicts["1-0.png"] == ("same", True)
    assert verdicts["0-0.png"][0] != "same"
