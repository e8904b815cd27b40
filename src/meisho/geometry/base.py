"""Local feature matchers: the interface, and the table of named matchers.

To add one, add a file and a line to `MATCHERS`. This example runs::

    class InOrder:
        def match(self, query, database):
            counts = [min(len(query), len(photo)) for photo in database]
            rows = [np.column_stack([np.arange(count), np.arange(count)]) for count in counts]
            return [Matches(pairs, np.ones(len(pairs))) for pairs in rows]
"""

from collections.abc import Sequence
from typing import Protocol

from meisho.errors import needs_extra
from meisho.local_features import LocalFeatures
from meisho.matches import Matches
from meisho.tables import make_named

MATCHERS: dict[str, str] = {
    "mutual": "meisho.geometry.matching:MutualMatcher",
    "mutual-no-ratio": "meisho.geometry.matching:make_matcher_without_ratio",
    "mutual-torch": "meisho.extractors.torch_matching:TorchMutualMatcher",
    "lightglue": "meisho.extractors.learned_matching:LightGlue",
    "lighterglue": "meisho.extractors.learned_matching:LighterGlue",
}
"""Name -> "module:Class", called with the options. LightGlue is for aliked, LighterGlue for xfeat."""

_EXTRAS = {"mutual-torch": "torch", "lightglue": "aliked", "lighterglue": "local"}
"""Matchers that need torch -> the extra of meisho with it and all else that they need."""


class LocalMatcher(Protocol):
    """Matches the local features of a query with those of database photos."""

    def match(self, query: LocalFeatures, database: Sequence[LocalFeatures]) -> list[Matches]:
        """Return the matches with each of B database photos."""
        ...


def load_matcher(name: str, *, device: str = "auto", **options: object) -> LocalMatcher:
    """Load a local feature matcher by name.

    Args:
        name: One of `MATCHERS`.
        device: "auto", "cpu" or "cuda", for matchers that take a device.
        **options: Options of the matcher, for example `ratio=0.8`.

    Raises:
        ConfigError: There is no such matcher or option.
        MissingDependencyError: Its package is not installed.
    """
    with needs_extra(_EXTRAS.get(name, "local"), f"the matcher {name!r}"):
        matcher: LocalMatcher = make_named(name, MATCHERS, options, what="matcher", device=device)
    return matcher
