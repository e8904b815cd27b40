"""Where the time of a run went, in words, and what to do about it."""

from types import SimpleNamespace

import pytest

from meisho.describing import Describer
from meisho.run.summary import LONG_SECONDS, advise, say_where_time_went

LIGHT = SimpleNamespace(provenance=SimpleNamespace(values={}))


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ({}, None),
        ({"describing": LONG_SECONDS - 0.1}, None),
        ({"describing": 100.0}, "describing 100%; a GPU would help"),
        (
            {"reading": 1.0, "decoding": 25.0, "describing": 70.0, "saving": 4.0},
            "describing 70%, decoding 25%, saving 4%; a GPU would help",
        ),
        ({"describing": 50.0, "saving": 50.0}, "saving 50%, describing 50%"),  # nothing takes most of it
        (
            {"reading": 90.0, "describing": 10.0},
            "reading 90%, describing 10%; the photos lie on a slow drive or network",
        ),
        ({"saving": 90.0}, "saving 100%; the collection lies on a slow drive or network"),
        ({"building the index": 90.0}, "building the index 100%"),
    ],
)
def test_where_the_time_went_is_said_in_one_line(stages, words):
    assert say_where_time_went(stages, Describer(LIGHT)) == words


@pytest.mark.parametrize(
    ("num_workers", "num_cores", "advice"),
    [
        (None, 8, "more processor cores would help"),
        (None, 64, "--workers 64 would help"),  # fewer are started by themselves
        (2, 8, "--workers 8 would help"),
        (0, 2, "--workers 2 would help"),
        (8, 8, "more processor cores would help"),
        (12, 8, "more processor cores would help"),
    ],
)
def test_decoding_takes_as_many_processes_as_there_are_cores(num_workers, num_cores, advice):
    assert advise("decoding", Describer(LIGHT, num_workers=num_workers), num_cores=num_cores) == advice
