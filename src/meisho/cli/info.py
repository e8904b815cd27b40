"""`meisho info`."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meisho.cli.app import app, print_json, say
from meisho.cli.options import Json, as_collection
from meisho.errors import InputError
from meisho.photo_folder import DEFAULT_EXCLUDES, find_photos
from meisho.texts import count

if TYPE_CHECKING:  # a command imports what it needs when it is called
    from meisho.run.spread import Spread

_BAR_CELLS = 40


@app.command(short_help="Say what a collection holds.")
def info(
    collection: Annotated[
        Path | None,
        typer.Argument(
            metavar="COLLECTION", help="A collection made by 'meisho index'.", callback=as_collection
        ),
    ] = None,
    scores: Annotated[
        bool, typer.Option("--scores", help="Also how alike its photos are: a histogram of scores.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what a collection holds; of this machine, 'meisho doctor' tells.

    Example: meisho info my.meisho --scores
    """
    if collection is None:
        raise InputError(
            "name a collection, as in 'meisho info my.meisho'; of this machine, run 'meisho doctor'"
        )
    facts = _collection_facts(collection)
    spread = _spread(collection) if scores else None
    if as_json:
        print_json({**facts, "scores": spread} if spread else facts)
        return
    names = {name: name.removesuffix("_bytes").replace("_", " ") for name in facts}
    width = max(map(len, names.values()))
    for name, value in facts.items():
        shown = _in_short(value) if name == "excludes" and isinstance(value, list) else value
        if isinstance(shown, dict) and "members" in shown:
            from meisho.descriptors import describe_options

            shown = describe_options(shown)
        lines = [str(part) for part in shown] if isinstance(shown, list) else [_in_words(name, shown)]
        for row, line in enumerate(lines):
            say((f"{names[name] if row == 0 else '':{width}}  ", "dim"), line)
    if spread:
        _print_spread(spread)


def _in_short(excludes: Sequence[str]) -> list[str]:
    """Return what is left out as people read it: the defaults as one, where all are among them."""
    if not set(DEFAULT_EXCLUDES) <= set(excludes):
        return [*excludes] or ["none"]
    own = [pattern for pattern in excludes if pattern not in DEFAULT_EXCLUDES]
    return [f"{len(DEFAULT_EXCLUDES)} defaults, which --json names", *own]


def _spread(collection: Path) -> "Spread":
    from meisho.run.spread import describe_spread, nearest_scores

    return describe_spread(nearest_scores(collection))


def _print_spread(spread: "Spread") -> None:
    about = f"How alike each of {count(spread.num_photos, 'photo')} is to the one most like it, copies aside"
    say(f"\n{about}: median score {spread.median:.2f}")
    most = max(bar.num_photos for bar in spread.bars)
    for bar in spread.bars:
        cells = max(1 if bar.num_photos else 0, round(_BAR_CELLS * bar.num_photos / most))
        say((f"{bar.low:5.2f} to {bar.high:4.2f}  ", "dim"), f"{bar.num_photos:6,}  ", ("█" * cells, "cyan"))


def _in_words(name: str, value: object) -> str:
    """Return a fact as people read it."""
    if value is None:
        return "none; searched exactly" if name == "index" else "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {part}" for key, part in value.items() if part is not None) or "none"
    return f"{value / 1e6:.1f} MB" if name == "size_bytes" and isinstance(value, int) else str(value)


def _collection_facts(path: Path) -> dict[str, object]:
    from meisho.engines.base import open_engine
    from meisho.index.graph_files import load_graph
    from meisho.store.collection import Collection

    collection = Collection.open(path)
    records = collection.records()
    described = [record for record in records if not record.error]
    excludes = collection.metadata.excludes
    excludes = DEFAULT_EXCLUDES if excludes is None else excludes
    broken = [f"{record.id}: {record.error}" for record in records if record.error]
    engine = open_engine(collection.metadata.engine)
    saved, graph = engine.load(path / "index"), load_graph(path / "index")
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
        "engine": engine.text,
        "index": saved.kind if saved else None,
        "index_built_at_version": saved.version if saved else None,
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
