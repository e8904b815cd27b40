import math

import pytest

from meisho.certainty import (
    CALIBRATIONS,
    LEAST_INLIERS,
    Calibration,
    Judgement,
    PairEvidence,
    is_not_here,
    judge,
    say,
)


def verified(num_inliers, model="affine", **more):
    return PairEvidence(num_matches=200, num_inliers=num_inliers, model=model, **more)


@pytest.mark.parametrize(
    ("probability", "word"),
    [(0.0, "unknown"), (0.49, "unknown"), (0.5, "maybe"), (0.89, "maybe"), (0.9, "same"), (1.0, "same")],
)
def test_a_probability_has_one_word(probability, word):
    assert say(probability) == word


@pytest.mark.parametrize("model", LEAST_INLIERS)
def test_without_a_calibration_inliers_decide_and_there_is_no_probability(model):
    least = LEAST_INLIERS[model]
    assert judge(verified(least, model)) == Judgement("same")
    assert judge(verified(least - 1, model)) == Judgement("unknown")
    assert judge(PairEvidence(similarity=0.9, gap=8.0)) == Judgement()


def test_the_probability_is_that_of_the_weighted_sum():
    model = Calibration({"similarity": 2.0, "gap": 0.5, "beyond": 1.0, "plausible": 0.25}, -3.0)
    beyond = math.log(1 + 12 - 5)  # five of twelve inliers come by chance
    odds = 2 * 0.7 + 0.5 * 3 + beyond + 0.25 * beyond * (1 - 0.2) - 3
    evidence = verified(12, similarity=0.7, gap=3.0, slant=0.2, overlap_query=0.4, overlap_photo=0.6)
    expected = 1 / (1 + math.exp(-odds))
    assert judge(evidence, model) == Judgement(say(expected), pytest.approx(expected), 0.4, 0.6)


def test_evidence_that_a_calibration_needs_and_that_is_missing_gives_no_probability():
    model = Calibration({"similarity": 1.0, "beyond": 1.0}, 0.0)
    assert model.probability(PairEvidence(similarity=0.5, gap=1.0)) is None
    assert judge(verified(40), model) == Judgement("same")


@pytest.mark.parametrize("calibration", CALIBRATIONS.values(), ids=str)
def test_more_evidence_never_makes_it_less_sure(calibration):
    evidence = [
        verified(inliers, similarity=similarity, gap=gap, slant=slant)
        for inliers, similarity, gap, slant in [
            (0, 0.3, 0.0, 1.0),
            (0, 0.5, 0.0, 1.0),
            (0, 0.5, 2.0, 1.0),
            (12, 0.5, 2.0, 1.0),
            (12, 0.5, 2.0, 0.1),
            (500, 0.9, 9.0, 0.0),
        ]
    ]
    probabilities = [calibration.probability(each) for each in evidence]
    assert probabilities == sorted(probabilities)
    assert probabilities[0] < 0.01 < 0.99 < probabilities[-1]


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [([], True), ([0.1, 0.49], True), ([0.1, 0.5], False), ([None], True)],
)
def test_a_place_is_not_here_where_no_answer_may_show_it(probabilities, expected):
    assert is_not_here(probabilities) is expected
