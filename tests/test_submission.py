"""Submissions: what is written is what the contest takes, and what is read back."""

import numpy as np
import pytest

from meisho.errors import DatasetError, InputError
from meisho.ranking import Ranking
from meisho.submission import read_query_ids, read_submission, write_submission

IDS = tuple(f"{i:016x}" for i in range(150))


def ranking_of(lists, query_ids=None, database_ids=IDS):
    depth = max(map(len, lists), default=0)
    ranks = np.array([[*some, *[-1] * (depth - len(some))] for some in lists], np.int64).reshape(-1, depth)
    scores = np.where(ranks < 0, -np.inf, -np.arange(depth)).astype(np.float32)
    return Ranking(tuple(query_ids or "pqrst"[: len(lists)]), database_ids, ranks, scores)


def test_a_row_per_query_with_its_ids_in_order(tmp_path):
    path = tmp_path / "to" / "s.csv"
    write_submission(ranking_of([[2, 0], [], [1]]), path)
    assert path.read_bytes() == (b"id,images\np,0000000000000002 0000000000000000\nq,\nr,0000000000000001\n")
    assert [file.name for file in path.parent.iterdir()] == ["s.csv"]


def test_no_more_than_100_ids_are_handed_in(tmp_path):
    write_submission(ranking_of([list(range(150))]), tmp_path / "s.csv")
    row = (tmp_path / "s.csv").read_text().splitlines()[1]
    assert row == f"p,{' '.join(IDS[:100])}"


def test_rows_follow_the_list_of_queries_answered_or_not(tmp_path):
    write_submission(ranking_of([[1], [2]]), tmp_path / "s.csv", query_ids=["q", "gone", "p"])
    assert (tmp_path / "s.csv").read_text().splitlines()[1:] == [f"q,{IDS[2]}", "gone,", f"p,{IDS[1]}"]


@pytest.mark.parametrize("bad", ["a b", "a,b", 'a"b', ""])
def test_an_id_that_would_break_a_row_is_refused_and_nothing_is_left(tmp_path, bad):
    with pytest.raises(InputError, match="cannot stand in a submission"):
        write_submission(ranking_of([[0]], database_ids=(bad,)), tmp_path / "s.csv")
    with pytest.raises(InputError, match="stands twice"):
        write_submission(ranking_of([[0]]), tmp_path / "s.csv", query_ids=["p", "p"])
    assert list(tmp_path.iterdir()) == []


def test_a_failed_writing_keeps_the_earlier_submission(tmp_path):
    write_submission(ranking_of([[0]]), tmp_path / "s.csv")
    before = (tmp_path / "s.csv").read_bytes()
    with pytest.raises(InputError):
        write_submission(ranking_of([[0], [1]], database_ids=("a", "b c")), tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_bytes() == before


def test_what_was_written_is_read_back(tmp_path):
    ranking = ranking_of([[2, 0], [], [1]])
    write_submission(ranking, tmp_path / "s.csv")
    again = read_submission(tmp_path / "s.csv", IDS)
    assert again.query_ids == ranking.query_ids
    assert [again.ids_of(row) for row in range(3)] == [ranking.ids_of(row) for row in range(3)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,image\np,\n", "needs the column 'images'"),
        (f"id,images\np,{IDS[0]}\np,{IDS[1]}\n", r"s\.csv:3: the id 'p' stands already on line 2"),
        ("id,images\np,feedfeedfeedfeed\n", r"s\.csv:2: the database has no photo 'feedfeedfeedfeed'"),
        (f"id,images\np,{' '.join(IDS[:101])}\n", r"s\.csv:2: has 101 ids, and 100 are the most"),
        (f"id,images\np,{'x' * 10_000_000}\n", r"s\.csv:2: "),
    ],
)
def test_a_broken_submission_names_its_line(tmp_path, text, message):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(DatasetError, match=message) as caught:
        read_submission(tmp_path / "s.csv", IDS)
    assert len(str(caught.value)) < 500


def test_marks_and_line_ends_of_a_query_list_do_not_matter(tmp_path):
    (tmp_path / "s.csv").write_bytes("\ufeffid,images\r\np,x y\r\nq,\r\n".encode())
    assert read_query_ids(tmp_path / "s.csv") == ("p", "q")
    (tmp_path / "s.csv").write_text("id,images\np,\n,x\np,\n")
    with pytest.raises(
        DatasetError, match=r"2 broken rows.*\n.*:3: has no id.*\n.*:4: the id 'p' stands already"
    ):
        read_query_ids(tmp_path / "s.csv")


@pytest.mark.shared
def test_the_contest_s_sample_is_read_and_written_byte_for_byte(shared_data, tmp_path):
    sample = shared_data / "gld" / "sample_submission_retrieval.csv"
    query_ids = read_query_ids(sample)
    assert len(query_ids) == 1_129
    rows = [line.split(",")[1].split() for line in sample.read_text().splitlines()[1:]]
    database_ids = tuple(dict.fromkeys(photo_id for row in rows for photo_id in row))
    ranking = read_submission(sample, database_ids)
    write_submission(ranking, tmp_path / "again.csv", query_ids=query_ids)
    assert (tmp_path / "again.csv").read_bytes() == sample.read_bytes()
