"""Collections that Milvus searches: every command and every reranker as without it."""

import json
import shutil

import numpy as np
import pytest

from meisho.datasets.image_folder import load_image_folder
from meisho.describing import Describer
from meisho.engines.base import open_engine
from meisho.errors import ConfigError, OutOfStepError, UnreachableError
from meisho.extractors.base import EXTRACTORS
from meisho.rerank.base import RERANKERS
from meisho.run.evaluating import evaluate_dataset
from meisho.run.finding import Finder
from meisho.run.indexing import IndexOptions, add_photos, index_folder, remove_photos
from meisho.sealed import read_sealed, write_sealed
from meisho.store.collection import Collection
from meisho.store.metadata import keep_engine, read_metadata
from run.conftest import paint
from toy_features import MeanColor, index_with_corners

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")
DEAD = "milvus:http://127.0.0.1:9?timeout=0.2"  # the port of "discard", where nobody listens


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return f"milvus:{tmp_path_factory.mktemp('lite') / 'vectors.db'}?index=FLAT"


@pytest.fixture
def photos(tmp_path):
    """A folder of sixty photos: two copies, some nearly alike."""
    for seed in range(60):
        paint(tmp_path / "photos" / f"{seed}.png", seed % 58)
    return tmp_path / "photos"


@pytest.fixture
def collection(photos, describer, engine):
    """A collection of them that Milvus searches, with local features."""
    path = index_with_corners(photos, describer)
    index_folder(photos, path, describer, IndexOptions(engine=engine))
    return path


def open_finder(path):
    return Finder.open(path, extractor=MeanColor())


def facts(found):
    return [[(answer.id, answer.score, answer.num_inliers) for answer in answers] for answers in found]


def table_of(path):
    return open_engine(read_metadata(path).engine).load(path / "index").table


def test_answers_are_those_of_this_machine(photos, describer, collection, tmp_path):
    index_folder(photos, tmp_path / "local", describer)
    finder = open_finder(collection)
    queries = sorted(photos.glob("*.png"))[:9]
    assert facts(finder.find(queries)) == facts(open_finder(tmp_path / "local").find(queries))
    assert not finder.state.index.is_exact
    assert table_of(collection).count() == 60
    assert not [*(collection / "index").glob("index.json")]


@pytest.mark.parametrize("chain", RERANKERS)
def test_every_reranker_works_over_it(photos, describer, collection, chain):
    queries = sorted(photos.glob("*.png"))[:5]
    over = facts(open_finder(collection).find(queries, chain=chain))
    index_folder(photos, collection, describer, IndexOptions(engine="local"))
    here = facts(open_finder(collection).find(queries, chain=chain))
    assert [[one[0] for one in answers] for answers in over] == [
        [one[0] for one in answers] for answers in here
    ]
    np.testing.assert_allclose(
        [one[1] for answers in over for one in answers],
        [one[1] for answers in here for one in answers],
        rtol=1e-5,
    )


def test_what_is_added_is_found_and_what_is_removed_is_not(photos, describer, collection):
    finder = open_finder(collection)
    paint(photos / "late.png", 77)
    add_photos(collection, photos / "late.png", describer)
    assert finder.follow() and finder.find(photos / "late.png")[0][0].id == "late.png"
    assert table_of(collection).count() == 61
    remove_photos(collection, ["late.png", "3.png"])
    assert finder.follow()
    assert {"late.png", "3.png"}.isdisjoint(a.id for a in finder.find(photos / "3.png", top=60)[0])
    assert len(finder) == 59


def test_only_some_photos_and_turned_queries_are_asked(photos, collection):
    finder = open_finder(collection)
    found = finder.find(photos / "3.png", top=4, among=np.arange(10, 50), turned=True)
    assert len(found[0]) == 4
    assert finder.find_like("5.png", top=3)[0][0].id == "5.png"


def test_a_graph_is_built_through_it(photos, describer, collection):
    index_folder(photos, collection, describer, IndexOptions(graph=True))
    assert open_finder(collection).find(photos / "1.png", chain="k-reciprocal")[0][0].id == "1.png"


def test_going_back_to_this_machine_leaves_nothing_there(photos, describer, collection):
    table = table_of(collection)
    index_folder(photos, collection, describer, IndexOptions(engine="local"))
    assert read_metadata(collection).engine is None
    with pytest.raises(OutOfStepError):
        table.count()
    assert open_finder(collection).state.index.is_exact


@pytest.mark.parametrize("change", [IndexOptions(), IndexOptions(engine="local")], ids=["index", "local"])
def test_a_copy_does_the_collection_no_harm(photos, describer, collection, tmp_path, change):
    before = facts(open_finder(collection).find(photos / "1.png"))
    copy = tmp_path / "copy.meisho"
    shutil.copytree(collection, copy)
    assert facts(open_finder(copy).find(photos / "1.png")) == before
    remove_photos(copy, [f"{seed}.png" for seed in range(30, 60)])  # its table is filled anew
    index_folder(photos, copy, describer, change)
    remove_photos(copy, [f"{seed}.png" for seed in range(30, 60)])
    assert facts(open_finder(collection).find(photos / "1.png")) == before
    index_folder(photos, collection, describer, IndexOptions(engine="local"))
    assert open_finder(copy).find(photos / "1.png")[0][0].id == "1.png"


