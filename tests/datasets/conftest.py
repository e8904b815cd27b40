"""Fixtures of the data sets' tests."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_sets():
    """The module benchmarks/shared_sets.py, which is not part of the package."""
    source = Path(__file__).parents[2] / "benchmarks" / "shared_sets.py"
    spec = importlib.util.spec_from_file_location("shared_sets", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
