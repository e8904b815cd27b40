import textwrap

import numpy as np
import pytest

import meisho.geometry.base
from meisho.errors import ConfigError
from meisho.geometry.base import load_matcher
from meisho.geometry.matching import MutualMatcher
from meisho.local_features import LocalFeatures
from meisho.matches import Matches


def features(count):
    return LocalFeatures(np.zeros((count, 2)), np.ones((count, 4)), np.ones(count), (10, 10))


def test_a_matcher_is_loaded_by_name_with_its_options():
    assert load_matcher("mutual", ratio=0.8) == MutualMatcher(ratio=0.8)
    assert load_matcher("mutual-no-ratio", device="cpu") == MutualMatcher(ratio=None)


def test_an_unknown_matcher_and_an_unknown_option_are_refused():
    with pytest.raises(ConfigError, match="no matcher is called 'mutul'; the nearest is 'mutual'"):
        load_matcher("mutul")
    with pytest.raises(ConfigError, match="mutual has no option 'ration'; the nearest is 'ratio'"):
        load_matcher("mutual", ration=0.8)


def test_the_template_of_the_docstring_runs():
    names = {"np": np, "Matches": Matches}
    exec(textwrap.dedent(meisho.geometry.base.__doc__.partition("::\n")[2]), names)
    found = names["InOrder"]().match(features(3), [features(2), features(0)])
    assert [matches.rows.tolist() for matches in found] == [[[0, 0], [1, 1]], []]
