"""How alike the photos of a collection are."""

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from meisho import cli
from meisho.errors import InputError
from meisho.run.spread import describe_spread, nearest_scores
from meisho.store.collection import Collection
from meisho.toycity import build_toycity

cli.load_commands()


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """A small city with one photo that is there twice."""
    folder = tmp_path_factory.mktemp("spread")
    build_toycity(folder / "city", landmarks=2, views=3, distractors=1)
    photos = folder / "city" / "database"
    first = sorted(photos.iterdir())[0]
    shutil.copy(first, photos / "copy.jpg")
    done = CliRunner().invoke(cli.app, ["index", str(photos), "--to", str(folder / "my.meisho")])
    assert done.exit_code == 0, done.output
    return folder / "my.meisho"


def test_each_content_has_its_nearest_other_one(collection):
    vectors = np.unique(Collection.open(collection).snapshot().descriptors.vectors, axis=0)
    expected = vectors @ vectors.T
    np.fill_diagonal(expected, -2)
    found = nearest_scores(collection)
    np.testing.assert_allclose(np.sort(found), np.sort(expected.max(axis=1)), atol=1e-5)
    assert found.max() < 0.9999, "a copy is not another photo"
    assert len(nearest_scores(collection, most=3)) == 3


def test_bars_hold_every_score_once():
    spread = describe_spread(np.array([-0.02, 0.5, 0.5499, 0.55, 1.0], np.float32))
    held = {(bar.low, bar.high): bar.num_photos for bar in spread.bars if bar.num_photos}
    assert held == {(-0.05, 0.0): 1, (0.5, 0.55): 2, (0.55, 0.6): 1, (0.95, 1.0): 1}
    assert spread.num_photos == 5 and spread.median == pytest.approx(0.5499)
    with pytest.raises(InputError, match="fewer than two different photos"):
        describe_spread(np.array([], np.float32))


def test_info_draws_them(collection):
    done = CliRunner().invoke(cli.app, ["info", str(collection), "--scores"])
    assert done.exit_code == 0 and "copies aside: median score 0." in done.output and "█" in done.output
    done = CliRunner().invoke(cli.app, ["info", str(collection), "--scores", "--json"])
    facts = json.loads(done.output)
    assert (
        sum(bar["num_photos"] for bar in facts["scores"]["bars"])
        == facts["scores"]["num_photos"]
        == facts["contents"]
    )


def test_a_collection_of_no_photos_has_no_scores(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "junk.jpg").write_bytes(b"junk")
    path = tmp_path / "my.meisho"
    done = CliRunner().invoke(cli.app, ["index", str(tmp_path / "photos"), "--to", str(path)])
    assert done.exit_code == 0, done.output
    assert nearest_scores(path).shape == (0,)
