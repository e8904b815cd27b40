"""The process that draws sites: it may die, and a site may be hard to photograph."""

import pytest

from meisho.errors import DatasetError
from meisho.toycity import Variety
from meisho.toycity.kinds import KINDS
from meisho.toycity.worker import MIN_QUERY_SHARE, Job, draw_site, worker_process


def make_folders(root):
    for name in ("queries", "database", "visible"):
        (root / name).mkdir()


def test_a_process_that_ended_is_named_for_each_job_it_is_given(tmp_path):
    job = Job(str(tmp_path / "gone"), 0, False, 0, 1, 1)
    with worker_process() as draw:
        for _ in range(2):
            with pytest.raises(DatasetError, match=r"gone: a drawing process exited with code 1"):
                draw(job)


def test_a_landmark_that_no_view_shows_enough_of_is_asked_with_what_shows_most(tmp_path):
    make_folders(tmp_path)
    variety = Variety(tuple(KINDS), 0.3, 0.1, True)
    drawn = draw_site(Job(str(tmp_path), 4, False, 35, 1, 2, variety))
    queries = [photo for photo in drawn.photos if photo.role == "query"]
    assert len(queries) == 2
    assert 0 < min(query.share for query in queries) < MIN_QUERY_SHARE
