"""`meisho doctor`: what it says of this machine is so, and what it advises can be followed."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from meisho.cli import doctor, installed
from meisho.cli.installed import EXTRAS, list_extras, read_requirements
from meisho.cores import count_cores
from meisho.extractors import machine

ROOT = Path(__file__).parents[2]
NOT_FOR_USERS = {"all", "dev", "docs", "release"}


@pytest.fixture(scope="module")
def told():
    """What the program says in a process of its own."""
    said = subprocess.run(
        [sys.executable, "-m", "meisho.cli", "doctor", "--json"], capture_output=True, text=True, check=True
    )
    return json.loads(said.stdout)


def test_it_tells_versions_device_and_places(told):
    import numpy

    assert told["packages"]["numpy"] == numpy.__version__
    assert told["device"]
    assert told["cores"] == count_cores()
    assert told["memory_bytes"] > told["decoding_bytes"] > 0
    assert Path(told["weights"]).is_file()
    assert "toycity" in told["data_sets"]
    assert "default" in told["models"] or told["models"]
    assert told["advice"] == [line for line in told["advice"] if line.strip()]


def test_text_has_every_extra_and_one_line_each(run):
    code, out, _ = run("doctor")
    assert code == 0
    for name in EXTRAS:
        assert [line for line in out.splitlines() if line.split()[:1] == [name]]


def test_the_extras_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(EXTRAS) == project["optional-dependencies"].keys() - NOT_FOR_USERS


def test_an_extra_is_complete_only_with_what_stands_inside_it(monkeypatch):
    lines = ["numpy>=1", 'torch>=2.6; extra == "torch"', 'meisho[torch]; extra == "export"']
    lines += ['no-such-package>=1; extra == "export"', "kaggle ; extra == 'kaggle'"]
    monkeypatch.setattr(installed.metadata, "requires", lambda name: lines)
    monkeypatch.setattr(installed, "installed_version", lambda name: None if "no-" in name else "1")
    assert read_requirements() == {
        "": ["numpy"],
        "torch": ["torch"],
        "export": ["torch", "no-such-package"],
        "kaggle": ["kaggle"],
    }
    export = next(extra for extra in list_extras() if extra.name == "export")
    assert export.missing == ("no-such-package",)
    assert export.install == "pip install 'meisho[export]'"
    assert next(extra for extra in list_extras() if extra.name == "kaggle").install is None


def test_the_hub_cache_is_where_its_library_says(monkeypatch, tmp_path):
    pytest.importorskip("huggingface_hub")
    for settings in ({}, {"HF_HOME": "~/hf"}, {"HF_HUB_CACHE": str(tmp_path)}, {"XDG_CACHE_HOME": "/x"}):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_"))} | settings
        for name in ("HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        code = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
        says = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).strip()
        assert str(doctor.find_hub_cache()) == says


@pytest.mark.parametrize("is_there", [True, False])
def test_it_tells_the_cache_that_collections_in_buckets_use(run, monkeypatch, tmp_path, is_there):
    from meisho.store.places import place_of

    monkeypatch.setenv("MEISHO_CACHE", str(tmp_path / "own"))
    if is_there:
        (tmp_path / "own").mkdir()
    _, out, _ = run("doctor")
    (line,) = [line for line in out.splitlines() if line.startswith("cache ")]
    assert str(tmp_path / "own") in line
    assert ("(not there yet)" in line) is not is_there
    (collections,) = [line for line in out.splitlines() if line.startswith("collections ")]
    assert "s3://" in collections and "cache" in collections
    told = json.loads(run("doctor", "--json")[1])
    assert place_of("s3://bucket/name").cache.is_relative_to(told["cache"])


def test_threads_that_are_held_back_are_told(monkeypatch):
    monkeypatch.setattr(doctor, "count_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert "2 of 8 cores" in " ".join(doctor.find_advice())
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert "OMP_NUM_THREADS" not in " ".join(doctor.find_advice())


@pytest.mark.parametrize(("has_torch", "said"), [(True, "cannot use it"), (False, "meisho[torch]")])
def test_a_gpu_that_nothing_uses_is_told(monkeypatch, has_torch, said):
    monkeypatch.setattr(machine, "shows_gpu", lambda: True)
    monkeypatch.setattr(machine, "has_cuda", lambda: False)
    monkeypatch.setattr(machine, "has_package", lambda name: has_torch)
    assert [line for line in doctor.find_advice() if "there is a GPU" in line and said in line]


def test_a_missing_base_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr(doctor, "read_requirements", lambda: {"": ["numpy", "no-such-package"]})
    assert any(line.endswith(": pip install no-such-package") for line in doctor.find_advice())


def test_info_without_a_collection_points_here(run):
    code, _, err = run("info")
    assert code == 2
    assert "meisho doctor" in err


@pytest.mark.parametrize(
    ("language", "said"), [("ja_JP.UTF-8", "探し出します"), ("en_US.UTF-8", "finds every")]
)
def test_meisho_alone_says_what_to_do_next_in_the_language_of_the_user(run, monkeypatch, language, said):
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", language)
    code, out, _ = run()
    assert code == 0
    assert said in out
    assert "meisho doctor" in out
