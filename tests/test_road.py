"""The road beyond one machine, walked with a small city by its benchmark, which checks the answers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from object_stores import find_weed

ROAD = Path(__file__).parent.parent / "benchmarks" / "road.py"
SMALL = ("--landmarks", "3", "--views", "4", "--distractors", "6")


@pytest.mark.slow
def test_photos_in_a_bucket_described_by_ray_found_by_milvus_are_those_of_one_machine():
    for package, name in (("ray", "Ray"), ("milvus", "Milvus"), ("pymilvus", "pymilvus")):
        pytest.importorskip(package, reason=f"{name} is not installed")
    find_weed()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run([sys.executable, ROAD, *SMALL], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "questions have the same 10 photos in the same order" in done.stdout
