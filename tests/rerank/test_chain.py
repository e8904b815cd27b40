from dataclasses import fields

import numpy as np
import pytest

from meisho.errors import ConfigError, InputError
from meisho.ranking import Ranking
from meisho.rerank.base import RERANKERS
from meisho.rerank.chain import Chain, build_chain, load_reranker_class, parse_chain
from meisho.rerank.evidence import Evidence
from meisho.rerank.expansion import AlphaQueryExpansion, AverageQueryExpansion, DatabaseAugmentation
from meisho.rerank.geometric import GeometricReranker

from .places import make_evidence


def build(text):
    return build_chain(text, source="--rerank")


def test_names_and_options_become_steps_in_order():
    chain = build("dba:k=7,alpha-qe:alpha=2,geometric:first=50:order=inliers")
    steps = [step.reranker for step in chain.steps]
    assert steps == [
        DatabaseAugmentation(k=7),
        AlphaQueryExpansion(alpha=2.0),
        GeometricReranker(first=50, order="inliers"),
    ]


def test_tables_of_options_keep_what_is_not_said():
    chain = build("geometric:ransac.threshold_share=0.03:ransac.plausible_only=false")
    ransac = chain.steps[0].reranker.ransac
    assert (ransac.threshold_share, ransac.plausible_only) == (0.03, False)
    assert ransac.model == GeometricReranker().ransac.model


def test_spaces_do_not_matter():
    assert build(" dba , alpha-qe : k = 3 ") == build("dba,alpha-qe:k=3")


@pytest.mark.parametrize(
    "text",
    [
        *RERANKERS,
        "dba:k=7:alpha=2.5,alpha-qe:k=3,geometric:ransac.model=homography",
        "geometric:matcher=mutual:weight=1e-05",
    ],
)
def test_the_text_of_a_chain_builds_an_equal_one(text):
    chain = build(text)
    assert build(chain.text) == build(chain.full_text) == chain
    assert build(chain.full_text).text == chain.text


def test_the_text_says_only_what_is_not_the_default():
    assert (
        build("dba:k=10, geometric:first=100:weight=0.5:ransac.model=affine").text
        == "dba,geometric:weight=0.5"
    )
    assert build("geometric:ransac.seed=1:matcher=mutual").text == "geometric:ransac.seed=1:matcher=mutual"


@pytest.mark.parametrize("name", RERANKERS)
def test_the_full_text_says_every_option(name):
    text = build(name).full_text
    for field in fields(load_reranker_class(name)):
        assert (
            field.name == "matcher"
            or f":{field.name}" in text
            or getattr(load_reranker_class(name)(), field.name) in (None, ())
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"a name is missing; choose from geometric"),
        ("dba,,alpha-qe", r"a name is missing"),
        (":k=3", r"a name is missing"),
        ("alphaqe", r"no reranker is called 'alphaqe'; the nearest is 'alpha-qe' \(all: geometric"),
        ("alpha-qe:k", r"'alpha-qe:k' is not NAME:OPTION=VALUE; for example"),
        ("alpha-qe:=3", r"is not NAME:OPTION=VALUE"),
        ("alpha-qe:k=", r"is not NAME:OPTION=VALUE"),
        ("alpha-qe:k=3:", r"is not NAME:OPTION=VALUE"),
        ("alpha-qe:kk=3", r"--rerank alpha-qe: the key 'kk' is not known; the nearest is 'k'"),
        ("geometric:ransac.modell=affine", r"'ransac.modell' is not known; the nearest is 'ransac.model'"),
        ("alpha-qe:k=three", r"--rerank alpha-qe: k is 'three', expected a whole number"),
        ("alpha-qe:k=3.5", r"k is 3.5, expected a whole number"),
        ("alpha-qe:k=-1", r"--rerank alpha-qe: .*k -1 .* must be 0 or more"),
        ("alpha-qe:alpha=nan", r"alpha nan must be"),
        ("geometric:ransac.threshold_share=-1", r"--rerank geometric: .*threshold_share = -1.0 is outside"),
        ("geometric:ransac=3", r"ransac is 3, expected a table"),
        ("geometric:ransac=3:ransac.model=affine", r"ransac is set as a whole and in part"),
        ("geometric:ransac.model=affine:ransac=3", r"ransac is set twice"),
        ("alpha-qe:k=3:k=4", r"k is set twice; choose one"),
        ("alpha-qe:name=dba", r"name is the step itself, no option"),
        ("dba:matcher=mutual", r"--rerank dba: takes no matcher"),
        ("geometric:matcher=best", r"--rerank geometric: no matcher is called 'best'"),
        ("geometric:matcher.x=1", r"matcher is \{'x': 1\}, expected its name"),
    ],
)
def test_what_cannot_be_built_is_said(text, message):
    with pytest.raises(ConfigError, match=message):
        build(text)


