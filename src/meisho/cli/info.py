"""`meisho info`."""

import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

import meisho
from meisho.cli.app import Json, app, out, print_json


@app.command()
def info(
    collection: Annotated[
        Path | None, typer.Argument(help="A collection; without one, this machine.")
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
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in facts.items():
        shown = "\n".join(map(str, value)) if isinstance(value, list) else str(value)
        table.add_row(Text(name, style="dim"), Text(shown, overflow="fold"))
    out.print(table)


def _collection_facts(path: Path) -> dict[str, Any]:
    from meisho.index.live import LiveIndex
    from meisho.store.collection import Collection

    collection = Collection.open(path)
    records = collection.records()
    described = [record for record in records if not record.error]
    saved = LiveIndex.load(path / "index")
    return {
        "collection": str(path),
        "photo folder": str(collection.photo_root),
        "photos": len(described),
        "contents": len({record.content_sha256 for record in described}),
        "skipped": [f"{record.id}: {record.error}" for record in records if record.error],
        "dimensions": collection.dim,
        "model": collection.provenance.extractor,
        "options": collection.provenance.options,
        "weights": collection.provenance.weights_sha256[:16],
        "local features": collection.local_provenance.extractor if collection.local_provenance else "none",
        "version": collection.version,
        "index": saved.kind if saved else "none; searched exactly",
        "index built at version": saved.record.version if saved else None,
        "size": f"{_size_bytes(path) / 1e6:.1f} MB",
    }


def _size_bytes(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a writer tidies meanwhile
            total += file.stat().st_size
    return total


def _machine_facts() -> dict[str, Any]:
    from meisho.datasets.base import DATASETS
    from meisho.extractors.base import EXTRACTORS
    from meisho.index.base import INDEXES

    packages = ("torch", "timm", "faiss-cpu", "lancedb", "pillow", "pillow-heif")
    return {
        "meisho": meisho.__version__,
        "python": sys.version.split()[0],
        **{name: _version(name) for name in packages},
        "cuda": _cuda_name(),
        "models": list(EXTRACTORS),
        "data sets": list(DATASETS),
        "index kinds": list(INDEXES),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _cuda_name() -> str:
    from meisho.extractors.machine import describe_device

    return describe_device("auto")
