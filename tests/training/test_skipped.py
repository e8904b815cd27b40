"""The table of photos that a run could not read."""

import pytest

from meisho.errors import DatasetError
from meisho.training.skipped import SKIPPED_NAME, SkippedPhotos


def resume(folder):
    skipped = SkippedPhotos(folder, 100, find_all="a command", say=print)
    skipped.resume()
    return skipped


def test_a_table_is_taken_over(tmp_path):
    assert len(resume(tmp_path)) == 0
    (tmp_path / SKIPPED_NAME).write_text("path,reason\na.jpg,damaged\nb.jpg\n")
    assert len(resume(tmp_path)) == 2


@pytest.mark.parametrize("text", ["x,y\n1,2\n", "path\na\n", 'path,reason\n"' + "a" * 200_000])
def test_a_damaged_table_is_named(tmp_path, text):
    (tmp_path / SKIPPED_NAME).write_text(text)
    with pytest.raises(DatasetError, match=r"skipped\.csv: cannot be read .*remove it"):
        resume(tmp_path)
