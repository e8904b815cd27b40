import numpy as np
import pytest

import meisho.index.choice
from meisho.index.choice import choose_index, measure_exact_search

VECTORS = np.random.default_rng(0).standard_normal((3000, 16)).astype(np.float32)


def test_exact_is_chosen_while_it_is_quick():
    assert choose_index(VECTORS) == "exact"
    assert choose_index(VECTORS[:0], limit_seconds=1e-9) == "exact"


def test_an_approximate_index_is_chosen_when_exact_is_too_slow():
    assert choose_index(VECTORS, limit_seconds=1e-9) == "ivfpq"


def test_exact_is_chosen_without_faiss(monkeypatch):
    monkeypatch.setattr(meisho.index.choice, "find_spec", lambda name: None)
    assert choose_index(VECTORS, limit_seconds=1e-9) == "exact"


def test_a_large_database_is_measured_on_a_sample(monkeypatch):
    monkeypatch.setattr(meisho.index.choice, "_SAMPLE_ROWS", 300)
    monkeypatch.setattr(meisho.index.choice, "_time_search", lambda index, query: 0.5)
    assert measure_exact_search(VECTORS) == pytest.approx(5)
