"""`--device` reaches whatever computes on local features, in every command that has it."""

import numpy as np
import pytest
from PIL import Image

from meisho.descriptors import Provenance
from meisho.extractors.local_base import LOCAL_EXTRACTORS
from meisho.geometry.base import MATCHERS
from meisho.geometry.matching import MutualMatcher
from toy_features import Corners

SMALL = ("--size", 64, "--workers", 0)
PROBE = ("--local", "probe")
LEARNED = ("--rerank", "geometric:first=3:matcher=probe")
loaded: list[tuple[str, str]] = []
"""(what, device) of all that was loaded, in order."""


class ProbeCorners(Corners):
    """Local features that note where they are to be computed."""

    def __init__(self, *, device="auto"):
        super().__init__()
        self.provenance = Provenance.from_options("probe", {})
        loaded.append(("features", device))


class ProbeMatcher(MutualMatcher):
    """A matcher that notes where it is to compute."""

    def __init__(self, *, device="auto"):
        super().__init__()
        loaded.append(("matcher", device))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Six photos of two labels, a collection of them with local features, and what the commands need."""
    monkeypatch.setitem(LOCAL_EXTRACTORS, "probe", f"{__name__}:ProbeCorners")
    monkeypatch.setitem(MATCHERS, "probe", f"{__name__}:ProbeMatcher")
    monkeypatch.chdir(tmp_path)
    rows = ["file,label,role"]
    for seed in range(6):
        draw(tmp_path / "photos" / f"{seed}.png", seed)
        rows.append(f"photos/{seed}.png,{seed % 2},both")
    draw(tmp_path / "more" / "new.png", 9)
    (tmp_path / "set.csv").write_text("\n".join(rows))
    return tmp_path


def draw(path, seed):
    path.parent.mkdir(exist_ok=True)
    colours = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(colours).resize((120, 90), Image.Resampling.BICUBIC).save(path)


INDEX = ("index", "photos", "--to", "c", *SMALL, *PROBE)
AGAIN = ("index", "photos", "--to", "c", "--workers", 0)
SEARCH = ("search", "c", "photos/1.png", "--html", "s.html")
EVALUATE = ("evaluate", "csv", "--root", "set.csv", "--to", "e", *SMALL)
SUBMIT = ("submit", "gld-retrieval", "--queries", "more", "--database", "photos", "--to", "s.csv", *SMALL)
FEATURES, BOTH = {"features"}, {"features", "matcher"}

COMMANDS = {
    "match": ([], ("match", "photos/0.png", "photos/1.png", *PROBE, "--matcher", "probe"), BOTH),
    "index": ([], INDEX, FEATURES),
    "index what is new": ([(*INDEX, "--exclude", "5.png")], (*AGAIN, "--no-default-excludes"), FEATURES),
    "add": ([INDEX], ("add", "c", "more/new.png"), FEATURES),
    "search --verify": ([INDEX], (*SEARCH, "--verify", 3), FEATURES),
    "search --rerank": ([INDEX], (*SEARCH, *LEARNED), BOTH),
    "search --turned": ([INDEX], (*SEARCH, *LEARNED, "--turned", "--near"), BOTH),
    "evaluate": ([], (*EVALUATE, *PROBE, *LEARNED), BOTH),
    "evaluate again": ([(*EVALUATE, *PROBE, *LEARNED)], (*EVALUATE, *PROBE, *LEARNED), BOTH),
    "evaluate --sweep": ([], (*EVALUATE, *PROBE, *LEARNED, "--sweep"), BOTH),
    "submit": ([], (*SUBMIT, *PROBE, *LEARNED), BOTH),
}
"""Name -> (commands that come before, the command, what it must load)."""


@pytest.mark.parametrize("device", ["auto", "cpu"])
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.slow
def test_the_device_reaches_local_features_and_their_matcher(run, folder, name, device):
    before, command, expected = COMMANDS[name]
    for earlier in before:
        code, _, err = run(*earlier)
        assert code == 0, err
    loaded.clear()
    code, _, err = run(*command, *(() if device == "auto" else ("--device", device)))
    assert code == 0, err
    assert {*loaded} == {(what, device) for what in expected}
