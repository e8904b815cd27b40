"""`meisho info`."""

import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

import meisho
from meisho.cli.app import app, print_json, say
from meisho.cli.options import Json, as_collection
from meisho.photo_folder import DEFAULT_EXCLUDES, find_photos


@app.command(short_help="Say what a collection holds, or what is installed.")
def info(
    collection: Annotated[
        Path | None,
        typer.Argument(
            metavar="COLLECTION", help="A collection; without one, this machine.", callback=as_collection
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a collection holds, or what this installation can do.

    Example: meisho info my.meisho
    """
    facts = _collection_facts(collection) if collection else _machine_facts()
    if as_json:
        print_json(facts)
        return
    names = {name: name.removesuffix("_bytes").replace("_", " ") for name in facts}
    width = max(map(len, names.values()))
    for name, value in facts.items():
        lines = [str(part) for part in value] if isinstance(value, list) else [_in_words(name, value)]
        for row, line in enumerate(lines):
            say((f"{names[name] if row == 0 else '':{width}}  ", "dim"), line)


def _in_words(name: str, value: object) -> str:
    """Return a fact as people read it."""
    if value is None:
        return "none; searched exactly" if name == "index" else "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {part}" for key, part in value.items() if part is not None) or "none"
    return f"{value / 1e6:.1f} MB" if name == "size_bytes" and isinstance(value, int) else str(value)


def _collection_facts(path: Path) -> dict[str, object]:
    from meisho.index.graph_files import load_graph
    from meisho.index.live import LiveIndex
    from meisho.store.collection import Collection

    collection = Collection.open(path)
    records = collection.records()
    described = [record for record in records if not record.error]
    excludes = collection.metadata.excludes
    excludes = DEFAULT_EXCLUDES if excludes is None else excludes
    broken = [f"{record.id}: {record.error}" for record in records if record.error]
    saved, graph = LiveIndex.load(path / "index"), load_graph(path / "index")
    return {
        "collection": str(path),
        "photo_folder": str(collection.photo_root),
        "photos": len(described),
        "contents": len({record.content_sha256 for record in described}),
        "skipped": [*broken, *_unseen_places(collection.photo_root, excludes)],
        "excludes": list(excludes),
        "dimensions": collection.dim,
        "model": collection.provenance.extractor,
        "options": collection.provenance.values,
        "weights": collection.provenance.weights_sha256[:16],
        "local_features": collection.local_provenance.extractor if collection.local_provenance else None,
        "version": collection.version,
        "index": saved.kind if saved else None,
        "index_built_at_version": saved.record.version if saved else None,
        "neighbours": f"{graph.k} of each photo, {graph.recall:.0%} as exact search" if graph else None,
        "size_bytes": _size_bytes(path),
    }


def _unseen_places(photo_root: Path, excludes: tuple[str, ...]) -> list[str]:
    """Return what lies in the photo folder and cannot be looked into: no collection keeps a record of it."""
    if not photo_root.is_dir():
        return [f"{photo_root}: the photo folder is not there"]
    found = find_photos(photo_root, excludes=excludes)
    return [f"{found.name_below(problem.path)}: {problem.reason}" for problem in found.problems]


def _size_bytes(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a writer tidies meanwhile
            total += file.stat().st_size
    return total


def _machine_facts() -> dict[str, object]:
    from meisho.datasets.base import DATASETS
    from meisho.extractors.base import EXTRACTORS
    from meisho.index.base import INDEXES

    packages = ("torch", "timm", "faiss-cpu", "lancedb", "pillow", "pillow-heif")
    return {
        "meisho": meisho.__version__,
        "python": sys.version.split()[0],
        **{name: _version(name) for name in packages},
        "device": _device_name(),
        "models": list(EXTRACTORS),
        "data_sets": list(DATASETS),
        "index_kinds": list(INDEXES),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _device_name() -> str:
    from meisho.extractors.machine import describe_device

    return describe_device("auto")
