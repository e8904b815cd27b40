"""Queries that were described once are not described again, unless something about them is another."""

import numpy as np
import pytest
from PIL import Image

from meisho.describing import Describer
from meisho.descriptors import Provenance
from meisho.photos import Box, Photo
from meisho.progress import silent
from meisho.run.kept_queries import describe_queries
from toy_features import MeanColor


class Counting(MeanColor):
    def __init__(self, version=1):
        self.count = 0
        self.provenance = Provenance.from_options("counting", {"version": version})

    def extract(self, images):
        self.count += len(images)
        return super().extract(images)


@pytest.fixture
def queries(tmp_path):
    for number in range(3):
        Image.new("RGB", (30, 20), (60 * number, 200, 9)).save(tmp_path / f"{number}.png")
    (tmp_path / "c").mkdir()
    return [Photo(str(number), tmp_path / f"{number}.png") for number in range(3)]


def ask(queries, extractor):
    folder = queries[0].path.parent / "c"
    return describe_queries(queries, Describer(extractor, num_workers=0), folder, progress=silent)


def test_a_second_time_nothing_is_described(queries):
    extractor = Counting()
    first = ask(queries, extractor)
    assert np.array_equal(first, Describer(MeanColor(), num_workers=0).describe(queries).vectors)
    assert np.array_equal(ask(queries, extractor), first)
    assert np.array_equal(ask(queries[::-1], extractor), first[::-1])
    assert extractor.count == 3


def another_content(queries):
    Image.new("RGB", (30, 20), (1, 2, 3)).save(queries[1].path)
    return queries, Counting()


def another_box(queries):
    return [queries[0], Photo("1", queries[1].path, Box(1, 1, 5, 5)), queries[2]], Counting()


def one_more(queries):
    Image.new("RGB", (30, 20), (1, 2, 3)).save(queries[0].path.parent / "more.png")
    return [*queries, Photo("more", queries[0].path.parent / "more.png")], Counting()


@pytest.mark.parametrize("change", [another_content, another_box, one_more])
def test_only_what_is_another_is_described(queries, change):
    ask(queries, Counting())
    changed, extractor = change(queries)
    expected = Describer(MeanColor(), num_workers=0).describe(changed).vectors
    assert np.array_equal(ask(changed, extractor), expected)
    assert extractor.count == 1


def test_another_model_describes_all(queries):
    ask(queries, Counting())
    extractor = Counting(version=2)
    ask(queries, extractor)
    assert extractor.count == 3


@pytest.mark.parametrize("place", [0, 8, 40, -1, -50, None])
def test_a_damaged_file_is_written_anew(queries, place):
    first = ask(queries, Counting())
    file = queries[0].path.parent / "c" / "index" / "queries.safetensors"
    data = bytearray(file.read_bytes())
    if place is None:
        file.write_bytes(b"")
    else:
        data[place] ^= 4
        file.write_bytes(data)
    extractor = Counting()
    assert np.array_equal(ask(queries, extractor), first)
    assert extractor.count == 3
    assert np.array_equal(ask(queries, Counting()), first)