def test_a_collection_without_an_engine_is_searched_here(photos, describer, tmp_path):
    index_folder(photos, tmp_path / "c", describer)
    values = json.loads((tmp_path / "c" / "collection.json").read_text())
    assert values.pop("engine") is None
    values.pop("sha256")
    (tmp_path / "c" / "collection.json").write_text(json.dumps(values))  # as before there were engines
    assert open_engine(read_metadata(tmp_path / "c").engine).text == "local"


def test_one_that_cannot_be_reached_is_said_before_any_work(photos, describer, tmp_path):
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9: does not answer within 0\.2 s"):
        index_folder(photos, tmp_path / "new", describer, IndexOptions(engine=DEAD))
    assert not (tmp_path / "new").exists()


def test_one_that_died_is_an_error_and_this_machine_can_take_over(photos, describer, collection):
    record = collection / "index" / "engine" / "engine.json"
    write_sealed(record, read_sealed(record) | {"place": DEAD.removeprefix("milvus:")})
    keep_engine(collection, DEAD)
    finder = open_finder(collection)
    with pytest.raises(UnreachableError, match="--engine local"):
        finder.find(photos / "1.png")
    paint(photos / "late.png", 77)
    with pytest.raises(UnreachableError):
        add_photos(collection, photos / "late.png", describer)
    index_folder(photos, collection, describer, IndexOptions(engine="local"))
    assert finder.follow() and finder.find(photos / "late.png")[0][0].id == "late.png"


def test_a_finder_follows_when_what_was_lost_is_filled_again(photos, describer, collection):
    finder = open_finder(collection)
    before = facts(finder.find(photos / "1.png"))
    table_of(collection).drop()
    with pytest.raises(OutOfStepError, match="run 'meisho index'"):
        open_finder(collection).find(photos / "1.png")
    index_folder(photos, collection, describer)
    assert not finder.follow()  # no photo has changed
    assert facts(finder.find(photos / "1.png")) == before


def test_an_index_of_this_machine_does_not_go_with_it(engine):
    with pytest.raises(ConfigError, match="has indexes of its own"):
        IndexOptions(index="hnsw", engine=engine)


def test_an_engine_that_is_none_is_refused_before_anything_begins():
    with pytest.raises(ConfigError, match="oracle"):
        IndexOptions(engine="oracle:somewhere")


def test_an_index_of_this_machine_is_refused_where_another_engine_searches(photos, describer, collection):
    before = Collection.open(collection).snapshot().version
    with pytest.raises(ConfigError, match=r"has indexes of its own.* instead of the index 'exact'"):
        index_folder(photos, collection, describer, IndexOptions(index="exact"))
    assert Collection.open(collection).snapshot().version == before
    index_folder(photos, collection, describer, IndexOptions(index="exact", engine="local"))


def test_figures_are_those_of_this_machine(photos, engine, tmp_path):
    for seed in range(60):
        paint(photos / f"place {seed % 12}" / f"{seed}.png", seed)
        (photos / f"{seed}.png").unlink()
    dataset, describer = load_image_folder(photos), Describer(MeanColor(), num_workers=0)
    path = tmp_path / "evaluated"
    here = evaluate_dataset(dataset, describer, path)
    keep_engine(path, engine)
    over = evaluate_dataset(dataset, describer, path)
    assert table_of(path).count() == len(dataset.database)
    assert over.report.figures == here.report.figures
    np.testing.assert_array_equal(over.ranking.ranks, here.ranking.ranks)


def test_the_command_line_says_who_searches(run, photos, engine, tmp_path, monkeypatch):
    monkeypatch.setitem(EXTRACTORS, "mean_color", "toy_features:load_mean_color")
    words = ("--model", "mean_color", "--workers", 0)
    path = tmp_path / "c.meisho"
    code, out, err = run("index", photos, "--to", path, *words, "--engine", engine)
    assert code == 0, err
    assert "milvus FLAT index" in out
    facts = json.loads(run("info", path, "--json")[1])
    assert (facts["engine"], facts["index"]) == (engine, "milvus FLAT")
    found = json.loads(run("search", path, photos / "7.png", "--json")[1])
    assert "7.png" in json.dumps(found)
    assert run("check", path)[0] == 0
    code, _, err = run("index", photos, "--to", path, *words, "--engine", DEAD)
    assert code == 4 and "127.0.0.1:9" in err and "Traceback" not in err
    assert json.loads(run("info", path, "--json")[1])["engine"] == engine
