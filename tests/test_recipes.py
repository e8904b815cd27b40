"""Every recipe that comes with the project is read, and what can be checked without photos is checked."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import timm

from meisho.cli.datasets import default_root
from meisho.config import config_toml, config_values, parse_config
from meisho.errors import ConfigError
from meisho.layers.margin_heads import HEADS, make_head
from meisho.training.augmentation import augmentation_of
from meisho.training.recipe import Recipe, load_recipe
from meisho.training.sampling import SAMPLERS
from meisho.training.train import train

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.toml"))


def test_there_are_recipes_for_what_the_chapter_does_and_more():
    names = {path.stem for path in RECIPES}
    assert {"chapter07_arcface", "gldv2_clean", "toycity_quick", "own_folder"} <= names
    assert len([name for name in names if name.startswith("chapter12_")]) == 6


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_read_and_names_what_there_is(path):
    recipe = load_recipe(path)
    assert parse_config(config_values(recipe), Recipe, source="again") == recipe
    assert timm.is_model(recipe.model.backbone)
    assert recipe.sampling.name in SAMPLERS
    augmentation_of(recipe.augmentation)
    if recipe.head.name != "none":
        assert recipe.head.name in HEADS
        head = make_head(recipe.head.name, 5, 8, class_sizes=[3] * 5, **recipe.head.options)
        assert head.num_classes == 5


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_says_first_what_it_is_for(path):
    assert path.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_photos_are_kept_larger_than_they_are_trained_on(path):
    recipe = load_recipe(path)
    assert recipe.data.cache_side_px >= 1.25 * max(size.px for size in recipe.schedule.sizes)


@pytest.mark.parametrize(
    "document", ["README.md", "README.ja.md", "docs/book.md", "docs/ja/book.md", "docs/getting_data.md"]
)
def test_a_recipe_looks_for_its_data_set_where_the_documents_put_it(document):
    text = (RECIPES[0].parent.parent / document).read_text(encoding="utf-8")
    places = dict(re.findall(r"datasets get (\w+) .*?--to ([\w/]+)", text))
    assert places
    assert all(place == f"data/{name}" for name, place in places.items())
    for name, root in re.findall(r"(\w+) --root (data/[\w/]+)", text):
        assert root == places.get(name, f"data/{name}")
    for path in RECIPES:
        data = load_recipe(path).data
        if data.dataset.startswith("gldv2"):
            assert data.root == default_root(data.dataset)


@pytest.mark.parametrize(
    "change", ["whitening.kind=pca", "pairs.name=contrastive", "distillation.teacher=default"]
)
def test_what_the_local_head_would_ignore_is_refused(change):
    with pytest.raises(ConfigError, match="kind 'delg-local' has none"):
        load_recipe(Path("toycity_delg_local"), [change])


def test_landmarks_are_numbers_and_names_of_them_are_landmark_names():
    with pytest.raises(
        ConfigError, match=r"'validation\.landmarks' is not known; .*'validation\.landmark_names'"
    ):
        load_recipe(Path("own_folder"), ["validation.landmarks=2"])


@pytest.mark.parametrize("name", ["own_folder", "recipes/own_folder.toml"])
def test_a_recipe_is_found_by_its_name_from_any_folder_unless_a_file_is_there(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(Path(name), ["seed=3"])
    assert recipe == load_recipe(RECIPES[0].parent / "own_folder.toml", ["seed=3"])
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(config_toml(recipe))
    assert load_recipe(Path(name)).seed == 3
    with pytest.raises(ConfigError, match="own_foldr: cannot be read"):
        load_recipe(Path("own_foldr"))


def test_the_command_lists_the_recipes_and_what_they_are_for(run):
    code, out, _ = run("train", "--list")
    first = [path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ") for path in RECIPES]
    assert code == 0
    assert out.splitlines()[: len(RECIPES)] == [
        f"{p.stem}: {line}" for p, line in zip(RECIPES, first, strict=True)
    ]
    assert all(line.endswith((".", "…")) for line in first)
    code, _, err = run("train")
    assert code == 2 and "meisho train --list" in err


def test_the_built_package_carries_the_recipes(tmp_path):
    pytest.importorskip("setuptools", minversion="77")
    root = RECIPES[0].parent.parent
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(root / name, tmp_path)
    shutil.copytree(root / "recipes", tmp_path / "recipes")
    (tmp_path / "src" / "meisho").mkdir(parents=True)
    shutil.copy(root / "src" / "meisho" / "__init__.py", tmp_path / "src" / "meisho")
    build = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", "built"]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)
    built = sorted((tmp_path / "built" / "meisho" / "recipes").glob("*.toml"))
    assert [path.read_bytes() for path in built] == [path.read_bytes() for path in RECIPES]


@pytest.mark.slow
def test_the_quick_recipe_helps_on_landmarks_that_it_has_never_seen(tmp_path):
    small = [
        *(f"data.{key}={tmp_path / key}" for key in ("root", "cache")),
        *("data.city.landmarks=10", "data.city.views=6", "sampling.batch_size=16", "validation.share=0.3"),
        *("model.max_side_px=128", "schedule.epochs=3", "schedule.sizes=[{px=96}]", "hardware.workers=0"),
    ]
    recipe = load_recipe(RECIPES[0].parent / "toycity_quick.toml", small)
    result = train(recipe, tmp_path / "run")
    assert [record.epoch for record in result.history] == [0, 1, 2, 3]
    assert result.best_map > result.history[0].validation_map + 0.03  # .874 -> .940
    assert result.history[-1].loss < 0.5 * result.history[1].loss
