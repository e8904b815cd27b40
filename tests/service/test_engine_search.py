"""The service over a collection that Milvus searches."""

import pytest

from meisho.describing import Describer
from meisho.engines.base import open_engine
from meisho.run.indexing import IndexOptions, index_folder
from meisho.store.metadata import read_metadata
from service.servers import json_of, serving
from toy_features import MeanColor

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")


@pytest.fixture
def searched_by_milvus(photos, collection, describer, tmp_path):
    engine = f"milvus:{tmp_path / 'vectors.db'}?index=FLAT"
    index_folder(photos, collection, describer, IndexOptions(engine=engine))
    return collection


def ask(client, status=200, **fields):
    asked = {"photo": "a/2.jpg", "include_self": True, "near": False, **fields}
    return json_of(client.post("/v1/search", json=asked), status)


@pytest.mark.parametrize("fields", [{}, {"verify": 5}, {"top": 3}, {"rerank": "alpha-qe"}])
def test_answers_are_those_without_it(searched_by_milvus, photos, describer, fields):
    with serving(searched_by_milvus) as service:
        over = ask(service, **fields)["answers"]
    index_folder(photos, searched_by_milvus, describer, IndexOptions(engine="local"))
    with serving(searched_by_milvus) as service:
        assert over == ask(service, **fields)["answers"]
    assert over


def test_an_engine_that_lost_its_data_is_a_problem_until_it_is_filled_again(
    searched_by_milvus, photos, describer
):
    with serving(searched_by_milvus) as service:
        engine = open_engine(read_metadata(searched_by_milvus).engine)
        engine.load(searched_by_milvus / "index").table.drop()
        problem = ask(service, 503)
        assert problem["type"] == "/problems/engine" and "run 'meisho index'" in problem["detail"]
        index_folder(photos, searched_by_milvus, Describer(MeanColor(), num_workers=0))
        assert ask(service)["answers"]
