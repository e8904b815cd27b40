"""Figures over a real Milvus server: those of this machine, to the last digit by FLAT, nearly so by HNSW."""

import numpy as np
import pytest

from meisho.datasets.base import load_dataset
from meisho.describing import Describer
from meisho.extractors.base import load_extractor
from meisho.run.evaluating import evaluate_dataset
from meisho.store.metadata import keep_engine
from meisho.toycity import build_toycity
from milvus_servers import milvus_server


@pytest.mark.slow
def test_a_toy_city_scores_what_it_scores_here(tmp_path):
    with milvus_server(tmp_path / "milvus") as server:
        build_toycity(tmp_path / "city", landmarks=8, views=6, distractors=40)
        dataset = load_dataset("toycity", tmp_path / "city")
        describer, path = Describer(load_extractor("imagenet", max_side_px=192)), tmp_path / "c"
        here = evaluate_dataset(dataset, describer, path)
        for kind, most in (("FLAT", 0.0), ("HNSW", 0.003)):
            keep_engine(path, f"milvus:{server.uri}?index={kind}")
            over = evaluate_dataset(dataset, describer, path)
            values, others = (np.array([f.value for f in each.report.figures]) for each in (here, over))
            np.testing.assert_allclose(others, values, rtol=0, atol=most)
            if kind == "FLAT":
                np.testing.assert_array_equal(over.ranking.ranks, here.ranking.ranks)