def test_tables_are_those_of_a_run_s_toml_and_stay_as_they_are():
    tables = [{"name": "dba", "k": 5}, {"name": "geometric", "ransac": {"model": "affine"}}]
    chain = build_chain(tables, source="run.toml: rerank")
    assert [step.name for step in chain.steps] == ["dba", "geometric"]
    assert tables == [{"name": "dba", "k": 5}, {"name": "geometric", "ransac": {"model": "affine"}}]
    with pytest.raises(ConfigError, match=r"run.toml: rerank dba: k is 'x'"):
        build_chain([{"name": "dba", "k": "x"}], source="run.toml: rerank")
    with pytest.raises(ConfigError, match=r"run.toml: rerank: a step has no name"):
        build_chain([{"k": 5}], source="run.toml: rerank")


def test_a_chain_is_built_from_its_text_and_errors_say_where_it_comes_from():
    assert build_chain("dba:k=5,alpha-qe") == build_chain(parse_chain("dba:k=5,alpha-qe"))
    with pytest.raises(ConfigError, match=r"^chain alpha-qe:k: 'alpha-qe:k' is not NAME:OPTION=VALUE"):
        build_chain("alpha-qe:k")
    with pytest.raises(ConfigError, match=r"^a.toml dba,: a name is missing"):
        parse_chain("dba,", source="a.toml")
    with pytest.raises(ConfigError, match=r"^chain alpha-qe: k is 'x'"):
        build_chain("alpha-qe:k=x")


def test_a_chain_knows_what_its_steps_need():
    vectors, local = build("dba,alpha-qe:k=30"), build("alpha-qe:k=3,geometric:first=50")
    assert (vectors.permutes, vectors.needs_local, vectors.uses_skip, vectors.depth) == (
        False,
        False,
        False,
        30,
    )
    assert (local.permutes, local.needs_local, local.uses_skip, local.depth) == (False, True, True, 50)
    assert build("geometric").permutes and Chain(()).permutes
    assert (Chain(()).depth, Chain(()).text) == (0, "")


def make_world(seed=0):
    """4 queries and 3 views of each of 4 places, and their ranking."""
    generator = np.random.default_rng(seed)
    places = generator.standard_normal((4, 12))
    queries = places + 0.8 * generator.standard_normal((4, 12))
    database = np.repeat(places, 3, axis=0) + 0.8 * generator.standard_normal((12, 12))
    evidence = Evidence(queries, database, make_evidence())
    ids = tuple("abcd"), tuple(f"d{row}" for row in range(12))
    return Ranking.from_scores(*ids, evidence.queries @ evidence.database.T), evidence


def test_later_steps_see_the_descriptors_of_earlier_ones():
    ranking, evidence = make_world()
    by_hand = DatabaseAugmentation(k=2).refine(ranking, evidence)
    after_first = DatabaseAugmentation(k=2).rerank(ranking, evidence)
    by_hand = AlphaQueryExpansion(k=3).refine(after_first, by_hand)
    chained = build("dba:k=2,alpha-qe:k=3").rerank(ranking, evidence)
    scores = by_hand.queries @ by_hand.database.T
    np.testing.assert_array_equal(chained.ranks, np.argsort(-scores, axis=1, kind="stable"))
    np.testing.assert_allclose(chained.scores, -np.sort(-scores, axis=1), atol=1e-6)


def test_verified_neighbours_feed_expansion_and_are_verified_once():
    ranking, evidence = make_world()
    verified = GeometricReranker(first=12).rerank(ranking, evidence)
    expected = AverageQueryExpansion(k=3, verified_only=15).rerank(verified, evidence)
    num_pairs = len(evidence.verified)
    chain = build("geometric:first=12,average-qe:k=3:verified_only=15,geometric:first=12")
    reranked = chain.rerank(ranking, evidence)
    assert num_pairs == len(evidence.verified) == 48
    by_hand = GeometricReranker(first=12).rerank(expected, evidence)
    np.testing.assert_array_equal(reranked.ranks, by_hand.ranks)


def test_an_empty_chain_changes_nothing():
    ranking, evidence = make_world()
    assert Chain(()).rerank(ranking, evidence) is ranking


def test_a_step_says_what_it_lacks():
    ranking, _ = make_world()
    with pytest.raises(InputError, match="dba needs global descriptors"):
        build("dba").rerank(ranking, Evidence())
