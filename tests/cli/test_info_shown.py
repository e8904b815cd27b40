"""What `meisho info` says in words."""

from meisho.cli.info import _in_short, _print_spread
from meisho.photo_folder import DEFAULT_EXCLUDES
from meisho.run.spread import ScoreBar, Spread


def test_the_histogram_of_scores_says_what_is_compared(capsys):
    _print_spread(Spread(816, 0.5, (ScoreBar(0.4, 0.6, 816),)))
    title = capsys.readouterr().out.splitlines()[1]
    assert title == "How alike each of 816 photos is to the one most like it, copies aside: median score 0.50"


def test_default_excludes_are_one_line_and_those_of_a_user_are_named():
    said = f"{len(DEFAULT_EXCLUDES)} defaults, which --json names"
    assert _in_short(DEFAULT_EXCLUDES) == [said]
    assert _in_short((*DEFAULT_EXCLUDES, "scans")) == [said, "scans"]
    assert _in_short(DEFAULT_EXCLUDES[1:]) == list(DEFAULT_EXCLUDES[1:])
    assert _in_short(()) == ["none"]
