"""The laws of imports (docs/DESIGN.md): imports point down the walk of a photo or to nouns, never up."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "meisho"

NOUNS = {
    "errors",
    "buckets",
    "endpoints",
    "schemes",
    "documents",
    "array_files",
    "tables",
    "progress",
    "recent",
    "texts",
    "cores",
    "arrays",
    "files",
    "sealed",
    "config",
    "stored_vectors",
    "descriptors",
    "local_features",
    "matches",
    "certainty",
    "ranking",
    "ground_truth",
    "photos",
    "photo_folder",
    "memory",
    "colours",
    "signatures",
    "orientations",
    "jpeg",
    "png",
    "netpbm",
    "strips",
    "tiff",
    "image_files",
    "images",
    "marks",
    "outputs",
    "capture",
}
MAY_IMPORT = {
    # the walk, top to bottom: each stage may import the nouns, itself, and what stands here
    "errors": {"texts"},
    "texts": set(),
    "endpoints": {"errors", "texts"},
    "buckets": {"endpoints", "errors", "texts"},
    "schemes": {"errors", "texts"},
    "cores": set(),
    "arrays": set(),
    "files": {"buckets"},
    "sealed": {"errors", "documents", "files"},
    "tables": {"errors"},
    "progress": set(),
    "recent": set(),
    "documents": {"errors"},
    "array_files": {"errors", "documents"},
    "config": {"errors", "documents", "tables"},
    "stored_vectors": {"errors", "arrays", "texts"},
    "descriptors": {"errors", "documents", "arrays", "texts", "stored_vectors"},
    "local_features": {"errors", "arrays"},
    "matches": {"errors", "arrays"},
    "certainty": {"descriptors"},
    "ranking": {"errors", "arrays", "texts"},
    "ground_truth": {"errors", "arrays", "texts"},
    "memory": {"errors"},
    "photos": {"errors", "arrays", "documents", "buckets"},
    "photo_folder": {"errors", "photos", "buckets"},
    "colours": {"arrays"},
    "signatures": set(),
    "orientations": set(),
    "jpeg": {"arrays", "signatures"},
    "png": {"signatures"},
    "netpbm": set(),
    "strips": {"arrays", "colours", "jpeg"},
    "tiff": {"arrays", "orientations", "strips"},
    "image_files": {"errors", "buckets", "orientations", "photos", "signatures", "jpeg", "png", "tiff"},
    "images": {
        "errors",
        "arrays",
        "buckets",
        "photos",
        "memory",
        "colours",
        "jpeg",
        "png",
        "netpbm",
        "image_files",
        "orientations",
    },
    "marks": {"errors", "files"},
    "outputs": {"errors", "files", "marks", "buckets", "schemes"},
    "capture": {"errors", "photos", "image_files"},
    "layers": {"errors", "tables"},
    "datasets": NOUNS,
    "fetching": NOUNS,  # at the side: brings the files that `datasets` reads
    "extractors": NOUNS | {"layers", "whitening"},
    "decoding": NOUNS,
    "describing": NOUNS | {"extractors", "decoding"},
    "local_describing": NOUNS | {"extractors", "decoding"},
    "cluster": NOUNS | {"extractors", "decoding", "describing", "local_describing"},
    "whitening": NOUNS,
    "geometry": NOUNS,
    "index": NOUNS,
    "engines": NOUNS | {"index"},
    "searching": NOUNS | {"index"},
    "store": NOUNS,
    "planning": NOUNS | {"store"},
    "hashing": NOUNS | {"planning"},
    "update": NOUNS | {"planning", "hashing", "extractors", "describing", "local_describing", "store"},
    "stored_features": NOUNS | {"store"},
    "photo_pair": NOUNS | {"extractors", "local_describing", "geometry", "rerank"},
    "asmk": NOUNS | {"index"},
    "rerank": NOUNS | {"geometry", "index", "asmk"},
    "evaluate": NOUNS,
    "toycity": NOUNS | {"datasets"},  # at the side: the drawn city
    "submission": NOUNS | {"datasets"},
    "training": NOUNS
    | {
        "layers",
        "datasets",
        "toycity",
        "extractors",
        "decoding",
        "describing",
        "evaluate",
        "searching",
        "index",
    }
    | {"whitening"},
    "run": None,  # knows the order: may import everything but the edge
    "client": NOUNS,  # at the side: asks a service
    "contest": None,  # the walk of a contest entry; the parts that a notebook uses do without `run`
    "web": None,
    "service": None,
    "cli": None,
}
EDGE = {"run", "contest", "cli", "web", "service"}
ONLY_IN = {
    "torch": {"extractors", "layers", "training"},
    "timm": {"extractors", "layers", "training"},
    "faiss": {"index"},
    "lancedb": {"store"},
    "pymilvus": {"engines"},
    "pyarrow": {"store"},
    "typer": {"cli"},
    "rich": {"cli"},
    "jinja2": {"web"},
    "matplotlib": {"web", "training"},
    "kaggle": {"fetching"},
    "accelerate": {"training"},
    "tensorboard": {"training"},
    "fastapi": {"service"},
    "starlette": {"service"},
    "pydantic": {"service"},
    "uvicorn": {"service"},
    "prometheus_client": {"service"},
    "python_multipart": {"service"},
    "httpx": {"client"},
    "obstore": {"buckets", "endpoints"},
    "onnx": {"training"},
    "ray": {"cluster"},
    "onnxruntime": {"extractors", "index", "training"},
}


def stage_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


SOURCES = [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down_the_walk(path):
    stage = stage_of(path)
    allowed = MAY_IMPORT[stage]
    for module in imported_modules(path):
        package, _, rest = module.partition(".")
        if package == "meisho" and rest:
            target = rest.partition(".")[0]
            if target == stage:
                continue
            if allowed is None:
                assert stage == "cli" or target != "cli", f"{stage} imports {module}"
                assert stage != "run" or target not in {"web", "service"}, f"run imports {module}"
                assert stage == "cli" or target != "service", f"{stage} imports {module}"
            else:
                assert target in allowed, f"{stage} imports {module}"
        elif package in ONLY_IN:
            assert stage in ONLY_IN[package], f"{package} is imported in {stage}"


def test_nothing_imports_the_edge():
    for path in SOURCES:
        if stage_of(path) in EDGE:
            continue
        for module in imported_modules(path):
            assert module.partition("meisho.")[2].partition(".")[0] not in EDGE, f"{path} imports {module}"


def test_import_meisho_does_nothing():
    heavy = ["torch", "timm", "faiss", "lancedb", "cv2", "numpy"]
    code = f"import sys, meisho; print([m for m in {heavy!r} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize(
    "first", ["meisho.cli", "meisho.cli.search", "meisho.cli.serve", "meisho.run.finding"]
)
def test_what_does_not_serve_imports_no_server(first):
    heavy = ["fastapi", "starlette", "pydantic", "uvicorn", "prometheus_client", "httpx"]
    code = f"import sys, {first}; print([m for m in {heavy!r} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_a_service_imports_no_torch():
    heavy = ["torch", "timm", "lancedb", "pyarrow", "scipy"]
    code = f"import sys, meisho.service.server; print([m for m in {heavy!r} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_every_public_name_exists():
    import meisho

    for name in meisho.__all__:
        assert getattr(meisho, name) is not None


@pytest.mark.parametrize("first", ["run", "searching", "cli"])
def test_a_public_name_stays_itself_whatever_was_imported_before(first):
    code = (
        f"import meisho.{first}, meisho; assert all(callable(getattr(meisho, n)) for n in meisho.__all__[1:])"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
